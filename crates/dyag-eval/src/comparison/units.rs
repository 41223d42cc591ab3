//! What metrics are counted in, which direction is good, and how their values are written.

use serde::Serialize;

/// What a metric is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// From 0 to 1; shown in percent, differences in points.
    Share,
    /// Seconds.
    Seconds,
    /// Tokens.
    Tokens,
    /// A number of its own.
    Number,
}

impl Unit {
    /// The unit of `values` of a metric of quality.
    pub(super) fn of(mut values: impl Iterator<Item = f64>) -> Self {
        if values.all(|value| (0.0..=1.0).contains(&value)) { Self::Share } else { Self::Number }
    }

    /// A value, for people.
    pub fn value(self, value: f64) -> String {
        match self {
            Self::Share => format!("{:.1} %", 100.0 * value),
            Self::Seconds => format!("{} s", digits(value)),
            Self::Tokens => digits(value),
            Self::Number => digits(value),
        }
    }

    /// A difference of two values, for people, with its sign and without its unit.
    pub fn signed(self, value: f64) -> String {
        let text = match self {
            Self::Share => format!("{:.1}", 100.0 * value),
            _ => digits(value),
        };
        // Neither "-0.0" nor "+0.0".
        let is_zero = text.chars().all(|c| !c.is_ascii_digit() || c == '0');
        match text.strip_prefix('-') {
            Some(rest) if is_zero => rest.to_owned(),
            None if !is_zero => format!("+{text}"),
            _ => text,
        }
    }

    /// What differences are counted in.
    pub const fn of_differences(self) -> &'static str {
        match self {
            Self::Share => "points",
            Self::Seconds => "seconds",
            Self::Tokens => "tokens",
            Self::Number => "",
        }
    }

    /// The size of a difference with its unit.
    pub fn amount(self, value: f64) -> String {
        let text = self.signed(value.abs());
        format!("{} {}", text.trim_start_matches('+'), self.of_differences()).trim_end().to_owned()
    }
}

/// A number with about three digits that matter.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        size if size >= 0.001 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

/// A p-value, for people.
pub fn p_value_text(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}

/// Metrics of ours that are compared unless others are asked for: one for each question that a person would ask. All of them at once would need so large an adjustment that
/// nothing could be shown.
const HEADLINES: [&str; 15] = [
    "exact_match",
    "exact_match_french",
    "exact_match_squad",
    "f1_french",
    "f1_squad",
    "contains_expected",
    "facts_agree",
    "rougeL_unicode_f",
    "sentence_chrf++",
    "bertscore_MODEL_f1",
    "similarity_MODEL",
    "retrieval_recall@5",
    "retrieval_mrr",
    "context_precision",
    "grounded_words",
];

/// Whether a metric is about what a search found or where an answer was taken from, and not about whether the answer is right: nobody is recommended for it.
pub(super) fn is_about_passages(metric: &str) -> bool {
    metric == "context_precision" || metric.starts_with("retrieval_") || metric.starts_with("grounded_")
}

/// Whether a metric is compared when none is asked for: a headline in the language of the answers, or one that this program does not know.
pub(super) fn is_headline(metric: &str, language: Option<&str>) -> bool {
    let other_language = match language {
        Some("fr") => "_squad",
        Some("en") => "_french",
        _ => "\0",
    };
    crate::metrics::metric(metric).is_none_or(|known| HEADLINES.contains(&known.name) && !metric.ends_with(other_language))
}

/// Whether more is better. What is not known is taken for a score, unless its name says otherwise.
pub(super) fn higher_is_better(metric: &str) -> bool {
    if let Some(known) = crate::metrics::metric(metric) {
        return known.direction != crate::metrics::Direction::Lower;
    }
    const COUNTED_AGAINST: [&str; 9] =
        ["error", "distance", "hallucination", "unsupported", "loss", "perplexity", "latency", "seconds", "tokens"];
    const RATES: [&str; 3] = ["wer", "cer", "ter"];
    let name = metric.to_lowercase();
    !COUNTED_AGAINST.iter().any(|word| name.contains(word)) && !name.split('_').any(|word| RATES.contains(&word))
}

/// Whether a metric compares with an expected answer, and means nothing without one.
pub(super) fn needs_expected_answer(metric: &str) -> bool {
    const BEGINNINGS: [&str; 17] = [
        "exact_match",
        "f1",
        "token_f1",
        "precision",
        "recall",
        "rouge",
        "bertscore",
        "bleu",
        "chrf",
        "ter",
        "wer",
        "cer",
        "meteor",
        "contains",
        "similarity",
        "is_correct",
        "edit",
    ];
    let name = metric.to_lowercase();
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!((Unit::Share.value(0.5), Unit::Share.signed(-0.25)), ("50.0 %".to_owned(), "-25.0".to_owned()));
        assert_eq!((Unit::Share.signed(-0.0001), Unit::Share.signed(0.0)), ("0.0".to_owned(), "0.0".to_owned()));
        assert_eq!((Unit::Seconds.value(1.5), Unit::Tokens.signed(840.0)), ("1.50 s".to_owned(), "+840".to_owned()));
        assert_eq!(Unit::Share.amount(-0.25), "25.0 points");
        assert_eq!((p_value_text(0.0), p_value_text(0.0421)), ("< 0.001".to_owned(), "0.042".to_owned()));
    }

    #[test]
    fn directions_by_name() {
        assert!(["exact_match", "chrf", "rouge_l", "interesting"].into_iter().all(higher_is_better));
        assert!(!["time_seconds", "wer", "edit_distance", "char_cer"].into_iter().any(higher_is_better));
    }
}
