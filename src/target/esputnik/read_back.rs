//! What a card shows, compared with what the ledger says it holds: field by field, in the ledger's words. Only what the
//! ledger names is compared: a card may hold more, set by hand or by others. Orders and events are shown by no call.

use super::ESputnik;
use super::calls::{list, text, word};
use super::orders::not_listed;
use crate::Result;
use crate::target::{Difference, Held, Shown};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use serde_json::Value;

/// What no reading call shows.
pub(super) const NOT_SHOWN: &[&str] =
    &["contact.consent.email", "contact.consent.sms", "order.*", "event.*", "past event.*"];

/// Cards read side by side.
const SIDE_BY_SIDE: usize = 16;

/// Fields of a contact's payload, and how the card calls them.
const TEXTS: &[(&str, &str)] = &[
    ("/external_id", "/externalCustomerId"),
    ("/first_name", "/firstName"),
    ("/last_name", "/lastName"),
    ("/address/region", "/address/region"),
    ("/address/town", "/address/town"),
    ("/address/address", "/address/address"),
    ("/address/postcode", "/address/postcode"),
    ("/lang", "/languageCode"),
];

impl ESputnik {
    /// One answer per object, in order.
    pub(super) async fn compare(&self, held: &[Held]) -> Result<Vec<Shown>> {
        let looks: Vec<BoxFuture<'_, Result<Shown>>> = held.iter().map(|held| self.shown(held).boxed()).collect();
        let shown: Vec<_> = stream::iter(looks).buffered(SIDE_BY_SIDE).collect().await;
        shown.into_iter().collect()
    }

    async fn shown(&self, held: &Held) -> Result<Shown> {
        if held.object != "contact" {
            return Ok(Shown::CannotTell(not_listed()));
        }
        if held.payload.get("imported") == Some(&Value::Bool(false)) {
            return Ok(Shown::CannotTell("the list of unsubscribed addresses cannot be read".to_owned()));
        }
        let card = match &held.target_id {
            Some(id) => self.card(id).await?,
            None => {
                let address = text(&held.payload, "email").or_else(|| text(&held.payload, "phone"));
                let Some(address) = address else {
                    return Ok(Shown::CannotTell("the ledger names no address".to_owned()));
                };
                // A list of cards may leave parts of them out, the card itself does not.
                match self.cards(&address).await?.first().and_then(|card| text(card, "id")) {
                    Some(id) => self.card(&id).await?,
                    None => None,
                }
            }
        };
        Ok(card.map_or(Shown::Missing, |card| Shown::There(differences(&held.payload, &card))))
    }
}

fn differences(payload: &Value, card: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut compare = |field: &str, ledger: Option<String>, target: Option<String>| {
        if ledger.is_some() && ledger != target {
            differences.push(Difference { field: field.to_owned(), ledger, target });
        }
    };
    for (ours, theirs) in TEXTS {
        let field = ours.trim_start_matches('/').replace('/', ".");
        compare(&field, payload.pointer(ours).and_then(word), card.pointer(theirs).and_then(word));
    }
    let channels = list(card.get("channels").cloned());
    for (ours, theirs) in [("email", "email"), ("phone", "sms")] {
        let shown: Vec<String> = channels
            .iter()
            .filter(|channel| text(channel, "type").is_some_and(|kind| kind.eq_ignore_ascii_case(theirs)))
            .filter_map(|channel| text(channel, "value"))
            .collect();
        let Some(sent) = text(payload, ours) else { continue };
        if !shown.iter().any(|shown| shown.eq_ignore_ascii_case(&sent)) {
            compare(ours, Some(sent), shown.first().cloned());
        }
    }
    let fields = list(card.get("fields").cloned());
    for (id, value) in payload.get("fields").and_then(Value::as_object).into_iter().flatten() {
        let shown = fields.iter().find(|field| text(field, "id").as_ref() == Some(id));
        compare(&format!("fields.{id}"), word(value), shown.and_then(|field| text(field, "value")));
    }
    if let Some(groups) = card.get("groups") {
        let shown: Vec<String> =
            list(Some(groups.clone())).iter().filter_map(|group| text(group, "name").or_else(|| word(group))).collect();
        for tag in payload.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(word) {
            if !shown.contains(&tag) {
                compare("tags", Some(tag), None);
            }
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_the_ledger_names_and_the_card_shows_otherwise_differs() {
        let payload = json!({"email": "a@shop.example", "phone": "380501", "first_name": "Анна", "external_id": "7",
            "tags": ["VIP", "x"], "fields": {"15": "M", "16": "1"}, "address": {"town": "Київ"}});
        let card = json!({"id": "9", "externalCustomerId": 7, "firstName": "Анна", "lastName": "by hand",
            "channels": {"type": "email", "value": "A@shop.example"}, "address": {"town": "Львів"},
            "fields": {"id": "15", "value": "M"}, "groups": {"name": "VIP"}});
        let found: Vec<String> = differences(&payload, &card).into_iter().map(|found| found.field).collect();
        assert_eq!(found, ["address.town", "phone", "fields.16", "tags"]);
        assert!(differences(&json!({"email": "a@shop.example"}), &card).is_empty());
    }
}
