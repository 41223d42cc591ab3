//! Every format, for learning and for asking.

use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use super::read;

fn messages(turns: &[(Role, &str)]) -> Vec<Message> {
    turns.iter().map(|(role, content)| Message::new(*role, *content)).collect()
}

fn rows(text: &str, purpose: Purpose) -> Vec<ReadRow> {
    let path: Arc<Path> = Arc::from(Path::new("d.jsonl"));
    let mut reader = RowReader::new(text.as_bytes(), &path, purpose);
    std::iter::from_fn(|| reader.next_row().unwrap()).collect()
}

fn question(row: Value) -> Result<Question, String> {
    let read = rows(&row.to_string(), Purpose::Questions).remove(0);
    read.strict().map(Question::from).map_err(|error| error.to_string())
}

const SYSTEM: Role = Role::System;
const USER: Role = Role::User;
const ASSISTANT: Role = Role::Assistant;

#[test]
fn every_format_is_a_conversation() {
    let long = messages(&[(SYSTEM, "s"), (USER, "q"), (ASSISTANT, "r"), (USER, "q2"), (ASSISTANT, "r2")]);
    let short = messages(&[(USER, "q"), (ASSISTANT, "r")]);
    let cases = [
        (Format::Messages, json!({"messages": long, "prompt": null}), &long),
        (
            Format::ShareGpt,
            json!({"conversations": [
                {"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "r"},
                {"from": "user", "value": "q2"}, {"from": "assistant", "value": "r2"},
            ], "system": "", "tools": ""}),
            &long,
        ),
        (
            Format::ShareGpt,
            json!({"system": "s", "conversations": [
                {"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}, {"from": "human", "value": "q2"}, {"from": "gpt", "value": "r2"},
            ]}),
            &long,
        ),
        (Format::Alpaca, json!({"instruction": "q", "input": "", "output": "r", "text": "whatever"}), &short),
        (Format::Alpaca, json!({"instruction": "q", "input": null, "output": "r", "history": null, "system": null}), &short),
        (Format::Alpaca, json!({"system": "s", "history": [["q", "r"]], "instruction": "q2", "output": "r2"}), &long),
        (Format::PromptCompletion, json!({"prompt": "q", "completion": "r"}), &short),
        (Format::PromptCompletion, json!({"prompt": &long[..4], "completion": &long[4..]}), &long),
        (Format::Question, json!({"id": "q1", "question": "q", "expected_answer": "r"}), &short),
        (Format::Question, json!({"question": "q", "answer": "r"}), &short),
        (Format::Question, json!({"question": "q", "answer": "what a model said", "expected_answer": "r"}), &short),
    ];
    for (format, row, expected) in cases {
        let conversations = read(row.to_string().as_bytes()).unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(&conversations[0].messages, expected, "{row}");
        let list = serde_json::to_string_pretty(&json!([row])).unwrap();
        assert_eq!(&read(list.as_bytes()).unwrap()[0].messages, expected, "{list}");
        let question = question(row.clone()).unwrap();
        assert_eq!(question.expected_answer.as_ref(), Some(&expected.last().unwrap().content));
        assert_eq!(question.turns, expected[..expected.len() - 1]);
        assert_eq!(Value::Object(question.row), row, "the row is untouched");
        assert_eq!(rows(&row.to_string(), Purpose::Training)[0].row.as_ref().unwrap().format, format);
    }
    let joined = read(json!({"instruction": "Traduis", "input": "chat", "output": "cat"}).to_string().as_bytes()).unwrap();
    assert_eq!(joined[0].messages[0].content, "Traduis\n\nchat");
}

#[test]
fn a_question_may_lack_its_answer_where_it_is_asked() {
    for row in [
        json!({"question": "q"}),
        json!({"question": "q", "expected_answer": null}),
        json!({"question": "q", "expected_answer": " "}),
        json!({"messages": [{"role": "user", "content": "q"}]}),
        json!({"instruction": "q", "output": ""}),
        json!({"prompt": "q"}),
        json!({"prompt": [{"role": "user", "content": "q"}]}),
        json!({"conversations": [{"from": "human", "value": "q"}]}),
    ] {
        let asked = question(row.clone()).unwrap();
        assert_eq!((asked.turns, asked.expected_answer), (messages(&[(USER, "q")]), None), "{row}");
        let error = read(row.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("d.jsonl, line 1: "), "{row}: {error}");
    }
}

#[test]
fn wrong_rows_say_what_was_found() {
    for (row, wanted) in [
        (json!({"question": ["a"]}), "question: expected a string, found a list of 1"),
        (json!({"question": " "}), "question: expected what the user says, found a string of white space only"),
        (json!({"question": "a", "expected_answer": 3}), "expected_answer: expected a string, found the number 3"),
        (json!({"messages": {}}), "messages: expected a list of {\"role\", \"content\"}, found an object"),
        (json!({"messages": []}), "messages: expected at least a user's message, found an empty list"),
        (json!({"messages": [{"role": "assistant", "content": "a"}]}), "messages: expected at least one user's message, found none"),
        (json!({"conversations": [{"from": "human", "content": "a"}]}), "conversations[0].value: expected a string, found no such key"),
        (
            json!({"conversations": [{"from": "tool", "value": "a"}]}),
            "conversations[0].from: expected \"system\", \"human\", \"user\", \"gpt\" or \"assistant\", found the unknown role \"tool\"",
        ),
        (
            json!({"system": "s", "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "a"}]}),
            "system: expected one system message, found another one in conversations[0]",
        ),
        (
            json!({"conversations": [{"from": "gpt", "value": "a"}, {"from": "human", "value": "a"}]}),
            "conversations[0].from: expected \"system\" or \"user\" first",
        ),
        (json!({"instruction": "a", "input": 3, "output": "b"}), "input: expected a string, found the number 3"),
        (
            json!({"instruction": "a", "history": [["b"]], "output": "b"}),
            "history[0]: expected a pair [question, answer], found a list of 1",
        ),
        (json!({"instruction": "a", "history": [["b", ""]], "output": "b"}), "history[0][1]: expected what the assistant says"),
        (json!({"instruction": "a", "history": "b", "output": "b"}), "history: expected a list of pairs"),
        (json!({"prompt": "a", "completion": []}), "completion: expected a string, as prompt is, found a list of 0"),
        (
            json!({"prompt": [], "completion": "a"}),
            "completion: expected a list of {\"role\", \"content\"}, as prompt is, found the string",
        ),
        (json!({"question": "a", "placeholder": "yes"}), "placeholder: expected true or false, found the string \"yes\""),
        (json!({"question": "a", "prompt": "b"}), "found both prompt (prompt/completion) and question (question/expected_answer)"),
        (json!({"text": "a", "label": 1}), "found only the keys text, label"),
        (json!({"messages": null}), "found only the keys messages (null)"),
    ] {
        let error = question(row.clone()).unwrap_err();
        assert!(error.contains(wanted), "{row}: {error}");
    }
    let training = |row: Value| read(row.to_string().as_bytes()).unwrap_err().to_string();
    for (row, wanted) in [
        (json!({"instruction": "a", "response": "b"}), "output: expected a string, found no such key"),
        (json!({"prompt": "a", "chosen": "b", "rejected": "c"}), "completion: expected a string, found no such key"),
        (json!({"question": "a"}), "expected_answer: expected a string, found no such key"),
    ] {
        assert!(training(row.clone()).contains(wanted), "{row}");
    }
}

#[test]
fn all_that_is_wrong_with_a_row_is_told() {
    let row = json!({"messages": [{"role": "narrator", "content": ""}, {"role": "user"}, 3], "source_chunk_ids": [1]});
    let read = rows(&row.to_string(), Purpose::Training).remove(0);
    assert!(read.row.is_none());
    let problems: Vec<String> = read.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.starts_with("d.jsonl, line 1: ")), "{problems:?}");
}

#[test]
fn a_file_has_one_format() {
    let lines = "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"question\": \"a\"}\n{\"prompt\": \"c\", \"completion\": \"d\"}";
    let read = rows(lines, Purpose::Training);
    assert_eq!(read.iter().map(|row| row.problems.len()).collect::<Vec<_>>(), [0, 1, 0], "reading goes on");
    let message = read[1].problems[0].to_string();
    let wanted = "d.jsonl, line 2: line: expected a prompt/completion row, as in line 1 (a file has one format), found a \
                  question/expected_answer row";
    assert_eq!(message, wanted);
    let list = "[{\"prompt\": \"a\", \"completion\": \"b\"}, {\"question\": \"a\"}]";
    let message = rows(list, Purpose::Training)[1].problems[0].to_string();
    assert!(message.starts_with("d.jsonl, item 2: item: expected a prompt/completion row, as in item 1"), "{message}");
}

#[test]
fn marked_placeholders_are_passed_over_in_training_and_asked_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    let placeholder = json!({"question": "q", "expected_answer": "***TEMPORAIRE***", "placeholder": true}).to_string();
    let good = json!({"question": "q", "expected_answer": "r", "placeholder": false}).to_string();
    std::fs::write(&path, format!("{placeholder}\n{good}\n{placeholder}\n")).unwrap();
    let dataset = Dataset::read(&path).unwrap();
    assert_eq!((dataset.conversations.len(), dataset.n_skipped_placeholders), (1, 2));
    assert_eq!((dataset.format, dataset.conversations[0].source.line), (Format::Question, 2));
    let questions = Questions::read(&path).unwrap();
    assert_eq!((questions.questions.len(), questions.format), (3, Format::Question));
    assert_eq!(questions.sha256, dataset.sha256);
    std::fs::write(&path, &placeholder).unwrap();
    let message = Dataset::read(&path).unwrap_err().to_string();
    assert!(message.contains("nothing to train on: all 1 rows are marked as placeholders"), "{message}");
    std::fs::write(&path, "").unwrap();
    assert!(Questions::read(&path).unwrap_err().to_string().contains("the dataset is empty"));
}

#[test]
fn a_list_is_hashed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.json");
    let text = "[\n {\"prompt\": \"a\", \"completion\": \"b\"}\n]\n\n";
    std::fs::write(&path, text).unwrap();
    let dataset = Dataset::read(&path).unwrap();
    assert_eq!(dataset.sha256, crate::sha256_hex(text.as_bytes()));
    assert_eq!(dataset.conversations[0].source.place(), "item 1");
}

/// Any JSON that might stand in a row.
fn any_json() -> impl Strategy<Value = Value> {
    let words = ["messages", "conversations", "role", "content", "from", "value", "user", "gpt", "question", "***X***", "TODO", ""];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        proptest::sample::select(words.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let keys = [
        "messages",
        "conversations",
        "instruction",
        "input",
        "output",
        "prompt",
        "completion",
        "question",
        "expected_answer",
        "answer",
        "system",
        "history",
        "tools",
        "placeholder",
        "source_chunk_ids",
        "role",
        "content",
        "from",
        "value",
        "document",
        "field",
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(keys.to_vec()), inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())),
        ]
    })
}

proptest! {
    // Each case writes files.
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_json_is_read_or_refused(values in proptest::collection::vec(any_json(), 0..6)) {
        let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
        for purpose in [Purpose::Training, Purpose::Questions, Purpose::ByFormat] {
            for read in rows(&lines, purpose) {
                prop_assert_eq!(read.row.is_some(), read.problems.is_empty());
                if let Some(row) = read.row.filter(|row| purpose == Purpose::Training && !row.is_placeholder) {
                    prop_assert_eq!(row.messages.last().map(|turn| turn.role), Some(Role::Assistant));
                }
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &lines).unwrap();
        let _ = validate(file.path(), &ValidateOptions::default());
        std::fs::write(file.path(), serde_json::to_string(&values).unwrap()).unwrap();
        if let Ok(validation) = validate(file.path(), &ValidateOptions::default()) {
            prop_assert_eq!(validation.n_rows, values.len());
        }
    }

    #[test]
    fn every_format_gives_back_what_was_written(
        system in proptest::option::of("\\PC*[a-z]"),
        turns in proptest::collection::vec(("\\PC*[a-z]", "[^\\x00]*é"), 1..4),
    ) {
        let mut expected: Vec<Message> = system.iter().map(|text| Message::new(Role::System, text)).collect();
        expected.extend(turns.iter().flat_map(|(q, r)| [Message::new(Role::User, q), Message::new(Role::Assistant, r)]));
        let share_gpt: Vec<Value> = expected
            .iter()
            .map(|turn| {
                let from = match turn.role { Role::System => "system", Role::User => "human", Role::Assistant => "gpt" };
                json!({"from": from, "value": turn.content})
            })
            .collect();
        let ((q, r), history) = turns.split_last().unwrap();
        let (prompt, completion) = expected.split_at(expected.len() - 1);
        for row in [
            json!({"messages": expected}),
            json!({"conversations": share_gpt}),
            json!({"system": system, "history": history, "instruction": q, "output": r}),
            json!({"prompt": prompt, "completion": completion}),
        ] {
            prop_assert_eq!(&read(row.to_string().as_bytes()).unwrap()[0].messages, &expected);
        }
        for row in [json!({"prompt": q, "completion": r}), json!({"question": q, "expected_answer": r})] {
            let one = [Message::new(Role::User, q), Message::new(Role::Assistant, r)];
            prop_assert_eq!(&read(row.to_string().as_bytes()).unwrap()[0].messages, &one);
        }
    }
}
