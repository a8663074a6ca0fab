//! The SALESmanago target against the emulated account, and its calls byte by byte (`tests/golden/salesmanago/`).

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use uuid::Uuid;
use wharf::Kind;
use wharf::config::pipeline::{Account, Load, PlatformSettings};
use wharf::sandbox::salesmanago::{Apply, Options, SalesManago as Platform, ShownEvents};
use wharf::sandbox::{Fault, FaultKind, Platform as _, Sandbox, SandboxOptions};
use wharf::target::{Found, Item, Operation, Outcome, Target, registry};

const EVENTS: &str = "/api/v2/contact/addBatchContactExtEvent";

fn target_at(base_url: &str, settings: Value) -> Arc<dyn Target> {
    let Value::Object(settings) = settings else { panic!("settings are an object") };
    let account = Account {
        account: "crm".into(),
        platform: "salesmanago".into(),
        base_url: base_url.into(),
        allow_http: false,
        settings: PlatformSettings(settings.into_iter().collect()),
    };
    registry::build(&account, &Load::default()).unwrap()
}

/// The settings that open the emulated account.
fn credentials() -> Value {
    let platform = Platform::open(Options::default()).unwrap();
    let mut settings = json!({});
    for (variable, value) in platform.credentials() {
        settings[variable.trim_start_matches("SM_").to_lowercase()] = json!(value);
    }
    settings
}

struct Pair {
    sandbox: Sandbox,
    target: Arc<dyn Target>,
}

impl Pair {
    async fn new(options: Options) -> Self {
        let served = SandboxOptions::default().with(options);
        let sandbox = Sandbox::start(served).await.unwrap();
        let target = target_at(&sandbox.salesmanago_url(), credentials());
        Self { sandbox, target }
    }

    async fn prompt() -> Self {
        Self::new(Options { apply: Apply::AfterRequests(0), ..Options::default() }).await
    }

    fn platform(&self) -> &Platform {
        self.sandbox.salesmanago().unwrap()
    }

    fn operation(&self, name: &str) -> Operation {
        operation(&*self.target, name)
    }

    async fn send(&self, name: &str, items: &[Item]) -> wharf::Result<Vec<Outcome>> {
        Ok(self.target.send(&self.operation(name), items, false).await?.outcomes)
    }

    async fn create(&self, emails: &[&str]) {
        let items: Vec<Item> = emails.iter().map(|email| contact(email, json!({}))).collect();
        self.send("upsert contacts", &items).await.unwrap();
    }

    fn state(&self) -> Value {
        self.platform().state()
    }

    fn has(&self, email: &str) -> bool {
        self.platform().account().find(email).is_some()
    }
}

fn operation(target: &dyn Target, name: &str) -> Operation {
    target.operations().into_iter().find(|operation| operation.name == name).unwrap()
}

fn item(email: &str, request: Value) -> Item {
    Item {
        key: Uuid::new_v4(),
        contact_id: Uuid::new_v4(),
        address: email.into(),
        envelope: Value::Null.into(),
        request: request.into(),
    }
}

/// A contact as `sql/deliver` renders it.
fn contact(email: &str, more: Value) -> Item {
    let mut request = json!({"contact": {"email": email}, "forceOptIn": false, "forceOptOut": false,
        "forcePhoneOptIn": false, "forcePhoneOptOut": false});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item(email, request)
}

fn event(email: &str, kind: &str, order: &str) -> Item {
    let request = json!({"date": 1_714_983_072_000_i64, "contactExtEventType": kind, "products": "SKU-11,SKU-22",
        "value": 259.97, "location": "shop_pl", "description": "Przelewy24", "detail1": "Telewizor 32,Kabel HDMI",
        "detail2": order, "detail3": "1/2", "detail9": "PLN", "externalId": order, "shopDomain": "shop.example"});
    item(email, request)
}

fn rename(old: &str, new: &str) -> Item {
    contact(old, json!({"newEmail": new, "lang": "PL", "tags": ["REJESTRACJA"]}))
}

fn acknowledged(count: usize) -> Vec<Outcome> {
    vec![Outcome::Acknowledged(None); count]
}

fn all_unknown(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| matches!(outcome, Outcome::Unknown(_)))
}

#[tokio::test]
async fn contacts_arrive_with_tags_consent_and_address_and_without_letters() {
    let pair = Pair::prompt().await;
    let full = contact(
        "anna@shop.example",
        json!({"contact": {"email": "anna@shop.example", "name": "Anna Żak", "address": {"city": "Łódź"}},
            "tags": ["REJESTRACJA"], "birthday": "19850607", "properties": {"size": "M"}, "forceOptIn": true}),
    );
    let operation = pair.operation("upsert contacts");
    let done = pair.target.send(&operation, &[full, contact("ewa@shop.example", json!({}))], true).await.unwrap();
    assert_eq!(done.outcomes, acknowledged(2));
    assert!(done.reference.is_some());
    let state = pair.state();
    assert_eq!((&state["contacts"], &state["opted_in"]), (&json!(2), &json!(1)), "no statement, no opt-in");
    assert_eq!((&state["letters"], &state["automations"], &state["violations"]), (&json!(0), &json!(0), &json!({})));
    let account = pair.platform().account();
    assert_eq!(account.tags_of(account.find("anna@shop.example").unwrap()), ["REJESTRACJA"]);
}

#[tokio::test]
async fn automations_run_for_changes_but_not_on_the_first_load() {
    let pair = Pair::prompt().await;
    let operation = pair.operation("upsert contacts");
    for (first_load, automations) in [(true, 0), (false, 1)] {
        pair.target.send(&operation, &[contact("a@shop.example", json!({}))], first_load).await.unwrap();
        assert_eq!(pair.state()["automations"], automations);
    }
}

#[tokio::test]
async fn an_accepted_contact_is_seen_only_when_it_is_there() {
    let pair = Pair::new(Options { apply: Apply::OnCommand, ..Options::default() }).await;
    pair.create(&["a@shop.example"]).await;
    let addresses = ["a@shop.example".to_owned()];
    assert_eq!(pair.target.contacts(&addresses).await.unwrap(), [None]);
    let early = pair.send("add purchases", &[event("a@shop.example", "PURCHASE", "1")]).await.unwrap();
    assert_eq!(early, [Outcome::Later("contact not there yet".into())]);
    pair.platform().change(&json!({"settle": {}})).unwrap();
    assert!(pair.target.contacts(&addresses).await.unwrap()[0].is_some());
    let done = pair.send("add purchases", &[event("a@shop.example", "PURCHASE", "1")]).await.unwrap();
    assert_eq!((done, &pair.state()["events"]), (acknowledged(1), &json!(1)));
}

#[tokio::test]
async fn contact_states_come_in_the_order_asked_by_chunks_of_fifty() {
    let pair = Pair::prompt().await;
    let emails: Vec<String> = (0..120).map(|number| format!("c{number}@shop.example")).collect();
    let known: Vec<&str> = emails.iter().step_by(2).map(String::as_str).collect();
    pair.create(&known).await;
    pair.platform().change(&json!({"consent": {"email": "c0@shop.example", "opted_out": false}})).unwrap();
    pair.platform().change(&json!({"delete": {"email": "c2@shop.example"}})).unwrap();
    let asked: Vec<String> = emails.iter().map(|email| email.to_uppercase()).collect();
    let states = pair.target.contacts(&asked).await.unwrap();
    let seen: Vec<bool> = states.iter().map(Option::is_some).collect();
    let expected: Vec<bool> = (0..120).map(|number| number % 2 == 0).collect();
    assert_eq!(seen, expected);
    let state = states[0].clone().unwrap();
    assert_eq!((state.email_opted_out, state.sms_opted_out, state.is_deleted), (false, true, false));
    assert!(state.created_at <= state.modified_at && state.created_at.is_some() && state.target_id.is_some());
    assert!(states[2].as_ref().is_some_and(|deleted| deleted.is_deleted && deleted.email_opted_out));
    assert_eq!(pair.platform().account().calls["contact/basic"], 3);
    assert!(pair.platform().account().violations.is_empty());
}

#[tokio::test]
async fn a_rename_keeps_the_card_and_can_be_repeated() {
    let pair = Pair::prompt().await;
    pair.create(&["old@shop.example"]).await;
    let first = pair.send("rename contact", &[rename("old@shop.example", "new@shop.example")]).await.unwrap();
    let Outcome::Acknowledged(Some(id)) = &first[0] else { panic!("{first:?}") };
    assert!(pair.has("new@shop.example") && !pair.has("old@shop.example"));
    let again = pair.send("rename contact", &[rename("old@shop.example", "new@shop.example")]).await.unwrap();
    assert_eq!(again, [Outcome::Acknowledged(Some(id.clone()))]);
    assert_eq!(pair.state()["contacts"], 1, "no second person");
}

#[tokio::test]
async fn a_rename_whose_answer_is_lost_ends_with_one_card() {
    let pair = Pair::prompt().await;
    pair.create(&["old@shop.example"]).await;
    let items = [rename("old@shop.example", "new@shop.example")];
    let operation = pair.operation("rename contact");
    let look = || pair.target.look_up(&operation, &items);
    assert_eq!(look().await.unwrap(), [Found::Absent]);
    pair.sandbox.fault(Fault::new(FaultKind::Lost, "/api/contact/upsert"));
    let lost = pair.send("rename contact", &items).await.unwrap();
    assert!(matches!(lost[0], Outcome::Unknown(_)), "{lost:?}");
    assert!(matches!(look().await.unwrap()[..], [Found::Present(Some(_))]), "the next load finds it");
    let done = pair.send("rename contact", &[rename("old@shop.example", "new@shop.example")]).await.unwrap();
    assert!(matches!(done[0], Outcome::Acknowledged(Some(_))), "{done:?}");
    assert_eq!((pair.has("new@shop.example"), &pair.state()["contacts"]), (true, &json!(1)));
}

#[tokio::test]
async fn a_rename_onto_somebody_else_is_refused_and_changes_nothing() {
    let pair = Pair::prompt().await;
    pair.create(&["old@shop.example", "new@shop.example"]).await;
    let outcomes = pair.send("rename contact", &[rename("old@shop.example", "new@shop.example")]).await.unwrap();
    assert!(matches!(&outcomes[0], Outcome::Refused { code: "address-taken", .. }), "{outcomes:?}");
    assert!(pair.has("old@shop.example"));
    assert!(!pair.platform().account().calls.contains_key("contact/upsert"));
}

#[tokio::test]
async fn a_rename_of_a_card_that_is_gone_makes_one_at_the_new_address() {
    let pair = Pair::prompt().await;
    pair.send("rename contact", &[rename("old@shop.example", "new@shop.example")]).await.unwrap();
    assert!(pair.has("new@shop.example") && !pair.has("old@shop.example"));
}

#[tokio::test]
async fn of_a_batch_of_events_only_those_without_contact_wait() {
    let pair = Pair::prompt().await;
    pair.create(&["a@shop.example"]).await;
    let items = [
        event("a@shop.example", "PURCHASE", "1"),
        event("Nobody@shop.example", "PURCHASE", "2"),
        event("a@shop.example", "PURCHASE", "3"),
    ];
    let outcomes = pair.send("add purchases", &items).await.unwrap();
    let later = Outcome::Later("contact not there yet".into());
    assert_eq!(outcomes, [Outcome::Acknowledged(None), later, Outcome::Acknowledged(None)]);
    assert_eq!(pair.state()["events_by_type"], json!({"PURCHASE": 2}));
    assert_eq!(pair.state()["violations"], json!({}));
}

#[tokio::test]
async fn an_event_batch_of_open_fate_is_unknown_and_never_sent_twice() {
    let faults = [
        (FaultKind::Lost, 1),
        (FaultKind::Drop, 0),
        (FaultKind::Cut, 1),
        (FaultKind::Html, 0),
        (FaultKind::Error, 0),
        (FaultKind::Maintenance, 0),
        (FaultKind::TruncatedJson, 1),
    ];
    for (kind, arrived) in faults {
        let pair = Pair::prompt().await;
        pair.create(&["a@shop.example"]).await;
        pair.sandbox.fault(Fault::new(kind, EVENTS));
        let items = [event("a@shop.example", "PURCHASE", "1")];
        let outcomes = pair.send("add purchases", &items).await.unwrap();
        assert!(all_unknown(&outcomes), "{kind:?}: {outcomes:?}");
        assert_eq!(pair.sandbox.requests().calls("salesmanago", EVENTS).len(), 1, "{kind:?}");
        let found = pair.target.look_up(&pair.operation("add purchases"), &items).await.unwrap();
        match arrived {
            0 => assert_eq!(found, [Found::Absent], "{kind:?}"),
            _ => assert!(matches!(found[0], Found::Present(Some(_))), "{kind:?}: {found:?}"),
        }
    }
}

#[tokio::test]
async fn an_event_batch_that_was_throttled_is_sent_again() {
    let pair = Pair::prompt().await;
    pair.create(&["a@shop.example"]).await;
    let (total, status) = (json!(1), Fault::new(FaultKind::Status, EVENTS).status(400, "{}"));
    pair.sandbox.fault(status);
    let items = [event("a@shop.example", "PURCHASE", "1")];
    assert_eq!(pair.send("add purchases", &items).await.unwrap_err().kind(), Kind::Refused, "4xx: certainly not done");
    pair.sandbox.clear_faults();
    pair.sandbox.fault(Fault::new(FaultKind::Throttle, EVENTS).retry_after("3600"));
    let error = pair.send("add purchases", &items).await.unwrap_err();
    assert_eq!((error.kind(), error.wait().map(|wait| wait.as_secs())), (Kind::Throttled, Some(3600)));
    assert_eq!(pair.state()["events"], json!(0));
    let fresh = target_at(&pair.sandbox.salesmanago_url(), credentials());
    fresh.send(&operation(&*fresh, "add purchases"), &items, false).await.unwrap();
    assert_eq!(pair.state()["events"], total);
}

#[tokio::test]
async fn a_look_up_tells_present_from_absent_from_silence() {
    let pair = Pair::prompt().await;
    pair.create(&["a@shop.example", "b@shop.example"]).await;
    pair.send("add purchases", &[event("a@shop.example", "PURCHASE", "1")]).await.unwrap();
    let items = [
        event("A@shop.example", "PURCHASE", "1"),
        event("a@shop.example", "RETURN", "1"),
        event("b@shop.example", "PURCHASE", "1"),
        event("nobody@shop.example", "PURCHASE", "1"),
    ];
    let present = |found: &Found| matches!(found, Found::Present(Some(_)));
    let cannot = |found: &Found| matches!(found, Found::CannotTell(_));
    let operation = pair.operation("add purchases");
    let look = || pair.target.look_up(&operation, &items);
    let show = |how: ShownEvents| pair.platform().change(&json!({"settings": {"shown_events": how}})).unwrap();
    for how in [ShownEvents::Full, ShownEvents::ShortNames] {
        show(how);
        let found = look().await.unwrap();
        assert!(present(&found[0]), "{found:?}");
        assert_eq!(found[1..], [Found::Absent, Found::Absent, Found::Absent]);
    }
    show(ShownEvents::WithoutExternalId);
    let found = look().await.unwrap();
    assert!(cannot(&found[0]), "{found:?}");
    assert_eq!(found[1..], [Found::Absent, Found::Absent, Found::Absent], "another kind, no events, no card");
    show(ShownEvents::LeftOut);
    let found = look().await.unwrap();
    assert!(found[..3].iter().all(cannot), "{found:?}");
    assert_eq!(found[3], Found::Absent, "no card, no events");
    assert_eq!(pair.state()["events"], 1, "looking changes nothing");
}

#[tokio::test]
async fn a_batch_refused_for_one_address_is_an_error_and_alone_the_one_is_refused() {
    let pair = Pair::prompt().await;
    pair.create(&["a@shop.example", "bad@shop.example"]).await;
    pair.platform().change(&json!({"refuse": {"email": "bad@shop.example", "text": "Incorrect email"}})).unwrap();
    let refused = [Outcome::Refused { code: "refused", reason: "Incorrect email".into() }];
    let contacts = [contact("a@shop.example", json!({})), contact("bad@shop.example", json!({}))];
    let events = [event("a@shop.example", "PURCHASE", "1"), event("bad@shop.example", "PURCHASE", "2")];
    for (name, items) in [("upsert contacts", contacts), ("add purchases", events)] {
        assert_eq!(pair.send(name, &items).await.unwrap_err().kind(), Kind::Refused, "{name}");
        assert_eq!(pair.send(name, &items[1..]).await.unwrap(), refused, "{name}");
        assert_eq!(pair.send(name, &items[..1]).await.unwrap(), acknowledged(1), "{name}");
    }
}

#[tokio::test]
async fn wrong_credentials_stop_everything_and_say_what_to_compare() {
    let pair = Pair::prompt().await;
    let mut wrong = credentials();
    wrong["api_secret"] = json!("hidden-but-wrong");
    let target = target_at(&pair.sandbox.salesmanago_url(), wrong);
    for name in ["upsert contacts", "add purchases"] {
        let items = [event("a@shop.example", "PURCHASE", "1")];
        let error = target.send(&operation(&*target, name), &items, false).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Credentials, "{name}");
        assert!(error.hint_text().unwrap().contains("api_secret"));
        assert!(!format!("{error:?}").contains("hidden-but-wrong"));
    }
    let findings = target.check().await;
    assert_eq!(findings.iter().map(|finding| finding.ok).collect::<Vec<_>>(), [false]);
    assert!(findings[0].detail.contains("User not authenticated"), "{findings:?}");
}

#[tokio::test]
async fn credentials_that_are_withdrawn_in_the_middle_stop_a_batch_without_unknowns() {
    let pair = Pair::prompt().await;
    pair.create(&["a@shop.example"]).await;
    pair.platform().change(&json!({"settings": {"api_secret": "another"}})).unwrap();
    let error = pair.send("add purchases", &[event("a@shop.example", "PURCHASE", "1")]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
    pair.platform().change(&json!({"settings": {"api_secret": "sandbox-secret", "active": false}})).unwrap();
    let error = pair.send("add purchases", &[event("a@shop.example", "PURCHASE", "1")]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
    assert!(error.hint_text().unwrap().contains("inactive"));
}

#[tokio::test]
async fn an_owner_who_does_not_exist_stops_the_load_before_the_first_write() {
    let pair = Pair::prompt().await;
    let mut settings = credentials();
    settings["owner"] = json!("nobody@shop.example");
    let target = target_at(&pair.sandbox.salesmanago_url(), settings);
    let items = [contact("a@shop.example", json!({}))];
    let error = target.send(&operation(&*target, "upsert contacts"), &items, true).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
    assert_eq!(pair.state()["calls"], json!({"user/listByClient": 1}));
    let findings = target.check().await;
    let ok: Vec<_> = findings.iter().map(|finding| finding.ok).collect();
    assert_eq!(ok, [true, false, false], "{findings:?}");
}

#[tokio::test]
async fn a_check_writes_nothing_and_finds_users_as_texts_and_as_objects() {
    for users_as_objects in [false, true] {
        let pair = Pair::new(Options { users_as_objects, ..Options::default() }).await;
        let findings = pair.target.check().await;
        assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");
        assert_eq!(findings.len(), 3);
        assert_eq!(pair.state()["calls"], json!({"contact/hasContact": 1, "user/listByClient": 1}));
    }
}

#[tokio::test]
async fn a_page_instead_of_an_answer_is_told_by_the_check() {
    let pair = Pair::prompt().await;
    pair.sandbox.fault(Fault::new(FaultKind::Html, "*").times(0));
    let findings = pair.target.check().await;
    assert!(!findings[0].ok);
    let error = pair.send("upsert contacts", &[contact("a@shop.example", json!({}))]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotJson);
}

// Calls byte by byte ----------------------------------------------------------------------------------------------------------

/// What a recording platform has heard, and what it says.
#[derive(Clone, Default)]
struct Recorder {
    heard: Arc<Mutex<Vec<(String, String, Value)>>>,
    says: Arc<Mutex<Value>>,
}

impl Recorder {
    async fn start() -> (Self, Arc<dyn Target>) {
        let recorder = Self::default();
        let router = Router::new().route("/api/{*path}", post(record)).with_state(recorder.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let settings = json!({"client_id": "demo0client0id01", "api_key": "test-api-key-001",
            "api_secret": "demo-secret-0123456789", "owner": "marketing@shop.example", "lang": "PL"});
        (recorder, target_at(&url, settings))
    }

    /// The last call, its time taken out after it was seen to be now, in milliseconds.
    fn last(&self) -> (String, String, Value) {
        let (path, content_type, mut body) = self.heard.lock().unwrap().last().cloned().unwrap();
        let age = jiff::Timestamp::now().as_millisecond() - body["requestTime"].as_i64().unwrap();
        assert!((0..600_000).contains(&age), "requestTime is not now in milliseconds: {age}");
        body["requestTime"] = json!(0);
        (path, content_type, body)
    }
}

async fn record(
    State(recorder): State<Recorder>,
    Path(path): Path<String>,
    headers: axum::http::HeaderMap,
    Json(body): Json<Value>,
) -> Json<Value> {
    let content_type = headers["content-type"].to_str().unwrap().to_owned();
    assert_eq!(headers["accept"], "application/json, application/json");
    recorder.heard.lock().unwrap().push((path.clone(), content_type, body));
    match path.as_str() {
        "user/listByClient" => Json(json!({"success": true, "message": [], "users": ["marketing@shop.example"]})),
        // The card to be renamed is there.
        "contact/basic" => Json(json!({"success": true, "contacts": [{"email": "anna.nowak@example.com"}]})),
        _ => Json(recorder.says.lock().unwrap().clone()),
    }
}

/// Compares with a golden file; `UPDATE_GOLDEN=1` writes it.
fn golden(name: &str, body: &Value) {
    let path = format!("{}/tests/golden/salesmanago/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = format!("{}\n", serde_json::to_string_pretty(body).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, expected, "{path}; UPDATE_GOLDEN=1 writes what is sent now");
}

#[tokio::test]
async fn the_body_of_each_operation_is_what_the_golden_files_say() {
    let (recorder, target) = Recorder::start().await;
    let anna = contact(
        "anna.nowak@example.com",
        json!({"contact": {"email": "anna.nowak@example.com", "name": "Anna Nowak", "phone": "+48500100200",
            "company": "Nowak Test", "externalId": "1001", "state": "CUSTOMER",
            "address": {"streetAddress": "Testowa 1/2", "zipCode": "00-001", "city": "Warszawa", "country": "PL"}},
            "province": "mazowieckie", "birthday": "19850607", "tags": ["REJESTRACJA"], "removeTags": ["PROSPECT_OLD"],
            "properties": {"shop_language": "pl"}, "forceOptIn": true}),
    );
    let mut renamed = anna.clone();
    renamed.request = anna.request.with_member("newEmail", "\"anna.kowalska@example.com\"");
    let of = |kind: &str| {
        vec![event("anna.nowak@example.com", kind, "50001"), event("piotr.test@example.com", kind, "50002")]
    };
    let counted = json!({"success": true, "message": [], "failedContacts": [], "createdAmount": 2, "failedAmount": 0});
    let accepted = json!({"success": true, "message": [], "requestId": 410_233});
    let upserted = json!({"success": true, "message": [], "contactId": "5b0f", "externalId": "1001"});
    let contacts = vec![anna, contact("piotr.test@example.com", json!({"tags": ["NEWSLETTER"]}))];
    let batch_path = "contact/batchupsertv2";
    for (name, operation_name, first_load, items, says, path) in [
        ("upsert_contacts_first_load", "upsert contacts", true, contacts.clone(), &accepted, batch_path),
        ("upsert_contacts", "upsert contacts", false, contacts, &accepted, batch_path),
        ("rename_contact", "rename contact", false, vec![renamed], &upserted, "contact/upsert"),
        ("add_purchases", "add purchases", true, of("PURCHASE"), &counted, &EVENTS[5..]),
        ("add_cancellations", "add cancellations", false, of("CANCELLATION"), &counted, &EVENTS[5..]),
        ("add_returns", "add returns", false, of("RETURN"), &counted, &EVENTS[5..]),
    ] {
        *recorder.says.lock().unwrap() = says.clone();
        let done = target.send(&operation(&*target, operation_name), &items, first_load).await.unwrap();
        assert!(done.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Acknowledged(_))), "{name}: {done:?}");
        let (heard_path, content_type, body) = recorder.last();
        assert_eq!((heard_path.as_str(), content_type.as_str()), (path, "application/json;charset=UTF-8"), "{name}");
        golden(name, &body);
    }
}

#[tokio::test]
async fn answers_that_do_not_say_success_are_never_taken_for_one() {
    let (recorder, target) = Recorder::start().await;
    let upsert = operation(&*target, "upsert contacts");
    let add = operation(&*target, "add purchases");
    for says in [json!({}), json!([]), json!({"success": "true", "createdAmount": 1, "failedAmount": 0}), json!(null)] {
        *recorder.says.lock().unwrap() = says.clone();
        let error = target.send(&upsert, &[contact("a@shop.example", json!({}))], false).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Protocol, "{says}");
        let done = target.send(&add, &[event("a@shop.example", "PURCHASE", "1")], false).await.unwrap();
        assert!(all_unknown(&done.outcomes), "{says}: {done:?}");
    }
}

#[tokio::test]
async fn the_samples_of_the_sheet_are_read_as_they_are() {
    let root = std::env::var("WHARF_SHARED").unwrap_or_else(|_| "../shared".into());
    let sample = |name: &str| -> Option<Value> {
        let path = format!("{root}/platforms/salesmanago/{name}.json");
        let bytes = std::fs::read(&path).inspect_err(|_| eprintln!("skipped: {path} is not here")).ok()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    };
    let (recorder, target) = Recorder::start().await;
    let items = [event("anna.nowak@example.com", "PURCHASE", "1"), event("Piotr.Test@example.com", "PURCHASE", "2")];
    let later = Outcome::Later("contact not there yet".into());
    for (name, expected) in [
        ("addBatchContactExtEvent_response", acknowledged(2)),
        ("addBatchContactExtEvent_partial_response", vec![Outcome::Acknowledged(None), later]),
    ] {
        let Some(says) = sample(name) else { return };
        *recorder.says.lock().unwrap() = says;
        let done = target.send(&operation(&*target, "add purchases"), &items, false).await.unwrap();
        assert_eq!(done.outcomes, expected, "{name}");
    }
    *recorder.says.lock().unwrap() = sample("contact_list_response").unwrap();
    let found = target.look_up(&operation(&*target, "add purchases"), &items).await.unwrap();
    assert_eq!(found, [Found::Absent, Found::Absent]);
    *recorder.says.lock().unwrap() = sample("batchupsertv2_response").unwrap();
    let done = target.send(&operation(&*target, "upsert contacts"), &[contact("a@b.example", json!({}))], false).await;
    assert_eq!(done.unwrap().reference.as_deref(), Some("410233"));
    *recorder.says.lock().unwrap() = sample("error_not_authenticated_response").unwrap();
    let error = target.send(&operation(&*target, "add purchases"), &items, false).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
}
