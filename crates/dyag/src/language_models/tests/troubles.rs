//! Servers that are slow, broken, strict or hostile.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::super::http::{HttpClient, HttpProblem, HttpSettings};
use super::*;

fn scene(replies: impl IntoIterator<Item = ScriptedReply>) -> Scene {
    Scene::new(Provider::OpenAi, replies)
}

#[test]
fn too_many_requests_waits_as_long_as_is_asked() {
    let scene = scene([
        openai_error(429, "slow down").header("Retry-After", "7"),
        openai_error(429, "slow down").header("Retry-After", "Mon, 01 Jan 2024 00:00:17 GMT"),
        openai_error(429, "slow down").header("Retry-After", "86400"),
        openai("enfin"),
    ]);
    assert_eq!(scene.answer().expect("an answer").text, "enfin");
    // The fake clock stood at 7 s when the date was read.
    assert_eq!(scene.clock.sleeps(), [7, 10, 120].map(Duration::from_secs));
    let usage = scene.model.usage();
    assert_eq!((usage.n_requests, usage.n_retries), (4, 3));
}

#[test]
fn trouble_of_the_server_is_tried_again_with_growing_waits() {
    let scene = scene([500, 502, 503, 529, 408].map(|status| openai_error(status, "trouble")).into_iter().chain([openai("enfin")]));
    assert_eq!(scene.answer().expect("an answer").text, "enfin");
    let waits: Vec<f64> = scene.clock.sleeps().iter().map(Duration::as_secs_f64).collect();
    for (wait, longest) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0]) {
        assert!(*wait >= longest / 2.0 && *wait <= longest, "{waits:?}");
    }
}

#[test]
fn trouble_that_does_not_pass_ends() {
    let scene = scene((0..20).map(|_| openai_error(500, "out of cheese")));
    let failure = scene.failure();
    assert!(failure.problem.contains("out of cheese") && failure.problem.contains("6 requests"), "{failure}");
    assert!(!failure.fatal);
    assert_eq!((scene.server.requests().len(), failure.model.as_str()), (6, "openai/m-1"));
    let limited = Scene::new(Provider::OpenAi, (0..20).map(|_| openai_error(429, "slow down")));
    assert!(limited.failure().fatal);
}

#[test]
fn garbage_is_tried_again_and_then_shown() {
    let garbage =
        ["<html>busy</html>", "", "[]", r#"{"choices": []}"#, r#"{"choices": [{"message": {"content": 5}}]}"#, r#"{"error": "x"}"#];
    for text in garbage {
        let scene = scene([ScriptedReply::json(text), openai("enfin")]);
        assert_eq!(scene.answer().expect(text).text, "enfin");
        assert_eq!(scene.model.usage().n_retries, 1);
    }
    let scene = scene((0..9).map(|_| ScriptedReply::json("<html>\n\u{1b}[2Jbusy</html>")));
    let failure = scene.failure();
    assert!(failure.problem.contains("expected JSON, found <html> [2Jbusy</html>") && !failure.fatal, "{failure}");
    assert_eq!(scene.server.requests().len(), 3);
}

#[test]
fn an_answer_that_breaks_the_schema_is_asked_for_again_with_another_seed() {
    let scene = scene([
        openai("no JSON at all"),
        openai(r#"{"question": "Q ?", "kind": "other"}"#),
        openai(r#"{"question": "Q ?", "kind": "fact"}"#),
        openai("no"),
        openai("{}"),
        openai(r#"{"question": "", "kind": "fact"}"#),
    ]);
    scene.model.answer(&with_schema()).expect("an answer");
    let seeds: Vec<Value> = scene.bodies().iter().map(|body| body["seed"].clone()).collect();
    assert_eq!(seeds, [3, 4, 5]);
    // Garbage costs like the rest.
    assert_eq!(scene.model.usage().n_prompt_tokens, 36);
    let failure = scene.model.answer(&with_schema()).expect_err("three times wrong");
    assert!(failure.problem.contains("/question") && !failure.fatal, "{failure}");
}

#[test]
fn an_answer_that_was_cut_is_passed_on_as_it_is() {
    let reply = json!({ "choices": [{ "message": { "content": "{\"question\": \"Q" }, "finish_reason": "length" }] });
    let scene = scene([ScriptedReply::json(reply.to_string())]);
    let answer = scene.model.answer(&with_schema()).expect("an answer");
    assert!(answer.cut && answer.text == "{\"question\": \"Q", "{answer:?}");
}

#[test]
fn broken_connections_are_tried_again() {
    for broken in [openai("ab").half(), openai("ab").truncated(30), ScriptedReply::closed()] {
        let scene = scene([broken, openai("enfin")]);
        assert_eq!(scene.answer().expect("an answer").text, "enfin");
        assert_eq!((scene.server.requests().len(), scene.clock.sleeps().len()), (2, 1));
    }
    let scene = scene((0..9).map(|_| openai("ab").half()));
    let failure = scene.failure();
    assert!(failure.problem.contains("the connection broke") && failure.fatal, "{failure}");
}

#[test]
fn a_server_that_hangs_is_left() {
    let args = LanguageModelArgs { llm_provider: Some(Provider::OpenAi), llm_timeout: Some(1), ..LanguageModelArgs::default() };
    let hanging = Loopback::answering(|_| openai("late").after(Duration::from_secs(3600)));
    let scene = Scene::with(args, hanging);
    let start = Instant::now();
    let failure = scene.failure();
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(failure.problem.contains("no reply within 1 s") && failure.problem.contains("--llm-timeout"), "{failure}");
    assert!(failure.fatal, "a server that has never replied will not");
    assert_eq!(scene.server.requests().len(), 2);
}

#[test]
fn nobody_there() {
    let scene = scene([openai("first")]);
    scene.answer().expect("an answer");
    let Scene { server, model, clock } = scene;
    let url = server.url();
    drop(server);
    // It was there once: perhaps it comes back.
    let failure = model.answer(&request()).expect_err("gone");
    assert!(failure.fatal && failure.problem.contains("the connection was refused"), "{failure}");
    assert_eq!(clock.sleeps().len(), 5);
    let args =
        LanguageModelArgs { llm_provider: Some(Provider::OpenAi), llm_model: Some("m".into()), llm_url: Some(url), ..Default::default() };
    let failure = open(&args, &clock).expect("opens").answer(&request()).expect_err("nobody there");
    assert!(failure.fatal && failure.problem.contains("--llm-url"), "{failure}");
    assert_eq!(clock.sleeps().len(), 5, "no use in waiting");
}

#[test]
fn what_no_repetition_helps_against_ends_at_once_and_says_what_to_do() {
    for (reply, fragment) in [
        (openai_error(401, "bad key"), "Set the environment variable OPENAI_API_KEY"),
        (openai_error(403, "not yours"), "OPENAI_API_KEY"),
        (openai_error(404, "The model m-1 does not exist"), "The model m-1 does not exist. Check --llm-model"),
        (openai_error(402, "pay"), "--llm-cache"),
        (ScriptedReply::status(429, r#"{"error": {"message": "quota", "code": "insufficient_quota"}}"#), "quota"),
    ] {
        let scene = scene([reply]);
        let failure = scene.failure();
        assert!(failure.fatal && failure.problem.contains(fragment), "{failure}");
        assert_eq!((scene.server.requests().len(), scene.clock.sleeps().len()), (1, 0), "{failure}");
    }
    let anthropic = Scene::new(Provider::Anthropic, [openai_error(401, "bad key")]);
    assert!(anthropic.failure().problem.contains("ANTHROPIC_API_KEY"));
    let ollama = Scene::new(Provider::Ollama, [ScriptedReply::status(404, r#"{"error": "model 'm-1' not found"}"#)]);
    assert!(ollama.failure().problem.contains("ollama pull"));
}

#[test]
fn a_refused_request_fails_alone() {
    for status in [400, 413, 422] {
        let scene = scene([openai_error(status, "too long")]);
        let failure = scene.failure();
        assert!(!failure.fatal && failure.problem.contains("too long"), "{failure}");
        assert_eq!(scene.server.requests().len(), 1);
    }
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Loopback::start([openai("stolen")]);
    let target = format!("{}/chat/completions", elsewhere.url());
    for status in [301, 302, 303, 307, 308] {
        let scene = scene([ScriptedReply::status(status, "").header("Location", &target)]);
        let failure = scene.failure();
        assert!(failure.fatal && failure.problem.contains(&target) && failure.problem.contains("--llm-url"), "{failure}");
    }
    assert_eq!(elsewhere.requests(), []);
}

#[test]
fn a_reply_that_is_too_large_is_not_read() {
    let server = Loopback::start([ScriptedReply::json("x".repeat(2000)), ScriptedReply::json("x".repeat(1000))]);
    let settings = HttpSettings { max_reply_bytes: 1000, ..HttpSettings::with_timeout(Duration::from_secs(10)) };
    let client = HttpClient::new(settings, None, true).expect("a client");
    let post = || client.post(&server.url(), &[], None, b"{}", None);
    assert_eq!(post().err(), Some(HttpProblem::TooLarge(1000)));
    assert_eq!(post().expect("just fits").body.len(), 1000);
}

#[test]
fn a_server_that_cannot_be_trusted_gets_nothing() {
    // A server that speaks plainly where TLS is asked for.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut hello = vec![0; 4096];
        let n = connection.read(&mut hello).expect("a greeting");
        connection.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").expect("sent");
        String::from_utf8_lossy(&hello[..n]).into_owned()
    });
    let args = LanguageModelArgs {
        llm_provider: Some(Provider::OpenAi),
        llm_model: Some("m".to_owned()),
        llm_url: Some(format!("https://{address}")),
        ..LanguageModelArgs::default()
    };
    let clock = Arc::new(FakeClock::default());
    let failure = open(&args, &clock).expect("opens").answer(&request()).expect_err("no TLS there");
    assert!(failure.fatal && failure.problem.contains("SSL_CERT_FILE"), "{failure}");
    assert!(clock.sleeps().is_empty());
    assert!(!server.join().expect("no panic").contains(KEY));
}

#[test]
fn the_key_is_in_no_message() {
    let echo = format!("your key {KEY} is odd, its end {} too", &KEY[10..]);
    for provider in [Provider::OpenAi, Provider::Anthropic] {
        for reply in [
            openai_error(400, &echo),
            openai_error(401, &echo),
            openai_error(404, &echo),
            openai_error(500, &echo),
            ScriptedReply::status(500, echo.clone()),
            ScriptedReply::json(echo.clone()),
            ScriptedReply::json(format!("{{\"choices\": \"{echo}\", \"content\": \"{echo}\"}}")),
            ScriptedReply::status(302, "").header("Location", &format!("http://example.invalid/?key={KEY}")),
            ScriptedReply::json(json!({ "choices": [{ "message": { "refusal": echo } }], "stop_reason": "x" }).to_string()),
        ] {
            let server = Loopback::answering(move |_| reply.clone());
            let args = LanguageModelArgs { llm_provider: Some(provider), ..LanguageModelArgs::default() };
            let failure = Scene::with(args, server).failure();
            for text in [failure.to_string(), format!("{failure:?}")] {
                assert!(!text.contains("0123456789") && !text.contains("sk-secret"), "{text}");
            }
        }
    }
}

#[test]
fn a_limit_stops_the_run_and_the_cache_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Loopback::answering(|request| openai(&format!("{} bytes", request.body.len())));
    let clock = Arc::new(FakeClock::default());
    let args = LanguageModelArgs {
        llm_provider: Some(Provider::OpenAi),
        llm_model: Some("m".to_owned()),
        llm_url: Some(server.url()),
        llm_cache: Some(folder.path().join("answers")),
        max_cost: Some(0.000_03),
        price_in: Some(1.0),
        price_out: Some(1.0),
        ..LanguageModelArgs::default()
    };
    let ask = |model: &OpenModel, seed: u64| model.answer(&Request { seed, ..request() });
    // An answer costs 15 millionths: the second reaches the limit.
    let model = open(&args, &clock).expect("opens");
    let first: Vec<Reply> = (0..2).map(|seed| ask(&model, seed).expect("within the limit")).collect();
    let failure = ask(&model, 2).expect_err("the limit is reached");
    assert!(failure.fatal && failure.problem.contains("--max-cost 0.00003") && failure.problem.contains("answers"), "{failure}");
    assert_eq!(ask(&model, 1).expect("from the cache"), first[1]);
    let usage = model.usage();
    assert_eq!((usage.n_requests, usage.n_cache_hits, usage.n_cache_misses), (2, 1, 3));
    assert!(usage.cost.is_some_and(|cost| (cost - 0.000_03).abs() < 1e-12), "{usage:?}");

    let model = open(&args, &clock).expect("opens");
    let again: Vec<Reply> = (0..3).map(|seed| ask(&model, seed).expect("one is asked, two are kept")).collect();
    assert_eq!(again[..2], first);
    assert_eq!(server.requests().len(), 3);
    for entry in std::fs::read_dir(folder.path().join("answers")).expect("the folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text");
        assert!(!text.contains(KEY), "{text}");
    }
}

#[test]
fn answers_of_another_model_or_server_are_not_taken_from_the_cache() {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = [0, 1].map(|i| Loopback::answering(move |_| openai(&format!("server {i}"))));
    let clock = Arc::new(FakeClock::default());
    let mut seen = Vec::new();
    for server in &servers {
        for name in ["m", "n", "m"] {
            let args = LanguageModelArgs {
                llm_provider: Some(Provider::OpenAi),
                llm_model: Some(name.to_owned()),
                llm_url: Some(server.url()),
                llm_cache: Some(folder.path().to_owned()),
                ..LanguageModelArgs::default()
            };
            seen.push(open(&args, &clock).expect("opens").answer(&request()).expect("an answer").text);
        }
    }
    assert_eq!(seen, ["server 0", "server 0", "server 0", "server 1", "server 1", "server 1"]);
    assert_eq!(servers.map(|server| server.requests().len()), [2, 2]);
}

#[test]
fn several_threads_may_ask_one_model() {
    let server = Loopback::answering(|_| openai("a").after(Duration::from_millis(20)));
    let args = LanguageModelArgs { llm_provider: Some(Provider::OpenAi), ..LanguageModelArgs::default() };
    let scene = Scene::with(args, server);
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| scene.answer())).collect();
        for answer in asked {
            answer.join().expect("no panic").expect("an answer");
        }
    });
    assert_eq!(scene.model.usage().n_requests, 8);
}
