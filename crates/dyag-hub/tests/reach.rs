//! Whether the hub answers: one short request without the token.

mod common;

use common::{Place, small_model};
use dyag_hub::reach;
use dyag_testing::{ScriptedReply, TestHub};

#[test]
fn any_answer_shows_that_the_hub_is_there_and_the_token_stays_here() {
    let hub = TestHub::with(small_model(10));
    let place = Place::new();
    let reached = reach(&place.settings_with(&hub.url(), Some("hf_secret_0123456789"))).expect("an answer");
    // A mirror need have no first page.
    assert_eq!((reached.status, reached.server), (404, hub.url()));
    let requests = hub.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].method.as_str(), requests[0].header("authorization")), ("HEAD", None));
}

#[test]
fn trouble_and_silence_are_errors_at_the_first_try() {
    let hub = TestHub::builder().repo(small_model(10)).hook(|_, _| ScriptedReply::status(503, "")).start();
    let place = Place::new();
    let error = reach(&place.settings(&hub)).expect_err("trouble").to_string();
    assert!(error.contains("status 503"), "{error}");
    assert_eq!(hub.requests().len(), 1);
    let address = hub.url();
    drop(hub);
    let error = reach(&place.settings_with(&address, None)).expect_err("nobody is there").to_string();
    assert!(error.contains(&address), "{error}");
}
