//! Limits: what is used is counted, what is beyond is answered 429; the control endpoints work without files of Rust.

use super::{Caller, person};
use axum::http::Method;
use serde_json::json;
use wharf::sandbox::esputnik::{Limits, Options};

#[tokio::test]
async fn beyond_a_limit_429_is_answered_and_the_most_used_is_counted() {
    // Limits so low that any machine is beyond them within a second.
    let limits = Limits { all: 3, events: 2, contact_search: 1, ..Limits::default() };
    let caller = Caller::new(Options { limits: Some(limits), ..Options::default() }).await;
    let mut refused = 0;
    for _ in 0..8 {
        refused += u32::from(caller.call(Method::GET, "v1/account/info", None, false).await.status == 429);
    }
    let used = caller.inspect("/limits").await;
    assert!(refused > 0, "{used}");
    assert!(used["all"]["most_in_any_second"].as_u64().unwrap() <= 3, "{used}");
    assert_eq!(used["all"]["refused"], refused);
    assert_eq!(used["events"]["taken"], 0, "events are counted apart");
}

#[tokio::test]
async fn without_limits_everything_is_answered_and_counted_all_the_same() {
    let caller = Caller::prompt().await;
    for _ in 0..3 {
        caller.get("v1/account/info").await;
    }
    let event =
        json!({"eventTypeKey": "viewed", "keyValue": "1", "params": [{"name": "email", "value": "a@example.com"}]});
    caller.post("v2/event", event).await.done();
    let used = caller.inspect("/limits").await;
    assert_eq!((&used["all"]["taken"], &used["events"]["taken"]), (&json!(3), &json!(1)), "{used}");
    assert_eq!(used["all"]["limit"], json!(null));
}

#[tokio::test]
async fn a_change_through_the_common_endpoint_and_a_reset() {
    let caller = Caller::prompt().await;
    caller.import(json!([person("1", "a@example.com")])).await;
    let url = format!("{}/_sandbox/change", caller.origin());
    let body = json!({"platform": "esputnik", "unsubscribe": {"email": "a@example.com"}, "fail_jobs": {"count": 2}});
    let answer = caller.http.post(&url).body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(caller.contact("1").await["unsubscribed"], true);
    let unknown =
        caller.http.post(&url).body(json!({"platform": "esputnik", "paint": {}}).to_string()).send().await.unwrap();
    assert_eq!(unknown.status().as_u16(), 400);
    caller.change("reset", json!({})).await;
    let state = caller.inspect("").await;
    assert_eq!((&state["contacts"], &state["unsubscribed"], &state["events"]), (&json!(0), &json!(0), &json!(0)));
}
