use super::*;
use std::collections::BTreeMap;
use uuid::Uuid;

fn account(base_url: &str, more: &[(&str, Value)]) -> Account {
    let mut settings: BTreeMap<String, Value> = [
        ("client_id", "demo0client0id01"),
        ("api_key", "test-api-key-001"),
        ("api_secret", "demo-secret-0123456789"),
        ("owner", "marketing@shop.example"),
    ]
    .map(|(key, value)| (key.to_owned(), value.into()))
    .into();
    settings.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    Account {
        account: "crm".into(),
        platform: "salesmanago".into(),
        base_url: base_url.into(),
        allow_http: false,
        settings: PlatformSettings(settings),
    }
}

fn item(email: &str) -> Item {
    let request = json!({"contactExtEventType": "PURCHASE", "externalId": "50001"});
    Item {
        key: Uuid::nil(),
        contact_id: Uuid::nil(),
        address: email.into(),
        envelope: crate::json::Json::default(),
        request: request.into(),
    }
}

fn fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => panic!("not an object"),
    }
}

/// The vector of the sheet, section 2.
#[test]
fn the_sha_is_that_of_the_sheet() {
    let sha = sha(&"test-api-key-001".into(), "demo0client0id01", &"demo-secret-0123456789".into());
    assert_eq!(sha.expose_secret(), "5de38205d87e47ba4c78b6984f7e9ddc2feb6443");
}

#[test]
fn settings_that_the_platform_would_refuse_are_refused_first() {
    let target = |more: &[(&str, Value)]| SalesManago::new(&account("app2.salesmanago.com", more), &Load::default());
    assert!(target(&[("location", json!("shop_pl/a-b.c"))]).is_ok());
    for wrong in [
        ("location", json!("My Shop")),
        ("location", json!("x".repeat(37))),
        ("contact_batch", json!(1001)),
        ("event_batch", json!(0)),
        ("confirm_timeout", json!("soon")),
        ("product_id", json!("ean")),
        ("unheard_of", json!(1)),
    ] {
        let error = target(std::slice::from_ref(&wrong)).err().unwrap();
        assert_eq!(error.kind(), Kind::PipelineFile, "{wrong:?}");
    }
    let keys = |more: &[(&str, Value)]| -> Vec<_> {
        inspect(&account("", more).settings).into_iter().map(|remark| remark.key).collect()
    };
    assert_eq!(keys(&[]), Vec::<&str>::new());
    assert_eq!(keys(&[("owner", json!("me")), ("location", json!("A"))]), ["owner", "location"]);
}

#[test]
fn secrets_are_not_among_what_sql_gets_to_know() {
    let target = SalesManago::new(&account("app2.salesmanago.com", &[]), &Load::default()).unwrap();
    let shown = target.deliver_settings().to_string();
    for secret in ["demo-secret-0123456789", "test-api-key-001", "5de38205"] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!format!("{:?}", target.client.options()).contains(secret));
    }
}

#[test]
fn the_message_may_be_a_list_a_text_or_missing() {
    assert_eq!(texts(Some(json!(["a", "b"]))), ["a", "b"]);
    assert_eq!(texts(Some(json!("a"))), ["a"]);
    assert_eq!(texts(Some(json!([{"code": 7}]))), [r#"{"code":7}"#]);
    assert!(texts(None).is_empty() && texts(Some(Value::Null)).is_empty());
}

#[test]
fn what_stops_the_job_is_told_from_what_is_wrong_with_a_record() {
    let kind = |text: &str| explain(&[text.to_owned()]).kind();
    for text in ["User not authenticated", "Not authenticated", "User cannot be empty"] {
        assert_eq!(kind(text), Kind::Credentials, "{text}");
        let items = [item("a@shop.example")];
        assert!(refused(&items, &[text.to_owned()]).is_err(), "even for a single record: {text}");
    }
    assert_eq!(kind("Incorrect email"), Kind::Refused);
    let error = explain(&["Contact anna@shop.example is bad".to_owned()]);
    assert_eq!(error.detail(), "SALESmanago refused the call: Contact … is bad");
}

#[test]
fn a_single_record_is_refused_by_itself_and_a_batch_as_a_whole() {
    let texts = ["Incorrect email".to_owned()];
    let one = refused(&[item("a@shop.example")], &texts).unwrap();
    assert_eq!(one.outcomes, [Outcome::Refused { code: "refused", reason: "Incorrect email".into() }]);
    let two = refused(&[item("a@shop.example"), item("b@shop.example")], &texts).unwrap_err();
    assert_eq!(two.kind(), Kind::Refused);
}

/// One letter per event: acknowledged, later, unknown.
fn judged(addresses: &[&str], answer: Value) -> String {
    let items: Vec<Item> = addresses.iter().map(|address| item(address)).collect();
    let letters = judge(&items, &fields(answer)).into_iter().map(|outcome| match outcome {
        Outcome::Acknowledged(None) => 'a',
        Outcome::Later(_) => 'l',
        Outcome::Unknown(_) => 'u',
        other => panic!("{other:?}"),
    });
    letters.collect()
}

#[test]
fn counters_of_a_batch_are_believed_only_where_they_add_up() {
    let answer = |created: u64, failed: u64, names: Value| json!({"createdAmount": created, "failedAmount": failed, "failedContacts": names});
    let three = ["a@x.example", "B@x.example", "b@x.example"];
    assert_eq!(judged(&three, answer(3, 0, json!([]))), "aaa");
    assert_eq!(judged(&three, answer(1, 2, json!([" b@X.example"]))), "all", "by address, whatever its case");
    assert_eq!(judged(&three, answer(1, 2, json!(["b@x.example", "b@x.example"]))), "all");
    assert_eq!(judged(&three, answer(2, 1, json!(["b@x.example"]))), "auu", "one of two failed, nobody knows which");
    assert_eq!(judged(&three, answer(2, 1, json!(["somebody@else.example"]))), "uuu");
    assert_eq!(judged(&three, answer(1, 2, json!(["a@x.example"]))), "uuu", "who else failed?");
    assert_eq!(judged(&three, answer(3, 0, json!(["a@x.example"]))), "uaa");
    assert_eq!(judged(&three, answer(2, 0, json!([]))), "uuu");
    assert_eq!(judged(&three, answer(u64::MAX, 4, json!([]))), "uuu");
    assert_eq!(judged(&three, json!({"createdAmount": 3, "failedContacts": []})), "uuu");
    assert_eq!(judged(&three, json!({"createdAmount": "3", "failedAmount": 0})), "uuu");
    assert_eq!(judged(&three, json!({"createdAmount": 3, "failedAmount": 0})), "aaa", "nobody failed, nobody is named");
}

fn found(events: Value) -> Found {
    find_event(&[fields(json!({"contactExtEvents": events}))], &item("a@x.example").request.value())
}

#[test]
fn an_event_is_found_by_external_id_and_kind_under_any_of_the_names() {
    let present = Found::Present(Some("7c1e".into()));
    for (id, kind) in [("eventId", "contactExtEventType"), ("id", "type"), ("eventId", "eventType")] {
        assert_eq!(found(json!([{id: "7c1e", kind: "purchase", "externalId": "50001"}])), present, "{id} {kind}");
    }
    assert_eq!(found(json!([{"type": "PURCHASE", "externalId": 50001}])), Found::Present(None), "a number is a text");
    assert_eq!(found(json!([])), Found::Absent);
    assert_eq!(found(json!([{"type": "PURCHASE", "externalId": "50002"}])), Found::Absent);
    assert_eq!(found(json!([{"type": "CART"}, {"type": "RETURN", "externalId": "50001"}])), Found::Absent);
}

#[test]
fn a_card_that_does_not_tell_is_not_taken_for_an_absence() {
    let cannot = |found: Found| matches!(found, Found::CannotTell(_));
    assert!(cannot(found(json!([{"type": "PURCHASE"}]))), "no externalId");
    assert!(cannot(found(json!([{"externalId": "50001"}]))), "no kind");
    let many = vec![json!({"type": "VISIT", "externalId": "1"}); TRUSTED_LIST];
    assert!(cannot(found(json!(many))), "a list that may be cut");
    assert!(cannot(find_event(&[fields(json!({"id": "x"}))], &item("a@x.example").request.value())), "no list");
    assert!(cannot(find_event(&[fields(json!({"contactExtEvents": []}))], &json!({"contactExtEventType": "CART"}))));
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_an_error_and_not_an_unknown() {
    // Nobody listens at port 9 of this machine.
    let mut target = SalesManago::new(&account("http://127.0.0.1:9", &[]), &Load::default()).unwrap();
    let mut options = target.client.options().clone();
    options.retry.attempts = 1;
    target.client = Client::new(options).unwrap();
    target.owner_seen = OnceCell::new_with(Some(()));
    for operation in target.operations().iter().filter(|operation| operation.name != RENAME) {
        let error = target.send(operation, &[item("a@shop.example")], false).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{}", operation.name);
    }
}

#[test]
fn contacts_come_before_events_and_batches_are_as_large_as_the_settings_say() {
    let sizes = [("contact_batch", json!(400)), ("event_batch", json!(300)), ("confirm_timeout", json!("90s"))];
    let target = SalesManago::new(&account("app2.salesmanago.com", &sizes), &Load::default()).unwrap();
    let operations = target.operations();
    let shown: Vec<_> =
        operations.iter().map(|operation| (operation.object, operation.batch, operation.idempotent)).collect();
    let events = ["purchase", "cancellation", "return"].map(|object| (object, 300, false));
    assert_eq!(shown, [&[("contact", 1, false), ("contact", 400, true)][..], &events].concat());
    assert!(operations.iter().all(|operation| operation.needs_contact == (operation.object != "contact")));
    assert_eq!(target.confirm_within(), Duration::from_secs(90));
    let target = SalesManago::new(&account("app2.salesmanago.com", &[]), &Load::default()).unwrap();
    assert!(target.operations().iter().all(|operation| matches!(operation.batch, 1 | 1000)));
}
