use super::*;
use crate::json::Json;
use serde_json::json;
use uuid::Uuid;

fn item(contact: Value) -> Item {
    Item {
        key: Uuid::nil(),
        contact_id: Uuid::nil(),
        address: "a@shop.example".into(),
        envelope: json!({"dedupeOn": "externalCustomerId", "contactFields": ["email"]}).into(),
        request: Json::from(contact),
    }
}

fn people() -> Vec<Item> {
    vec![
        item(json!({"externalCustomerId": "801", "channels": [{"type": "email", "value": "a@shop.example"}]})),
        item(json!({"channels": [{"type": "email", "value": "b@shop.example"}]})),
        item(json!({"channels": [{"type": "sms", "value": "380501"}]})),
    ]
}

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused { .. })
}

#[test]
fn failed_contacts_are_found_whether_they_come_as_list_or_object_and_by_whatever_they_show() {
    for failed in [
        json!({"channels": {"type": "sms", "value": "380501"}, "error": "no"}),
        json!([{"channels": [{"type": "SMS", "value": 380_501}], "error": "no"}]),
    ] {
        let mut answer = json!({"asyncSessionId": "s", "id": "0", "failedContacts": failed});
        let judged = judge_import(&people(), &mut answer).unwrap();
        assert_eq!(judged.reference.as_deref(), Some("s"));
        assert_eq!(judged.outcomes[..2], [Outcome::Started, Outcome::Started]);
        assert!(is_refused(&judged.outcomes[2]), "{judged:?}");
    }
}

#[test]
fn an_import_that_started_nothing_is_no_success() {
    let all_failed = json!([{"externalCustomerId": 801, "error": "x"}, {"channels": {"value": "B@shop.example"}},
        {"channels": {"value": "380501"}}]);
    let judged = judge_import(&people(), &mut json!({"failedContacts": all_failed, "id": "0"})).unwrap();
    assert!(judged.outcomes.iter().all(is_refused) && judged.reference.is_none(), "{judged:?}");
    let error = judge_import(&people(), &mut json!({"errorMessage": "too much"})).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(judge_import(&people(), &mut Value::Null).unwrap_err().kind(), Kind::Protocol);
    let one = judge_import(&people()[..1], &mut json!({"failedContacts": {"error": "nameless"}})).unwrap();
    assert!(is_refused(&one.outcomes[0]), "{one:?}");
}

#[test]
fn who_is_not_in_the_mapping_of_a_finished_import_is_looked_for() {
    let there = |id: &str| Outcome::There(Some(id.into()));
    assert_eq!(mapped(&people(), &[]), vec![Outcome::There(None); 3], "no mapping, no doubt");
    let mapping = [json!({"dedupeValue": 801, "contactId": "12"}), json!({"dedupeValue": "380501", "contactId": 13})];
    let mut contacts = people();
    assert_eq!(mapped(&contacts[..1], &mapping), [there("12")]);
    contacts.iter_mut().for_each(|item| item.envelope = json!({"dedupeOn": "email_or_sms"}).into());
    assert_eq!(mapped(&contacts, &mapping), [there("12"), Outcome::Acknowledged(None), there("13")]);
}

#[test]
fn an_activity_is_an_opt_out_of_its_channel_in_the_accounts_zone() {
    let zone = TimeZone::get("Europe/Kyiv").unwrap();
    let row = |more: Value| {
        let mut row = json!({"activityStatus": "UNSUBSCRIBED", "email": "A@shop.example", "sms": "+38050 1",
            "activityDateTime": "2023-09-14T08:30:03"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        opt_out(&row, "UNSUBSCRIBED", &zone)
    };
    let read = row(json!({"mediaType": "email"})).unwrap();
    assert_eq!(
        (read.address.as_str(), read.channel, read.at.to_string().as_str()),
        ("a@shop.example", "email", "2023-09-14T05:30:03.999999Z")
    );
    assert_eq!(
        row(json!({"mediaType": "SMS"})).map(|read| (read.address, read.channel)),
        Some(("380501".into(), "sms"))
    );
    assert_eq!(row(json!({})).map(|read| read.channel), Some("email"));
    assert!(row(json!({"mediaType": "webpush"})).is_none());
    assert!(row(json!({"activityStatus": "READ"})).is_none(), "a filter that was ignored");
    assert!(row(json!({"activityDateTime": "soon"})).is_none());
    assert_eq!(
        row(json!({"activityDateTime": "2023-09-14T08:30:03+01:00"})).unwrap().at.to_string(),
        "2023-09-14T07:30:03.999999Z"
    );
}

#[test]
fn parts_of_paths_are_written_safely() {
    assert_eq!(encoded("a/b c?"), "a%2Fb%20c%3F");
}
