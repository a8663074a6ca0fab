//! Orders and events, none of which eSputnik deduplicates or lists: what became of a call whose answer is lost, nobody can
//! tell (sheet, sections 5.4 and 5.5).

use super::calls::{Trouble, all, joined, list, reason, refused, text};
use super::{ESputnik, EVENTS, PAST_EVENTS};
use crate::http::{Call, Idempotency};
use crate::target::{BatchOutcome, Item, Outcome};
use crate::{Error, Kind, Result};
use serde_json::Value;
use uuid::Uuid;

const ORDERS: &str = "v1/orders";

impl ESputnik {
    /// Add orders. 200 says nothing: what was not taken stands in `failedOrders`.
    pub(super) async fn add_orders(&self, items: &[Item]) -> Result<BatchOutcome> {
        let body = joined("{\"orders\":[", items.iter().map(|item| item.request.text()));
        let call = self.client.post(ORDERS, Value::Null, Idempotency::Unsafe);
        self.whole(ORDERS, "order", call, items, body, judge_orders).await
    }

    /// Events of the past: no workflow starts.
    pub(super) async fn add_past_events(&self, items: &[Item]) -> Result<BatchOutcome> {
        let path = self.settings.event_version.past_path();
        let body = joined("{\"events\":[", items.iter().map(|item| item.request.text()));
        let call = self.client.post(path, Value::Null, Idempotency::Unsafe).class(PAST_EVENTS);
        self.whole(path, "past event", call, items, body, judge_past_events).await
    }

    async fn whole(
        &self,
        path: &str,
        object: &'static str,
        call: Call,
        items: &[Item],
        body: String,
        judge: fn(&[Item], Value) -> Vec<Outcome>,
    ) -> Result<BatchOutcome> {
        let keys = || items.iter().map(|item| item.key);
        match self.ask(call.text(body.clone())).await {
            Ok(answer) => {
                let outcomes = judge(items, answer);
                if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Acknowledged(_))) {
                    self.accepted(object, keys(), &body);
                }
                Ok(BatchOutcome { outcomes, reference: None })
            }
            Err(Trouble::Refused(words)) => refused(path, items, words),
            Err(trouble) => Ok(match self.fate(object, keys(), &body, &trouble) {
                Some(outcome) => all(items.len(), &outcome),
                None => return Err(trouble.into_error(path)),
            }),
        }
    }

    /// One event.
    pub(super) async fn send_event(&self, item: &Item) -> Result<Outcome> {
        let path = self.settings.event_version.path();
        let body = item.request.text();
        let mut call = self.client.post(path, Value::Null, Idempotency::Unsafe).text(body.to_owned());
        if self.has_own_limit() {
            call = call.class(EVENTS);
        }
        let keys = || std::iter::once(item.key);
        Ok(match self.ask(call).await {
            // Empty, mostly.
            Ok(_) => {
                self.accepted("event", keys(), body);
                Outcome::Acknowledged(None)
            }
            // The text of a failed validation names the parameters that the type must have.
            Err(Trouble::Refused(words)) => Outcome::Refused { code: "refused", reason: reason(words) },
            Err(trouble) => match self.fate("event", keys(), body, &trouble) {
                Some(outcome) => outcome,
                None => return Err(trouble.into_error(path)),
            },
        })
    }

    /// What a trouble says of what was sent; none where it was certainly not done.
    fn fate(
        &self,
        object: &'static str,
        keys: impl Iterator<Item = Uuid>,
        body: &str,
        trouble: &Trouble,
    ) -> Option<Outcome> {
        match trouble {
            Trouble::Repeated if self.was_accepted(object, keys, body) => Some(Outcome::Acknowledged(None)),
            Trouble::Repeated => {
                Some(Outcome::Unknown("eSputnik has seen the same request within a minute".to_owned()))
            }
            trouble => trouble.is_open().map(Outcome::Unknown),
        }
    }
}

/// What Add orders says of each order.
fn judge_orders(items: &[Item], mut answer: Value) -> Vec<Outcome> {
    let failed = list(answer.get_mut("failedOrders").map(Value::take));
    if failed.is_empty() {
        return vec![Outcome::Acknowledged(None); items.len()];
    }
    let ids: Vec<Option<String>> = items.iter().map(|item| text(&item.request.value(), "externalOrderId")).collect();
    let mut outcomes = vec![Outcome::Acknowledged(None); items.len()];
    let mut unmatched = 0;
    for order in &failed {
        let why = reason(text(order, "error").unwrap_or_default());
        let id = order.get("order").and_then(|order| text(order, "externalOrderId"));
        match ids.iter().position(|known| known.is_some() && *known == id) {
            Some(place) => outcomes[place] = Outcome::Refused { code: "refused", reason: why },
            None if items.len() == 1 => outcomes[0] = Outcome::Refused { code: "refused", reason: why },
            None => unmatched += 1,
        }
    }
    if unmatched > 0 {
        // Any of those that are not named may be among them.
        for outcome in outcomes.iter_mut().filter(|outcome| matches!(outcome, Outcome::Acknowledged(_))) {
            *outcome = Outcome::Unknown("eSputnik refused orders that its answer does not name".to_owned());
        }
    }
    outcomes
}

/// What the answer to past events says of each, one result per event in the order sent.
fn judge_past_events(items: &[Item], mut answer: Value) -> Vec<Outcome> {
    let results = list(answer.get_mut("results").map(Value::take));
    let count = |name: &str| text(&answer, name).and_then(|count| count.parse::<usize>().ok());
    if results.len() != items.len() {
        // All well, or none at all, needs no list.
        return match (count("successCount"), count("errorCount")) {
            (Some(done), Some(0) | None) if done == items.len() => vec![Outcome::Acknowledged(None); items.len()],
            _ => vec![Outcome::Unknown("the answer has another number of results".to_owned()); items.len()],
        };
    }
    results.iter().map(past_event).collect()
}

fn past_event(result: &Value) -> Outcome {
    let status = text(result, "status").unwrap_or_default().to_ascii_uppercase();
    let (code, reason) = match status.as_str() {
        "ACCEPTED" => return Outcome::Acknowledged(None),
        // The only one that is worth another try.
        "SERVER_ERROR" => return Outcome::Later("eSputnik could not store the event".to_owned()),
        "EVENT_SEGMENTATION_DISABLED" => (
            "no-segmentation",
            "eSputnik takes past events only of types with segmentation: switch it on there for orderCreated",
        ),
        "OCCURRED_TIME_TOO_DEPTH" => ("too-old", "eSputnik takes no events of that long ago"),
        "OCCURRED_TIME_IN_FUTURE" => {
            ("in-the-future", "the order is dated in the future; check the account's time_zone")
        }
        other => return Outcome::Refused { code: "refused", reason: format!("eSputnik answered {other}") },
    };
    Outcome::Refused { code, reason: reason.to_owned() }
}

/// A look-up of what nobody lists.
pub(super) fn not_listed() -> String {
    "eSputnik lists neither orders nor events".to_owned()
}

/// A batch that an operation cannot be sent in.
pub(super) fn unknown_operation(name: &str) -> Error {
    Error::new(Kind::Internal, format!("eSputnik has no operation `{name}`"))
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
