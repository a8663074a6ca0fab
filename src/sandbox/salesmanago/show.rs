//! The two JSON faces of a card: `contact/basic` (with `contactId`) and `contact/list` (with `id`, tags, properties,
//! events), as section 4 of the sheet and its samples show them.

use super::ShownEvents;
use super::account::Account;
use super::event::event_id;
use serde_json::{Map, Value, json};

/// The prefix of every contact id; the card's number follows in hexadecimal.
pub const CONTACT_PREFIX: &str = "5b0f6f0a-1111-4aaa-9bbb-0000";

/// The id of a card.
pub fn contact_id(number: u32) -> String {
    format!("{CONTACT_PREFIX}{number:08x}")
}

/// What both faces share.
fn common(account: &Account, number: u32, details: &Map<String, Value>) -> Map<String, Value> {
    let card = account.card(number);
    let text = |name: &str| details.get(name).cloned().unwrap_or(Value::Null);
    let birthday = details.get("birthday").and_then(Value::as_str).unwrap_or_default();
    let (year, day) = if birthday.len() == 8 { birthday.split_at(4) } else { ("", birthday) };
    let part = |digits: Option<&str>| {
        digits.and_then(|digits| digits.parse::<u16>().ok()).map_or(Value::Null, |number| number.to_string().into())
    };
    let mut shown = Map::new();
    for name in ["name", "phone", "fax", "company", "externalId"] {
        shown.insert(name.into(), text(name));
    }
    shown.insert("email".into(), (*card.email).into());
    shown.insert("score".into(), 0.into());
    shown.insert("state".into(), details.get("state").cloned().unwrap_or_else(|| "PROSPECT".into()));
    shown.insert("optedOut".into(), card.opted_out.into());
    shown.insert("optedOutPhone".into(), card.opted_out_phone.into());
    shown.insert("deleted".into(), card.deleted.into());
    shown.insert("invalid".into(), false.into());
    shown.insert("birthdayYear".into(), part(Some(year)));
    shown.insert("birthdayMonth".into(), part(day.get(..2)));
    shown.insert("birthdayDay".into(), part(day.get(2..)));
    shown.insert("modifiedOn".into(), card.modified.into());
    shown.insert("createdOn".into(), card.created.into());
    shown
}

/// As `contact/basic` shows it.
pub fn basic(account: &Account, number: u32) -> Value {
    let details = account.card(number).details();
    let mut shown = common(account, number, &details);
    shown.insert("contactId".into(), contact_id(number).into());
    shown.insert("address".into(), Value::Null);
    shown.insert("lastVisit".into(), Value::Null);
    shown.into()
}

/// As `contact/list` shows it.
pub fn full(account: &Account, number: u32) -> Value {
    let card = account.card(number);
    let details = card.details();
    let text = |name: &str| details.get(name).cloned().unwrap_or(Value::Null);
    let mut shown = common(account, number, &details);
    shown.insert("id".into(), contact_id(number).into());
    shown.insert(
        "address".into(),
        json!({
            "streetAddress": text("streetAddress"),
            "zipCode": text("zipCode"),
            "city": text("city"),
            "country": text("country"),
        }),
    );
    shown.insert("province".into(), text("province"));
    shown.insert("mainContactOwner".into(), account.options.users.get(usize::from(card.owner)).cloned().into());
    let tags = card.tags.iter().map(|(tag, at)| {
        let name = account.tag_name(*tag);
        json!({"tag": name, "tagName": name, "score": 1, "createdOn": at, "tagWithScore": format!("{name} (1)")})
    });
    shown.insert("contactTags".into(), tags.collect());
    let properties = details.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten().map(|(name, value)| json!({"name": name, "value": value}));
    shown.insert("properties".into(), properties.collect());
    for name in ["dictionaryProperties", "consentDetails"] {
        shown.insert(name.into(), details.get(name).cloned().unwrap_or_else(|| Value::Array(Vec::new())));
    }
    if account.options.shown_events != ShownEvents::LeftOut {
        let events = account.events_of(number).into_iter().map(|event| shown_event(account, event));
        shown.insert("contactExtEvents".into(), events.collect());
    }
    for name in [
        "contactVisits",
        "contactEvents",
        "emailMessages",
        "contactFunnels",
        "contactNotes",
        "contactTasks",
        "incomingEmailMessages",
        "coupons",
        "smsMessages",
    ] {
        shown.insert(name.into(), Value::Array(Vec::new()));
    }
    shown.into()
}

/// An event on a card.
fn shown_event(account: &Account, number: u32) -> Value {
    let event = account.event(number);
    let mut shown = event.fields();
    shown.insert("eventId".into(), event_id(number).into());
    shown.insert("date".into(), event.date.into());
    let kind_field = match account.options.shown_events {
        ShownEvents::ShortNames => "type",
        _ => "contactExtEventType",
    };
    shown.insert(kind_field.into(), event.kind().into());
    if account.options.shown_events == ShownEvents::WithoutExternalId {
        shown.remove("externalId");
    }
    shown.into()
}
