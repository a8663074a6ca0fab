//! What a card shows, compared with what the ledger says it holds: field by field, in the ledger's words.
//!
//! Only what the ledger names is compared: a card may hold more, set by hand or by others. Values are compared as the
//! platform shows them (sheet, section 4): a birthday in three parts without leading zeros, properties as a list, tags in
//! capitals.

use super::{Fields, SalesManago, find_event, word};
use crate::Result;
use crate::target::{Difference, Found, Held, Shown};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// How far the account's clock and ours may be apart.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// What no reading call shows.
pub(super) const NOT_SHOWN: &[&str] =
    &["contact.lang", "contact.state", "contact.consent.email.at", "contact.consent.sms.at", "event.email"];

/// Fields of a contact's payload, and how the card calls them.
const TEXTS: &[(&str, &str)] = &[
    ("/name", "/name"),
    ("/phone", "/phone"),
    ("/company", "/company"),
    ("/external_id", "/externalId"),
    ("/address/street", "/address/streetAddress"),
    ("/address/zip", "/address/zipCode"),
    ("/address/city", "/address/city"),
    ("/address/country", "/address/country"),
    ("/province", "/province"),
];

impl SalesManago {
    /// One answer per object, in order.
    pub(super) async fn compare(&self, held: &[Held]) -> Result<Vec<Shown>> {
        let mut addresses: Vec<&str> = held.iter().map(|held| held.address.as_str()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let cards = self.cards(&addresses).await?;
        Ok(held
            .iter()
            .map(|held| {
                let cards = cards.get(&held.address.trim().to_lowercase()).map(Vec::as_slice).unwrap_or_default();
                let cards: Vec<&Fields> =
                    cards.iter().filter(|card| card.get("deleted").and_then(Value::as_bool) != Some(true)).collect();
                match (held.object.as_str(), cards.first()) {
                    (_, None) => Shown::Missing,
                    ("contact", Some(card)) => compare_contact(held, card),
                    (_, Some(_)) => show_event(&held.payload, &cards),
                }
            })
            .collect())
    }
}

fn compare_contact(held: &Held, card: &Fields) -> Shown {
    let payload = &held.payload;
    let mut differences = Vec::new();
    // Whoever left there has changed the card since; where nothing has, an opt-in was not followed.
    let modified = card.get("modifiedOn").and_then(Value::as_i64).and_then(|at| Timestamp::from_millisecond(at).ok());
    let is_changed = modified.is_some_and(|at| at + CLOCKS >= held.sent_at);
    let mut has_left = false;
    let card = Value::Object(card.clone());
    let mut compare = |field: &str, ledger: Option<String>, target: Option<String>| {
        if ledger.is_some() && ledger != target {
            differences.push(Difference { field: field.to_owned(), ledger, target });
        }
    };
    for (ours, theirs) in TEXTS {
        let field = ours.trim_start_matches('/').replace('/', ".");
        compare(&field, payload.pointer(ours).and_then(word), card.pointer(theirs).and_then(word));
    }
    compare("birthday", payload.get("birthday").and_then(word), birthday(&card));
    let names = |tags: Option<&Value>, name: Option<&str>| -> Vec<String> {
        let tags = tags.and_then(Value::as_array).into_iter().flatten();
        tags.filter_map(|tag| name.map_or(Some(tag), |name| tag.get(name)).and_then(word)).collect()
    };
    let shown = names(card.get("contactTags"), Some("tag"));
    for tag in names(payload.get("tags"), None) {
        if !shown.iter().any(|shown| shown.eq_ignore_ascii_case(&tag) || shown.to_uppercase() == tag.to_uppercase()) {
            compare("tags", Some(tag), None);
        }
    }
    let properties = card.get("properties").and_then(Value::as_array);
    for (name, value) in payload.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let shown = properties.into_iter().flatten().find(|property| property["name"] == name.as_str());
        compare(&format!("properties.{name}"), word(value), shown.and_then(|property| word(&property["value"])));
    }
    for (channel, flag) in [("email", "optedOut"), ("sms", "optedOutPhone")] {
        let consent = &payload["consent"][channel];
        // An opt-out that was found there and kept is not what the shop says.
        let ours = consent["state"].as_str().filter(|_| consent["respected"] != true);
        let theirs = card.get(flag).and_then(Value::as_bool).map(|out| if out { "opt_out" } else { "opt_in" });
        if let (Some(ours @ ("opt_in" | "opt_out")), Some(theirs)) = (ours, theirs) {
            if (ours, theirs) == ("opt_in", "opt_out") && is_changed {
                has_left = true;
                continue;
            }
            compare(&format!("consent.{channel}.state"), Some(ours.to_owned()), Some(theirs.to_owned()));
        }
    }
    if has_left { Shown::Withdrawn(differences) } else { Shown::There(differences) }
}

/// `yyyyMMdd` of the three parts that a card shows.
fn birthday(card: &Value) -> Option<String> {
    let part = |name: &str| card.get(name).and_then(word)?.parse::<u32>().ok();
    let (month, day) = (part("birthdayMonth")?, part("birthdayDay")?);
    Some(match part("birthdayYear") {
        Some(year) => format!("{year:04}{month:02}{day:02}"),
        None => format!("{month:02}{day:02}"),
    })
}

fn show_event(payload: &Value, cards: &[&Fields]) -> Shown {
    let owned: Vec<Fields> = cards.iter().map(|card| (*card).clone()).collect();
    match find_event(&owned, payload) {
        Found::Absent => Shown::Missing,
        Found::CannotTell(why) => Shown::CannotTell(why),
        Found::Present(_) => {
            let is_it = |event: &&Value| {
                let kind =
                    ["contactExtEventType", "type", "eventType"].iter().find_map(|name| event.get(*name)?.as_str());
                let wanted = payload["contactExtEventType"].as_str().unwrap_or_default();
                event.get("externalId").and_then(word) == payload.get("externalId").and_then(word)
                    && kind.is_some_and(|kind| kind.eq_ignore_ascii_case(wanted))
            };
            let mut events =
                cards.iter().filter_map(|card| card.get("contactExtEvents")?.as_array()).flatten().filter(is_it);
            let Some(event) = events.next() else { return Shown::Missing };
            let mut differences = Vec::new();
            for (field, ours) in payload.as_object().into_iter().flatten() {
                if ["email", "contactExtEventType", "externalId"].contains(&field.as_str()) {
                    continue;
                }
                // What the card leaves out of an event says nothing.
                let Some(theirs) = event.get(field) else { continue };
                if !is_same(ours, theirs) {
                    differences.push(Difference { field: field.clone(), ledger: word(ours), target: word(theirs) });
                }
            }
            if events.next().is_some() {
                differences.push(Difference {
                    field: "copies".to_owned(),
                    ledger: Some("1".to_owned()),
                    target: Some("more".to_owned()),
                });
            }
            Shown::There(differences)
        }
    }
}

/// Numbers by value, all else as text.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() < 0.005,
        _ => word(ours) == word(theirs),
    }
}
