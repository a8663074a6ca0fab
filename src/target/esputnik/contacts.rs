//! Contacts: imports that eSputnik works on after it has answered, the list of unsubscribed addresses, and cards read back
//! (sheet, sections 4, 5.1 to 5.3).

use super::calls::{Trouble, all, joined, list, reason, refused, text, word};
use super::{ESputnik, READS};
use crate::http::Idempotency;
use crate::target::{BatchOutcome, ContactState, Found, Item, OptOut, OptOutPage, Outcome};
use crate::{Error, Kind, Result};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

const IMPORT: &str = "v1/contacts";
const SUBSCRIBE: &str = "v1/contact/subscribe";
/// Rows of the activity list in one answer, as the platform's own default.
const ACTIVITY_ROWS: usize = 25_000;
/// Cards read side by side.
pub(super) const SIDE_BY_SIDE: usize = 16;

impl ESputnik {
    /// Starts an import. Its answer names the job and the contacts that are refused at once.
    pub(super) async fn import(&self, items: &[Item]) -> Result<BatchOutcome> {
        let envelope = items.first().map(|item| item.envelope.text()).unwrap_or_default();
        let Some(members) = envelope.trim_end().strip_suffix('}') else {
            return Err(Error::new(Kind::Internal, "an import without its envelope"));
        };
        let body = joined(&format!("{members},\"contacts\":["), items.iter().map(|item| item.request.text()));
        let keys = || items.iter().map(|item| item.key);
        match self.write(IMPORT, body.clone(), Idempotency::Unsafe).await {
            // Whatever it was, it may have started a job.
            Ok(answer) if !answer.is_object() => {
                Ok(all(items.len(), &Outcome::Unknown("the answer to an import is none of eSputnik's".to_owned())))
            }
            Ok(mut answer) => {
                let outcome = judge_import(items, &mut answer)?;
                if outcome.reference.is_some() {
                    self.accepted("contact", keys(), &body);
                }
                Ok(outcome)
            }
            Err(Trouble::Refused(words)) => refused(IMPORT, items, words),
            Err(Trouble::Repeated) if self.was_accepted("contact", keys(), &body) => {
                Ok(all(items.len(), &Outcome::Acknowledged(None)))
            }
            // The job of the same request is at work, and its id was never learned.
            Err(Trouble::Repeated) => Ok(all(items.len(), &Outcome::Unknown("repeated within a minute".to_owned()))),
            Err(trouble) => match trouble.is_open() {
                Some(why) => Ok(all(items.len(), &Outcome::Unknown(why))),
                None => Err(trouble.into_error(IMPORT)),
            },
        }
    }

    /// What became of an import.
    pub(super) async fn import_status(&self, session: &str, items: &[Item]) -> Result<Option<BatchOutcome>> {
        let path = format!("v1/importstatus/{}", encoded(session));
        let mut status = match self.ask(self.client.get(&path)).await {
            Ok(status) => status,
            // The platform has forgotten it; that does not happen to one that is at work.
            Err(Trouble::Failed(failure)) if failure.status() == Some(404) => {
                return Ok(Some(all(items.len(), &Outcome::Unknown("the import is not known any more".to_owned()))));
            }
            Err(trouble) => return Err(trouble.into_error("v1/importstatus")),
        };
        match text(&status, "status").unwrap_or_default().to_ascii_uppercase().as_str() {
            "FINISHED" => {
                let mapping = list(status.get_mut("mapping").map(Value::take));
                Ok(Some(BatchOutcome { outcomes: mapped(items, &mapping), reference: None }))
            }
            "ERROR" => {
                let words = text(&status, "description").unwrap_or_default();
                Err(super::calls::refusal("import", &reason(words)))
            }
            // STARTED, IMPORTING, and whatever else it says before it has ended.
            _ => Ok(None),
        }
    }

    /// Adds addresses to the list of unsubscribed ones, or takes them off it.
    pub(super) async fn unsubscribed(&self, path: &str, items: &[Item]) -> Result<BatchOutcome> {
        let emails = items.iter().map(|item| Value::from(item.address.as_str()).to_string());
        let emails: Vec<String> = emails.collect();
        let body = joined("{\"emails\":[", emails.iter().map(String::as_str));
        match self.write(path, body, Idempotency::Safe).await {
            // The same list within a minute has been taken.
            Ok(_) | Err(Trouble::Repeated) => Ok(all(items.len(), &Outcome::Acknowledged(None))),
            Err(Trouble::Refused(words)) => refused(path, items, words),
            Err(trouble) => Err(trouble.into_error(path)),
        }
    }

    /// Creates one contact unconfirmed.
    pub(super) async fn subscribe(&self, item: &Item) -> Result<Outcome> {
        let body = item.request.text().to_owned();
        let keys = || std::iter::once(item.key);
        Ok(match self.write(SUBSCRIBE, body.clone(), Idempotency::Unsafe).await {
            Ok(answer) => {
                self.accepted("contact", keys(), &body);
                Outcome::There(text(&answer, "id").filter(|id| id != "0"))
            }
            Err(Trouble::Refused(words)) => Outcome::Refused { code: "refused", reason: reason(words) },
            Err(Trouble::Repeated) if self.was_accepted("contact", keys(), &body) => Outcome::There(None),
            Err(Trouble::Repeated) => Outcome::Later("the same request came within a minute".to_owned()),
            Err(trouble) => match trouble.is_open() {
                Some(why) => Outcome::Unknown(why),
                None => return Err(trouble.into_error(SUBSCRIBE)),
            },
        })
    }

    /// The cards at an address.
    pub(super) async fn cards(&self, address: &str) -> Result<Vec<Value>> {
        let name = if address.contains('@') { "email" } else { "sms" };
        let call = self.client.get("v1/contacts").class(READS).query(name, address);
        match self.ask(call.query("startindex", 1).query("maxrows", 500)).await {
            Ok(cards) => Ok(list(Some(cards)).into_iter().filter(Value::is_object).collect()),
            Err(Trouble::Failed(failure)) if failure.status() == Some(404) => Ok(Vec::new()),
            Err(trouble) => Err(trouble.into_error("v1/contacts")),
        }
    }

    /// Whether the card of an item stands at its address: the one of its id, here or at the shop, where it has one.
    pub(super) async fn look_up_card(&self, item: &Item) -> Result<Found> {
        let request = item.request.value();
        let (wanted, external) = (text(&request, "id"), text(&request, "externalCustomerId"));
        for card in self.cards(&item.address).await? {
            let id = text(&card, "id");
            let is_it = match (&wanted, &external) {
                (Some(_), _) => id == wanted,
                (None, Some(_)) => match (text(&card, "externalCustomerId"), &id) {
                    // A list of cards may leave parts of them out, the card itself does not.
                    (None, Some(id)) => {
                        let card = self.card(id).await?;
                        card.and_then(|card| text(&card, "externalCustomerId")) == external
                    }
                    (own, _) => own == external,
                },
                (None, None) => true,
            };
            if is_it {
                return Ok(Found::Present(id));
            }
        }
        Ok(Found::Absent)
    }

    /// The card of that id.
    pub(super) async fn card(&self, id: &str) -> Result<Option<Value>> {
        let path = format!("v1/contact/{}", encoded(id));
        match self.ask(self.client.get(&path)).await {
            Ok(card) => Ok(Some(card).filter(Value::is_object)),
            Err(Trouble::Failed(failure)) if failure.status() == Some(404) => Ok(None),
            Err(trouble) => Err(trouble.into_error("v1/contact")),
        }
    }

    /// What is there at addresses, one call each.
    pub(super) async fn states(&self, addresses: &[String]) -> Result<Vec<Option<ContactState>>> {
        let looks: Vec<_> = addresses.iter().map(|address| self.state(address)).collect();
        let states: Vec<_> = stream::iter(looks).buffered(SIDE_BY_SIDE).collect().await;
        states.into_iter().collect()
    }

    fn state<'s>(&'s self, address: &'s str) -> BoxFuture<'s, Result<Option<ContactState>>> {
        Box::pin(async move {
            let cards = self.cards(address).await?;
            Ok(cards.first().map(|card| ContactState {
                target_id: text(card, "id"),
                // Cards do not show it; the activity list does.
                email_opted_out: false,
                sms_opted_out: false,
                created_at: None,
                modified_at: None,
                is_deleted: false,
            }))
        })
    }

    /// Unsubscriptions and complaints of a stretch of time. The list has one status in one answer, so complaints follow
    /// unsubscriptions; `offset` says where one is.
    pub(super) async fn unsubscriptions(
        &self,
        from: Timestamp,
        until: Timestamp,
        offset: Option<&str>,
    ) -> Result<OptOutPage> {
        const STATUSES: [&str; 2] = ["UNSUBSCRIBED", "SPAM"];
        let (at, offset) = match offset.and_then(|offset| offset.split_once(' ')) {
            Some((status, offset)) => (STATUSES.iter().position(|known| *known == status).unwrap_or(0), offset),
            None => (0, ""),
        };
        let status = STATUSES[at];
        let zone = self.zone();
        let day = |moment: Timestamp| moment.to_zoned(zone.clone()).strftime("%Y-%m-%d").to_string();
        // A day more: whether the last day is within is not said.
        let until = until.checked_add(SignedDuration::from_hours(24)).unwrap_or(until);
        let mut query = vec![
            ("dateFrom", day(from)),
            ("dateTo", day(until)),
            ("activityStatus", status.to_owned()),
            ("maxrows", ACTIVITY_ROWS.to_string()),
        ];
        if !offset.is_empty() {
            query.push(("offset", offset.to_owned()));
        }
        let rows = list(Some(self.read("v2/contacts/activity", &query).await?));
        let next = match rows.last().and_then(|row| text(row, "offset")) {
            Some(last) if last != offset => Some(format!("{status} {last}")),
            _ => STATUSES.get(at + 1).map(|status| format!("{status} ")),
        };
        let opt_outs = rows.iter().filter_map(|row| opt_out(row, status, &zone)).collect();
        Ok(OptOutPage { opt_outs, next })
    }

    pub(super) fn zone(&self) -> TimeZone {
        TimeZone::get(&self.settings.time_zone).unwrap_or(TimeZone::UTC)
    }
}

/// From the beginning of a second to its last microsecond.
const REST_OF_SECOND: SignedDuration = SignedDuration::from_micros(999_999);

/// The opt-out that a row of the list tells of; none of channels that Wharf does not write.
fn opt_out(row: &Value, status: &str, zone: &TimeZone) -> Option<OptOut> {
    // Should the platform ignore the filter, others would be taken for opt-outs.
    if text(row, "activityStatus").is_some_and(|said| !said.eq_ignore_ascii_case(status)) {
        return None;
    }
    let channel = match text(row, "mediaType").map(|media| media.to_ascii_lowercase()).as_deref() {
        Some("email") => "email",
        Some("sms") => "sms",
        Some(_) => return None,
        None => "email",
    };
    let address = match channel {
        "email" => text(row, "email")?.to_lowercase(),
        _ => text(row, "sms")?.chars().filter(char::is_ascii_digit).collect(),
    };
    let said = text(row, "activityDateTime")?;
    let at = said.parse::<Timestamp>().ok().or_else(|| {
        let local = said.parse::<jiff::civil::DateTime>().ok()?;
        local.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
    })?;
    // The list knows whole seconds, and a withdrawal counts as made at the end of what it may have been.
    let at = if at.subsec_nanosecond() == 0 { at + REST_OF_SECOND } else { at };
    Some(OptOut { address, channel, at })
}

/// What the answer to an import says of each contact.
fn judge_import(items: &[Item], answer: &mut Value) -> Result<BatchOutcome> {
    let failed = list(answer.get_mut("failedContacts").map(Value::take));
    let session = text(answer, "asyncSessionId").filter(|session| session != "0");
    let words = text(answer, "errorMessage");
    let mut outcomes = vec![Outcome::Started; items.len()];
    let mut unmatched = None;
    if !failed.is_empty() {
        let requests: Vec<Value> = items.iter().map(|item| item.request.value()).collect();
        let names: Vec<HashSet<String>> = requests.iter().map(names).collect();
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, names) in names.iter().enumerate() {
            for name in names {
                by_name.entry(name).or_default().push(place);
            }
        }
        for contact in &failed {
            let error = reason(text(contact, "error").unwrap_or_default());
            let mut places: Vec<usize> = self::names(contact)
                .iter()
                .flat_map(|name| by_name.get(name.as_str()).into_iter().flatten())
                .copied()
                .collect();
            places.sort_unstable();
            places.dedup();
            if places.is_empty() {
                unmatched = Some(error);
                continue;
            }
            for place in places {
                outcomes[place] = Outcome::Refused { code: "refused", reason: error.clone() };
            }
        }
    }
    let is_open = outcomes.contains(&Outcome::Started);
    if let Some(error) = unmatched.filter(|_| is_open) {
        if session.is_none() || items.len() == 1 {
            return refused(IMPORT, items, error);
        }
        // Which of them it is shows when the job has ended: whoever is not in its mapping.
        tracing::warn!("eSputnik refused a contact of an import that it does not name");
    }
    if session.is_none() && is_open {
        return match words {
            Some(words) => refused(IMPORT, items, words),
            None if failed.is_empty() => Err(Error::new(Kind::Protocol, "an import was answered without a job")
                .hint("check that base_url is an eSputnik address: https://esputnik.com/api")),
            None => {
                // Those that are not named were not taken either.
                let later = Outcome::Later("eSputnik started no import".to_owned());
                let open = |outcome: Outcome| if outcome == Outcome::Started { later.clone() } else { outcome };
                Ok(BatchOutcome { outcomes: outcomes.into_iter().map(open).collect(), reference: None })
            }
        };
    }
    Ok(BatchOutcome { outcomes, reference: session.filter(|_| is_open) })
}

/// By what a contact can be told from others: its id, its channels.
fn names(contact: &Value) -> HashSet<String> {
    let channels = list(contact.get("channels").cloned());
    let channels = channels.iter().filter_map(|channel| text(channel, "value")).map(|value| value.to_lowercase());
    channels.chain(text(contact, "externalCustomerId").map(|id| format!("id {id}"))).collect()
}

/// What a finished import says of each contact. Without a mapping all of them are there; with one, whoever is missing in it
/// may have been left out (deleted there, for example), which a look at the card tells.
fn mapped(items: &[Item], mapping: &[Value]) -> Vec<Outcome> {
    let ids: HashMap<String, Option<String>> = mapping
        .iter()
        .filter_map(|row| Some((text(row, "dedupeValue")?.to_lowercase(), text(row, "contactId"))))
        .collect();
    let dedupe_on = items.first().and_then(|item| text(&item.envelope.value(), "dedupeOn")).unwrap_or_default();
    items
        .iter()
        .map(|item| {
            if ids.is_empty() {
                return Outcome::There(None);
            }
            let request = item.request.value();
            let mut values: Vec<String> = match dedupe_on.as_str() {
                "externalCustomerId" => text(&request, "externalCustomerId").into_iter().collect(),
                "id" => text(&request, "id").into_iter().collect(),
                "fieldId" => list(request.get("fields").cloned())
                    .iter()
                    .filter_map(|field| field.get("value").and_then(word))
                    .collect(),
                _ => list(request.get("channels").cloned()).iter().filter_map(|one| text(one, "value")).collect(),
            };
            // Whichever the platform names a contact by.
            values.extend(text(&request, "externalCustomerId"));
            match values.iter().find_map(|value| ids.get(&value.to_lowercase())) {
                Some(id) => Outcome::There(id.clone()),
                None => Outcome::Acknowledged(None),
            }
        })
        .collect()
}

/// A part of a path.
fn encoded(part: &str) -> String {
    url::form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
#[path = "contacts_tests.rs"]
mod tests;
