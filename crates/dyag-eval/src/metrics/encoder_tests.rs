//! The metrics of an encoder, with one whose vectors are known.

use dyag_text::EachText;

use super::*;
use crate::metrics::{Direction, metric};
use crate::results::Row;

/// Vectors of letters: a token a character, special tokens around.
struct Letters;

fn vector(c: char) -> [f32; 3] {
    let n = f64::from(u32::from(c));
    [n.sin(), n.cos(), 0.5].map(|v| v as f32)
}

impl TokenEncoder for Letters {
    fn name(&self) -> String {
        "My Model/é_v1".to_owned()
    }
    fn signature(&self) -> String {
        "model:letters|layer:1".to_owned()
    }
    fn encode_tokens(&self, texts: &[&str], each: &mut EachText<'_>) -> Result<(), ModelFailure> {
        for (place, text) in texts.iter().enumerate().rev() {
            let letters: Vec<char> = std::iter::once('^').chain(text.chars()).chain(['$']).collect();
            let counts = letters.iter().map(|c| !"^$".contains(*c)).collect();
            each(place, TokenVectors { width: 3, values: letters.iter().flat_map(|c| vector(*c)).collect(), counts });
        }
        Ok(())
    }
}

impl Embedder for Letters {
    fn name(&self) -> String {
        TokenEncoder::name(self)
    }
    fn signature(&self) -> String {
        "model:letters|pool:sum".to_owned()
    }
    fn dimension(&self) -> usize {
        3
    }
    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Vec<Vec<f32>>, ModelFailure> {
        assert_eq!(role, TextRole::Plain);
        let sum = |text: &&str| text.chars().map(vector).fold(vec![0.0; 3], |sum, v| sum.iter().zip(v).map(|(a, b)| a + b).collect());
        Ok(texts.iter().map(sum).collect())
    }
}

fn encoders() -> Encoders<'static> {
    Encoders { tokens: &Letters, texts: &Letters }
}

fn tokens(text: &str) -> TokenVectors {
    let mut result = TokenVectors::default();
    Letters.encode_tokens(&[text], &mut |_, tokens| result = tokens).unwrap();
    result
}

#[test]
fn best_matches_of_tokens_that_count() {
    let score = bert_score(&tokens("ab"), &tokens("b"));
    let similarity = |a: char, b: char| cosine(&vector(a), &vector(b));
    let best_of_a = ['^', 'b', '$'].map(|c| similarity('a', c)).into_iter().fold(-1.0, f64::max);
    assert!((score.precision - (best_of_a + 1.0) / 2.0).abs() < 1e-6 && (score.recall - 1.0).abs() < 1e-6);
    assert!((score.f1 - 2.0 * score.precision * score.recall / (score.precision + score.recall)).abs() < 1e-12);
    for (answer, expected) in [("", "b"), ("b", ""), ("", ""), ("^$", "b")] {
        assert_eq!(bert_score(&tokens(answer), &tokens(expected)), BertScore::default(), "{answer:?} {expected:?}");
    }
}

fn results() -> Results {
    let row = |question: &str, answer: Option<&str>, expected: Option<&str>| Row {
        question: question.to_owned(),
        generated_answer: answer.map(str::to_owned),
        expected_answer: expected.map(str::to_owned),
        ..Row::default()
    };
    let rows = vec![
        row("1", Some("abc"), Some("abc")),
        row("2", Some("xyz"), Some("abd")),
        row("3", None, Some("q")),
        row("4", Some("x"), None),
        row("5", Some(""), Some("hello")),
    ];
    Results { results: rows, ..Results::default() }
}

#[test]
fn rows_and_set_get_scores_names_and_signatures() {
    let mut results = results();
    let expected = ["abc", "abd", "q", "hello", "abc", " "];
    let mut told = Vec::new();
    let means = encoders().score(&mut results, &expected, &mut |done, all| told.push((done, all))).unwrap();
    assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0) && told.last().is_some_and(|(done, all)| done == all));
    let names: Vec<&str> = means.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "bertscore_my-model---v1_f1",
            "bertscore_my-model---v1_f1_rescaled",
            "bertscore_my-model---v1_precision",
            "bertscore_my-model---v1_recall",
            "similarity_my-model---v1",
            "similarity_my-model---v1_rescaled",
        ]
    );
    let value = |row: usize, name: &str| results.results[row].metrics.get(name).copied();
    assert!(names.iter().all(|name| (value(0, name).unwrap() - 1.0).abs() < 1e-6), "the same text");
    assert!(names.iter().all(|name| value(2, name).is_none() && value(3, name).is_none()));
    assert_eq!(value(4, names[0]), Some(0.0));
    assert!(value(4, names[1]).unwrap() < 0.0);
    let f1 = results.metrics.values[names[0]];
    assert!((f1 - [0, 1, 4].map(|row| value(row, names[0]).unwrap()).iter().sum::<f64>() / 3.0).abs() < 1e-12);
    assert_eq!(results.metrics.values[&format!("avg_{}", names[0])], f1);
    let signature = &results.metrics.signatures[names[1]];
    for part in ["bertscore|f1|", "model:letters|layer:1", "idf:no", "baseline:0.", "of 4 pairs", VERSION] {
        assert!(signature.contains(part), "{signature} lacks {part}");
    }
    assert!(results.metrics.signatures[names[4]].contains("pool:sum") && !results.metrics.signatures[names[4]].contains("baseline"));
    for name in names {
        let known = metric(name).unwrap();
        assert_eq!((known.direction, known.maximum), (Direction::Higher, 1.0));
    }
}

#[test]
fn baselines_are_of_different_texts_and_always_the_same() {
    let texts: Vec<String> = (0..700).map(|i| format!("text {}", i % 650)).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let pairs = unrelated_pairs(&texts);
    assert_eq!(pairs.len(), BASELINE_TEXTS * PARTNERS);
    assert!(pairs.iter().all(|(a, b)| a != b));
    let unordered: BTreeSet<_> = pairs.iter().map(|(a, b)| if a < b { (a, b) } else { (b, a) }).collect();
    assert_eq!(unordered.len(), pairs.len());
    texts.reverse();
    assert_eq!(unrelated_pairs(&texts), pairs);
    for (n, n_pairs) in [(0, 0), (1, 0), (2, 1), (3, 3), (4, 4), (5, 10)] {
        assert_eq!(unrelated_pairs(&["a", "b", "c", "d", "e"][..n]).len(), n_pairs, "{n}");
    }
}

#[test]
fn without_unrelated_texts_there_is_no_rescaled_score() {
    let mut results = results();
    let means = encoders().score(&mut results, &["abc"], &mut |_, _| {}).unwrap();
    assert!(means.len() == 4 && means.iter().all(|(name, _)| !name.ends_with("rescaled")));
    let nothing = encoders().score(&mut Results::default(), &[], &mut |_, _| {}).unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn layers_of_known_and_unknown_models() {
    use crate::metrics::layer_of;
    let cases = [
        ("roberta-large", 24, 17),
        ("bert-base-multilingual-cased", 12, 9),
        ("all-MiniLM-L6-v2", 6, 5),
        ("multilingual-e5-small", 12, 9),
        ("x", 24, 18),
        ("roberta-large", 6, 5),
    ];
    for (name, n_layers, layer) in cases {
        assert_eq!(layer_of(name, n_layers), layer, "{name}");
    }
}
