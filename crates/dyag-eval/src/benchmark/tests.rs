//! Tasks as people write them: which texts a model is asked, what its answers come to, and what is said of wrong ones.

use super::*;

fn load(task: &str, documents: &str, examples: &str) -> Result<Task, BenchmarkError> {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("task.toml", task);
    write("d.jsonl", documents);
    write("examples.jsonl", examples);
    Task::load(&folder.path().join("task.toml"), None)
}

fn task(keys: &str, documents: &str) -> Task {
    load(&format!("task = \"t\"\ndataset_path = \"d.jsonl\"\n{keys}"), documents, "").unwrap_or_else(|error| panic!("{error}"))
}

fn refused(keys: &str, documents: &str) -> String {
    let task = load(&format!("task = \"t\"\ndataset_path = \"d.jsonl\"\n{keys}"), documents, "");
    match task.and_then(|task| task.items(None)) {
        Ok(items) => panic!("{items:?}"),
        Err(error) => error.to_string(),
    }
}

/// ARC: labels beside texts, an answer by its label.
const ARC: &str = r#"
output_type = "multiple_choice"
doc_to_text = "Question: {{question}}\nAnswer:"
doc_to_choice = "{{choices.text}}"
doc_to_target = "{{choices.label.index(answerKey)}}"
"#;
const ARC_ROW: &str = r#"{"question": "Sky?", "choices": {"text": ["red", "blue", "é"], "label": ["A", "B", "C"]}, "answerKey": "B"}"#;

#[test]
fn choices_of_the_usual_data_sets() {
    let items = task(ARC, ARC_ROW).items(None).expect("items");
    assert_eq!((items[0].context.as_str(), items[0].gold.as_slice()), ("Question: Sky?\nAnswer:", [1].as_slice()));
    assert_eq!(items[0].continuations, [" red", " blue", " é"]);
    // HellaSwag: fields alone, the answer a number in a text. PIQA: a list made in place. MMLU: letters, the answer a number.
    let hellaswag = "output_type = \"multiple_choice\"\ndoc_to_text = \"query\"\ndoc_to_choice = \"choices\"\ndoc_to_target = \"gold\"";
    let items = task(hellaswag, r#"{"query": "He", "choices": ["runs", "is"], "gold": "1"}"#).items(None).expect("items");
    assert_eq!((items[0].context.as_str(), items[0].gold[0]), ("He", 1));
    let piqa = "output_type = \"multiple_choice\"\ndoc_to_text = \"Question: {{goal}}\\nAnswer:\"\ndoc_to_choice = \"{{[sol1, sol2]}}\"\ndoc_to_target = \"label\"";
    let items = task(piqa, r#"{"goal": "Open", "sol1": "pull", "sol2": "push", "label": 0}"#).items(None).expect("items");
    assert_eq!((items[0].choices.as_slice(), items[0].gold[0]), (["pull".to_owned(), "push".to_owned()].as_slice(), 0));
    let mmlu = "output_type = \"multiple_choice\"\ndescription = \"About law.\\n\\n\"\ndoc_to_text = \"{{question.strip()}}\\nA. {{choices[0]}}\\nB. {{choices[1]}}\\nAnswer:\"\ndoc_to_choice = [\"A\", \"B\"]\ndoc_to_target = \"answer\"";
    let items = task(mmlu, r#"{"question": " Who? ", "choices": ["me", "you"], "answer": 1}"#).items(None).expect("items");
    assert_eq!(items[0].context, "About law.\n\nWho?\nA. me\nB. you\nAnswer:");
    // Several right answers, one by its text.
    let several =
        "output_type = \"multiple_choice\"\ndoc_to_text = \"q\"\ndoc_to_choice = [\"yes\", \"no\", \"maybe\"]\ndoc_to_target = \"right\"";
    let items = task(several, r#"{"q": "?", "right": ["maybe", 0]}"#).items(None).expect("items");
    assert_eq!(items[0].gold, [2, 0]);
}

#[test]
fn solved_examples_stand_before_the_question() {
    let keys =
        format!("task = \"t\"\ndataset_path = \"d.jsonl\"\nfewshot_path = \"examples.jsonl\"\nnum_fewshot = 2\ndescription = \"D \"{ARC}");
    let examples =
        [ARC_ROW, r#"{"question": "Sea?", "choices": {"text": ["wet", "dry"], "label": ["1", "2"]}, "answerKey": "1"}"#, "{}"].join("\n");
    let task = load(&keys, ARC_ROW, &examples).unwrap_or_else(|error| panic!("{error}"));
    let context = &task.items(None).expect("items")[0].context;
    assert_eq!(context, "D Question: Sky?\nAnswer: blue\n\nQuestion: Sea?\nAnswer: wet\n\nQuestion: Sky?\nAnswer:");
    let error = load(&keys.replace("num_fewshot = 2", "num_fewshot = 4"), ARC_ROW, &examples).map(|_| ()).expect_err("too few");
    assert!(error.to_string().ends_with("examples.jsonl: expected at least 4 documents, found 3"), "{error}");
}

#[test]
fn accuracy_by_likelihood_and_by_likelihood_of_a_character() {
    let rows = [ARC_ROW; 4].join("\n");
    let task = task(ARC, &rows);
    let items = task.items(Some(3)).expect("items");
    let outcome =
        |values: [f64; 3]| Outcome::Likelihoods(values.map(|log_likelihood| TextLikelihood { log_likelihood, is_greedy: false }).to_vec());
    // "blue" is right: likeliest; likeliest by character alone; never. Of equal ones the first counts.
    let scores = task.score(&items, &[outcome([-3.0, -2.0, -9.0]), outcome([-3.0, -3.5, -9.0]), outcome([-2.0, -2.0 * 4.0 / 3.0, -0.1])]);
    let figure = |name: &str| scores.figures.iter().find(|figure| figure.name == name).expect("a figure");
    assert_eq!((figure("acc").value, figure("acc_norm").value), (1.0 / 3.0, 2.0 / 3.0));
    // "é" is one character of two bytes.
    assert_eq!(figure("acc_bytes").value, 2.0 / 3.0);
    // NumPy: std([1, 0, 0], ddof=1) / sqrt(3) = 1 / 3.
    assert!((figure("acc").standard_error.expect("an error") - 1.0 / 3.0).abs() < 1e-15);
    assert_eq!(scores.documents[1], [("acc", 0.0), ("acc_norm", 1.0), ("acc_bytes", 1.0)]);
    let one = task.score(&items[..1], &[outcome([-1.0, -2.0, -3.0])]);
    assert_eq!(one.figures[0].standard_error, None, "one document has no spread");
}

#[test]
fn continuations_and_texts() {
    let lambada = task(
        "output_type = \"loglikelihood\"\ndoc_to_text = \"{{text.rsplit(' ', 1)[0]}}\"\ndoc_to_target = \"{{text.split(' ')[-1]}}\"",
        r#"{"text": "the cat sat"}"#,
    );
    let items = lambada.items(None);
    // Python's rsplit is not among the methods of texts; what is wrong is said with the line.
    assert!(items.is_err_and(|error| error.to_string().contains("line 1: doc_to_text: ")));
    let lambada =
        task("output_type = \"loglikelihood\"\ndoc_to_text = \"start\"\ndoc_to_target = \"end\"", r#"{"start": "the cat", "end": "sat"}"#);
    let items = lambada.items(None).expect("items");
    assert_eq!((items[0].continuations.as_slice(), items[0].choices.len()), ([" sat".to_owned()].as_slice(), 0));
    let scores = lambada.score(&items, &[Outcome::Likelihoods(vec![TextLikelihood { log_likelihood: -2.0, is_greedy: true }])]);
    assert_eq!(
        scores.figures.iter().map(|figure| (figure.name, figure.value)).collect::<Vec<_>>(),
        [("acc", 1.0), ("perplexity", 2.0_f64.exp())]
    );

    let sums = task(
        "output_type = \"generate_until\"\ndoc_to_text = \"Q: {{q}}\\nA:\"\ndoc_to_target = \"a\"\nanswer_pattern = '#### (-?[0-9.,]+)'\nignore_punctuation = true\ngeneration_kwargs = { until = [\"Q:\"], max_gen_toks = 64 }",
        "{\"q\": \"1+1\", \"a\": 2}\n{\"q\": \"k\", \"a\": [\"1,000\", \"mille\"]}",
    );
    let items = sums.items(None).expect("items");
    assert_eq!((items[1].expected.len(), sums.file.generation_kwargs.until.as_slice()), (2, ["Q:".to_owned()].as_slice()));
    let scores = sums.score(&items, &[Outcome::Text("It is 2".into()), Outcome::Text("so\n#### 1000 .".into())]);
    assert_eq!((scores.figures[0].name, scores.figures[0].value), ("exact_match", 0.5));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let choice = |target: &str| {
        format!("output_type = \"multiple_choice\"\ndoc_to_text = \"q\"\ndoc_to_choice = \"c\"\ndoc_to_target = \"{target}\"")
    };
    for (keys, documents, expected) in [
        ("output_type = \"rolling\"", "{}", "expected one of `multiple_choice`, `loglikelihood`, `generate_until`"),
        (
            "output_type = \"multiple_choice\"\ndoc_to_text = \"q\"\ndoc_to_target = \"a\"",
            "{}",
            "doc_to_choice: a multiple_choice task needs it",
        ),
        (
            "output_type = \"generate_until\"\ndoc_to_text = \"q\"\ndoc_to_target = \"a\"\ndoc_to_text2 = \"\"",
            "{}",
            "unknown field `doc_to_text2`",
        ),
        (&choice("a"), "", "expected at least 1 documents, found 0"),
        (&choice("a"), "[1]", "expected"),
        (
            &choice("a"),
            "{\"q\": \"?\", \"c\": [\"x\", \"y\"], \"a\": 2}",
            "line 1: doc_to_target: expected one of 2 choices, by its place from 0 or its text, found 2",
        ),
        (&choice("a"), "{\"q\": \"?\", \"c\": [\"x\"], \"a\": 0}", "doc_to_choice: expected at least two choices, found 1"),
        (&choice("a"), "{\"q\": \"?\", \"c\": 3, \"a\": 0}", "doc_to_choice: expected a list of choices, found number"),
        (&choice("{{b}}"), "{\"q\": \"?\", \"c\": [\"x\", \"y\"]}", "doc_to_target: undefined value"),
        (&choice("{{ 1 + }}"), "{\"q\": \"?\", \"c\": [\"x\", \"y\"]}", "doc_to_target: syntax error"),
        (&choice("{% for i in range(9999999) %}x{% endfor %}"), "{\"q\": \"?\", \"c\": [\"x\", \"y\"]}", "doc_to_target: "),
        (
            "output_type = \"generate_until\"\ndoc_to_text = \"q\"\ndoc_to_target = \"a\"\nanswer_pattern = '('",
            "{}",
            "answer_pattern: regex parse error",
        ),
        (
            "num_fewshot = 1\noutput_type = \"generate_until\"\ndoc_to_text = \"q\"\ndoc_to_target = \"a\"",
            "{}",
            "fewshot_path: num_fewshot needs",
        ),
    ] {
        let error = refused(keys, documents);
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
    }
}
