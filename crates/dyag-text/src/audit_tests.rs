//! The audit's counts, each on examples that call for it.

use super::*;
use crate::chat::tests::{byte_chat, conversation, exchange};
use crate::conversation::{Message, Role};
use crate::example::{ExampleOptions, LossTokens, Truncation};

#[test]
fn everything_is_counted() {
    let chat =
        byte_chat("{% for m in messages %}[{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}[{% else %}{{ '\n' }}{% endif %}");
    let options = ExampleOptions { max_tokens: Some(9), truncation: Truncation::Truncate, ..ExampleOptions::default() };
    let rows = [exchange("q", "rr"), exchange("q", "rrrrr"), exchange("q", "rr")];
    let report = audit(&chat.examples(&rows, &options).unwrap(), &chat).unwrap();
    let expected = Audit {
        n_examples: 3,
        n_tokens: 8 + 9 + 8,
        n_trained_tokens: 3 + 5 + 3,
        trained_share: 11.0 / 25.0,
        longest_tokens: 9,
        n_truncated: 1,
        n_end_of_turn_trained: 2,
        n_double_bos: 0,
        n_duplicates: 1,
    };
    assert_eq!(report, expected);
    assert_eq!(report.warnings().len(), 3, "{:?}", report.warnings());
}

#[test]
fn the_end_of_turn_counts_when_every_token_is_learned() {
    let chat = byte_chat("{% for m in messages %}[{{ m.content }}</s>{% endfor %}{{ '\n' }}");
    let options = ExampleOptions { loss: LossTokens::All, ..ExampleOptions::default() };
    let examples = chat.examples(&[exchange("q", "r")], &options).unwrap();
    assert_eq!(chat.tokenizer().decode(&examples[0].ids[examples[0].ids.len() - 1..]), "\n");
    let report = audit(&examples, &chat).unwrap();
    assert_eq!((report.n_end_of_turn_trained, report.n_trained_tokens), (1, examples[0].ids.len() - 1));
    assert!(report.warnings().is_empty(), "{:?}", report.warnings());
}

#[test]
fn two_bos_tokens_are_seen() {
    let chat =
        byte_chat("{{ bos_token }}<s>{% for m in messages %}[{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}[{% endif %}");
    let report = audit(&chat.examples(&[exchange("q", "r")], &ExampleOptions::default()).unwrap(), &chat).unwrap();
    assert_eq!(report.n_double_bos, 1);
}

#[test]
fn an_example_nothing_is_learned_from_is_an_error() {
    let chat = byte_chat("{% for m in messages %}[{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}[{% endif %}");
    let options = ExampleOptions { max_tokens: Some(4), truncation: Truncation::Truncate, ..ExampleOptions::default() };
    let long = conversation(vec![Message::new(Role::User, "question"), Message::new(Role::Assistant, "r")]);
    let message = audit(&chat.examples(&[long], &options).unwrap(), &chat).unwrap_err().to_string();
    assert_eq!(message, "data.jsonl, line 7: no token of the 4 would be trained: its answers lie beyond the limit of length");
}
