//! Add orders: what is refused order by order, what is made of contacts, which workflows start.

use super::{Caller, person};
use axum::http::Method;
use serde_json::{Value, json};

pub fn order(id: &str, status: &str) -> Value {
    json!({
        "externalOrderId": id,
        "email": "a@example.com",
        "totalCost": 1000,
        "status": status,
        "date": "2026-03-01T10:14:40+02:00",
        "currency": "UAH",
        "shipping": 10,
        "items": [{"externalItemId": "TEA", "name": "Tea", "quantity": 2, "cost": 495, "url": "https://shop.example/p/tea",
            "imageUrl": "https://shop.example/i/tea.jpg"}],
    })
}

#[tokio::test]
async fn orders_that_are_all_taken_are_answered_with_nothing_and_each_starts_a_workflow() {
    let caller = Caller::prompt().await;
    let answer =
        caller.post("v1/orders", json!({"orders": [order("1", "INITIALIZED"), order("2", "DELIVERED")]})).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    caller.post("v1/orders", json!({"orders": [order("1", "DELIVERED")]})).await.done();
    let events = caller.inspect("/events").await["events"].clone();
    let seen: Vec<_> =
        events.as_array().unwrap().iter().map(|event| (&event["order"], &event["type"], &event["outcome"])).collect();
    let expected = [("1", "orderINITIALIZED"), ("2", "orderDELIVERED"), ("1", "orderDELIVERED")];
    let expected: Vec<_> = expected.map(|(order, kind)| (json!(order), json!(kind), json!("accepted"))).into();
    assert_eq!(seen, expected.iter().map(|(order, kind, outcome)| (order, kind, outcome)).collect::<Vec<_>>());
    let state = caller.inspect("").await;
    assert_eq!((&state["orders"], &state["orders_by_status"]), (&json!(2), &json!({"DELIVERED": 2})));
    assert_eq!(state["contacts_by_maker"], json!({"order": 1}), "an unknown buyer becomes a contact, once");
    assert_eq!(caller.inspect("/workflows?repeated=true").await["count"], 0);
    assert_eq!(caller.violations().await, json!({}));
}

#[tokio::test]
async fn an_order_sent_again_as_it_was_starts_its_workflow_again_and_is_noted() {
    let caller = Caller::prompt().await;
    for _ in 0..2 {
        caller.post("v1/orders", json!({"orders": [order("1", "INITIALIZED")]})).await.done();
    }
    let repeated = caller.inspect("/workflows?repeated=true").await["workflows"].clone();
    let expected =
        json!([{"order": "1", "type": "orderINITIALIZED", "status": "INITIALIZED", "starts": 2, "unchanged": 1}]);
    assert_eq!(repeated, expected);
    assert_eq!(caller.violations().await, json!({"order-resent-unchanged": 1}));
}

#[tokio::test]
async fn refused_orders_are_named_inside_a_200_and_the_rest_goes_in() {
    let caller = Caller::prompt().await;
    let without = |field: &str| {
        let mut order = order("x", "INITIALIZED");
        order.as_object_mut().unwrap().remove(field);
        order
    };
    let with = |field: &str, value: Value| {
        let mut order = order("x", "INITIALIZED");
        order[field] = value;
        order
    };
    let bad = [
        without("externalOrderId"),
        without("totalCost"),
        without("status"),
        without("date"),
        without("currency"),
        without("email"),
        with("date", json!("2026-03-01T10:14:40")),
        with("status", json!("SENT")),
        with("currency", json!("GBP")),
        with("totalCost", json!("1000")),
        with("email", json!("bad@@example.com")),
        with("phone", json!("+380500000001")),
        with("additionalInfo", json!({"n": 1})),
        with("items", json!([{"externalItemId": "TEA"}])),
        with("items", json!([{"quantity": 1}])),
    ];
    for order in &bad {
        let answer = caller.wrong("v1/orders", json!({"orders": [order]})).await.done();
        assert!(answer["failedOrders"]["error"].is_string(), "one is an object: {answer} of {order}");
    }
    let mut all: Vec<Value> = bad.to_vec();
    all.push(order("good", "INITIALIZED"));
    let answer = caller.wrong("v1/orders", json!({"orders": all})).await.done();
    assert_eq!(answer["failedOrders"].as_array().unwrap().len(), bad.len());
    assert_eq!(answer["failedOrders"][5]["error"], "At least one of externalCustomerId, email, phone is required");
    assert_eq!(caller.inspect("").await["orders"], 1);

    caller.change("refuse", json!({"value": "ghost", "text": "Internal error"})).await;
    let answer = caller.post("v1/orders", json!({"orders": [order("ghost", "INITIALIZED")]})).await.done();
    assert_eq!(answer["failedOrders"]["error"], "Internal error");
    let many: Vec<Value> = (0..1001).map(|n| order(&n.to_string(), "INITIALIZED")).collect();
    assert_eq!(caller.post("v1/orders", json!({"orders": many})).await.status, 400);
    caller.change("settings", json!({"null_when_no_order_failed": true})).await;
    let answer = caller.post("v1/orders", json!({"orders": [order("2", "INITIALIZED")]})).await.done();
    assert_eq!(answer, json!({"failedOrders": null}));
}

#[tokio::test]
async fn an_order_finds_its_contact_and_leaves_it_as_it_is() {
    let caller = Caller::prompt().await;
    let mut known = person("1", "a@example.com");
    known["firstName"] = json!("Anna");
    caller.import(json!([known])).await;
    let mut bought = order("7", "INITIALIZED");
    bought["externalCustomerId"] = json!("1");
    bought["email"] = json!("other@example.com");
    bought["firstName"] = json!("Somebody");
    caller.post("v1/orders", json!({"orders": [bought]})).await.done();
    let contact = caller.contact("1").await;
    assert_eq!((&contact["firstName"], &contact["channels"][0]["value"]), (&json!("Anna"), &json!("a@example.com")));
    assert_eq!(caller.inspect("").await["contacts"], 1);
    assert_eq!(caller.inspect("/orders?id=7").await["contact"], contact["id"]);
    let mut other = order("8", "INITIALIZED");
    other["externalCustomerId"] = json!("2");
    caller.post("v1/orders", json!({"orders": [other]})).await.done();
    assert_ne!(caller.inspect("/orders?id=8").await["contact"], contact["id"], "the address belongs to another number");
}

#[tokio::test]
async fn money_that_does_not_add_up_and_items_that_are_not_whole_are_noted() {
    let caller = Caller::prompt().await;
    let mut short = order("1", "INITIALIZED");
    short["totalCost"] = json!(900);
    let mut bare = order("2", "INITIALIZED");
    bare["items"] = json!([{"externalItemId": "TEA", "quantity": 2, "cost": 495}]);
    caller.post("v1/orders", json!({"orders": [short, bare]})).await.done();
    assert_eq!(caller.violations().await, json!({"items-do-not-add-up": 1, "item-not-whole": 1}));
}

#[tokio::test]
async fn an_order_can_be_deleted_by_its_number() {
    let caller = Caller::prompt().await;
    caller.post("v1/orders", json!({"orders": [order("1", "INITIALIZED")]})).await.done();
    caller.call(Method::DELETE, "v1/orders?externalOrderId=1", None, false).await.done();
    assert_eq!(caller.inspect("").await["orders"], 0);
}
