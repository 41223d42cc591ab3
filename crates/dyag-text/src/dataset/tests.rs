//! What the readers of datasets accept, and what they say of each kind of bad row.

mod formats;
mod leaks;
mod validation;

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn read(bytes: &[u8]) -> Result<Vec<Conversation>, TextError> {
    let path: Arc<Path> = Arc::from(Path::new("d.jsonl"));
    ConversationReader::new(Cursor::new(bytes), &path).collect()
}

const GOOD: &str = r#"{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]}"#;

#[test]
fn conversations_are_read_with_their_lines() {
    let text = format!(
        "\u{FEFF}{GOOD}\r\n\r\n  \n{}\n{}",
        r#"{"id": 3, "source_chunk_ids": ["0a", "ff"], "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": " é\n"}, {"role": "assistant", "content": "b", "weight": 1}, {"role": "user", "content": "c"}, {"content": "d", "role": "assistant"}]}"#,
        GOOD
    );
    let conversations = read(text.as_bytes()).unwrap();
    assert_eq!(conversations.iter().map(|one| one.source.line).collect::<Vec<_>>(), [1, 4, 5]);
    assert_eq!(conversations[1].source_chunk_ids, ["0a", "ff"]);
    let contents: Vec<&str> = conversations[1].messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["s", " é\n", "b", "c", "d"]);
    assert_eq!(conversations[0].messages[1], Message::new(Role::Assistant, "r"));
}

#[test]
fn every_bad_line_is_named() {
    let turn = |role: &str, content: &str| format!(r#"{{"role": "{role}", "content": {content}}}"#);
    let messages = |turns: &[String]| format!(r#"{{"messages": [{}]}}"#, turns.join(", ")).into_bytes();
    let (q, r) = (turn("user", "\"q\""), turn("assistant", "\"r\""));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"not json".to_vec(), "line: expected a JSON object, found text that is not JSON (expected ident at line 1 column 2): not json"),
        (b"{\"messages\": [".to_vec(), "line: expected a JSON object, found text that is not JSON (EOF"),
        (b"[1, 2]".to_vec(), "line: expected a JSON object, found a list of 2"),
        (
            b"{\"question\": \"q\"}".to_vec(),
            "line: expected a messages row, as in line 1 (a file has one format), found a question/expected_answer row",
        ),
        (
            b"{\"q\": \"q\"}".to_vec(),
            "line: expected the keys of one format: messages; conversations (ShareGPT); instruction, output (Alpaca);",
        ),
        (b"{}".to_vec(), "question, expected_answer, found an object without keys"),
        (b"{\"messages\": \"q\"}".to_vec(), "messages: expected a list of {\"role\", \"content\"}, found the string \"q\""),
        (messages(&[]), "messages: expected at least a user's and an assistant's message, found an empty list"),
        (messages(std::slice::from_ref(&q)), "messages: expected at least one assistant's message, found none"),
        (messages(&["3".into()]), "messages[0]: expected an object {\"role\", \"content\"}, found the number 3"),
        (
            messages(&[turn("tool", "\"x\"")]),
            "messages[0].role: expected \"system\", \"user\" or \"assistant\", found the unknown role \"tool\"",
        ),
        (messages(&["{\"content\": \"x\"}".into()]), "messages[0].role: expected \"system\", \"user\" or \"assistant\", found no such key"),
        (messages(&[q.clone(), turn("assistant", "null")]), "messages[1].content: expected a string, found null"),
        (messages(&[q.clone(), turn("assistant", "[{}]")]), "messages[1].content: expected a string, found a list of 1"),
        (messages(&[q.clone(), "{\"role\": \"assistant\"}".into()]), "messages[1].content: expected a string, found no such key"),
        (messages(&[q.clone(), turn("assistant", "\"\"")]), "messages[1].content: expected what the assistant says, found an empty string"),
        (
            messages(&[turn("user", "\" \\n\""), r.clone()]),
            "messages[0].content: expected what the user says, found a string of white space only",
        ),
        (messages(std::slice::from_ref(&r)), "messages[0].role: expected \"system\" or \"user\" first, found \"assistant\""),
        (messages(&[q.clone(), q.clone(), r.clone()]), "messages[1].role: expected \"assistant\" (turns alternate"),
        (messages(&[q.clone(), r.clone(), turn("system", "\"s\"")]), "messages[2].role: expected \"user\" (turns alternate"),
        (
            messages(&[q.clone(), r.clone(), q.clone()]),
            "messages[2].role: expected \"assistant\" last, found \"user\", a question without an answer",
        ),
        (
            messages(&[q.clone(), format!("{},\"tool_calls\":[{{}}]}}", &r[..r.len() - 1])]),
            "messages[1].tool_calls: expected no tool calls",
        ),
        (format!("{{\"tools\": [1], {}", &GOOD[1..]).into_bytes(), "tools: expected no tools"),
        (format!("{{\"source_chunk_ids\": [1], {}", &GOOD[1..]).into_bytes(), "source_chunk_ids[0]: expected a string, found the number 1"),
        (
            format!("{{\"source_chunk_ids\": \"a\", {}", &GOOD[1..]).into_bytes(),
            "source_chunk_ids: expected a list of strings, found the string \"a\"",
        ),
        (b"{\"messages\": \"\xE9\"}".to_vec(), "line: expected UTF-8 text, found the byte 0xE9 at offset 14"),
        (format!("{}1", "[".repeat(100_000)).into_bytes(), "text that is not JSON (recursion limit"),
    ];
    for (line, wanted) in cases {
        let mut bytes = format!("{GOOD}\n\n").into_bytes();
        bytes.extend(line);
        let message = read(&bytes).unwrap_err().to_string();
        assert!(message.starts_with("d.jsonl, line 3: ") && message.contains(wanted), "{message}\nwanted {wanted}");
        assert!(message.len() < 400, "{message}");
    }
}

#[test]
fn a_dataset_has_a_hash_and_a_common_system_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    let missing = Dataset::read(&path).unwrap_err().to_string();
    assert!(missing.starts_with(&format!("{}: cannot be read: ", path.display())), "{missing}");
    std::fs::write(&path, "\n \n").unwrap();
    let empty = Dataset::read(&path).unwrap_err().to_string();
    assert!(empty.contains("the dataset is empty"), "{empty}");
    std::fs::write(&path, "abc").unwrap();
    assert!(Dataset::read(&path).unwrap_err().to_string().contains("d.jsonl, line 1"));
    let with_system = |text: &str| GOOD.replacen('[', &format!("[{{\"role\": \"system\", \"content\": \"{text}\"}}, "), 1);
    let text = format!("{}\n{}\n", with_system("s"), with_system("s"));
    std::fs::write(&path, &text).unwrap();
    let dataset = Dataset::read(&path).unwrap();
    assert_eq!(dataset.sha256, crate::sha256_hex(text.as_bytes()));
    assert_eq!(dataset.common_system(), Some("s"));
    for other in [with_system("t"), GOOD.to_owned()] {
        std::fs::write(&path, format!("{text}{other}")).unwrap();
        assert_eq!(Dataset::read(&path).unwrap().common_system(), None);
    }
    assert_eq!(common_system(&[]), None);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0..GOOD.len()) {
        let _ = read(&bytes);
        let mut mixed = GOOD.as_bytes().to_vec();
        mixed.splice(cut..cut, bytes);
        let _ = read(&mixed);
    }

    #[test]
    fn what_is_written_is_read(turns in proptest::collection::vec(("\\PC*[a-z]", "[^\\x00]*é"), 1..4)) {
        let messages: Vec<Message> = turns.iter().flat_map(|(q, r)| [Message::new(Role::User, q), Message::new(Role::Assistant, r)]).collect();
        let line = serde_json::json!({"messages": messages}).to_string();
        prop_assert_eq!(&read(line.as_bytes()).unwrap()[0].messages, &messages);
    }
}
