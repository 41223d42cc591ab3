//! The metrics against their Python references: counts exactly, scores to 1e-9. `fixtures/metrics` is made by `tools/reference/make_metric_references.py`; another folder that it made
//! is compared when `DYAG_METRIC_REFERENCES` names it.

use std::path::PathBuf;

use dyag_eval::metrics::{
    BleuStats, BleuTokenizer, Chrf, ChrfStats, METRICS, MetricOptions, MetricSet, Normalization, RougeTokenizer, VERSION, bleu_signature,
    exact_match_normalized, rouge, token_f1,
};
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

fn lines(name: &str) -> Vec<Value> {
    let folder = std::env::var_os("DYAG_METRIC_REFERENCES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/metrics"), PathBuf::from);
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    text.split('\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn text<'a>(pair: &'a Value, key: &str) -> &'a str {
    pair[key].as_str().unwrap()
}

/// Compares, and keeps what differs.
#[derive(Default)]
struct Differences {
    n_compared: usize,
    wrong: Vec<String>,
}

impl Differences {
    fn compare(&mut self, what: &str, pair: &Value, ours: &[f64], theirs: &[f64], n_exact: usize) {
        assert_eq!(ours.len(), theirs.len(), "{what}");
        for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let difference = (ours - theirs).abs();
            self.n_compared += 1;
            let tolerance = if at < n_exact { 0.0 } else { TOLERANCE };
            if difference.is_nan() || difference > tolerance {
                self.wrong.push(format!(
                    "{what}[{at}] of {}: {ours}, reference {theirs}: {:?} / {:?}",
                    pair["id"], pair["answer"], pair["expected"]
                ));
            }
        }
    }

    fn finish(self, least: usize) {
        assert!(
            self.wrong.is_empty(),
            "{} of {} differ:\n{}",
            self.wrong.len(),
            self.n_compared,
            self.wrong[..self.wrong.len().min(20)].join("\n")
        );
        assert!(self.n_compared >= least, "{} numbers compared", self.n_compared);
    }
}

#[test]
fn exact_match_and_f1_agree() {
    let mut differences = Differences::default();
    for pair in lines("pairs.jsonl") {
        let (answer, expected) = (text(&pair, "answer"), text(&pair, "expected"));
        for (key, normalization) in
            [("squad", Normalization::Squad), ("french_bench", Normalization::FrenchBench), ("french", Normalization::French)]
        {
            let ours = [exact_match_normalized(answer, expected, normalization), token_f1(answer, expected, normalization)];
            differences.compare(key, &pair, &ours, &numbers(&pair[key]), 1);
        }
    }
    differences.finish(600 * 6);
}

#[test]
fn bleu_agrees() {
    let mut differences = Differences::default();
    for pair in lines("pairs.jsonl") {
        for (key, tokenizer) in [("bleu_13a", BleuTokenizer::V13a), ("bleu_intl", BleuTokenizer::International)] {
            let stats = BleuStats::new(text(&pair, "answer"), text(&pair, "expected"), tokenizer);
            let counts = [stats.answer_length, stats.expected_length].into_iter().chain(stats.n_correct).chain(stats.n_total);
            let ours: Vec<f64> = counts.map(|count| count as f64).chain([stats.sentence_score()]).collect();
            differences.compare(key, &pair, &ours, &numbers(&pair[key]), 10);
        }
    }
    differences.finish(600 * 22);
}

#[test]
fn chrf_agrees() {
    let mut differences = Differences::default();
    for pair in lines("pairs.jsonl") {
        let stats = ChrfStats::new(text(&pair, "answer"), text(&pair, "expected"));
        let counts = stats.characters.iter().chain(&stats.words).flat_map(|order| [order.n_answer, order.n_expected, order.n_match]);
        let scores = [Chrf::Chrf2, Chrf::PlusPlus].map(|kind| stats.score(kind));
        let ours: Vec<f64> = counts.map(|count| count as f64).chain(scores).collect();
        differences.compare("chrf", &pair, &ours, &numbers(&pair["chrf"]), 24);
    }
    differences.finish(600 * 26);
}

#[test]
fn rouge_agrees() {
    let mut differences = Differences::default();
    for pair in lines("pairs.jsonl") {
        for (key, tokenizer) in [("rouge", RougeTokenizer::Google), ("rouge_unicode", RougeTokenizer::Unicode)] {
            let scores = rouge(text(&pair, "answer"), text(&pair, "expected"), tokenizer);
            let ours: Vec<f64> = [scores.rouge1, scores.rouge2, scores.rouge_l, scores.rouge_lsum]
                .iter()
                .flat_map(|score| [score.precision, score.recall, score.f_measure])
                .collect();
            differences.compare(key, &pair, &ours, &numbers(&pair[key]), 0);
        }
    }
    differences.finish(600 * 24);
}

#[test]
fn sets_agree_with_their_signatures() {
    let pairs = lines("pairs.jsonl");
    let mut differences = Differences::default();
    for corpus in lines("corpora.jsonl") {
        let (first, step) = (corpus["first"].as_u64().unwrap() as usize, corpus["step"].as_u64().unwrap() as usize);
        let chosen = || pairs[first..].iter().step_by(step).map(|pair| (text(pair, "answer"), text(pair, "expected")));
        for (key, tokenizer) in [("bleu_13a", BleuTokenizer::V13a), ("bleu_intl", BleuTokenizer::International)] {
            let sum: BleuStats = chosen().map(|(answer, expected)| BleuStats::new(answer, expected, tokenizer)).sum();
            differences.compare(key, &corpus, &[sum.corpus_score()], &[corpus[key][0].as_f64().unwrap()], 0);
            assert_eq!(bleu_signature(tokenizer, false), text_at(&corpus[key]).replace("2.6.0", VERSION));
        }
        let sum: ChrfStats = chosen().map(|(answer, expected)| ChrfStats::new(answer, expected)).sum();
        for (key, kind) in [("chrf2", Chrf::Chrf2), ("chrf++", Chrf::PlusPlus)] {
            differences.compare(key, &corpus, &[sum.score(kind)], &[corpus[key][0].as_f64().unwrap()], 0);
            assert_eq!(kind.signature(), text_at(&corpus[key]).replace("2.6.0", VERSION));
        }
    }
    differences.finish(60);
}

fn text_at(score: &Value) -> &str {
    score[1].as_str().unwrap()
}

#[test]
fn a_set_has_means_of_answers_and_scores_of_sums() {
    let pairs = lines("pairs.jsonl");
    let corpora = lines("corpora.jsonl");
    let mut set = MetricSet::new(MetricOptions::default());
    assert!(set.scores().is_empty());
    for pair in &pairs[..300] {
        let scores = set.add("", text(pair, "answer"), text(pair, "expected"));
        assert_eq!(scores.scores.len(), METRICS.len());
    }
    let scores = set.scores();
    let mean = |key: &str, at: usize| pairs[..300].iter().map(|pair| pair[key][at].as_f64().unwrap()).sum::<f64>() / 300.0;
    for (name, key, at) in [
        ("f1_squad", "squad", 1),
        ("exact_match_french_bench", "french_bench", 0),
        ("f1_french", "french", 1),
        ("rouge1_precision", "rouge", 0),
        ("rouge2_recall", "rouge", 4),
        ("rougeL_f", "rouge", 8),
        ("rougeLsum_f", "rouge", 11),
        ("rouge1_unicode_f", "rouge_unicode", 2),
        ("rougeLsum_unicode_recall", "rouge_unicode", 10),
        ("sentence_bleu_13a", "bleu_13a", 10),
        ("sentence_bleu_intl", "bleu_intl", 10),
        ("sentence_chrf2", "chrf", 24),
        ("sentence_chrf++", "chrf", 25),
    ] {
        assert!((scores[name] - mean(key, at)).abs() < TOLERANCE, "{name}: {} instead of {}", scores[name], mean(key, at));
    }
    for pair in &pairs[300..] {
        set.add("", text(pair, "answer"), text(pair, "expected"));
    }
    let scores = set.scores();
    for name in ["bleu_13a", "bleu_intl", "chrf2", "chrf++"] {
        assert!((scores[format!("corpus_{name}").as_str()] - corpora[0][name][0].as_f64().unwrap()).abs() < TOLERANCE);
    }
    assert_eq!(set.signatures().keys().collect::<Vec<_>>(), scores.keys().collect::<Vec<_>>());
}
