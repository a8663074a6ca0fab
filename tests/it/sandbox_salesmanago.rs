//! The emulated SALESmanago behaves as its sheet says: checked over HTTP, and with the sheet's samples where they are.

use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use wharf::sandbox::salesmanago::{Apply, Options, ShownEvents};
use wharf::sandbox::{Fault, FaultKind, Sandbox, SandboxOptions};

/// A running account and a caller that knows its credentials.
struct Caller {
    sandbox: Sandbox,
    http: reqwest::Client,
    api_key: String,
    options: Options,
}

impl Caller {
    async fn new(options: Options) -> Self {
        // Whoever comes first installs it; later tests find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let served = SandboxOptions::default().with(options.clone());
        let sandbox = Sandbox::start(served).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { sandbox, http, api_key: "my-own-text".into(), options }
    }

    /// An account in which batch upserts take effect at once.
    async fn prompt() -> Self {
        Self::new(Options { apply: Apply::AfterRequests(0), ..Options::default() }).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.salesmanago_url())
    }

    /// A call as any client of the platform makes it.
    async fn raw(&self, path: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let answer = self.http.post(self.url(&format!("/api/{path}"))).json(body).send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    fn signed(&self, mut body: Value) -> Value {
        let sha = Sha1::new()
            .chain_update(&self.api_key)
            .chain_update(&self.options.client_id)
            .chain_update(&self.options.api_secret)
            .finalize();
        body["clientId"] = json!(self.options.client_id);
        body["apiKey"] = json!(self.api_key);
        body["sha"] = json!(hex::encode(sha));
        body["requestTime"] = json!(1_714_983_072_000_i64);
        if body.get("owner").is_none() {
            body["owner"] = json!(self.options.users[0]);
        }
        body
    }

    async fn call(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.raw(path, &self.signed(body)).await.unwrap();
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// A call that must succeed.
    async fn done(&self, path: &str, body: Value) -> Value {
        let answer = self.call(path, body).await;
        assert_eq!(answer["success"], true, "{path}: {answer}");
        assert_eq!(answer["message"], json!([]), "{path}");
        answer
    }

    /// The text with which a call is refused.
    async fn refusal(&self, path: &str, body: Value) -> String {
        let answer = self.call(path, body).await;
        assert_eq!(answer["success"], false, "{path}: {answer}");
        answer["message"][0].as_str().unwrap().to_owned()
    }

    async fn upsert(&self, email: &str, more: Value) -> Value {
        let mut body = json!({"contact": {"email": email}, "useApiDoubleOptIn": false});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.done("contact/upsert", body).await
    }

    async fn inspect(&self, path: &str) -> Value {
        let answer = self.http.get(self.url(&format!("/_sandbox/salesmanago{path}"))).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    async fn change(&self, name: &str, body: Value) -> Value {
        let url = self.url(&format!("/_sandbox/salesmanago/{name}"));
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{name}: {answer:?}");
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    async fn card(&self, email: &str) -> Value {
        self.inspect(&format!("/contacts?email={email}")).await
    }

    async fn violations(&self) -> Map<String, Value> {
        self.inspect("/violations").await["counts"].as_object().unwrap().clone()
    }
}

/// A sample of the sheet, or nothing where the folder is absent.
fn sample(name: &str) -> Option<Value> {
    let root = std::env::var("WHARF_SHARED").unwrap_or_else(|_| "../shared".into());
    let path = format!("{root}/platforms/salesmanago/{name}.json");
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(_) => {
            eprintln!("skipped: {path} is not here");
            None
        }
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// An account that the samples' requests open.
async fn sample_account(apply: Apply) -> Option<Caller> {
    let vector = sample("auth_vector")?;
    let text = |name: &str| vector[name].as_str().unwrap().to_owned();
    let mut caller = Caller::new(Options {
        client_id: text("clientId"),
        api_secret: text("apiSecret"),
        users: vec!["marketing@shop.example".into(), "admin@shop.example".into()],
        apply,
        ..Options::default()
    })
    .await;
    caller.api_key = text("apiKey");
    Some(caller)
}

#[tokio::test]
async fn wrong_credentials_are_answered_with_200_and_the_words_of_the_sheet() {
    let caller = Caller::prompt().await;
    let right = caller.signed(json!({}));
    for (field, wrong) in [("sha", json!("0".repeat(40))), ("clientId", json!("other")), ("apiKey", json!("other"))] {
        let mut body = right.clone();
        body[field] = wrong;
        let (status, answer) = caller.raw("user/listByClient", &body).await.unwrap();
        assert_eq!(
            (status, answer),
            (200, json!({"success": false, "message": ["User not authenticated"]})),
            "{field}"
        );
    }
    let users = caller.done("user/listByClient", json!({})).await;
    assert_eq!(users["users"], json!(["owner@shop.example"]));
    caller.change("settings", json!({"users_as_objects": true})).await;
    let users = caller.done("user/listByClient", json!({})).await;
    assert_eq!(users["users"][0]["email"], "owner@shop.example");
    caller.change("settings", json!({"active": false})).await;
    assert_eq!(caller.refusal("user/listByClient", json!({})).await, "Not authenticated");
}

#[tokio::test]
async fn a_call_without_owner_or_with_an_unknown_one_is_refused() {
    let caller = Caller::prompt().await;
    let body = json!({"contact": {"email": "a@shop.example"}, "owner": ""});
    assert_eq!(caller.refusal("contact/upsert", body).await, "User cannot be empty");
    let body = json!({"contact": {"email": "a@shop.example"}, "owner": "nobody@shop.example"});
    assert_eq!(caller.refusal("contact/upsert", body).await, "User not found");
    assert_eq!(
        caller.refusal("contact/upsert", json!({"contacts": {"email": "a@shop.example"}})).await,
        "No email specified"
    );
    let (status, _) = caller.raw("contact/unheardOf", &caller.signed(json!({}))).await.unwrap();
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_opt_flags_decide_as_the_table_says_for_new_and_known_contacts() {
    let caller = Caller::prompt().await;
    // (in, out) → opted out for a new contact, for one opted in, for one opted out.
    let table = [
        ((false, false), [true, false, true]),
        ((true, false), [false; 3]),
        ((false, true), [true; 3]),
        ((true, true), [true; 3]),
    ];
    for ((force_in, force_out), expected) in table {
        for (before, expected) in [None, Some(false), Some(true)].into_iter().zip(expected) {
            let email =
                format!("c{force_in}{force_out}{before:?}@shop.example").to_lowercase().replace(['(', ')'], "-");
            if let Some(opted_out) = before {
                let flags = json!({"forceOptIn": !opted_out, "forceOptOut": opted_out,
                    "forcePhoneOptIn": !opted_out, "forcePhoneOptOut": opted_out});
                caller.upsert(&email, flags).await;
            }
            caller.upsert(&email, json!({"forceOptIn": force_in, "forceOptOut": force_out})).await;
            let card = caller.card(&email).await;
            assert_eq!(card["optedOut"], expected, "in {force_in}, out {force_out}, before {before:?}");
            // The other channel is independent.
            assert_eq!(card["optedOutPhone"], before.unwrap_or(true), "{email}");
            caller.upsert(&email, json!({"forcePhoneOptIn": force_in, "forcePhoneOptOut": force_out})).await;
            assert_eq!(caller.card(&email).await["optedOutPhone"], expected, "{email}");
        }
    }
}

#[tokio::test]
async fn a_batch_upsert_takes_effect_only_after_later_calls() {
    let caller = Caller::new(Options { apply: Apply::AfterRequests(2), ..Options::default() }).await;
    let details = json!([{"contact": {"email": "late@shop.example"}, "forceOptIn": true}]);
    let body = json!({"upsertDetails": details, "useApiDoubleOptIn": false});
    let answer = caller.done("contact/batchupsertv2", body).await;
    assert!(answer["requestId"].is_u64());
    let ask = || caller.done("contact/basic", json!({"email": ["late@shop.example"]}));
    assert_eq!(ask().await["contacts"], json!([]));
    assert_eq!(caller.inspect("").await["waiting"], 1, "looking through the back door is no call");
    assert_eq!(ask().await["contacts"][0]["optedOut"], false);
}

#[tokio::test]
async fn a_batch_upsert_can_be_held_until_the_control_says_so() {
    let caller = Caller::new(Options { apply: Apply::OnCommand, ..Options::default() }).await;
    for name in ["a", "b"] {
        let details = json!([{"contact": {"email": format!("{name}@shop.example")}}]);
        caller.done("contact/batchupsertv2", json!({"upsertDetails": details, "useApiDoubleOptIn": false})).await;
    }
    for _ in 0..5 {
        caller.done("contact/tags", json!({})).await;
    }
    assert_eq!(caller.inspect("").await["contacts"], 0);
    assert_eq!(caller.change("settle", json!({})).await["applied"], 2);
    assert_eq!(caller.inspect("").await["contacts"], 2);
}

#[tokio::test]
async fn tags_are_kept_in_capitals_with_underscores_and_removed_in_any_spelling() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({"tags": ["rtv agd", "Żółw", "old one"]})).await;
    caller.upsert("a@shop.example", json!({"tags": ["RTV_AGD", "new"], "removeTags": ["Old One"]})).await;
    let card = caller.card("a@shop.example").await;
    let tags: Vec<_> = card["contactTags"].as_array().unwrap().iter().map(|tag| tag["tag"].as_str().unwrap()).collect();
    assert_eq!(tags, ["RTV_AGD", "ŻÓŁW", "NEW"]);
    caller.done("contact/managetags", json!({"email": "a@shop.example", "tags": ["x"], "removeTags": ["new"]})).await;
    let answer = caller.done("contact/tags", json!({"showSystemTags": false})).await;
    let expected = json!([{"tag": "RTV_AGD", "numberOfTagged": 1}, {"tag": "X", "numberOfTagged": 1},
        {"tag": "ŻÓŁW", "numberOfTagged": 1}]);
    assert_eq!(answer["tags"], expected);
}

#[tokio::test]
async fn what_is_left_out_stays_and_a_null_erases_and_is_noted() {
    let caller = Caller::prompt().await;
    let body = json!({"contact": {"email": "a@shop.example", "name": "Anna", "phone": "+48500100200",
        "address": {"city": "Łódź", "zipCode": "90-001"}}, "birthday": "19850607", "properties": {"size": "M", "colour": "red"}});
    caller.done("contact/upsert", body).await;
    let body = json!({"contact": {"email": " A@Shop.Example ", "phone": null, "address": {"city": "Kraków"}},
        "properties": {"size": "L"}});
    caller.done("contact/upsert", body).await;
    let card = caller.card("a@shop.example").await;
    assert_eq!((&card["name"], &card["phone"]), (&json!("Anna"), &Value::Null));
    assert_eq!((&card["address"]["city"], &card["address"]["zipCode"]), (&json!("Kraków"), &json!("90-001")));
    assert_eq!((&card["birthdayMonth"], &card["birthdayDay"]), (&json!("6"), &json!("7")));
    assert_eq!(card["properties"], json!([{"name": "colour", "value": "red"}, {"name": "size", "value": "L"}]));
    assert_eq!(caller.violations().await["null-field"], 1);
}

#[tokio::test]
async fn a_new_address_renames_the_card_in_a_single_upsert_alone() {
    let caller = Caller::prompt().await;
    let before = caller.upsert("old@shop.example", json!({"tags": ["x"]})).await;
    let details = json!([{"contact": {"email": "old@shop.example"}, "newEmail": "new@shop.example"}]);
    caller.done("contact/batchupsertv2", json!({"upsertDetails": details, "useApiDoubleOptIn": false})).await;
    assert_eq!(caller.card("old@shop.example").await["email"], "old@shop.example");
    assert_eq!(caller.violations().await["new-email-in-batch"], 1);
    let after = caller.upsert("old@shop.example", json!({"newEmail": "new@shop.example"})).await;
    assert_eq!(before["contactId"], after["contactId"]);
    let card = caller.card("new@shop.example").await;
    assert_eq!((&card["email"], &card["contactTags"][0]["tag"]), (&json!("new@shop.example"), &json!("X")));
    assert_eq!(caller.done("contact/hasContact", json!({"email": "old@shop.example"})).await["result"], false);
}

#[tokio::test]
async fn letters_go_out_unless_forbidden_and_automations_run_unless_held() {
    let caller = Caller::prompt().await;
    let batch = |names: &[&str], more: Value| {
        let details: Vec<_> = names
            .iter()
            .map(|name| json!({"contact": {"email": format!("{name}@shop.example")}, "forceOptIn": true}))
            .collect();
        let mut body = json!({"upsertDetails": details});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        caller.done("contact/batchupsertv2", body)
    };
    batch(&["quiet"], json!({"useApiDoubleOptIn": false, "fireEvents": false})).await;
    assert_eq!(
        (&caller.inspect("/letters").await["count"], &caller.inspect("/automations").await["count"]),
        (&json!(0), &json!(0))
    );
    batch(&["quiet", "loud"], json!({})).await;
    // Whoever is opted in already gets no letter.
    assert_eq!(caller.inspect("/letters").await["emails"], json!(["loud@shop.example"]));
    assert_eq!(caller.inspect("/automations").await["count"], 2);
    assert_eq!(caller.violations().await["double-opt-in-left-out"], 1);
}

#[tokio::test]
async fn batches_beyond_1000_and_lists_beyond_50_are_refused() {
    let caller = Caller::prompt().await;
    let details = |count: usize| -> Vec<Value> {
        (0..count).map(|number| json!({"contact": {"email": format!("c{number}@shop.example")}})).collect()
    };
    let body = |count| json!({"upsertDetails": details(count), "useApiDoubleOptIn": false, "fireEvents": false});
    assert_eq!(caller.call("contact/batchupsertv2", body(1001)).await["success"], false);
    caller.done("contact/batchupsertv2", body(1000)).await;
    assert_eq!(caller.inspect("").await["contacts"], 1000);
    let emails = |count: usize| (0..count).map(|number| format!("C{number}@shop.example")).collect::<Vec<_>>();
    assert_eq!(caller.call("contact/listAll", json!({"email": emails(51)})).await["success"], false);
    let answer = caller.done("contact/listAll", json!({"email": emails(50)})).await;
    assert_eq!(answer["contacts"].as_array().unwrap().len(), 50);
}

fn purchase(email: &str, number: &str) -> Value {
    json!({"email": email, "contactEvent": {"date": 1_714_983_072_000_i64, "contactExtEventType": "PURCHASE",
        "products": "11,22", "value": 259.97, "externalId": number}})
}

#[tokio::test]
async fn a_batch_of_events_names_the_unknown_keeps_the_rest_and_never_deduplicates() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({})).await;
    let events = json!([
        purchase("a@shop.example", "1"),
        purchase("Nobody@shop.example", "2"),
        purchase("Nobody@shop.example", "3"),
        purchase("a@shop.example", "1")
    ]);
    let answer = caller.done("v2/contact/addBatchContactExtEvent", json!({"events": events})).await;
    assert_eq!(answer["failedContacts"], json!(["Nobody@shop.example"]));
    assert_eq!((&answer["createdAmount"], &answer["failedAmount"]), (&json!(2), &json!(2)));
    let events = caller.inspect("/events?email=a@shop.example&type=PURCHASE&external_id=1").await;
    assert_eq!(events["events"].as_array().unwrap().len(), 2, "the same order twice is there twice");
    let many = vec![purchase("a@shop.example", "9"); 1001];
    assert_eq!(caller.call("v2/contact/addBatchContactExtEvent", json!({"events": many})).await["success"], false);
}

#[tokio::test]
async fn events_can_be_updated_and_deleted_by_their_id_alone() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({})).await;
    let event =
        |kind: &str, value: f64| json!({"date": 1_714_983_072_000_i64, "contactExtEventType": kind, "value": value});
    let body = json!({"email": "a@shop.example", "forceOptIn": false, "contactEvent": event("CART", 1.0)});
    let id = caller.done("v2/contact/addContactExtEvent", body).await["eventId"].as_str().unwrap().to_owned();
    let mut changed = event("CART", 2.5);
    changed["eventId"] = json!(id);
    caller.done("v2/contact/updateContactExtEvent", json!({"contactEvent": changed})).await;
    let events = caller.inspect("/events").await;
    assert_eq!((&events["events"][0]["value"], events["events"].as_array().unwrap().len()), (&json!(2.5), 1));
    assert_eq!(caller.done("contact/deleteContactExtEvent", json!({"eventId": id})).await["result"], "deleted");
    assert_eq!(caller.refusal("contact/deleteContactExtEvent", json!({"eventId": id})).await, "Event not found");
    let body = json!({"email": "nobody@shop.example", "contactEvent": event("CART", 1.0)});
    assert_eq!(caller.refusal("v2/contact/addContactExtEvent", body).await, "Contact not found");
}

#[tokio::test]
async fn only_the_old_path_takes_an_iso_date() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({})).await;
    let body = json!({"email": "a@shop.example", "contactEvent": {"date": "2024-05-06T08:11:12Z", "contactExtEventType": "CART"}});
    assert_eq!(caller.refusal("v2/contact/addContactExtEvent", body.clone()).await, "Incorrect date");
    caller.done("contact/addContactExtEvent", body).await;
    assert_eq!(caller.inspect("/events").await["events"][0]["date"], 1_714_983_072_000_i64);
}

#[tokio::test]
async fn texts_of_an_event_are_limited_in_bytes() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({})).await;
    for (field, limit) in [
        ("description", 2048),
        ("products", 512),
        ("location", 255),
        ("detail20", 255),
        ("externalId", 255),
        ("shopDomain", 255),
    ] {
        let body = |text: String| {
            let mut event = purchase("a@shop.example", "1");
            event["contactEvent"][field] = json!(text);
            json!({"events": [event]})
        };
        let fits = "ż".repeat(limit / 2);
        caller.done("v2/contact/addBatchContactExtEvent", body(fits.clone())).await;
        let refusal = caller.refusal("v2/contact/addBatchContactExtEvent", body(fits + "żż")).await;
        assert!(refusal.contains(field), "{refusal}");
    }
}

#[tokio::test]
async fn careless_events_are_noted() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({})).await;
    let event = json!({"date": 1_714_983_072, "contactExtEventType": "PURCHASE", "products": "1, 2", "value": 1.234,
        "location": "My Shop", "detail21": "x", "description": null});
    let body = json!({"email": "a@shop.example", "forceOptIn": true, "contactEvent": event});
    caller.done("v2/contact/addContactExtEvent", body).await;
    let noted: Vec<_> = caller.violations().await.into_iter().map(|(code, _)| code).collect();
    assert_eq!(
        noted,
        [
            "bad-location",
            "bad-value",
            "date-in-seconds",
            "null-field",
            "opt-in-by-event",
            "space-in-products",
            "unknown-field"
        ]
    );
    assert_eq!(caller.card("a@shop.example").await["optedOut"], false);
}

#[tokio::test]
async fn modified_contacts_come_page_by_page_until_there_is_no_more() {
    let caller = Caller::prompt().await;
    for number in 0..5 {
        caller.upsert(&format!("c{number}@shop.example"), json!({})).await;
    }
    let mut seen = BTreeSet::new();
    for page in 1.. {
        let answer = caller
            .done("contact/paginatedModifiedContacts", json!({"from": 0, "to": i64::MAX, "page": page, "size": 2}))
            .await;
        for contact in answer["modifiedContacts"].as_array().unwrap() {
            assert!(seen.insert(contact["email"].as_str().unwrap().to_owned()));
        }
        if answer["hasMore"] == false {
            assert_eq!(page, 3);
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    let none = caller.done("contact/modifiedContacts", json!({"from": 0, "to": 1})).await;
    assert_eq!(none["modifiedContacts"], json!([]));
}

#[tokio::test]
async fn opting_in_and_out_and_deleting_work_one_by_one_and_in_batches() {
    let caller = Caller::prompt().await;
    for name in ["a", "b"] {
        caller.upsert(&format!("{name}@shop.example"), json!({"forceOptIn": true})).await;
    }
    caller.done("contact/optout", json!({"email": "a@shop.example"})).await;
    caller.done("contact/phoneoptin", json!({"email": "a@shop.example"})).await;
    let card = caller.card("a@shop.example").await;
    assert_eq!((&card["optedOut"], &card["optedOutPhone"]), (&json!(true), &json!(false)));
    let ids = caller.done("contact/batchoptout", json!({"emails": ["b@shop.example", "c@shop.example"]})).await;
    assert_eq!(keys(&ids["contactIds"]), BTreeSet::from(["b@shop.example"]));
    assert_eq!(caller.card("b@shop.example").await["optedOut"], true);

    caller.done("contact/delete", json!({"email": "a@shop.example", "permanently": false})).await;
    let shown = caller.done("contact/basic", json!({"email": ["a@shop.example", "b@shop.example"]})).await;
    assert_eq!((&shown["contacts"][0]["deleted"], &shown["contacts"][1]["deleted"]), (&json!(true), &json!(false)));
    assert_eq!(caller.done("contact/hasContact", json!({"email": "a@shop.example"})).await["result"], false);
    caller
        .done("contact/batchDelete", json!({"contacts": [{"addresseeType": "EMAIL", "value": "b@shop.example"}]}))
        .await;
    caller.change("delete", json!({"email": "b@shop.example", "permanently": true})).await;
    let shown = caller.done("contact/basic", json!({"email": ["a@shop.example", "b@shop.example"]})).await;
    assert_eq!(shown["contacts"].as_array().unwrap().len(), 1);
    // A deleted person who is written again has no consent left.
    caller.upsert("a@shop.example", json!({})).await;
    assert_eq!(caller.card("a@shop.example").await["optedOut"], true);
}

#[tokio::test]
async fn a_click_through_the_back_door_shows_in_the_account() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({"forceOptIn": true})).await;
    caller.change("consent", json!({"email": "a@shop.example", "opted_out": true})).await;
    let shown = caller.done("contact/basic", json!({"email": ["a@shop.example"]})).await;
    assert_eq!(shown["contacts"][0]["optedOut"], true);
    let done = caller
        .http
        .post(caller.url("/_sandbox/change"))
        .json(&json!({"platform": "salesmanago", "consent": {"email": "a@shop.example", "opted_out": false}}))
        .send()
        .await
        .unwrap();
    assert!(done.status().is_success());
    assert_eq!(caller.card("a@shop.example").await["optedOut"], false);
}

#[tokio::test]
async fn one_address_can_be_made_to_fail_the_whole_call() {
    let caller = Caller::prompt().await;
    caller.change("refuse", json!({"email": "bad@shop.example", "text": "Incorrect email"})).await;
    let details = json!([{"contact": {"email": "a@shop.example"}}, {"contact": {"email": "BAD@shop.example"}}]);
    let body = json!({"upsertDetails": details, "useApiDoubleOptIn": false});
    assert_eq!(caller.refusal("contact/batchupsertv2", body).await, "Incorrect email");
    let body = json!({"events": [purchase("a@shop.example", "1"), purchase("bad@shop.example", "2")]});
    assert_eq!(caller.refusal("v2/contact/addBatchContactExtEvent", body).await, "Incorrect email");
    assert_eq!(caller.inspect("").await["contacts"], 0);
}

#[tokio::test]
async fn cards_show_events_as_the_settings_say() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({})).await;
    caller.done("v2/contact/addBatchContactExtEvent", json!({"events": [purchase("a@shop.example", "7")]})).await;
    let mut seen = Vec::new();
    for shown in [ShownEvents::Full, ShownEvents::ShortNames, ShownEvents::WithoutExternalId, ShownEvents::LeftOut] {
        caller.change("settings", json!({"shown_events": shown})).await;
        let card = caller.done("contact/listAll", json!({"email": ["a@shop.example"]})).await["contacts"][0].clone();
        let event = card.get("contactExtEvents").map(|events| events[0].clone());
        seen.push(event.map(|event| {
            let has = |name: &str| event.get(name).is_some();
            (has("externalId"), has("contactExtEventType"), has("type"))
        }));
    }
    assert_eq!(seen, [Some((true, true, false)), Some((true, false, true)), Some((false, true, false)), None]);
}

#[tokio::test]
async fn an_export_runs_as_a_job_and_ends_in_a_file() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({})).await;
    let request =
        caller.done("contact/paginatedContactList/export", json!({"page": 1, "size": 10})).await["requestId"].clone();
    let first = caller.call("job/status", json!({"requestId": request})).await;
    assert_ne!(first["message"], json!([]));
    let second = caller.done("job/status", json!({"requestId": request})).await;
    let file = caller.http.get(second["fileUrl"].as_str().unwrap()).send().await.unwrap().text().await.unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(file["contacts"][0]["email"], "a@shop.example");
}

#[tokio::test]
async fn a_lost_answer_has_done_its_work_and_a_dropped_call_has_not() {
    let caller = Caller::prompt().await;
    caller.upsert("a@shop.example", json!({})).await;
    for (kind, events) in [(FaultKind::Drop, 0), (FaultKind::Lost, 1)] {
        caller.sandbox.fault(Fault::new(kind, "/api/v2/contact/addBatchContactExtEvent"));
        let body = caller.signed(json!({"events": [purchase("a@shop.example", "1")]}));
        assert!(caller.raw("v2/contact/addBatchContactExtEvent", &body).await.is_err());
        assert_eq!(caller.inspect("").await["events"], events, "{kind:?}");
    }
}

#[tokio::test]
async fn the_samples_of_the_sheet_are_understood_and_answered_in_their_shape() {
    let Some(caller) = sample_account(Apply::AfterRequests(0)).await else { return };
    let of = |name: &str| sample(name).unwrap();
    let send = async |path: &str, name: &str| caller.raw(path, &of(name)).await.unwrap().1;

    let users = caller.done("user/listByClient", json!({})).await;
    assert_eq!(users, of("user_listByClient_response"));

    let answer = send("contact/upsert", "upsert_request").await;
    assert_eq!(keys(&answer), keys(&of("upsert_response")));
    let card = caller.card("anna.nowak@example.com").await;
    assert_eq!((&card["optedOut"], &card["optedOutPhone"]), (&json!(false), &json!(true)));
    let sample_card = of("contact_list_response");
    let unknown_there = BTreeSet::from(["dictionaryProperties", "consentDetails"]);
    assert_eq!(&keys(&card) - &unknown_there, keys(&sample_card["contacts"][0]));
    assert_eq!(keys(&card["contactTags"][0]), keys(&of("contact_list_response")["contacts"][0]["contactTags"][0]));

    let answer = send("contact/batchupsertv2", "batchupsertv2_request").await;
    assert_eq!(keys(&answer), keys(&of("batchupsertv2_response")));
    let ewa = caller.card("ewa.probna@example.com").await;
    assert_eq!((&ewa["optedOut"], &ewa["contactTags"][0]["tag"]), (&json!(true), &json!("REJESTRACJA")));
    assert_eq!(caller.inspect("/automations").await["count"], 1, "the single upsert's alone");

    let basic = caller.done("contact/basic", json!({"email": ["anna.nowak@example.com"]})).await;
    assert_eq!(keys(&basic["contacts"][0]), keys(&of("contact_basic_response")["contacts"][0]));

    let answer = send("v2/contact/addContactExtEvent", "addContactExtEvent_request").await;
    assert_eq!(keys(&answer), keys(&of("addContactExtEvent_response")));
    let mut update = of("updateContactExtEvent_request");
    update["contactEvent"]["eventId"] = answer["eventId"].clone();
    let (_, updated) = caller.raw("v2/contact/updateContactExtEvent", &update).await.unwrap();
    assert_eq!(updated["eventId"], answer["eventId"]);

    let answer = send("v2/contact/addBatchContactExtEvent", "addBatchContactExtEvent_request").await;
    assert_eq!(answer, of("addBatchContactExtEvent_response"));
    caller.change("delete", json!({"email": "piotr.test@example.com", "permanently": true})).await;
    let answer = send("v2/contact/addBatchContactExtEvent", "addBatchContactExtEvent_request").await;
    assert_eq!(answer, of("addBatchContactExtEvent_partial_response"));

    let answer = caller.done("contact/hasContact", json!({"email": "anna.nowak@example.com"})).await;
    assert_eq!(keys(&answer), keys(&of("hasContact_true_response")));
    let answer = caller.done("contact/optout", json!({"email": "ewa.probna@example.com"})).await;
    assert_eq!(keys(&answer), keys(&of("optout_response")));
    let answer = caller
        .done("contact/paginatedModifiedContacts", json!({"from": 0, "to": i64::MAX, "page": 1, "size": 1}))
        .await;
    assert_eq!(keys(&answer), keys(&of("paginatedModifiedContacts_page1_response")));
    assert_eq!(caller.violations().await, Map::new(), "the samples are careful");
}
