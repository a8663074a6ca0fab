//! Events: refused aloud, ignored without a word, or taken, each kept in order of arrival.

use super::{Caller, person};
use axum::http::Method;
use serde_json::{Map, Value, json};
use wharf::sandbox::esputnik::Options;

fn items() -> Value {
    json!([{"externalItemId": "TEA", "name": "Tea", "category": "Kitchen/Tea", "quantity": 2, "cost": 570,
        "url": "https://shop.example/p/tea", "imageUrl": "https://shop.example/i/tea.jpg"}])
}

fn params(order: &str, status: &str) -> Map<String, Value> {
    let params = json!({"externalOrderId": order, "externalCustomerId": "1", "totalCost": "1140", "status": status,
        "date": "2026-03-01T10:14:40", "currency": "UAH", "items": items()});
    params.as_object().unwrap().clone()
}

fn event(kind: &str, params: Map<String, Value>) -> Value {
    let params: Vec<Value> = params.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({"eventTypeKey": kind, "keyValue": "1", "params": params})
}

impl Caller {
    async fn with_contact() -> Self {
        let caller = Self::prompt().await;
        caller.import(json!([person("1", "a@example.com")])).await;
        caller
    }

    /// What became of an event that is answered 200 with nothing.
    async fn outcome(&self, event: Value) -> String {
        let answer = self.post("v2/event", event).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
        let events = self.inspect("/events").await["events"].clone();
        events.as_array().unwrap().last().unwrap()["outcome"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_life_of_an_order_by_events() {
    let caller = Caller::with_contact().await;
    for (kind, params, outcome) in [
        ("orderDelivered", params("9", "DELIVERED"), "unknown_order"),
        ("orderCancelled", params("9", "CANCELLED"), "unknown_order"),
        ("orderCreated", params("9", "INITIALIZED"), "accepted"),
        ("orderUpdated", params("9", "IN_PROGRESS"), "accepted"),
        ("orderDelivered", params("9", "DELIVERED"), "accepted"),
        ("orderUpdated", params("10", "IN_PROGRESS"), "accepted"),
        ("orderCancelled", params("10", "CANCELLED"), "accepted"),
    ] {
        let mut params = params;
        if kind == "orderDelivered" || kind == "orderCancelled" {
            params.retain(|name, _| name == "externalOrderId" || name == "externalCustomerId");
        }
        assert_eq!(caller.outcome(event(kind, params)).await, outcome, "{kind}");
    }
    assert_eq!(caller.inspect("/orders?id=9").await["status"], "DELIVERED");
    assert_eq!(caller.inspect("/orders?id=10").await["status"], "CANCELLED");
    let ignored = caller.inspect("/ignored").await;
    assert_eq!(ignored["counts"], json!({"unknown_order": 2}));
    assert_eq!(ignored["events"][0]["reason"], "order 9 was never accepted");
    assert_eq!(caller.inspect("").await["workflows"], 5);
    assert_eq!(caller.violations().await, json!({}));
}

#[tokio::test]
async fn what_lacks_a_parameter_is_ignored_without_a_word_but_kept_with_its_reason() {
    let caller = Caller::with_contact().await;
    let with = |name: &str, value: Value| {
        let mut params = params("9", "INITIALIZED");
        params.insert(name.into(), value);
        params
    };
    let without = |name: &str| {
        let mut params = params("9", "INITIALIZED");
        params.remove(name);
        params
    };
    let item_without = |name: &str| {
        let mut list = items();
        list[0].as_object_mut().unwrap().remove(name);
        with("items", list)
    };
    let mut cases = vec![
        (with("externalCustomerId", json!("2")), "unknown_contact"),
        (without("externalCustomerId"), "missing_parameter"),
        (with("currency", json!("GBP")), "bad_currency"),
        (with("date", json!("2026-03-01T10:14:40+02:00")), "bad_value"),
        (with("totalCost", json!("a lot")), "bad_value"),
        (with("status", json!("SENT")), "bad_value"),
        (with("items", json!("no list")), "bad_item"),
    ];
    for name in ["externalOrderId", "totalCost", "status", "date"] {
        cases.push((without(name), "missing_parameter"));
    }
    for name in ["externalItemId", "name", "quantity", "cost", "url", "imageUrl"] {
        cases.push((item_without(name), "bad_item"));
    }
    let count = cases.len();
    for (params, outcome) in cases {
        assert_eq!(caller.outcome(event("orderCreated", params.clone())).await, outcome, "{params:?}");
    }
    let state = caller.inspect("").await;
    assert_eq!((&state["orders"], &state["workflows"], &state["events"]), (&json!(0), &json!(0), &json!(count)));
    let last = caller.inspect("/ignored").await["events"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["reason"], "an item has no imageUrl");
    assert!(caller.outcome(event("orderCreated", item_without("category"))).await == "accepted");
    caller.change("settings", json!({"items_need_category": true})).await;
    assert_eq!(caller.outcome(event("orderUpdated", item_without("category"))).await, "bad_item");
}

#[tokio::test]
async fn the_first_version_takes_texts_and_the_others_values() {
    let caller = Caller::with_contact().await;
    let mut first = params("9", "INITIALIZED");
    first.insert("items".into(), json!(items().to_string()));
    caller.post("v1/event", event("orderCreated", first.clone())).await.done();
    assert_eq!(caller.inspect("/orders?id=9").await["items"], 1);
    let text = caller.wrong("v1/event", event("orderCreated", params("9", "INITIALIZED"))).await.refused(400);
    assert_eq!(text, "Value of items is not a string");
    caller.post("v3/event", event("orderCreated", params("10", "INITIALIZED"))).await.done();
    assert_eq!(caller.violations().await, json!({}));
    first.insert("externalOrderId".into(), json!("11"));
    caller.post("v2/event", event("orderCreated", first)).await.done();
    let mut deep = params("12", "INITIALIZED");
    deep["items"][0]["more"] = json!({"colour": "red"});
    caller.post("v2/event", event("orderCreated", deep)).await.done();
    assert_eq!(caller.violations().await, json!({"items-as-text": 1, "nested-too-deep": 1}));
    let vias: Vec<Value> = caller.inspect("/events?outcome=accepted").await["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["via"].clone())
        .collect();
    assert_eq!(vias, ["v1", "v3", "v2", "v2"]);
}

#[tokio::test]
async fn events_that_are_wrong_in_themselves_are_refused_aloud() {
    let caller = Caller::with_contact().await;
    let good = || event("orderCreated", params("9", "INITIALIZED"));
    let with = |field: &str, value: Value| {
        let mut event = good();
        event[field] = value;
        event
    };
    let twice = json!([{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]);
    let mut long = params("9", "INITIALIZED");
    long.insert("note".into(), json!("x".repeat(20_000)));
    for wrong in [
        with("eventTypeKey", json!("order/created")),
        with("eventTypeKey", json!("e".repeat(101))),
        with("eventTypeKey", json!("")),
        with("keyValue", json!("o'neil")),
        with("keyValue", json!("k".repeat(301))),
        with("params", twice),
        with("params", json!([{"name": "a"}])),
        with("params", json!([{"value": "a"}])),
        event("orderCreated", long),
    ] {
        let mut shown = wrong.to_string();
        shown.truncate(200);
        assert_eq!(caller.wrong("v2/event", wrong).await.status, 400, "{shown}");
    }
    let mut keyless = json!({"eventTypeKey": "viewed", "params": [{"name": "page", "value": "1"}]});
    assert_eq!(caller.post("v2/event", keyless.clone()).await.status, 400, "no key and nothing to take it from");
    keyless["params"] = json!([{"name": "email", "value": "a@example.com"}]);
    caller.post("v2/event", keyless).await.done();
    assert_eq!(caller.inspect("").await["events"], 1, "what is refused aloud is no event");
}

#[tokio::test]
async fn a_validated_event_type_is_refused_in_plain_text_that_is_not_json() {
    let validated = json!({"orderCreated": {"EmailAddress": true, "Phone Number": false}});
    let options = Options { validated: serde_json::from_value(validated).unwrap(), ..Options::default() };
    let caller = Caller::new(options).await;
    let text = caller.post("v2/event", event("orderCreated", params("9", "INITIALIZED"))).await.refused(400);
    let list = text.strip_prefix("The event should have the following params: ").unwrap();
    let list: Value = serde_json::from_str(list).unwrap();
    assert_eq!(list, json!([{"name": "EmailAddress", "required": true}, {"name": "Phone Number", "required": false}]));
}

#[tokio::test]
async fn the_contact_is_found_by_the_first_parameter_that_names_one() {
    let caller = Caller::with_contact().await;
    let found = |name: &str, value: &str| event("viewed", Map::from_iter([(name.to_owned(), json!(value))]));
    assert_eq!(caller.outcome(found("EMAIL", "A@Example.com")).await, "accepted", "names and addresses in any case");
    assert_eq!(caller.outcome(found("externalcustomerid", "1")).await, "accepted");
    assert_eq!(caller.outcome(found("Phone", "380500000001")).await, "unknown_contact");
    let both = json!({"externalCustomerId": "unknown", "email": "a@example.com"});
    assert_eq!(caller.outcome(event("viewed", both.as_object().unwrap().clone())).await, "unknown_contact");
    let null = json!({"externalCustomerId": "null", "email": "a@example.com"});
    assert_eq!(caller.outcome(event("viewed", null.as_object().unwrap().clone())).await, "accepted");
}

#[tokio::test]
async fn an_event_for_a_contact_whose_job_still_runs_is_ignored() {
    let caller = Caller::new(Options::default()).await;
    caller.import(json!([person("1", "a@example.com")])).await;
    assert_eq!(caller.outcome(event("orderCreated", params("9", "INITIALIZED"))).await, "unknown_contact");
    caller.change("settle", json!({})).await;
    assert_eq!(caller.outcome(event("orderCreated", params("9", "INITIALIZED"))).await, "accepted");
}

#[tokio::test]
async fn past_events_have_a_status_each_and_start_no_workflow() {
    let caller = Caller::with_contact().await;
    caller.change("settings", json!({"segmentation_off": ["viewed"]})).await;
    let past = |kind: &str, occurred: Value| {
        let mut event = event(kind, params("9", "DELIVERED"));
        event["occurred"] = occurred;
        event
    };
    let mut undated = past("orderCreated", json!(""));
    undated.as_object_mut().unwrap().remove("occurred");
    let events = json!([
        past("orderCreated", json!("2025-05-14T10:11")),
        past("orderCreated", json!("2025-05-14")),
        undated,
        past("orderCreated", json!("2025-05-14T10:11:00Z")),
        past("orderCreated", json!("1999-05-14")),
        past("orderCreated", json!("2999-05-14")),
        past("viewed", json!("2025-05-14")),
    ]);
    let answer = caller.post("v2/past_events", json!({"events": events})).await.done();
    let statuses: Vec<&str> =
        answer["results"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect();
    let expected = [
        "ACCEPTED",
        "ACCEPTED",
        "OCCURRED_DATE_IS_REQUIRED",
        "INCORRECT_OCCURRED_DATE_FORMAT",
        "OCCURRED_TIME_TOO_DEPTH",
        "OCCURRED_TIME_IN_FUTURE",
        "EVENT_SEGMENTATION_DISABLED",
    ];
    assert_eq!(statuses, expected);
    assert_eq!((&answer["successCount"], &answer["errorCount"]), (&json!(2), &json!(5)));
    assert_eq!(caller.inspect("").await["workflows"], 0);
    caller.change("fail_past_events", json!({"count": 1})).await;
    let answer =
        caller.post("v2/past_events", json!({"events": [past("orderCreated", json!("2025-05-14"))]})).await.done();
    assert_eq!(answer["results"]["status"], "SERVER_ERROR", "one result is an object");
    let many: Vec<Value> = (0..501).map(|_| past("orderCreated", json!("2025-05-14"))).collect();
    assert_eq!(caller.post("v2/past_events", json!({"events": many})).await.status, 400);
    let period = json!({"from": "2025-01-01", "to": "2025-12-31"});
    assert_eq!(caller.call(Method::DELETE, "v1/past_events", Some(&period), true).await.status, 403);
}
