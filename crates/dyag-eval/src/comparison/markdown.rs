//! A comparison as Markdown, for people.

use std::fmt::Write as _;

use super::units::{Unit, p_value_text};
use super::{ClusteredBy, Comparison, MetricComparison, Pair, RULES, Verdict};

/// The comparison as a Markdown document.
pub fn markdown(comparison: &Comparison) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_all(&mut out, comparison);
    out
}

fn write_all(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let names: Vec<String> = comparison.arms.iter().map(|arm| line(&arm.name)).collect();
    writeln!(out, "# {}\n", names.join(" and "))?;
    write_side_by_side(out, comparison)?;
    write_arms(out, comparison)?;
    write_questions(out, comparison)?;
    for pair in &comparison.pairs {
        write_pair(out, comparison, pair)?;
    }
    write_training(out, comparison)?;
    write_attribution(out, comparison)?;
    write_judgement(out, comparison)?;
    write_recommendations(out, comparison)?;
    write_method(out, comparison)
}

/// What each scores, a column each.
fn write_side_by_side(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let figures = comparison.side_by_side();
    if figures.is_empty() {
        return Ok(());
    }
    let head: Vec<&str> = std::iter::once("").chain(comparison.arms.iter().map(|arm| arm.name.as_str())).collect();
    row(out, &head)?;
    rule(out, &head.iter().map(|cell| !cell.is_empty()).collect::<Vec<_>>())?;
    for figure in &figures {
        let cells: Vec<String> = std::iter::once(figure.label()).chain((0..comparison.arms.len()).map(|arm| figure.value(arm))).collect();
        row(out, &cells.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    writeln!(out, "\nMeans over the questions compared; which differences are shown, and which may be chance, stands below.\n")
}

fn write_arms(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    row(
        out,
        &[
            "",
            "kind",
            "model",
            "base model",
            "rows",
            "failed",
            "time, mean",
            "time, median",
            "time, 95 %",
            "tokens, mean",
            "memory",
            "training",
        ],
    )?;
    rule(out, &[false, false, false, false, true, true, true, true, true, true, true, true])?;
    for arm in &comparison.arms {
        let cost = &arm.cost;
        let seconds = |value: Option<f64>| value.map_or_else(String::new, |value| Unit::Seconds.value(value));
        row(
            out,
            &[
                &arm.name,
                arm.arm.map_or("", |arm| arm.name()),
                arm.model.as_deref().unwrap_or(""),
                arm.base_model.as_deref().unwrap_or(""),
                &arm.n_rows.to_string(),
                &arm.n_failed.to_string(),
                &seconds(cost.mean_seconds),
                &seconds(cost.median_seconds),
                &seconds(cost.p95_seconds),
                &cost.mean_tokens.map_or_else(String::new, |tokens| Unit::Tokens.value(tokens)),
                &cost.peak_memory_bytes.map_or_else(String::new, |bytes| format!("{:.2} GB", bytes as f64 / 1e9)),
                &seconds(cost.training_seconds),
            ],
        )?;
    }
    writeln!(out)
}

fn write_questions(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let questions = &comparison.questions;
    let by = match questions.clustered_by {
        ClusteredBy::Document => format!("about {} documents", questions.n_documents),
        ClusteredBy::Question => "taken for independent".to_owned(),
    };
    writeln!(out, "{} questions are in all files with rows, {by}.\n", questions.n_compared)?;
    if questions.mismatches.n == 0 {
        return Ok(());
    }
    writeln!(out, "## Questions that were not compared\n")?;
    row(out, &["file", "id", "question", "why"])?;
    rule(out, &[false; 4])?;
    for one in &questions.mismatches.listed {
        row(out, &[&one.arm, one.id.as_deref().unwrap_or(""), &one.question, one.kind.words()])?;
    }
    let hidden = questions.mismatches.n - questions.mismatches.listed.len();
    if hidden > 0 {
        writeln!(out, "\nand {hidden} more.")?;
    }
    writeln!(out)
}

fn write_pair(out: &mut String, comparison: &Comparison, pair: &Pair) -> std::fmt::Result {
    writeln!(out, "## {} against {}\n", line(&pair.first), line(&pair.second))?;
    if !pair.metrics.is_empty() {
        metric_table(out, comparison, pair, &pair.metrics)?;
    }
    if !pair.corpus.is_empty() {
        corpus_table(out, comparison, pair)?;
    }
    if !pair.cost.is_empty() {
        writeln!(out, "What a question takes:\n")?;
        metric_table(out, comparison, pair, &pair.cost)?;
    }
    if !pair.set_figures.is_empty() {
        writeln!(out, "Figures over whole sets, which cannot be tested:\n")?;
        row(out, &["figure", &pair.first, &pair.second, "outcome"])?;
        rule(out, &[false, true, true, false])?;
        for figure in &pair.set_figures {
            row(out, &[&figure.metric, &Unit::Number.value(figure.first), &Unit::Number.value(figure.second), figure.verdict.words()])?;
        }
        writeln!(out)?;
    }
    if let Some(metric) = comparison.primary(pair).filter(|metric| !metric.categories.is_empty()) {
        writeln!(out, "By category, {} (nothing is tested here):\n", line(&metric.metric))?;
        row(
            out,
            &["category", &pair.first, &pair.second, &format!("better: {}", pair.first), &format!("better: {}", pair.second), "equal"],
        )?;
        rule(out, &[false, true, true, true, true, true])?;
        for one in &metric.categories {
            let (first, second) = (metric.unit.value(one.first_mean), metric.unit.value(one.second_mean));
            let wins = [one.wins.first, one.wins.second, one.wins.ties].map(|n| n.to_string());
            row(out, &[&one.category, &first, &second, &wins[0], &wins[1], &wins[2]])?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn metric_table(out: &mut String, comparison: &Comparison, pair: &Pair, metrics: &[MetricComparison]) -> std::fmt::Result {
    let interval = format!("difference, {} % interval", 100.0 * comparison.method.confidence);
    row(out, &["metric", "n", &pair.first, &pair.second, &interval, "p, adjusted", "better on (questions)", "outcome"])?;
    rule(out, &[false, true, true, true, true, true, true, false])?;
    for metric in metrics {
        let wins = format!("{} / {}, {} equal", metric.wins.first, metric.wins.second, metric.wins.ties);
        row(
            out,
            &[
                &metric.metric,
                &metric.difference.n_observations.to_string(),
                &metric.unit.value(metric.first_mean),
                &metric.unit.value(metric.second_mean),
                &metric.difference_text(),
                &p_value_text(metric.p_adjusted),
                &wins,
                &metric.outcome(),
            ],
        )?;
    }
    writeln!(out)
}

fn corpus_table(out: &mut String, comparison: &Comparison, pair: &Pair) -> std::fmt::Result {
    writeln!(
        out,
        "Scores of all answers together (the test decides; the interval, from resampled documents, is too narrow for few of them):\n"
    )?;
    let interval = format!("difference, {} % interval", 100.0 * comparison.method.confidence);
    row(out, &["score", "n", &pair.first, &pair.second, &interval, "p, adjusted", "outcome"])?;
    rule(out, &[false, true, true, true, true, true, false])?;
    for corpus in &pair.corpus {
        row(
            out,
            &[
                &corpus.metric,
                &corpus.n_questions.to_string(),
                &Unit::Number.value(corpus.first),
                &Unit::Number.value(corpus.second),
                &corpus.difference_text(),
                &p_value_text(corpus.p_adjusted),
                &corpus.outcome(),
            ],
        )?;
    }
    writeln!(out)
}

impl MetricComparison {
    /// The difference and its interval, for people: `+12.5 (+3.1 to +21.9) points`.
    pub fn difference_text(&self) -> String {
        let unit = self.unit;
        let interval = match self.difference.interval {
            Some(interval) => format!("({} to {})", unit.signed(interval.low), unit.signed(interval.high)),
            None => "(no interval)".to_owned(),
        };
        format!("{} {interval} {}", unit.signed(self.difference.mean), unit.of_differences()).trim_end().to_owned()
    }

    /// The winner, or what can be said without one.
    pub fn outcome(&self) -> String {
        match &self.winner {
            Some(winner) => format!("{winner} better"),
            None => self.verdict.words().to_owned(),
        }
    }
}

impl Verdict {
    /// In a table.
    pub const fn words(self) -> &'static str {
        match self {
            Self::First => "first better",
            Self::Second => "second better",
            Self::Tie => "tie",
            Self::NoDifferenceShown => "no difference shown",
            Self::NotTestable => "not testable",
        }
    }
}

fn write_training(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    for check in &comparison.training {
        writeln!(out, "## What training taught\n\n{}.\n", line(&check.sentence()))?;
        for group in check.groups.iter().filter(|group| !group.pairs.is_empty()) {
            writeln!(out, "### {} questions {}\n", group.n_questions, group.taught.words())?;
            for pair in &group.pairs {
                metric_table(out, comparison, pair, &pair.metrics)?;
            }
        }
        if check.leaks.is_empty() {
            continue;
        }
        writeln!(out, "### Questions that training asked\n")?;
        row(out, &["id", "question", "training set", "as asked there", "similarity"])?;
        rule(out, &[false, false, false, false, true])?;
        for leak in &check.leaks {
            let similarity = format!("{:.2}", leak.similarity);
            row(out, &[leak.id.as_deref().unwrap_or(""), &leak.question, &leak.training_place, &leak.training_question, &similarity])?;
        }
        let hidden = check.n_leaked - check.leaks.len();
        if hidden > 0 {
            writeln!(out, "\nand {hidden} more.")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_attribution(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    if comparison.attribution.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Where wrong answers come from\n")?;
    row(out, &["", "judged by", "wrong", "passage not found", "passage not used", "failed", "not known"])?;
    rule(out, &[false, false, true, true, true, true, true])?;
    for found in &comparison.attribution {
        let counts = [found.retrieval.n, found.generation.n, found.failed.n, found.unknown.n].map(|n| n.to_string());
        let wrong = format!("{} of {}", found.n_wrong, found.n_judged);
        row(out, &[&found.arm, &found.judged_by, &wrong, &counts[0], &counts[1], &counts[2], &counts[3]])?;
    }
    writeln!(out)
}

fn write_judgement(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let Some(judgement) = &comparison.judgement else { return Ok(()) };
    writeln!(out, "## What a judge says\n")?;
    writeln!(
        out,
        "{} was asked which answer is better, twice for each question with the answers exchanged; a way wins only where both words agree. It is a model's opinion: nothing else here rests on it.\n",
        line(&judgement.model)
    )?;
    judgement.pairs.iter().try_for_each(|pair| writeln!(out, "- {}.", line(&pair.sentence())))?;
    writeln!(out)
}

fn write_recommendations(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    writeln!(out, "## Recommendations\n")?;
    if comparison.recommendations.is_empty() {
        writeln!(out, "None: no rule applies.")?;
    }
    for one in &comparison.recommendations {
        writeln!(out, "- {} (rule {}).", line(&one.text), one.rule)?;
        writeln!(out, "  Would change it: {}.", line(&one.would_change))?;
    }
    writeln!(out, "\nThe rules: {}.\n", RULES.map(|rule| format!("`{}`: {}", rule.name, rule.when)).join("; "))
}

fn write_method(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let method = &comparison.method;
    writeln!(out, "## How it was computed\n")?;
    writeln!(
        out,
        "Differences are those of the second less the first, question by question ({}). Confidence {}, {} tests of quality adjusted together ({}). Seed {}. \
         A way is called better where its adjusted p-value is below {:.3}.",
        method.interval,
        method.confidence,
        method.n_tests,
        method.adjustment,
        method.seed,
        1.0 - method.confidence
    )?;
    for pair in &comparison.pairs {
        for metric in &pair.metrics {
            if let Some(smallest) = metric.difference.smallest_detectable {
                writeln!(
                    out,
                    "{}, {} against {}: the smallest difference that this set shows in eight of ten times is {}.",
                    line(&metric.metric),
                    line(&pair.first),
                    line(&pair.second),
                    metric.unit.amount(smallest)
                )?;
            }
        }
    }
    if !comparison.notes.is_empty() {
        writeln!(out, "\nNotes:\n")?;
    }
    comparison.notes.iter().try_for_each(|note| writeln!(out, "- {}", line(note)))
}

fn row(out: &mut String, cells: &[&str]) -> std::fmt::Result {
    out.push('|');
    cells.iter().try_for_each(|text| write!(out, " {} |", line(text)))?;
    writeln!(out)
}

fn rule(out: &mut String, is_number: &[bool]) -> std::fmt::Result {
    out.push('|');
    is_number.iter().try_for_each(|is_number| write!(out, "{}|", if *is_number { "---:" } else { "---" }))?;
    writeln!(out)
}

/// Somebody's text in one line, as cells of tables need it, in which nothing is markup.
fn line(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        // Nothing for a terminal to obey.
        let c = if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        if matches!(c, '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_text_is_one_line_without_markup_or_orders_to_a_terminal() {
        assert_eq!(line("a | b\n\tc"), "a \\| b c");
        assert_eq!(line("<b>`*[x]#\\"), "\\<b\\>\\`\\*\\[x\\]\\#\\\\");
        assert_eq!(line("\u{1b}]0;t\u{7}\u{9b}2J"), "\u{fffd}\\]0;t\u{fffd}\u{fffd}2J");
    }
}
