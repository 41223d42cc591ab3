//! The published templates against Transformers' renderings, and what a template may and may not do.

use serde_json::Value;

use super::*;
use crate::conversation::Role;

fn fixture(name: &str) -> String {
    let path = format!("{}/../../fixtures/chat/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn messages(value: &Value) -> Vec<Message> {
    serde_json::from_value(value.clone()).unwrap()
}

fn plain(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, SpecialTokens { bos: Some("<s>".into()), ..SpecialTokens::default() }, "test").unwrap()
}

#[test]
fn published_templates_render_as_transformers_does() {
    let mut n_cases = 0;
    for name in ["qwen2_5", "llama3", "llama3_1", "llama3_2", "phi3", "tinyllama"] {
        let golden: Value = serde_json::from_str(&fixture(&format!("{name}.json"))).unwrap();
        let word = |key: &str| golden[key].as_str().map(str::to_owned);
        let special = SpecialTokens { bos: word("bos_token"), eos: word("eos_token"), ..SpecialTokens::default() };
        let template = ChatTemplate::new(&fixture(&format!("{name}.jinja")), special, name).unwrap();
        assert_eq!(template.reads_clock(), name == "llama3_2", "{name}");
        for case in golden["cases"].as_array().unwrap() {
            let date = case["kwargs"]["date_string"].as_str().map(|text| {
                assert_eq!(text, "26 Jul 2024");
                "2024-07-26".parse().unwrap()
            });
            let messages = messages(&case["messages"]);
            assert_eq!(template.render(&messages, false, date).unwrap(), case["text"].as_str().unwrap(), "{name}");
            let prompt = template.render(&messages[..messages.len() - 1], true, date).unwrap();
            assert_eq!(prompt, case["prompt_of_last_turn"].as_str().unwrap(), "{name}");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 24);
}

#[test]
fn a_template_that_reads_the_clock_gets_the_date_it_is_given() {
    let template = ChatTemplate::new(&fixture("llama3_2.jinja"), SpecialTokens::default(), "test").unwrap();
    let question = [Message::new(Role::User, "Bonjour")];
    let text = template.render(&question, true, Some("2025-01-02".parse().unwrap())).unwrap();
    assert!(text.contains("Today Date: 02 Jan 2025\n"), "{text}");
    let text = template.render(&question, true, None).unwrap();
    assert!(text.contains("Today Date: 26 Jul 2024\n"), "the template's own default: {text}");
}

#[test]
fn python_methods_strip_what_python_strips() {
    let template =
        plain("{% for m in messages %}[{{ m.content.strip() }}|{{ m.content | trim }}|{{ m.content.rstrip('é\n') }}]{% endfor %}");
    let text = template.render(&[Message::new(Role::User, "\u{1c}\u{a0} été \n")], false, None).unwrap();
    assert_eq!(text, "[été|été|\u{1c}\u{a0} été ]");
    let template = plain("{{ messages[0].content.split('</think>')[-1].lstrip('\n') }}{{ messages[0]['content'].startswith('a') }}");
    let text = template.render(&[Message::new(Role::User, "a</think>\nb")], false, None).unwrap();
    assert_eq!(text, "bTrue");
}

#[test]
fn json_is_spaced_as_python_spaces_it() {
    let template =
        plain(r#"{{ {"é": [1, 2.5, "<&'"], "b": {}} | tojson }}{{ [1, [2]] | tojson(indent=2) }}{{ "é😀" | tojson(ensure_ascii=true) }}"#);
    let text = template.render(&[], false, None).unwrap();
    assert_eq!(text, "{\"é\": [1, 2.5, \"<&'\"], \"b\": {}}[\n  1,\n  [\n    2\n  ]\n]\"\\u00e9\\ud83d\\ude00\"");
}

#[test]
fn templates_can_refuse_and_cannot_run_forever() {
    let refusing = plain("{{ raise_exception('Conversation roles must alternate') }}");
    let message = refusing.render(&[], false, None).unwrap_err().to_string();
    assert!(message.contains("Conversation roles must alternate") && message.contains("line 1"), "{message}");
    let endless = plain("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}");
    let message = endless.render(&[], false, None).unwrap_err().to_string();
    assert!(message.contains("refuses the conversation"), "{message}");
    let message = ChatTemplate::new("{% if %}", SpecialTokens::default(), "dir/chat_template.jinja").unwrap_err().to_string();
    assert!(message.starts_with("dir/chat_template.jinja: chat_template: expected a Jinja template"), "{message}");
}

#[test]
fn generation_marks_render_as_nothing() {
    let template = plain("a\n{%- generation %}\n b{{ '{% generation %}' }}\n{%- endgeneration -%}\n c");
    assert_eq!(template.render(&[], false, None).unwrap(), "a b{% if true %}c");
}

#[test]
fn folders_are_searched_for_a_template() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let message = TemplateSource::from_folder(path).unwrap_err().to_string();
    assert!(message.contains("no chat template was found") && message.contains(&path.display().to_string()), "{message}");
    let config = r#"{"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#;
    std::fs::write(path.join("tokenizer_config.json"), config).unwrap();
    let source = TemplateSource::from_folder(path).unwrap();
    assert_eq!((source.text.as_str(), source.special.bos.as_deref(), source.special.eos.as_deref()), ("d", Some("<s>"), Some("</s>")));
    std::fs::write(path.join("chat_template.jinja"), "{{ bos_token }}j").unwrap();
    let source = TemplateSource::from_folder(path).unwrap();
    assert_eq!(source.parse().unwrap().render(&[], false, None).unwrap(), "<s>j");
    for (config, key) in
        [(r#"{"chat_template": 3}"#, "chat_template"), (r#"{"bos_token": 3}"#, "bos_token"), ("[]", "JSON object"), ("{", "not JSON")]
    {
        std::fs::write(path.join("tokenizer_config.json"), config).unwrap();
        std::fs::remove_file(path.join("chat_template.jinja")).ok();
        let message = TemplateSource::from_folder(path).unwrap_err().to_string();
        assert!(message.contains(key) && message.contains("tokenizer_config.json"), "{message}");
    }
}
