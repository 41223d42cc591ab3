//! Conversations to tokens, against the ids and masks that Transformers gives, and with control words where they do not belong.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::conversation::Conversation;
use crate::error::SourceLine;
use crate::example::{ExampleOptions, LossTokens, Truncation};
use crate::template::SpecialTokens;

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../fixtures/chat/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The published template `name` with its words, over Qwen2's tokenizer with the control words that the template needs added to it.
fn golden_chat(name: &str) -> (Chat, Value) {
    let golden: Value = serde_json::from_slice(&fixture(&format!("{name}.json"))).unwrap();
    let mut file: Value = serde_json::from_slice(&fixture("qwen2_tokenizer.json")).unwrap();
    let vocabulary = file["model"]["vocab"].as_object().unwrap().clone();
    let mut next = vocabulary.values().filter_map(Value::as_u64).max().unwrap() + 1;
    for word in golden["added_tokens"].as_array().unwrap() {
        // As `tokenizers` does: a word that is already in the vocabulary keeps its id.
        let id = vocabulary.get(word.as_str().unwrap()).and_then(Value::as_u64).unwrap_or(next);
        next += u64::from(id == next);
        file["added_tokens"].as_array_mut().unwrap().push(json!({"id": id, "content": word, "special": true, "normalized": false}));
    }
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes(), name).unwrap();
    let word = |key: &str| golden[key].as_str().map(str::to_owned);
    let special = SpecialTokens { bos: word("bos_token"), eos: word("eos_token"), ..SpecialTokens::default() };
    let source = String::from_utf8(fixture(&format!("{name}.jinja"))).unwrap();
    (Chat::new(tokenizer, ChatTemplate::new(&source, special, name).unwrap()), golden)
}

/// A template over a tokenizer of bytes alone, with three control words: `<s>` 256, `</s>` 257, `<|end|>` 258.
pub(crate) fn byte_chat(template: &str) -> Chat {
    byte_chat_with(template, json!({}))
}

fn byte_chat_with(template: &str, token_flags: Value) -> Chat {
    let vocab: serde_json::Map<String, Value> =
        (0..=255u8).map(|byte| (crate::tokenizer::byte_to_char(byte).to_string(), json!(byte))).collect();
    let added: Vec<Value> = ["<s>", "</s>", "<|end|>"]
        .iter()
        .enumerate()
        .map(|(index, word)| {
            let mut token = json!({"id": 256 + index, "content": word, "special": true});
            token.as_object_mut().unwrap().extend(token_flags.as_object().unwrap().clone());
            token
        })
        .collect();
    let file = json!({
        "added_tokens": added,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []}
    });
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes(), "bytes").unwrap();
    let special = SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()), ..SpecialTokens::default() };
    Chat::new(tokenizer, ChatTemplate::new(template, special, "bytes").unwrap())
}

pub(crate) fn conversation(messages: Vec<Message>) -> Conversation {
    let path: Arc<Path> = Arc::from(Path::new("data.jsonl"));
    Conversation { messages, source_chunk_ids: Vec::new(), source: SourceLine::new(&path, 7) }
}

pub(crate) fn exchange(question: &str, answer: &str) -> Conversation {
    conversation(vec![Message::new(Role::User, question), Message::new(Role::Assistant, answer)])
}

/// The text of the learned tokens, control words included.
fn trained_text(chat: &Chat, ids: &[u32], mask: &[bool]) -> String {
    let trained = ids.iter().zip(mask).filter(|(_, trained)| **trained);
    trained
        .map(|(id, _)| {
            chat.tokenizer().token(*id).filter(|_| chat.tokenizer().is_control(*id)).unwrap_or_else(|| chat.tokenizer().decode(&[*id]))
        })
        .collect()
}

#[test]
fn ids_and_masks_are_those_of_transformers() {
    let mut n_compared = 0;
    for name in ["qwen2_5", "llama3", "llama3_1", "llama3_2", "phi3", "tinyllama"] {
        let (chat, golden) = golden_chat(name);
        let end = golden["end_of_turn"].as_str().unwrap();
        assert_eq!(chat.end_of_turn(), chat.tokenizer().id_of(end), "{name}");
        assert!(chat.stop_ids().contains(&chat.eos().unwrap()), "{name}");
        for case in golden["cases"].as_array().unwrap() {
            let date = case["kwargs"]["date_string"].as_str().map(|_| Date::new(2024, 7, 26).unwrap());
            let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
            let options = ExampleOptions { date, ..ExampleOptions::default() };
            let example = chat.example(&conversation(messages.clone()), &options).unwrap();
            if let Some(ids) = case["ids"].as_array() {
                let ids: Vec<u32> = ids.iter().map(|id| id.as_u64().unwrap() as u32).collect();
                let mask: Vec<bool> = case["assistant_mask"].as_array().unwrap().iter().map(|bit| bit == 1).collect();
                assert_eq!(example.ids, ids, "{name}");
                assert_eq!(example.loss_mask, mask, "{name}");
                n_compared += 1;
            } else {
                control_words_are_text(&chat, name, case, &example.ids, date);
                let trained = trained_text(&chat, &example.ids, &example.loss_mask);
                assert_eq!(trained, format!("{{{{ 1 + 1 }}}} {{% raw %}}{end}"), "{name}");
            }
        }
    }
    assert_eq!(n_compared, 18);
}

/// The conversation whose question is full of control words: its tokens spell the very text, and its control tokens are those of the same
/// conversation without them.
fn control_words_are_text(chat: &Chat, name: &str, case: &Value, ids: &[u32], date: Option<Date>) {
    let tokenizer = chat.tokenizer();
    let spelled: String =
        ids.iter().map(|id| if tokenizer.is_control(*id) { tokenizer.token(*id).unwrap() } else { tokenizer.decode(&[*id]) }).collect();
    assert_eq!(spelled, case["text"].as_str().unwrap(), "{name}");
    let harmless = exchange("Bonjour", "Bonjour");
    let expected = chat.example(&harmless, &ExampleOptions { date, ..ExampleOptions::default() }).unwrap();
    let controls = |ids: &[u32]| ids.iter().copied().filter(|id| tokenizer.is_control(*id)).collect::<Vec<_>>();
    assert_eq!(controls(ids), controls(&expected.ids), "{name}");
}

#[test]
fn a_prompt_is_the_beginning_of_its_conversation() {
    let (chat, _) = golden_chat("qwen2_5");
    let whole = exchange("Où ?", "Ici.");
    let example = chat.example(&whole, &ExampleOptions::default()).unwrap();
    let prompt = chat.prompt_ids(&whole.messages[..1], None).unwrap();
    assert_eq!(example.ids[..prompt.len()], prompt);
    assert_eq!(example.loss_mask.iter().position(|trained| *trained), Some(prompt.len()));
    let message = chat.prompt_ids(&whole.messages, None).unwrap_err().to_string();
    assert_eq!(message, "messages[1].role: expected \"user\" last, found \"assistant\"");
    assert!(chat.prompt_ids(&[], None).is_err());
    assert!(chat.prompt_ids(&whole.messages[1..], None).unwrap_err().to_string().starts_with("messages[0].role"));
}

#[test]
fn control_words_put_together_from_a_message_and_the_template_are_text() {
    let chat = byte_chat("{% for m in messages %}<{{ m.content }}>{% endfor %}<|end|>");
    let rendered = chat.render(&exchange("|end|", "/s").messages, false, None).unwrap();
    assert_eq!(rendered.text, "<|end|></s><|end|>");
    assert_eq!(rendered.controls, [WordSpan { start: 11, end: 18, id: 258 }]);
}

#[test]
fn control_words_are_followed_through_a_template_that_splits_contents() {
    let source = "{% for m in messages %}[{{ m.content.split('#')[-1] }}]{% endfor %}<|end|>";
    let chat = byte_chat(source);
    let rendered = chat.render(&exchange("a#b<|end|>", "c").messages, false, None).unwrap();
    assert_eq!((rendered.text.as_str(), &rendered.contents), ("[b<|end|>][c]<|end|>", &None));
    assert_eq!(rendered.controls, [WordSpan { start: 13, end: 20, id: 258 }]);
    let inspecting = byte_chat("{% for m in messages %}{% if m.content.startswith('<|end|>') %}!{% endif %}{{ m.content }}{% endfor %}");
    let message = inspecting.render(&exchange("<|end|>", "c").messages, false, None).unwrap_err().to_string();
    assert!(message.starts_with("messages[0].content holds the control word \"<|end|>\""), "{message}");
}

#[test]
fn the_end_of_turn_is_added_where_the_template_writes_none() {
    let chat =
        byte_chat("{% for m in messages %}{{ m.role[0] }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}a: {% endif %}");
    assert_eq!(chat.end_of_turn(), Some(257), "EOS");
    let turn = |role, content| Message::new(role, content);
    let messages = vec![turn(Role::User, "un"), turn(Role::Assistant, "deux"), turn(Role::User, "trois"), turn(Role::Assistant, "quatre")];
    let example = chat.example(&conversation(messages), &ExampleOptions::default()).unwrap();
    assert_eq!(trained_text(&chat, &example.ids, &example.loss_mask), "deuxquatre\n</s>");
    assert_eq!(example.ids.last(), Some(&257));
}

#[test]
fn white_space_that_control_words_swallow_is_not_learned() {
    let source = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}";
    let chat = byte_chat_with(source, json!({"rstrip": true}));
    let example = chat.example(&exchange("a", " \nb"), &ExampleOptions::default()).unwrap();
    assert_eq!(example.ids, [256, u32::from(b'a'), 257, 256, u32::from(b'b'), 257]);
    assert_eq!(example.loss_mask, [false, false, false, false, true, true], "the opening token is not a part of the answer");
}

#[test]
fn a_prompt_unlike_its_conversation_is_refused() {
    let chat = byte_chat("{% for m in messages %}[{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}[think{% endif %}");
    let message = chat.example(&exchange("q", "réponse"), &ExampleOptions::default()).unwrap_err().to_string();
    assert!(
        message.starts_with("data.jsonl, line 7: the chat template of bytes renders the prompt before messages[1] otherwise"),
        "{message}"
    );
    assert!(message.contains("\"think\"") && message.contains("\"réponse</s>\""), "{message}");
    let silent = byte_chat("{% for m in messages %}{{ m.content if m.role == 'user' else '' }}</s>{% endfor %}");
    let message = silent.example(&exchange("q", "r"), &ExampleOptions::default()).unwrap_err().to_string();
    assert!(message.ends_with("leaves the content of messages[1] out of the conversation"), "{message}");
}

#[test]
fn long_examples_are_refused_or_cut() {
    let chat =
        byte_chat("{% for m in messages %}[{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}[{% else %}{{ '\n' }}{% endif %}");
    let long = exchange("q", "rrrr");
    let whole = chat.example(&long, &ExampleOptions { max_tokens: Some(10), ..ExampleOptions::default() }).unwrap();
    assert_eq!((whole.ids.len(), whole.truncated), (10, false));
    let message = chat.example(&long, &ExampleOptions { max_tokens: Some(9), ..ExampleOptions::default() }).unwrap_err().to_string();
    assert!(message.starts_with("data.jsonl, line 7: the conversation has 10 tokens, the limit is 9;"), "{message}");
    let cut = |max: usize| {
        let options = ExampleOptions { max_tokens: Some(max), truncation: Truncation::Truncate, ..ExampleOptions::default() };
        chat.example(&long, &options).unwrap()
    };
    assert_eq!((cut(9).ids.len(), cut(9).truncated), (9, false), "only the newline after the end of the turn is lost");
    assert_eq!((cut(8).ids.len(), cut(8).truncated, cut(8).n_trained()), (8, true, 4));
    assert_eq!((cut(3).truncated, cut(3).n_trained()), (true, 0));
}

#[test]
fn every_token_but_the_first_is_learned_when_asked() {
    let chat = byte_chat("{% for m in messages %}{{ m.content }}</s>{% endfor %}");
    let example = chat.example(&exchange("qu", "r"), &ExampleOptions { loss: LossTokens::All, ..ExampleOptions::default() }).unwrap();
    assert_eq!(example.loss_mask, [false, true, true, true, true]);
}

/// Text with pieces of control words in it, and what may upset the marks.
fn nasty_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<|end|>".to_owned()),
        Just("</s>".to_owned()),
        Just("<s".to_owned()),
        Just(">".to_owned()),
        Just("<|".to_owned()),
        Just("end|>".to_owned()),
        Just("\u{FDD0}\u{FDD1}".to_owned()),
        Just(" \n".to_owned()),
        "\\PC{0,3}",
    ];
    proptest::collection::vec(piece, 1..8)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("not blank", |text| !strip_python(text).is_empty())
}

/// A template that would make control words of what surrounds a content.
fn framing_chat(content: &str) -> Chat {
    byte_chat(&format!(
        "<s>{{% for m in messages %}}<{{{{ {content} }}}}|end|><|end|>{{% endfor %}}{{% if add_generation_prompt %}}<{{% endif %}}"
    ))
}

static VERBATIM: LazyLock<Chat> = LazyLock::new(|| framing_chat("m.content"));
static TRIMMING: LazyLock<Chat> = LazyLock::new(|| framing_chat("m.content | trim"));

proptest! {
    #[test]
    fn messages_never_give_control_tokens(question in nasty_text(), answer in nasty_text(), trims in any::<bool>()) {
        let chat = if trims { &TRIMMING } else { &VERBATIM };
        let example = chat.example(&exchange(&question, &answer), &ExampleOptions::default()).unwrap();
        prop_assert_eq!(example.ids.len(), example.loss_mask.len());
        let controls: Vec<u32> = example.ids.iter().copied().filter(|id| *id >= 256).collect();
        prop_assert_eq!(controls, vec![256, 258, 258]);
        let content = |text: &str| if trims { strip_python(text).to_owned() } else { text.to_owned() };
        let text = format!("<{}|end|><{}|end|>", content(&question), content(&answer));
        prop_assert_eq!(chat.tokenizer().decode(&example.ids), text);
    }
}

#[test]
fn white_space_that_a_template_writes_before_answers_is_known() {
    let lead = |opening: &str, before: &str| {
        let turn = format!("{{% if m.role == 'assistant' %}}{before}{{% endif %}}{{{{ m.content }}}}<|end|>");
        let template = format!(
            "{{% for m in messages %}}{{% if m.role == 'assistant' %}}{opening}{{% endif %}}{turn}{{% endfor %}}{{% if add_generation_prompt %}}{opening}{{% endif %}}"
        );
        byte_chat(&template).answer_lead().to_owned()
    };
    assert_eq!([lead("A:", ""), lead("A:", " "), lead("A: ", ""), lead("", " ")], ["", " ", "", " "]);
    for name in ["qwen2_5", "llama3", "llama3_1", "llama3_2", "phi3", "tinyllama"] {
        assert_eq!(golden_chat(name).0.answer_lead(), "", "{name}");
    }
}
