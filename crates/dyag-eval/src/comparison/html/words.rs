//! Everything a page says, in each language. A text that is missing in one of them does not compile.

mod english;
mod french;

use serde::{Deserialize, Serialize};

use super::super::{MismatchKind, Taught, Verdict};
use crate::results::Arm;

/// A language of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// English.
    #[serde(rename = "en")]
    English,
    /// French.
    #[serde(rename = "fr")]
    French,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::French];

    /// As attributes `lang` name it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }

    pub(super) const fn words(self) -> &'static Words {
        match self {
            Self::English => &english::WORDS,
            Self::French => &french::WORDS,
        }
    }
}

/// The texts of one language. `{0}`, `{1}` and so on stand for names and numbers.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) language: Language,
    /// The language's own name.
    pub(super) own_name: &'static str,
    pub(super) choose_language: &'static str,
    pub(super) skip: &'static str,
    pub(super) contents: &'static str,
    pub(super) title: &'static str,
    pub(super) and: &'static str,
    pub(super) to: &'static str,
    pub(super) of_documents: &'static str,
    pub(super) of_questions: &'static str,
    pub(super) made_by: &'static str,
    pub(super) more: &'static str,

    pub(super) summary: &'static str,
    pub(super) better: &'static str,
    pub(super) margin: &'static str,
    pub(super) with_interval: &'static str,
    pub(super) without_interval: &'static str,
    pub(super) undecided: &'static str,
    pub(super) undecided_from: &'static str,
    pub(super) equal: &'static str,
    pub(super) nothing_shared: &'static str,
    pub(super) only_set_figures: &'static str,
    pub(super) see_notes: &'static str,

    pub(super) arms: &'static str,
    pub(super) side_by_side_caption: &'static str,
    pub(super) arms_caption: &'static str,
    pub(super) property: &'static str,
    pub(super) kind: &'static str,
    pub(super) model: &'static str,
    pub(super) base_model: &'static str,
    pub(super) rows: &'static str,
    pub(super) failed: &'static str,
    pub(super) time_mean: &'static str,
    pub(super) time_median: &'static str,
    pub(super) time_p95: &'static str,
    pub(super) tokens_mean: &'static str,
    pub(super) tokens_in: &'static str,
    pub(super) tokens_out: &'static str,
    pub(super) memory: &'static str,
    pub(super) training: &'static str,
    pub(super) gigabytes: &'static str,
    pub(super) payback: &'static str,
    pub(super) kinds: [(Arm, &'static str); 5],

    pub(super) pairs: &'static str,
    pub(super) against: &'static str,
    pub(super) metric: &'static str,
    pub(super) n: &'static str,
    pub(super) difference: &'static str,
    pub(super) p_adjusted: &'static str,
    pub(super) better_on: &'static str,
    pub(super) outcome: &'static str,
    pub(super) no_interval: &'static str,
    pub(super) quality_caption: &'static str,
    pub(super) corpus_caption: &'static str,
    pub(super) cost_caption: &'static str,
    pub(super) set_caption: &'static str,
    pub(super) wins_counts: &'static str,
    pub(super) winner: &'static str,
    pub(super) tie: &'static str,
    pub(super) no_difference: &'static str,
    pub(super) not_testable: &'static str,
    pub(super) lower_is_better: &'static str,

    pub(super) as_table: &'static str,
    pub(super) intervals_figure: &'static str,
    pub(super) units: &'static str,
    pub(super) intervals_note: &'static str,
    pub(super) favours: &'static str,
    pub(super) difference_alone: &'static str,
    pub(super) low: &'static str,
    pub(super) high: &'static str,
    pub(super) wins_figure: &'static str,
    pub(super) equal_questions: &'static str,
    pub(super) better_questions: &'static str,
    pub(super) categories_figure: &'static str,
    pub(super) categories_note: &'static str,
    pub(super) categories_left: &'static str,
    pub(super) category: &'static str,
    pub(super) training_title: &'static str,
    pub(super) group: &'static str,
    pub(super) leaks: &'static str,
    pub(super) asked_at: &'static str,
    pub(super) asked_as: &'static str,
    pub(super) likeness: &'static str,
    pub(super) taught: [(Taught, &'static str); 4],
    pub(super) times: &'static str,
    pub(super) times_figure: &'static str,
    pub(super) times_marks: &'static str,
    pub(super) times_scale: &'static str,
    pub(super) share_answered: &'static str,
    pub(super) seconds: &'static str,
    pub(super) smallest: &'static str,
    pub(super) largest: &'static str,

    pub(super) judge_title: &'static str,
    pub(super) judge_intro: &'static str,
    pub(super) causes: &'static str,
    pub(super) causes_figure: &'static str,
    pub(super) judged_by: &'static str,
    pub(super) wrong: &'static str,
    pub(super) cause_retrieval: &'static str,
    pub(super) cause_generation: &'static str,
    pub(super) cause_failed: &'static str,
    pub(super) cause_unknown: &'static str,
    pub(super) examples: &'static str,

    pub(super) recommendations: &'static str,
    pub(super) no_recommendation: &'static str,
    pub(super) would_change: &'static str,
    pub(super) rule: &'static str,
    pub(super) all_rules: &'static str,
    pub(super) rules_caption: &'static str,
    pub(super) applies_when: &'static str,

    pub(super) method: &'static str,
    pub(super) how_to_read: &'static str,
    pub(super) reading: &'static [&'static str],
    pub(super) how_computed: &'static str,
    pub(super) computed: &'static str,
    pub(super) notes: &'static str,
    pub(super) no_notes: &'static str,
    pub(super) signatures: &'static str,
    pub(super) signature: &'static str,
    pub(super) beside: &'static str,
    pub(super) beside_caption: &'static str,
    pub(super) pair: &'static str,
    pub(super) detectable: &'static str,
    pub(super) degrees: &'static str,
    pub(super) mcnemar: &'static str,
    pub(super) randomisation: &'static str,
    pub(super) bootstrap: &'static str,
    pub(super) mismatches: &'static str,
    pub(super) mismatches_caption: &'static str,
    pub(super) no_mismatches: &'static str,
    pub(super) file: &'static str,
    pub(super) question: &'static str,
    pub(super) why: &'static str,
    pub(super) kinds_of_mismatch: [(MismatchKind, &'static str); 3],

    pub(super) questions: &'static str,
    pub(super) questions_intro: &'static str,
    pub(super) questions_unjudged: &'static str,
    pub(super) questions_bounded: &'static str,
    pub(super) legend_missing: &'static str,
    pub(super) legend_added: &'static str,
    pub(super) legend_common: &'static str,
    pub(super) legend: &'static str,
    pub(super) filters: &'static str,
    pub(super) show: &'static str,
    pub(super) show_all: &'static str,
    pub(super) show_differing: &'static str,
    pub(super) show_equal: &'static str,
    pub(super) show_right: &'static str,
    pub(super) show_wrong: &'static str,
    pub(super) show_failed: &'static str,
    pub(super) show_better: &'static str,
    pub(super) document: &'static str,
    pub(super) every: &'static str,
    pub(super) search: &'static str,
    pub(super) reset: &'static str,
    pub(super) shown: &'static str,
    pub(super) print_questions: &'static str,
    pub(super) expected: &'static str,
    pub(super) no_expected: &'static str,
    pub(super) no_answer: &'static str,
    pub(super) empty_answer: &'static str,
    pub(super) error: &'static str,
    pub(super) right: &'static str,
    pub(super) not_right: &'static str,
    pub(super) same_words: &'static str,
    pub(super) cut: &'static str,
    pub(super) sources: &'static str,
    pub(super) relevance: &'static str,
    pub(super) holds_answer: &'static str,
    pub(super) all_right: &'static str,
    pub(super) all_wrong: &'static str,
    pub(super) all_equal: &'static str,
    pub(super) best: &'static str,
    pub(super) not_judged: &'static str,
    pub(super) metrics: &'static [(&'static str, &'static str)],
}

impl Words {
    /// A template with its places filled, as plain text.
    pub(super) fn fill(&self, template: &str, parts: &[&str]) -> String {
        let mut text = String::new();
        for piece in pieces(template) {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Place(place) => text.push_str(parts.get(place).copied().unwrap_or_default()),
            }
        }
        text
    }

    /// What a metric measures, in words; its own name where this program does not know it.
    pub(super) fn metric_label<'a>(&self, name: &'a str) -> &'a str
    where
        'static: 'a,
    {
        self.metrics.iter().find(|(known, _)| *known == name).map_or(name, |(_, label)| label)
    }

    /// A kind of answering.
    pub(super) fn kind_of(&self, arm: Arm) -> &'static str {
        self.kinds.iter().find(|(kind, _)| *kind == arm).map_or(arm.name(), |(_, words)| words)
    }

    /// A verdict, naming the winner.
    pub(super) fn verdict(&self, verdict: Verdict, winner: Option<&str>) -> String {
        match (verdict, winner) {
            (_, Some(winner)) => self.fill(self.winner, &[winner]),
            (Verdict::Tie, None) => self.tie.to_owned(),
            (Verdict::NotTestable, None) => self.not_testable.to_owned(),
            (_, None) => self.no_difference.to_owned(),
        }
    }

    /// Why a row was not compared.
    pub(super) fn mismatch(&self, kind: MismatchKind) -> &'static str {
        self.kinds_of_mismatch.iter().find(|(one, _)| *one == kind).map_or(kind.words(), |(_, words)| words)
    }
}

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Place(usize),
}

/// The pieces of a template: what stands between `{0}`, `{1}`, and those places.
pub(super) fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if let Some(place) = rest.strip_prefix('{').and_then(|after| after.split_once('}')) {
            rest = place.1;
            return place.0.parse().ok().map(Piece::Place);
        }
        let end = rest.find('{').unwrap_or(rest.len());
        let (text, after) = rest.split_at(end);
        rest = after;
        (!text.is_empty()).then_some(Piece::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let all: Vec<Piece<'_>> = pieces("{0} of {1}.").collect();
        assert_eq!(all, [Piece::Place(0), Piece::Text(" of "), Piece::Place(1), Piece::Text(".")]);
        assert_eq!(Language::English.words().fill("{1}, {0}{2}", &["a{1}", "b"]), "b, a{1}");
    }

    #[test]
    fn both_languages_fill_the_same_places() {
        let [english, french] = Language::ALL.map(|language| format!("{:#?}", language.words()));
        let places = |text: &str| -> Vec<String> {
            let places = |line: &str| {
                let mut places: Vec<usize> = (0..9).filter(|place| line.contains(&format!("{{{place}}}"))).collect();
                places.dedup();
                format!("{:?} {places:?}", line.trim().split(':').next().filter(|name| !name.contains('"')))
            };
            text.lines().map(places).collect()
        };
        assert_eq!(places(&english), places(&french));
        let untypographic =
            french.lines().find(|line| line.contains("\" ") && line.contains(" \" ") || line.contains(" ?\"") || line.contains("'"));
        assert_eq!(untypographic, None, "narrow spaces before marks, and curled apostrophes");
    }
}
