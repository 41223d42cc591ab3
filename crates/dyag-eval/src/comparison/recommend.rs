//! Recommendations: each by a rule that is written down, with the figures it rests on and what would change it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{ArmSummary, Comparison, MetricComparison, Pair, TrainingCheck, Unit, Verdict, p_value_text};
use crate::results::Arm;

/// A rule of recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// When it applies.
    pub when: &'static str,
}

/// All rules.
pub const RULES: [Rule; 13] = [
    Rule { name: "best-of-all", when: "of three or more, some are shown worse in the primary metric than another, and some are not" },
    Rule { name: "better-answers", when: "one of two is shown better in the primary metric" },
    Rule {
        name: "cheaper-at-no-shown-loss",
        when: "no difference is shown in the primary metric, and one of two, which reaches 5 % or more in it, is shown faster, or else to use fewer tokens",
    },
    Rule {
        name: "larger-question-set",
        when: "no difference is shown in the primary metric, and differences of 10 points would be missed too often",
    },
    Rule { name: "payback", when: "one of two was trained longer and is shown faster" },
    Rule { name: "search", when: "half or more of five or more wrong answers with a known cause had no passage that holds the answer" },
    Rule { name: "answering", when: "half or more of five or more wrong answers with a known cause had a passage that holds the answer" },
    Rule { name: "failures", when: "5 % or more of the questions of one failed" },
    Rule { name: "leaks", when: "5 % or more of the questions were asked in the training of one" },
    Rule { name: "never-taught", when: "20 % or more of the questions are about what the training of one never taught" },
    Rule {
        name: "coverage",
        when: "one of two says it does not know for 10 points more of the questions, and the other reaches 5 % or more in the primary metric",
    },
    Rule { name: "freshness", when: "one of two searches the documents, and the other was trained on them and does not" },
    Rule { name: "try-both", when: "of two, each alone answers 10 % or more of the questions better" },
];

/// What follows from figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recommendation {
    /// The rule's name.
    pub rule: &'static str,
    /// What to do, and why.
    pub text: String,
    /// The figures it rests on.
    pub figures: Map<String, Value>,
    /// What would change it.
    pub would_change: String,
}

/// Wrong answers of known cause below which nothing is made of their causes.
const MIN_KNOWN_CAUSES: usize = 5;
const LARGE_SHARE_OF_FAILURES: f64 = 0.05;
const LARGE_SHARE_OF_LEAKS: f64 = 0.05;
const LARGE_SHARE_NEVER_TAUGHT: f64 = 0.2;
const LARGE_SHARE_OF_WINS: f64 = 0.1;
/// Below it a way answers next to nothing.
const WORTH_ASKING: f64 = 0.05;
/// A difference that people care about.
const WORTHWHILE_DIFFERENCE: f64 = 0.1;

fn recommendation(rule: &'static str, text: String, figures: Value, would_change: String) -> Recommendation {
    debug_assert!(RULES.iter().any(|one| one.name == rule));
    let figures = if let Value::Object(figures) = figures { figures } else { Map::new() };
    Recommendation { rule, text, figures, would_change }
}

/// Everything that follows from a comparison.
pub(super) fn recommend(comparison: &Comparison) -> Vec<Recommendation> {
    let mut all: Vec<Recommendation> = best_of_all(comparison).into_iter().collect();
    for pair in &comparison.pairs {
        if let Some(primary) = comparison.primary(pair) {
            all.extend(better_answers(comparison, pair, primary));
            all.extend(cheaper(pair, primary));
            all.extend(larger_set(comparison, pair, primary));
            all.extend(freshness(comparison, pair, primary));
            all.extend(try_both(comparison, pair, primary));
        }
        all.extend(coverage(comparison, pair));
        all.extend(payback(pair));
    }
    all.extend(causes(comparison));
    all.extend(failures(comparison));
    all.extend(comparison.training.iter().flat_map(|check| [leaks(check), never_taught(check)]).flatten());
    all
}

/// Those that nobody is shown to be better than, where others are shown worse than somebody.
fn best_of_all(comparison: &Comparison) -> Option<Recommendation> {
    let metric = comparison.primary_metric.as_deref()?;
    let judged: Vec<(&Pair, &MetricComparison)> =
        comparison.pairs.iter().filter_map(|pair| Some((pair, comparison.primary(pair)?))).collect();
    let is_of = |pair: &Pair, name: &str| pair.first == *name || pair.second == *name;
    let loses = |primary: &MetricComparison, name: &str| primary.winner.as_deref().is_some_and(|winner| winner != name);
    let is_judged = |name: &&str| judged.iter().any(|(pair, _)| is_of(pair, name));
    let is_beaten = |name: &&str| judged.iter().any(|(pair, primary)| is_of(pair, name) && loses(primary, name));
    let names = comparison.arms.iter().map(|arm| arm.name.as_str()).filter(is_judged);
    let (worse, best): (Vec<&str>, Vec<&str>) = names.partition(is_beaten);
    let best_mean = |primary: &MetricComparison| primary.first_mean.max(primary.second_mean);
    let answers = judged.iter().any(|(_, primary)| !is_next_to_nothing(primary, best_mean(primary)));
    if worse.is_empty() || best.is_empty() || worse.len() + best.len() < 3 || !answers {
        return None;
    }
    let (best_names, worse_names) = (best.join(", "), worse.join(", "));
    let losers = if worse.len() == 1 {
        format!("{worse_names} is shown worse than another")
    } else {
        format!("of {worse_names} each is shown worse than another")
    };
    let text = if best.len() == 1 {
        format!("take {best_names}: nothing is shown better in {metric}, and {losers}")
    } else {
        format!("take the simplest of {best_names}: in {metric} no difference between them is shown, and {losers}")
    };
    let figures = json!({ "metric": metric, "best": best, "worse": worse });
    let would_change = "what you need besides right answers: sources, documents that change, time, memory".to_owned();
    Some(recommendation("best-of-all", text, figures, would_change))
}

fn better_answers(comparison: &Comparison, pair: &Pair, primary: &MetricComparison) -> Option<Recommendation> {
    let winner = primary.winner.as_ref()?;
    let loser = if *winner == pair.first { &pair.second } else { &pair.first };
    let (metric, unit, difference) = (&primary.metric, primary.unit, &primary.difference);
    let interval = difference.interval.map(|interval| {
        let (a, b) = (interval.low.abs().min(interval.high.abs()), interval.low.abs().max(interval.high.abs()));
        format!(", {:.0} % interval {} to {}", 100.0 * comparison.method.confidence, unit.amount(a), unit.amount(b))
    });
    let text = format!(
        "{winner} rather than {loser}: it is better by {} in {metric} ({} against {}{}; p {} after adjustment)",
        unit.amount(difference.mean),
        unit.value(if *winner == pair.first { primary.first_mean } else { primary.second_mean }),
        unit.value(if *winner == pair.first { primary.second_mean } else { primary.first_mean }),
        interval.unwrap_or_default(),
        p_value_text(primary.p_adjusted)
    );
    let figures = json!({
        "metric": metric, "difference": difference.mean, "interval": difference.interval, "p_adjusted": primary.p_adjusted, "n_questions": difference.n_observations,
        "n_documents": comparison.questions.n_documents,
    });
    let would_change = format!(
        "questions of another kind or about other documents; {loser} with other settings; answers that are right for {metric} and useless to a reader, or the reverse"
    );
    Some(recommendation("better-answers", text, figures, would_change))
}

fn is_undecided(primary: &MetricComparison) -> bool {
    matches!(primary.verdict, Verdict::Tie | Verdict::NoDifferenceShown)
}

/// Whether a mean says that next to nothing is answered.
fn is_next_to_nothing(primary: &MetricComparison, mean: f64) -> bool {
    primary.unit == Unit::Share && primary.higher_is_better && mean < WORTH_ASKING
}

fn cheaper(pair: &Pair, primary: &MetricComparison) -> Option<Recommendation> {
    let cost = pair.cost.iter().find(|cost| cost.winner.is_some())?;
    let winner = cost.winner.as_ref()?;
    // One that answers nothing rightly is not worth its cost, however small.
    let mean = if *winner == pair.first { primary.first_mean } else { primary.second_mean };
    if !is_undecided(primary) || is_next_to_nothing(primary, mean) {
        return None;
    }
    let text = format!(
        "{winner}, if cost decides: no difference in {} was shown, and it takes {} less a question ({} against {})",
        primary.metric,
        cost.unit.amount(cost.difference.mean),
        cost.unit.value(cost.first_mean.min(cost.second_mean)),
        cost.unit.value(cost.first_mean.max(cost.second_mean))
    );
    let figures = json!({
        "metric": primary.metric, "p_adjusted": primary.p_adjusted, "cost": cost.metric, "difference": cost.difference.mean, "interval": cost.difference.interval,
        "smallest_detectable": primary.difference.smallest_detectable,
    });
    let unseen = match primary.difference.smallest_detectable {
        Some(smallest) => format!("a set that shows differences below {}", primary.unit.amount(smallest)),
        None => "a set on which the two differ".to_owned(),
    };
    Some(recommendation("cheaper-at-no-shown-loss", text, figures, format!("{unseen}; another machine or other prices")))
}

fn larger_set(comparison: &Comparison, pair: &Pair, primary: &MetricComparison) -> Option<Recommendation> {
    let smallest = primary.difference.smallest_detectable.filter(|smallest| *smallest > WORTHWHILE_DIFFERENCE)?;
    if primary.unit != Unit::Share || primary.verdict != Verdict::NoDifferenceShown {
        return None;
    }
    let (n, what) = match comparison.questions.n_documents {
        0 | 1 => (primary.difference.n_observations, "questions"),
        n => (n, "documents"),
    };
    // Standard errors fall with the square root of the number of documents.
    let needed = (n as f64 * (smallest / WORTHWHILE_DIFFERENCE).powi(2)).ceil();
    let text = format!(
        "more {what} before {} and {} are called equal: in {} this set shows differences from {} on (in eight of ten sets like it); about {needed} {what} like these would show 10 points",
        pair.first,
        pair.second,
        primary.metric,
        primary.unit.amount(smallest)
    );
    let figures = json!({
        "metric": primary.metric, "smallest_detectable": smallest, "difference": primary.difference.mean, what: n, format!("{what}_for_10_points"): needed,
    });
    Some(recommendation(
        "larger-question-set",
        text,
        figures,
        "a difference below 10 points that matters to you: then more still".to_owned(),
    ))
}

fn try_both(comparison: &Comparison, pair: &Pair, primary: &MetricComparison) -> Option<Recommendation> {
    let n = primary.difference.n_observations as f64;
    let shares = [primary.wins.first as f64 / n, primary.wins.second as f64 / n];
    let has_both = comparison.arms.iter().any(|arm| arm.arm == Some(Arm::Hybrid));
    if has_both || shares.iter().any(|share| *share < LARGE_SHARE_OF_WINS) {
        return None;
    }
    let text = format!(
        "try the two together (a fine-tuned model that is shown passages): {} alone answers {} of {n} questions better, {} alone {}",
        pair.first, primary.wins.first, pair.second, primary.wins.second
    );
    let figures = json!({ "metric": primary.metric, "wins_first": primary.wins.first, "wins_second": primary.wins.second, "n_questions": primary.difference.n_observations });
    Some(recommendation("try-both", text, figures, "an evaluation of the two together: this is what chance alone can do, too".to_owned()))
}

/// What is known of those of a pair.
fn arms_of<'a>(comparison: &'a Comparison, pair: &Pair) -> Option<[&'a ArmSummary; 2]> {
    let arm = |name: &str| comparison.arms.iter().find(|arm| arm.name == name);
    Some([arm(&pair.first)?, arm(&pair.second)?])
}

fn coverage(comparison: &Comparison, pair: &Pair) -> Option<Recommendation> {
    let arms = arms_of(comparison, pair)?;
    let answered = |arm: &ArmSummary| arm.metrics.get("avg_answered").copied();
    let shares = [answered(arms[0])?, answered(arms[1])?];
    let (more, less) = if shares[0] >= shares[1] { (0, 1) } else { (1, 0) };
    let mean = |primary: &MetricComparison| if more == 0 { primary.first_mean } else { primary.second_mean };
    // Answers that are next to never right are no better than none.
    let is_useless = comparison.primary(pair).is_some_and(|primary| is_next_to_nothing(primary, mean(primary)));
    if shares[more] - shares[less] < WORTHWHILE_DIFFERENCE || is_useless {
        return None;
    }
    let text = format!(
        "{}, where an answer that may be wrong is better than none; {}, where it is worse: they answer {} and {} of the questions, and say of the others that they do not know",
        arms[more].name,
        arms[less].name,
        Unit::Share.value(shares[more]),
        Unit::Share.value(shares[less])
    );
    let figures = json!({ "arm": arms[more].name, "answered": shares[more], "other": arms[less].name, "answered_by_other": shares[less] });
    let would_change = "questions that nobody can answer from the documents: there, saying so is right".to_owned();
    Some(recommendation("coverage", text, figures, would_change))
}

fn freshness(comparison: &Comparison, pair: &Pair, primary: &MetricComparison) -> Option<Recommendation> {
    let arms = arms_of(comparison, pair)?;
    let searches = |arm: &ArmSummary| arm.arm.is_some_and(Arm::retrieves);
    let remembers = |arm: &ArmSummary| arm.arm == Some(Arm::Finetuned);
    let (searching, trained) = match arms {
        [a, b] if searches(a) && remembers(b) => (a, b),
        [a, b] if searches(b) && remembers(a) => (b, a),
        _ => return None,
    };
    let training = trained.cost.training_seconds;
    let again =
        training.map_or_else(|| "a new training".to_owned(), |seconds| format!("a new training ({})", Unit::Seconds.value(seconds)));
    let quality = match primary.winner.as_ref() {
        Some(winner) if *winner == trained.name => format!("{} is better in {} as the documents are now", trained.name, primary.metric),
        Some(winner) => format!("{winner} is better in {} besides", primary.metric),
        None => format!("no difference in {} was shown", primary.metric),
    };
    let text = format!(
        "{}, where the documents change: {} knows them as they were when it was trained, and each change takes {again}, where a search only takes a new index; {quality}",
        searching.name, trained.name
    );
    let figures = json!({
        "searches": searching.name, "trained": trained.name, "training_seconds": training, "metric": primary.metric, "difference": primary.difference.mean,
        "p_adjusted": primary.p_adjusted,
    });
    Some(recommendation("freshness", text, figures, "documents that stay as they are, or a shorter training".to_owned()))
}

fn leaks(check: &TrainingCheck) -> Option<Recommendation> {
    let n = check.n_questions();
    if check.n_leaked == 0 || (check.n_leaked as f64) < LARGE_SHARE_OF_LEAKS * n as f64 {
        return None;
    }
    let arms = check.arms.join(" and ");
    let text = format!(
        "judge {arms} by the results without leaks: training asked {} of {n} questions in the same or nearly the same words ({})",
        check.n_leaked, check.training_set
    );
    let figures = json!({ "arms": check.arms, "n_leaked": check.n_leaked, "n_questions": n });
    Some(recommendation(
        "leaks",
        text,
        figures,
        "questions in words that training does not use (generate-training --split makes some)".to_owned(),
    ))
}

fn never_taught(check: &TrainingCheck) -> Option<Recommendation> {
    let n = check.n_questions();
    if check.n_never == 0 || (check.n_never as f64) < LARGE_SHARE_NEVER_TAUGHT * n as f64 {
        return None;
    }
    let arms = check.arms.join(" and ");
    let text = format!(
        "a search beside {arms}, or a training set that covers more: {} of {n} questions are about facts that {} never teaches",
        check.n_never, check.training_set
    );
    let figures = json!({ "arms": check.arms, "n_never": check.n_never, "n_other_wording": check.n_other_wording, "n_questions": n });
    Some(recommendation("never-taught", text, figures, "questions about what the training set teaches".to_owned()))
}

fn payback(pair: &Pair) -> Option<Recommendation> {
    let payback = pair.payback.as_ref()?;
    let text = format!(
        "{}'s training of {:.0} s is paid back after {:.0} questions, at {} saved on each",
        payback.arm,
        payback.training_seconds,
        payback.n_questions,
        Unit::Seconds.value(payback.saved_seconds_per_question)
    );
    let figures = json!(payback).as_object().cloned().unwrap_or_default();
    let would_change =
        "documents that change: each new training has to be paid back again; a machine on which training or answering takes another time"
            .to_owned();
    Some(recommendation("payback", text, Value::Object(figures), would_change))
}

fn causes(comparison: &Comparison) -> Vec<Recommendation> {
    let mut all = Vec::new();
    for found in &comparison.attribution {
        let (retrieval, generation) = (found.retrieval.n, found.generation.n);
        let known = retrieval + generation;
        if known < MIN_KNOWN_CAUSES {
            continue;
        }
        let figures = json!({ "arm": found.arm, "n_wrong": found.n_wrong, "retrieval": retrieval, "generation": generation, "unknown": found.unknown.n });
        if 2 * retrieval >= known {
            let text = format!(
                "improve the search of {}: for {retrieval} of {known} wrong answers no passage that was shown holds the answer (more passages, other sizes of passages, another search)",
                found.arm
            );
            let would_change = "right chunks that are listed wrongly, or answers that stand in the documents in other words".to_owned();
            all.push(recommendation("search", text, figures.clone(), would_change));
        }
        if 2 * generation >= known {
            let text = format!(
                "improve how {} answers: for {generation} of {known} wrong answers a passage that was shown holds the answer (another model or instruction, fewer passages, fine-tuning)",
                found.arm
            );
            let would_change = format!("answers that are right and that {} calls wrong: read some of them", found.judged_by);
            all.push(recommendation("answering", text, figures, would_change));
        }
    }
    all
}

fn failures(comparison: &Comparison) -> Vec<Recommendation> {
    let failing = comparison.arms.iter().filter(|arm| arm.n_rows > 0 && arm.n_failed as f64 >= LARGE_SHARE_OF_FAILURES * arm.n_rows as f64);
    failing
        .map(|arm| {
            let text =
                format!("find out why {} of {} questions of {} failed, before comparing its answers", arm.n_failed, arm.n_rows, arm.name);
            let figures = json!({ "arm": arm.name, "n_failed": arm.n_failed, "n_rows": arm.n_rows });
            recommendation("failures", text, figures, "a run without failures".to_owned())
        })
        .collect()
}
