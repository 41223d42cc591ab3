//! What is sent, and what is read, in each protocol.

use clap::Parser as _;

use super::*;

fn reply(text: &str, prompt: usize, answer: usize, cut: bool) -> Reply {
    Reply { text: text.to_owned(), n_prompt_tokens: Some(prompt), n_answer_tokens: Some(answer), cut }
}

#[test]
fn openai_plain() {
    let scene = Scene::new(Provider::OpenAi, [openai("Ceci.")]);
    assert_eq!(scene.answer().expect("an answer"), reply("Ceci.", 12, 3, false));
    assert_eq!(scene.model.name(), "openai/m-1");
    let request = scene.only_request();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/chat/completions"));
    assert_eq!(request.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("dyag/")));
    assert_eq!(
        scene.bodies()[0],
        json!({
            "model": "m-1",
            "messages": [{ "role": "system", "content": "Réponds." }, { "role": "user", "content": "Quoi ?" }],
            "stream": false,
            "max_tokens": 50,
            "temperature": 0.5,
            "seed": 3
        })
    );
    let usage = scene.model.usage();
    assert_eq!((usage.n_requests, usage.n_retries, usage.n_prompt_tokens, usage.n_answer_tokens), (1, 0, 12, 3));
    assert_eq!((usage.tokens_are_estimated, usage.cost), (false, None));
}

#[test]
fn openai_structured() {
    let scene = Scene::new(Provider::OpenAi, [openai(r#"{"question": "Q ?", "kind": "fact"}"#)]);
    let answer = scene.model.answer(&with_schema()).expect("an answer");
    assert_eq!(answer.text, r#"{"question":"Q ?","kind":"fact"}"#);
    let format = &scene.bodies()[0]["response_format"];
    assert_eq!(*format, json!({ "type": "json_schema", "json_schema": { "name": "answer", "strict": true, "schema": pair_schema() } }));
    assert_eq!(scene.bodies()[0]["messages"][1]["content"], "Quoi ?");
}

#[test]
fn a_list_is_asked_for_in_an_object() {
    let list = json!({ "type": "array", "items": pair_schema(), "minItems": 1, "maxItems": 2 });
    let scene = Scene::new(Provider::OpenAi, [openai(r#"{"answer": [{"question": "Q ?", "kind": "list"}]}"#)]);
    let answer = scene.model.answer(&Request { schema: Some(list.clone()), ..request() }).expect("an answer");
    assert_eq!(answer.text, r#"[{"question":"Q ?","kind":"list"}]"#);
    assert_eq!(scene.bodies()[0].pointer("/response_format/json_schema/schema/properties/answer"), Some(&list));
}

#[test]
fn a_server_that_knows_no_schemas_is_asked_in_words_from_then_on() {
    let text = "Here it is:\n```json\n{\"question\": \"Q ?\", \"kind\": \"fact\"}\n```";
    let scene = Scene::new(Provider::OpenAi, [openai_error(400, "unknown field response_format"), openai(text), openai(text)]);
    for _ in 0..2 {
        let answer = scene.model.answer(&with_schema()).expect("an answer");
        assert_eq!(answer.text, r#"{"question":"Q ?","kind":"fact"}"#);
    }
    let bodies = scene.bodies();
    assert_eq!(bodies.iter().map(|body| body.get("response_format").is_some()).collect::<Vec<_>>(), [true, false, false]);
    assert!(bodies[1]["messages"][1]["content"].as_str().is_some_and(|text| text.contains("\"minLength\":1")), "{}", bodies[1]);
    assert!(scene.clock.sleeps().is_empty());
    assert_eq!(scene.model.usage().n_retries, 0);
}

#[test]
fn a_server_that_names_things_otherwise_is_followed() {
    let refusals = [
        openai_error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        openai_error(400, "Unsupported value: 'temperature' does not support 0.5 with this model."),
    ];
    let scene = Scene::new(Provider::OpenAi, refusals.into_iter().chain([openai("a"), openai("b")]));
    assert_eq!(scene.answer().expect("an answer").text, "a");
    assert_eq!(scene.answer().expect("an answer").text, "b");
    let last = scene.bodies().pop().expect("a body");
    assert_eq!((last.get("max_tokens"), &last["max_completion_tokens"], last.get("temperature")), (None, &json!(50), None));
    assert_eq!(scene.server.requests().len(), 4);
}

#[test]
fn openai_cut_refused_and_filtered() {
    let with = |message: Value, finish: &str| {
        ScriptedReply::json(json!({ "choices": [{ "message": message, "finish_reason": finish }] }).to_string())
    };
    let scene = Scene::new(
        Provider::OpenAi,
        [
            with(json!({ "content": "Ce" }), "length"),
            with(json!({ "content": null }), "length"),
            with(json!({ "content": null, "refusal": "I will not." }), "stop"),
            with(json!({ "content": "x" }), "content_filter"),
        ],
    );
    let cut = scene.answer().expect("an answer");
    assert_eq!((cut.text.as_str(), cut.cut, cut.n_prompt_tokens), ("Ce", true, None));
    assert!(scene.model.usage().tokens_are_estimated);
    assert_eq!(scene.answer().expect("an answer").text, "");
    for said in ["I will not.", "filter"] {
        let failure = scene.failure();
        assert!(failure.problem.contains(said) && !failure.fatal, "{failure}");
    }
    assert_eq!(scene.server.requests().len(), 4);
}

#[test]
fn anthropic_plain_and_structured() {
    let plain = json!({
        "content": [{ "type": "text", "text": "Ce" }, { "type": "text", "text": "ci." }],
        "stop_reason": "max_tokens",
        "usage": { "input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 4 }
    });
    let structured = json!({
        "content": [{ "type": "tool_use", "id": "t", "name": "answer", "input": { "question": "Q ?", "kind": "fact" } }],
        "stop_reason": "tool_use",
        "usage": { "input_tokens": 20, "output_tokens": 9 }
    });
    let scene = Scene::new(Provider::Anthropic, [plain, structured].map(|reply| ScriptedReply::json(reply.to_string())));
    assert_eq!(scene.answer().expect("an answer"), reply("Ceci.", 15, 4, true));
    let answer = scene.model.answer(&with_schema()).expect("an answer");
    assert_eq!(answer, reply(r#"{"question":"Q ?","kind":"fact"}"#, 20, 9, false));
    let request = &scene.server.requests()[0];
    assert_eq!(request.path, "/v1/messages");
    assert_eq!((request.header("x-api-key"), request.header("authorization")), (Some(KEY), None));
    assert_eq!(request.header("anthropic-version"), Some("2023-06-01"));
    let bodies = scene.bodies();
    assert_eq!(
        bodies[0],
        json!({
            "model": "m-1",
            "max_tokens": 50,
            "messages": [{ "role": "user", "content": "Quoi ?" }],
            "system": "Réponds.",
            "temperature": 0.5
        })
    );
    assert_eq!(bodies[1]["tool_choice"], json!({ "type": "tool", "name": "answer" }));
    assert_eq!(bodies[1]["tools"][0]["input_schema"], pair_schema());
    assert_eq!(scene.model.usage().n_prompt_tokens, 35);
}

#[test]
fn ollama_plain_and_structured() {
    let reply_of = |text: &str, reason: &str| {
        let reply = json!({
            "message": { "role": "assistant", "content": text }, "done": true, "done_reason": reason, "prompt_eval_count": 8, "eval_count": 2
        });
        ScriptedReply::json(reply.to_string())
    };
    let list = json!({ "type": "array", "items": { "type": "string" }, "maxItems": 3 });
    let scene =
        Scene::new(Provider::Ollama, [reply_of("Ceci.", "length"), reply_of(r#"{"answer": ["a"]}"#, "stop"), reply_of("x", "stop")]);
    assert_eq!(scene.answer().expect("an answer"), reply("Ceci.", 8, 2, true));
    let answer = scene.model.answer(&Request { schema: Some(list), ..request() }).expect("an answer");
    assert_eq!(answer.text, r#"["a"]"#);
    let long = Message::new(Role::User, "mot ".repeat(3000));
    scene.model.answer(&Request { messages: vec![long], ..request() }).expect("an answer");
    let bodies = scene.bodies();
    assert_eq!(
        bodies[0],
        json!({
            "model": "m-1",
            "messages": [{ "role": "system", "content": "Réponds." }, { "role": "user", "content": "Quoi ?" }],
            "stream": false,
            "options": { "num_predict": 50, "temperature": 0.5, "seed": 3 }
        })
    );
    assert_eq!(bodies[1]["format"]["properties"]["answer"]["maxItems"], 3);
    assert_eq!(bodies[2]["options"]["num_ctx"], 8192);
    let request = &scene.server.requests()[0];
    assert_eq!((request.path.as_str(), request.header("authorization")), ("/api/chat", None));
}

#[test]
fn the_real_environment_and_clock() {
    let server = Loopback::start([ScriptedReply::json(json!({ "message": { "content": "a" }, "done": true }).to_string())]);
    let args = LanguageModelArgs {
        llm_provider: Some(Provider::Ollama),
        llm_model: Some("m".to_owned()),
        llm_url: Some(server.url()),
        requests_per_minute: Some(1e6),
        ..LanguageModelArgs::default()
    };
    let model = args.open(ENGINE).expect("opens");
    assert_eq!(model.usage(), Usage::default());
    assert_eq!(model.answer(&request()).expect("an answer").text, "a");
    assert_eq!(model.usage().n_requests, 1);
}

/// The flags alone.
#[derive(Debug, clap::Parser)]
struct Flags {
    #[command(flatten)]
    args: LanguageModelArgs,
}

#[test]
fn flags_are_read_and_wrong_ones_refused() {
    let parse = |line: &str| Flags::try_parse_from(format!("x {line}").split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let all = "--llm-provider openai --llm-model m --llm-url http://h --llm-timeout 5 --llm-allow-http --llm-cache d --requests-per-minute 1.5 \
               --max-requests 2 --max-total-tokens 3 --max-cost 0.5 --price-in 1 --price-out 0";
    let args = parse(all).expect("all flags").args;
    assert_eq!((args.llm_provider, args.max_cost, args.price_out), (Some(Provider::OpenAi), Some(0.5), Some(0.0)));
    assert!(parse("").expect("no flag").args.llm_provider.is_none());
    for wrong in [
        "--llm-provider gpt",
        "--llm-timeout 0",
        "--requests-per-minute 0",
        "--requests-per-minute nan",
        "--max-requests 0",
        "--max-cost 1",
        "--price-in 1",
        "--price-in -1 --price-out 1",
    ] {
        parse(wrong).expect_err(wrong);
    }
    for provider in ["openai", "anthropic", "ollama", "local"] {
        parse(&format!("--llm-provider {provider}")).expect(provider);
    }
}

#[test]
fn what_is_missing_or_unsafe_is_said_before_anything_is_sent() {
    let args = |provider: Option<Provider>, model: &str, url: Option<&str>| LanguageModelArgs {
        llm_provider: provider,
        llm_model: Some(model.to_owned()),
        llm_url: url.map(str::to_owned),
        ..LanguageModelArgs::default()
    };
    let clock = Arc::new(FakeClock::default());
    let message = |args: &LanguageModelArgs, variables: &dyn Fn(&str) -> Option<String>| {
        let opened = args.open_with(ENGINE, variables, Arc::<FakeClock>::clone(&clock));
        let message = format!("{:#}", opened.err().expect("refused"));
        assert!(!message.contains(KEY), "{message}");
        message
    };
    let none = |_: &str| None;
    for (args, fragment) in [
        (args(None, "m", None), "--llm-provider is missing"),
        (args(Some(Provider::OpenAi), " ", None), "--llm-model is missing"),
        (args(Some(Provider::OpenAi), "m", None), "OPENAI_API_KEY is not set"),
        (args(Some(Provider::Anthropic), "m", None), "ANTHROPIC_API_KEY is not set"),
        (args(Some(Provider::Ollama), "m", Some("http://a/?q=1")), "--llm-url"),
        (args(Some(Provider::Local), "m", Some("http://a")), "--llm-url has no meaning"),
        (args(Some(Provider::Local), "/absent/model", None), "no model at /absent/model"),
    ] {
        let message = message(&args, &none);
        assert!(message.contains(fragment), "{message}");
    }
    let open_http = args(Some(Provider::OpenAi), "m", Some("http://example.invalid/v1"));
    assert!(message(&open_http, &environment).contains("--llm-allow-http"));
    open(&LanguageModelArgs { llm_allow_http: true, ..open_http.clone() }, &clock).expect("allowed");
    open_http.open_with(ENGINE, &none, Arc::<FakeClock>::clone(&clock)).expect("no key, no danger");
    let of_variable = |name: &str| (name == "OPENAI_BASE_URL").then(|| "nonsense".to_owned());
    assert!(message(&args(Some(Provider::OpenAi), "m", None), &of_variable).contains("OPENAI_BASE_URL"));
    let bad_key = |name: &str| (name == "OPENAI_API_KEY").then(|| format!("{KEY} and more"));
    assert!(message(&args(Some(Provider::OpenAi), "m", None), &bad_key).contains("OPENAI_API_KEY"));
    let bad_file = |name: &str| (name == "SSL_CERT_FILE").then(|| "absent/ca.pem".to_owned());
    assert!(message(&args(Some(Provider::Ollama), "m", None), &bad_file).contains("absent/ca.pem"));
}

/// Streams as the three kinds of servers send them.
fn streams() -> [(Provider, &'static str, String); 3] {
    let event = |value: Value| format!("data: {value}\n\n");
    let openai = [
        event(json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": "" }, "finish_reason": null }] })),
        ": a comment\n\n".to_owned(),
        event(json!({ "choices": [{ "index": 0, "delta": { "content": "En pro" }, "finish_reason": null }] })),
        event(json!({ "choices": [{ "index": 0, "delta": { "content": "duction é" }, "finish_reason": null }] })),
        event(json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] })),
        event(json!({ "choices": [], "usage": { "prompt_tokens": 12, "completion_tokens": 3 } })),
        "data: [DONE]\n\n".to_owned(),
    ];
    let anthropic = [
        "event: message_start\n".to_owned()
            + &event(json!({ "type": "message_start", "message": { "usage": { "input_tokens": 12, "output_tokens": 1 } } })),
        event(json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "En pro" } })),
        event(json!({ "type": "ping" })),
        event(json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "duction é" } })),
        event(json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 3 } })),
        event(json!({ "type": "message_stop" })),
    ];
    let ollama = [
        json!({ "message": { "content": "En pro" }, "done": false }).to_string() + "\n",
        json!({ "message": { "content": "duction é" }, "done": false }).to_string() + "\n",
        json!({ "message": { "content": "" }, "done": true, "done_reason": "stop", "prompt_eval_count": 12, "eval_count": 3 }).to_string()
            + "\n",
    ];
    [
        (Provider::OpenAi, "text/event-stream", openai.concat()),
        (Provider::Anthropic, "text/event-stream; charset=utf-8", anthropic.concat()),
        (Provider::Ollama, "application/x-ndjson", ollama.concat()),
    ]
}

#[test]
fn a_streamed_answer_comes_in_pieces_and_is_the_same() {
    for (provider, kind, stream) in streams() {
        let scene = Scene::new(provider, [ScriptedReply::status(200, stream).header("Content-Type", kind)]);
        let mut pieces = Vec::new();
        let reply = scene.model.answer_in_pieces(&request(), &mut |text| pieces.push(text.to_owned())).expect("an answer");
        assert_eq!(pieces, ["En pro", "duction é"], "{provider:?}");
        assert_eq!(
            (reply.text.as_str(), reply.n_prompt_tokens, reply.n_answer_tokens, reply.cut),
            ("En production é", Some(12), Some(3), false)
        );
        assert_eq!(scene.bodies()[0]["stream"], true);
    }
}

#[test]
fn a_stream_that_breaks_off_is_an_error_and_is_not_begun_again() {
    for (provider, kind, stream) in streams() {
        for (broken, n_requests) in [(stream.len() / 2 + stream.len() / 10, 1), (0, 2)] {
            // The first answer breaks off in the middle, or before anything was given; then it may be asked again.
            let whole = ScriptedReply::status(200, stream.clone()).header("Content-Type", kind);
            let scene = Scene::new(provider, [whole.clone().cut(broken), whole]);
            let mut given = String::new();
            let reply = scene.model.answer_in_pieces(&request(), &mut |text| given.push_str(text));
            assert_eq!(scene.bodies().len(), n_requests, "{provider:?} {broken}");
            match n_requests {
                1 => {
                    let problem = reply.expect_err("it broke off").problem;
                    assert!(
                        problem.contains("broke off") && "En production é".starts_with(&given) && !given.is_empty(),
                        "{problem} {given}"
                    );
                }
                _ => assert_eq!((reply.expect("an answer").text.as_str(), given.as_str()), ("En production é", "En production é")),
            }
        }
    }
}

#[test]
fn a_server_that_does_not_stream_gives_its_answer_whole() {
    let scene = Scene::new(Provider::OpenAi, [openai("Oui")]);
    let mut pieces = Vec::new();
    let reply = scene.model.answer_in_pieces(&request(), &mut |text| pieces.push(text.to_owned())).expect("an answer");
    assert_eq!((pieces, reply.text), (vec!["Oui".to_owned()], "Oui".to_owned()));
}
