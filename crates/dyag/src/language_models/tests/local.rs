//! A model of this machine, asked as one behind a server.

use dyag_testing::fixture;

use super::*;

fn local() -> OpenModel {
    let args = LanguageModelArgs {
        llm_provider: Some(Provider::Local),
        llm_model: Some(fixture("tiny-chat/model.gguf").display().to_string()),
        max_requests: Some(3),
        ..LanguageModelArgs::default()
    };
    open(&args, &Arc::new(FakeClock::default())).expect("opens")
}

#[test]
fn free_text_and_limits() {
    let model = local();
    let asked = Request { max_tokens: 6, ..request() };
    let first = model.answer(&asked).expect("an answer");
    assert_eq!(model.answer(&asked).expect("an answer"), first, "the same seed");
    assert!(first.n_prompt_tokens.is_some_and(|n| n > 4) && first.n_answer_tokens.is_some_and(|n| n <= 6), "{first:?}");
    let other = model.answer(&Request { seed: 4, temperature: 2.0, ..asked.clone() }).expect("an answer");
    assert_ne!(other.text, first.text);
    let failure = model.answer(&asked).expect_err("three requests were allowed");
    assert!(failure.fatal && failure.problem.contains("--max-requests 3"), "{failure}");
    assert!(model.name().starts_with("local/"));
    assert_eq!(model.usage().n_prompt_tokens, 3 * first.n_prompt_tokens.unwrap_or(0) as u64);
}

#[test]
fn structured_answers() {
    let answer = local().answer(&Request { max_tokens: 60, ..with_schema() }).expect("an answer");
    let value: Value = serde_json::from_str(&answer.text).expect("JSON");
    assert!(value["question"].is_string() && (value["kind"] == "fact" || value["kind"] == "list"), "{value}");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let model = local();
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string", "pattern": "b" } } });
    let failure = model.answer(&Request { schema: Some(schema), ..request() }).expect_err("a pattern");
    assert!(failure.problem.contains("\"pattern\" is not supported"), "{failure}");
    let long = vec![Message::new(Role::User, "mot ".repeat(2000))];
    let failure = model.answer(&Request { messages: long, ..request() }).expect_err("too long");
    assert!(failure.problem.contains("shorten the prompt") && !failure.fatal, "{failure}");
}
