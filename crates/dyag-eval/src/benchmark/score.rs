//! From what a model said to figures with standard errors.

use serde::Serialize;

use super::items::Item;
use super::task::{OutputType, Task};

/// How likely a text is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TextLikelihood {
    /// Sum of the log-probabilities of its tokens, in nats.
    pub log_likelihood: f64,
    /// Whether each token was the likeliest one.
    pub is_greedy: bool,
}

/// What a model said of one item.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// How likely each continuation is.
    Likelihoods(Vec<TextLikelihood>),
    /// What it wrote.
    Text(String),
}

/// A figure over a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Its standard error: of a mean, the standard deviation of the documents' scores (with n - 1) over the root of n. Documents are taken for independent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
}

/// The scores of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Figures over the task.
    pub figures: Vec<Figure>,
    /// Scores of each document, in the order of the figures that are means.
    pub documents: Vec<Vec<(&'static str, f64)>>,
}

impl Task {
    /// Scores what a model said.
    ///
    /// Of choices: `acc` (the likeliest is right), `acc_norm` (the likeliest by character is), `acc_bytes` (by byte of UTF-8 is). Of one continuation: `acc` (it is
    /// the likeliest), `perplexity` (of whole continuations). Of texts: `exact_match`, after white space around is dropped and what the task ignores.
    ///
    /// # Panics
    /// When there is not one outcome for each item, or one is of another kind.
    pub fn score(&self, items: &[Item], outcomes: &[Outcome]) -> Scores {
        assert_eq!(items.len(), outcomes.len(), "one outcome for each item");
        let documents: Vec<Vec<(&'static str, f64)>> =
            items.iter().zip(outcomes).map(|(item, outcome)| self.score_one(item, outcome)).collect();
        let names: Vec<&'static str> = documents.first().into_iter().flatten().map(|(name, _)| *name).collect();
        let figure = |(place, name): (usize, &'static str)| {
            let values: Vec<f64> = documents.iter().map(|scores| scores[place].1).collect();
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            if name == "log_likelihood" {
                return Figure { name: "perplexity", value: (-mean).exp().min(f64::MAX), standard_error: None };
            }
            let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (n - 1.0);
            Figure { name, value: mean, standard_error: (values.len() > 1).then(|| (variance / n).sqrt()) }
        };
        Scores { figures: names.into_iter().enumerate().map(figure).collect(), documents }
    }

    fn score_one(&self, item: &Item, outcome: &Outcome) -> Vec<(&'static str, f64)> {
        let share = |is_right: bool| f64::from(u8::from(is_right));
        match (self.file.output_type, outcome) {
            (OutputType::MultipleChoice, Outcome::Likelihoods(found)) => {
                let right = |of: &dyn Fn(&str) -> f64| {
                    let values: Vec<f64> = found.iter().zip(&item.choices).map(|(one, choice)| one.log_likelihood / of(choice)).collect();
                    share(item.gold.contains(&first_largest(&values)))
                };
                // An empty choice has no length to be divided by.
                let characters = |choice: &str| (choice.chars().count() as f64).max(1.0);
                let bytes = |choice: &str| (choice.len() as f64).max(1.0);
                vec![("acc", right(&|_| 1.0)), ("acc_norm", right(&characters)), ("acc_bytes", right(&bytes))]
            }
            (OutputType::Loglikelihood, Outcome::Likelihoods(found)) => {
                vec![("acc", share(found[0].is_greedy)), ("log_likelihood", found[0].log_likelihood)]
            }
            (OutputType::GenerateUntil, Outcome::Text(text)) => {
                let answer = self.normalised(self.extracted(text));
                vec![("exact_match", share(item.expected.iter().any(|expected| self.normalised(expected) == answer)))]
            }
            (kind, outcome) => panic!("{}: a {kind:?} task was given {outcome:?}", self.path.display()),
        }
    }

    /// What `answer_pattern` finds first: its first group, or all of it. An answer in which it finds nothing is empty.
    fn extracted<'a>(&self, text: &'a str) -> &'a str {
        let Some(pattern) = &self.pattern else { return text };
        let found = pattern.captures(text);
        found.and_then(|groups| groups.get(1).or_else(|| groups.get(0))).map_or("", |group| group.as_str())
    }

    fn normalised(&self, text: &str) -> String {
        let text = text.trim();
        let text = if self.file.ignore_case { text.to_lowercase() } else { text.to_owned() };
        if self.file.ignore_punctuation { text.chars().filter(|c| !c.is_ascii_punctuation()).collect() } else { text }
    }
}

/// The place of the largest value, the first of equal ones.
fn first_largest(values: &[f64]) -> usize {
    let better = |best: usize, place: usize| if values[place] > values[best] { place } else { best };
    (1..values.len()).fold(0, better)
}
