//! The Go template means what the Jinja template renders, by an evaluator of the part of Go's language that is used.

use super::*;
use crate::template::SpecialTokens;

/// A piece of a Go template.
#[derive(Debug)]
enum Node {
    Text(String),
    Value(String),
    /// Conditions with what they lead to, the last perhaps without one.
    If(Vec<(Option<String>, Vec<Node>)>),
    Range(Vec<Node>),
}

/// Cuts at `{{` and `}}`; actions are marked by `true`.
fn tokens(template: &str) -> Vec<(bool, String)> {
    let mut tokens = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").expect("an action ends");
        assert!(!action.starts_with('-') && !action.ends_with('-'), "white space is not trimmed");
        tokens.extend([(false, text.to_owned()), (true, action.trim().to_owned())]);
        rest = after;
    }
    tokens.push((false, rest.to_owned()));
    tokens
}

/// Parses up to an action that this level does not know, which is returned.
fn parse(tokens: &mut impl Iterator<Item = (bool, String)>) -> (Vec<Node>, Option<String>) {
    let mut nodes = Vec::new();
    while let Some((is_action, text)) = tokens.next() {
        match text.as_str() {
            _ if !is_action => nodes.push(Node::Text(text)),
            "range .Messages" => {
                let (body, end) = parse(tokens);
                assert_eq!(end.as_deref(), Some("end"));
                nodes.push(Node::Range(body));
            }
            _ if text.starts_with("if ") => {
                let mut condition = Some(text["if ".len()..].to_owned());
                let mut branches = Vec::new();
                loop {
                    let (body, end) = parse(tokens);
                    branches.push((condition, body));
                    match end.as_deref() {
                        Some("end") => break,
                        Some("else") => condition = None,
                        Some(other) => condition = Some(other.strip_prefix("else if ").expect("else if").to_owned()),
                        None => panic!("an if without an end"),
                    }
                }
                nodes.push(Node::If(branches));
            }
            "end" | "else" => return (nodes, Some(text)),
            _ if text.starts_with("else if ") => return (nodes, Some(text)),
            _ => nodes.push(Node::Value(text)),
        }
    }
    (nodes, None)
}

/// What `nodes` write; `dot` is the message of a range.
fn execute(nodes: &[Node], system: &str, messages: &[Message], dot: Option<&Message>, out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Value(name) => out.push_str(match name.as_str() {
                ".System" => system,
                ".Content" => &dot.expect("a message").content,
                other => panic!("an unknown value {other}"),
            }),
            Node::Range(body) => messages.iter().for_each(|message| execute(body, system, messages, Some(message), out)),
            Node::If(branches) => {
                let holds = |condition: &Option<String>| match condition.as_deref() {
                    None => true,
                    Some(".System") => !system.is_empty(),
                    Some(other) => {
                        let role = other.strip_prefix("eq .Role \"").and_then(|rest| rest.strip_suffix('"')).expect("a condition");
                        dot.expect("a message").role.name() == role
                    }
                };
                if let Some((_, body)) = branches.iter().find(|(condition, _)| holds(condition)) {
                    execute(body, system, messages, dot, out);
                }
            }
        }
    }
}

/// As Ollama does: `.System` is the system message, which is among `.Messages` too.
fn ollama(template: &str, messages: &[Message]) -> String {
    let (nodes, rest) = parse(&mut tokens(template).into_iter());
    assert!(rest.is_none(), "{rest:?}");
    let system = messages.iter().find(|message| message.role == Role::System).map_or("", |message| &message.content);
    let mut out = String::new();
    execute(&nodes, system, messages, None, &mut out);
    out
}

fn fixture(name: &str) -> ChatTemplate {
    let folder = format!("{}/../../fixtures/chat", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(format!("{folder}/{name}.jinja")).expect("a template");
    let special = SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()), ..SpecialTokens::default() };
    ChatTemplate::new(&text, special, name).expect("a template")
}

fn conversations() -> Vec<Vec<Message>> {
    let contents = [
        ["Tu réponds brièvement.", "Quel est le statut de 6Tzen ?", "En production", "Et ADES ?", "Le BRGM", "Merci."],
        ["Be brief.\nNo lists.", "What {{ is }} \"it\"?", "A <b>thing</b>\n\n1. x", "ok\nwhy", "because", "Π ≠ 3"],
    ];
    let mut all = Vec::new();
    for texts in contents {
        for system in [true, false] {
            for n in [1, 3, 5] {
                let mut messages: Vec<Message> = Vec::new();
                if system {
                    messages.push(Message::new(Role::System, texts[0]));
                }
                let roles = [Role::User, Role::Assistant].into_iter().cycle();
                messages.extend(roles.zip(&texts[1..]).take(n).map(|(role, text)| Message::new(role, *text)));
                all.push(messages);
            }
        }
    }
    all
}

/// Compares the Go template with the Jinja template on every conversation. Returns the Go template.
fn compare(name: &str, template: &ChatTemplate, takes_system: bool) -> String {
    let date = Date::new(2024, 7, 26);
    let go = go_template(template, false, date).unwrap_or_else(|error| panic!("{name}: {error}"));
    for messages in conversations().iter().filter(|messages| takes_system || messages[0].role != Role::System) {
        assert_eq!(ollama(&go, messages), template.render(messages, true, date).expect("rendered"), "{name}: {messages:?}\n{go}");
    }
    go
}

#[test]
fn the_go_template_writes_what_the_jinja_template_writes() {
    for name in ["qwen2_5", "llama3", "llama3_1", "llama3_2", "phi3", "tinyllama"] {
        compare(name, &fixture(name), true);
    }
}

#[test]
fn a_system_message_that_is_part_of_the_first_question_stays_there() {
    let gemma = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}\
                 {% else %}{% set first = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else \
                 m['role']) + '\n' }}{% if loop.first %}{{ first }}{% endif %}{{ m['content'] + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}\
                 {{ '<start_of_turn>model\n' }}{% endif %}";
    let special = SpecialTokens { bos: Some("<bos>".into()), ..SpecialTokens::default() };
    let template = ChatTemplate::new(gemma, special, "gemma").expect("a template");
    compare("gemma", &template, true);
    let without = go_template(&template, true, None).expect("written");
    let question = [Message::new(Role::User, "a")];
    assert_eq!(ollama(&without, &question), "<start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\n");
}

#[test]
fn a_template_that_takes_no_system_message_is_written_without_one() {
    let mistral = "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}{% elif m['role'] == 'assistant' %}\
                   {{ m['content'] + eos_token }}{% else %}{{ raise_exception('no system message') }}{% endif %}{% endfor %}";
    let special = SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()), ..SpecialTokens::default() };
    let go = compare("mistral", &ChatTemplate::new(mistral, special, "mistral").expect("a template"), false);
    assert!(!go.contains(".System"), "{go}");
}

#[test]
fn templates_that_do_more_are_refused_with_what_shows_it() {
    let numbered = "{% for m in messages %}{{ loop.index ~ m['role'] ~ ': ' ~ m['content'] ~ '\n' }}{% endfor %}";
    let shouting = "{% for m in messages %}{{ m['role'] ~ ': ' ~ m['content'].upper() ~ '\n' }}{% endfor %}";
    for (text, shown) in [(numbered, "3user: Question1qautre"), (shouting, "QUESTION0QZ")] {
        let template = ChatTemplate::new(text, SpecialTokens::default(), "t.jinja").expect("a template");
        let message = go_template(&template, false, None).expect_err("refused").to_string();
        assert!(message.contains("t.jinja") && message.contains("fixed texts") && message.contains(shown), "{message}");
    }
}
