//! Any bytes as a dataset: an error that names a line or an item, or conversations that become examples without a control token of their
//! own. The tolerant reader goes on to the end, whatever the bytes.
#![no_main]

use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use dyag_text::dataset::{Purpose, RowReader};
use dyag_text::{Chat, ChatTemplate, ConversationReader, ExampleOptions, Role, SpecialTokens, Tokenizer};
use libfuzzer_sys::fuzz_target;

/// Letters and a few control words; every other byte is the unknown token.
const TOKENIZER: &[u8] = include_bytes!("../seeds/tokenizer/byte-level");
const TEMPLATE: &str = "{% for m in messages %}<{{ m.content | trim }}|end|><|end|>{% endfor %}{% if add_generation_prompt %}<{% endif %}";

static CHAT: LazyLock<Chat> = LazyLock::new(|| {
    let tokenizer = Tokenizer::from_json(TOKENIZER, "seed").expect("the seed is a tokenizer.json");
    Chat::new(tokenizer, ChatTemplate::new(TEMPLATE, SpecialTokens::default(), "seed").expect("the template parses"))
});

fuzz_target!(|data: &[u8]| {
    let path: Arc<Path> = Arc::from(Path::new("fuzzed"));
    let mut rows = RowReader::new(Cursor::new(data), &path, Purpose::ByFormat);
    while let Some(row) = rows.next_row().expect("bytes in memory can be read") {
        assert_eq!(row.row.is_some(), row.problems.is_empty());
    }
    let mut last_line = 0;
    for row in ConversationReader::new(Cursor::new(data), &path) {
        let conversation = match row {
            Ok(conversation) => conversation,
            Err(error) => {
                let told = error.to_string();
                assert!(told.starts_with("fuzzed, line ") || told.starts_with("fuzzed, item "), "{told}");
                return;
            }
        };
        assert!(conversation.source.line > last_line);
        last_line = conversation.source.line;
        let n_answers = conversation.messages.iter().filter(|message| message.role == Role::Assistant).count();
        assert!(n_answers > 0);
        let example = CHAT.example(&conversation, &ExampleOptions::default()).expect("every conversation that is read can be rendered");
        assert_eq!(example.ids.len(), example.loss_mask.len());
        assert!(example.n_trained() >= n_answers);
        let n_controls = example.ids.iter().filter(|id| CHAT.tokenizer().is_control(**id)).count();
        assert_eq!(n_controls, conversation.messages.len());
    }
});
