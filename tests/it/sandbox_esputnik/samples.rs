//! The sheet's own samples, where they are here: requests are taken, answers have the same shape.

use super::{Caller, sample};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wharf::sandbox::esputnik::Options;

fn json_sample(name: &str) -> Option<Value> {
    Some(serde_json::from_str(&sample(name)?).unwrap())
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn sample_requests_are_taken_and_leave_what_they_say() {
    let Some(bulk) = json_sample("contacts_bulk_request.json") else { return };
    let caller = Caller::prompt().await;
    let answer = caller.post("v1/contacts", bulk).await.done();
    assert_eq!(keys(&answer), keys(&json_sample("contacts_bulk_response_ok.json").unwrap()));
    let status = caller.get(&format!("v1/importstatus/{}", answer["asyncSessionId"].as_str().unwrap())).await;
    assert_eq!(keys(&status), keys(&json_sample("importstatus_finished.json").unwrap()));
    let olena = caller.contact("801").await;
    let shown = caller.get(&format!("v1/contact/{}", olena["id"])).await;
    assert_eq!(keys(&shown), keys(&json_sample("contact_get.json").unwrap()), "{shown}");

    let added = caller.post("v1/contact", json_sample("contact_add_request.json").unwrap()).await.done();
    assert_eq!(keys(&added), keys(&json_sample("contact_add_response.json").unwrap()));
    let subscribed = caller.post("v1/contact/subscribe", json_sample("contact_subscribe_request.json").unwrap()).await;
    assert_eq!(keys(&subscribed.done()), keys(&json_sample("contact_subscribe_response.json").unwrap()));
    caller.post("v1/emails/unsubscribed/add", json_sample("unsubscribed_add_request.json").unwrap()).await.done();
    assert_eq!(caller.contact("801").await["mailable"], false);
    caller.post("v1/group/200400/contacts/attach", json_sample("group_attach_request.json").unwrap()).await.done();

    caller.post("v1/orders", json_sample("orders_request.json").unwrap()).await.done();
    assert_eq!(caller.inspect("/orders?id=1001-A").await["status"], "DELIVERED");
    let account = caller.get("v1/account/info").await;
    assert_eq!(keys(&account), keys(&json_sample("account_info.json").unwrap()));
    let sent = caller.post("v1/message/1/smartsend", {
        let mut body = json_sample("smartsend_request.json").unwrap();
        // The file says text; the platform's own example has null for "none".
        body.as_object_mut().unwrap().remove("fromName");
        body
    });
    assert_eq!(
        keys(&sent.await.done()["results"]),
        keys(&json_sample("smartsend_response_single_collapsed.json").unwrap()["results"])
    );
}

#[tokio::test]
async fn sample_events_are_accepted_in_their_order() {
    let names = ["v2_order_created", "v2_order_updated", "v2_order_delivered", "v1_order_created"];
    let caller = Caller::prompt().await;
    let contact = json!({"externalCustomerId": "801", "channels": [{"type": "sms", "value": "380500000001"}]});
    caller.import(json!([contact])).await;
    for name in names {
        let Some(event) = json_sample(&format!("event_{name}_request.json")) else { return };
        caller.post(&format!("{}/event", &name[..2]), event).await.done();
    }
    let events = caller.inspect("/events").await["events"].clone();
    let outcomes: Vec<_> = events.as_array().unwrap().iter().map(|event| event["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["accepted"; 4], "{events}");
    let past = json_sample("past_events_v2_request.json").unwrap();
    let answer = caller.post("v2/past_events", past).await.done();
    assert_eq!(answer["results"]["status"], "ACCEPTED");
}

#[tokio::test]
async fn refusals_have_the_shape_of_the_samples() {
    let Some(expected) = json_sample("contacts_bulk_response_one_failed_collapsed.json") else { return };
    let caller = Caller::new(Options::default()).await;
    let bad = json!({"channels": [{"type": "sms", "value": "12"}]});
    let good = json!({"channels": [{"type": "email", "value": "a@example.com"}]});
    let answer = caller.import(json!([bad, good])).await;
    assert_eq!(answer["failedContacts"], expected["failedContacts"]);
    caller.change("settings", json!({"collapse": false})).await;
    let failed = json_sample("orders_response_failed.json").unwrap();
    let order = failed["failedOrders"][0]["order"].clone();
    let answer = caller.wrong("v1/orders", json!({"orders": [order]})).await.done();
    assert_eq!(answer, failed);
}
