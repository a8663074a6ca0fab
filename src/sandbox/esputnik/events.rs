//! Generated events: what is refused aloud, what is ignored without a word, what becomes of an order, and which workflows
//! start. Every event that arrived is kept in order of arrival with its outcome, the ignored ones, too.

use super::account::{Account, By, NONE};
use super::orders::{STATUSES, adds_up, currency_code, status_place};
use super::rules;
use jiff::civil::DateTime;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use xxhash_rust::xxh3::xxh3_64;

/// The longest event type and parameter name.
pub const TYPE_KEY: usize = 100;
/// The longest event key.
pub const EVENT_KEY: usize = 300;
/// No status.
pub const NO_STATUS: u8 = u8::MAX;
/// How many reasons are kept word for word.
const KEPT_REASONS: usize = 10_000;

/// How an event came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Add orders made it.
    Orders,
    /// `POST /v1/event`
    V1,
    /// `POST /v2/event`
    V2,
    /// `POST /v3/event`
    V3,
    /// `POST /v1/past_events`
    PastV1,
    /// `POST /v2/past_events`
    PastV2,
    /// An import made a contact.
    Import,
    /// Somebody subscribed.
    Subscribe,
}

impl Via {
    fn is_past(self) -> bool {
        matches!(self, Self::PastV1 | Self::PastV2)
    }

    fn takes_texts_only(self) -> bool {
        matches!(self, Self::V1 | Self::PastV1)
    }
}

/// What became of an event. All but the first are ignored without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Taken.
    Accepted,
    /// No contact is found by the first parameter that names one.
    UnknownContact,
    /// A required parameter is missing.
    MissingParameter,
    /// A parameter cannot be read.
    BadValue,
    /// An item lacks something.
    BadItem,
    /// The account does not take this currency.
    BadCurrency,
    /// Delivered or cancelled is said of an order that was never accepted.
    UnknownOrder,
    /// It was taken as a past event and deleted later.
    Deleted,
}

/// One event that arrived.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Place of its type.
    pub kind: u32,
    /// Place of its order, or [`NONE`].
    pub order: u32,
    /// Place of its contact, or [`NONE`].
    pub contact: u32,
    /// How it came about.
    pub via: Via,
    /// What became of it.
    pub outcome: Outcome,
    /// Place of the order's status after it, or [`NO_STATUS`].
    pub status: u8,
    /// It said of the order just what the one before it had said.
    pub unchanged: bool,
}

impl Event {
    /// Whether workflows that wait for its type start.
    pub fn starts_workflows(&self) -> bool {
        self.outcome == Outcome::Accepted && !self.via.is_past()
    }
}

/// All events.
#[derive(Debug, Default)]
pub struct Events {
    /// In order of arrival.
    pub list: Vec<Event>,
    kinds: Vec<Box<str>>,
    kind_places: HashMap<Box<str>, u32>,
    bodies: VecDeque<(u32, Box<[u8]>)>,
    reasons: BTreeMap<u32, String>,
    /// So many of the next past events are answered SERVER_ERROR.
    pub server_errors: u32,
}

impl Events {
    /// The place of an event type.
    pub fn kind(&mut self, name: &str) -> u32 {
        if let Some(place) = self.kind_places.get(name) {
            return *place;
        }
        let place = u32::try_from(self.kinds.len()).unwrap_or(NONE);
        self.kinds.push(name.into());
        self.kind_places.insert(name.into(), place);
        place
    }

    /// The name of an event type.
    pub fn kind_name(&self, place: u32) -> &str {
        self.kinds.get(place as usize).map_or("", |name| name)
    }

    /// Keeps an event and, of the newest ones, the body; gives its place.
    pub fn push(&mut self, event: Event, body: &[u8], kept_bodies: usize) -> u32 {
        let number = u32::try_from(self.list.len()).unwrap_or(NONE);
        self.list.push(event);
        if kept_bodies > 0 {
            while self.bodies.len() >= kept_bodies {
                self.bodies.pop_front();
            }
            self.bodies.push_back((number, body.into()));
        }
        number
    }

    fn give_reason(&mut self, number: u32, reason: String) {
        if self.reasons.len() < KEPT_REASONS {
            self.reasons.insert(number, reason);
        }
    }

    /// Forgets past events, as support's deletion does.
    pub fn forget_past(&mut self) {
        for event in self.list.iter_mut().filter(|event| event.via.is_past()) {
            event.outcome = Outcome::Deleted;
        }
    }

    /// Why an event was ignored, word for word.
    pub fn reason(&self, number: u32) -> Option<&str> {
        self.reasons.get(&number).map(String::as_str)
    }

    /// The body of an event, if it is still kept.
    pub fn body(&self, number: u32) -> Option<&[u8]> {
        let first = self.bodies.front()?.0;
        let at = usize::try_from(number.checked_sub(first)?).ok()?;
        // Numbers are consecutive unless the count of kept bodies was changed meanwhile.
        match self.bodies.get(at) {
            Some((there, body)) if *there == number => Some(body),
            _ => self.bodies.iter().find(|(there, _)| *there == number).map(|(_, body)| &**body),
        }
    }
}

/// Why a call is refused aloud: the text of a 400.
pub type Loud = String;
/// Why an event is ignored.
type Silent = (Outcome, String);

/// An event as it was read.
pub struct Sent {
    kind: String,
    params: BTreeMap<String, Value>,
}

impl Sent {
    /// Reads an event; the error is the text of a 400.
    pub fn read(event: &Value, via: Via) -> Result<Self, Loud> {
        let kind = event.get("eventTypeKey").and_then(Value::as_str).unwrap_or_default();
        if !rules::is_key(kind, TYPE_KEY) {
            return Err("eventTypeKey is missing or has forbidden characters".into());
        }
        let mut params = BTreeMap::new();
        let given = match event.get("params") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(params)) => params.as_slice(),
            Some(_) => return Err("params is not an array".into()),
        };
        for param in given {
            let name = param.get("name").and_then(Value::as_str).filter(|name| !name.trim().is_empty());
            let name = name.ok_or("A parameter has no name")?;
            let value = param.get("value").filter(|value| !value.is_null());
            let value = value.ok_or_else(|| format!("Parameter {name} has no value"))?;
            if name.chars().count() > TYPE_KEY {
                return Err("The name of a parameter is too long".into());
            }
            if via.takes_texts_only() && (value.is_array() || value.is_object()) {
                return Err(format!("Value of {name} is not a string"));
            }
            if params.insert(name.to_owned(), value.clone()).is_some() {
                return Err(format!("Parameter {name} is not unique"));
            }
        }
        let sent = Self { kind: kind.to_owned(), params };
        match event.get("keyValue") {
            Some(Value::String(key)) if rules::is_key(key, EVENT_KEY) => {}
            None if via.is_past() => return Err("keyValue is required".into()),
            None => {
                // The platform takes the key from the parameters then, in this order.
                let names = ["contactId", "externalCustomerId", "email", "phone", "pushToken"];
                if !names.iter().any(|name| sent.named(name).is_some()) {
                    return Err("keyValue is missing and no parameter identifies the contact".into());
                }
            }
            Some(_) => return Err("keyValue has forbidden characters or is too long".into()),
        }
        Ok(sent)
    }

    /// A parameter by its name in any case, as text.
    fn named(&self, name: &str) -> Option<String> {
        let found = self.params.iter().find(|(there, _)| there.eq_ignore_ascii_case(name)).map(|(_, value)| value)?;
        let text = match found {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// A required parameter by its exact name, as text.
    fn required(&self, name: &str) -> Result<String, Silent> {
        let text = match self.params.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        if text.trim().is_empty() {
            return Err((Outcome::MissingParameter, format!("{name} is missing")));
        }
        Ok(text)
    }
}

/// What an order event says, read to the end.
struct OrderWord {
    id: String,
    status: u8,
    total: Option<f64>,
    currency: Option<String>,
    items: u16,
}

impl Account {
    /// Takes one event of `POST /vN/event`; the error is the text of a 400.
    pub fn take_event(&mut self, event: &Value, raw: &[u8], via: Via) -> Result<(), Loud> {
        if raw.len() > self.options.event_bytes {
            return Err(format!("The event is larger than {} bytes", self.options.event_bytes));
        }
        let sent = Sent::read(event, via)?;
        if let Some(wanted) = self.options.validated.get(&sent.kind) {
            let lacks = |(name, required): (&String, &bool)| *required && sent.named(name).is_none();
            if wanted.iter().any(lacks) {
                let list: Vec<Value> =
                    wanted.iter().map(|(name, required)| json!({"name": name, "required": required})).collect();
                let list = serde_json::to_string_pretty(&list).unwrap_or_default();
                return Err(format!("The event should have the following params: {list}"));
            }
        }
        self.keep(&sent, raw, via);
        Ok(())
    }

    /// Takes one past event: the status that is answered for it.
    pub fn take_past_event(&mut self, event: &Value, via: Via, now: i64) -> Result<&'static str, Loud> {
        let sent = Sent::read(event, via)?;
        if self.events.server_errors > 0 {
            self.events.server_errors -= 1;
            return Ok("SERVER_ERROR");
        }
        let occurred = match event.get("occurred") {
            None | Some(Value::Null) => return Ok("OCCURRED_DATE_IS_REQUIRED"),
            Some(occurred) => occurred.as_str().unwrap_or_default(),
        };
        let parsed = match occurred.len() {
            10 => DateTime::strptime("%Y-%m-%dT%H:%M", format!("{occurred}T00:00")).ok(),
            16 => DateTime::strptime("%Y-%m-%dT%H:%M", occurred).ok(),
            _ => None,
        };
        let at = parsed.and_then(|at| at.in_tz(&self.options.zone).ok()).map(|at| at.timestamp().as_second());
        let Some(at) = at else { return Ok("INCORRECT_OCCURRED_DATE_FORMAT") };
        if at > now {
            return Ok("OCCURRED_TIME_IN_FUTURE");
        }
        if now - at > self.options.past_days * 86_400 {
            return Ok("OCCURRED_TIME_TOO_DEPTH");
        }
        if self.options.segmentation_off.contains(&sent.kind) {
            return Ok("EVENT_SEGMENTATION_DISABLED");
        }
        self.keep(&sent, event.to_string().as_bytes(), via);
        Ok("ACCEPTED")
    }

    /// Keeps an event that was not refused, and does what it says unless it is to be ignored.
    fn keep(&mut self, sent: &Sent, raw: &[u8], via: Via) {
        let kind = self.events.kind(&sent.kind);
        let mut event = Event {
            kind,
            order: NONE,
            contact: NONE,
            via,
            outcome: Outcome::Accepted,
            status: NO_STATUS,
            unchanged: false,
        };
        let done = self.follow(sent, via, &mut event);
        if let Err((outcome, _)) = &done {
            event.outcome = *outcome;
        }
        let number = self.events.push(event, raw, self.options.kept_bodies);
        if let Err((_, reason)) = done {
            self.events.give_reason(number, reason);
        }
    }

    fn follow(&mut self, sent: &Sent, via: Via, event: &mut Event) -> Result<(), Silent> {
        if let Some(order) = sent.params.get("externalOrderId").and_then(Value::as_str) {
            event.order = self.orders.find(order).unwrap_or(NONE);
        }
        let word = self.read_order(sent, via)?;
        event.contact = self.event_contact(sent, via)?;
        let Some(word) = word else { return Ok(()) };
        let known = self.orders.find(&word.id);
        match (sent.kind.as_str(), known) {
            ("orderDelivered" | "orderCancelled", None) => {
                return Err((Outcome::UnknownOrder, format!("order {} was never accepted", word.id)));
            }
            // Add orders may have made it; a second event of creation is one too many.
            ("orderCreated", Some(known)) if self.orders.list[known as usize].by_events != 0 => {
                self.note("order-created-twice", format!("order {}", word.id));
            }
            _ => {}
        }
        let number = self.orders.place(&word.id, event.contact);
        let said: Vec<String> = sent.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let fingerprint = xxh3_64(said.join("\n").as_bytes());
        let order = &mut self.orders.list[number as usize];
        event.unchanged = order.by_events == fingerprint;
        order.by_events = fingerprint;
        order.status = word.status;
        order.contact = event.contact;
        if let Some(total) = word.total {
            (order.total, order.items) = (Some(total), word.items);
            order.currency = word.currency.as_deref().map_or(order.currency, currency_code);
        }
        if event.unchanged {
            self.note("order-resent-unchanged", format!("order {} was sent again as it was", word.id));
        }
        (event.order, event.status) = (number, word.status);
        Ok(())
    }

    /// What an order event says; `None` for any other type.
    fn read_order(&mut self, sent: &Sent, via: Via) -> Result<Option<OrderWord>, Silent> {
        let has_full_data = match sent.kind.as_str() {
            "orderCreated" | "orderUpdated" => true,
            "orderDelivered" | "orderCancelled" => false,
            _ => return Ok(None),
        };
        let id = sent.required("externalOrderId")?;
        if !has_full_data {
            let status = if sent.kind == "orderDelivered" { "DELIVERED" } else { "CANCELLED" };
            let status = status_place(status).unwrap_or(NO_STATUS);
            return Ok(Some(OrderWord { id, status, total: None, currency: None, items: 0 }));
        }
        let bad = |name: &str| (Outcome::BadValue, format!("{name} cannot be read"));
        let total: f64 = sent.required("totalCost")?.parse().map_err(|_| bad("totalCost"))?;
        let status = status_place(&sent.required("status")?).ok_or_else(|| bad("status"))?;
        let date = sent.required("date")?;
        if date.len() != 19 || DateTime::strptime("%Y-%m-%dT%H:%M:%S", &date).is_err() {
            return Err(bad("date"));
        }
        if !["externalCustomerId", "email", "phone"].iter().any(|name| sent.named(name).is_some()) {
            return Err((Outcome::MissingParameter, "none of externalCustomerId, email, phone".into()));
        }
        let currency = sent.named("currency");
        if let Some(currency) = currency.as_ref().filter(|code| !self.options.currencies.contains(code)) {
            return Err((Outcome::BadCurrency, format!("the account does not take {currency}")));
        }
        let items = self.event_items(sent, via)?;
        let amount = |name: &str| sent.named(name).and_then(|text| text.parse().ok()).unwrap_or_default();
        if !items.is_empty() && !adds_up(total, amount("shipping"), amount("taxes"), &items) {
            self.note("items-do-not-add-up", format!("order {id}: items do not add up to {total}"));
        }
        let items = u16::try_from(items.len()).unwrap_or(u16::MAX);
        Ok(Some(OrderWord { id, status, total: Some(total), currency, items }))
    }

    /// Quantities and costs of the items; one bad item makes the event ignored.
    fn event_items(&mut self, sent: &Sent, via: Via) -> Result<Vec<(f64, f64)>, Silent> {
        let unreadable = || (Outcome::BadItem, "items are no list".to_owned());
        let items = match sent.params.get("items") {
            None => return Ok(Vec::new()),
            Some(Value::String(text)) => {
                if !via.takes_texts_only() {
                    self.note("items-as-text", "items are a text, which only the first version needs");
                }
                serde_json::from_str(text).map_err(|_| unreadable())?
            }
            Some(items) => items.clone(),
        };
        let mut amounts = Vec::new();
        for item in items.as_array().ok_or_else(unreadable)? {
            let item = item.as_object().ok_or_else(unreadable)?;
            let mut texts = vec!["externalItemId", "name", "url", "imageUrl"];
            if self.options.items_need_category {
                texts.push("category");
            }
            for name in texts {
                if item.get(name).and_then(Value::as_str).is_none_or(|text| text.trim().is_empty()) {
                    return Err((Outcome::BadItem, format!("an item has no {name}")));
                }
            }
            let amount = |name: &str| {
                item.get(name)
                    .and_then(Value::as_f64)
                    .ok_or_else(|| (Outcome::BadItem, format!("an item has no {name}")))
            };
            amounts.push((amount("quantity")?, amount("cost")?));
            if item.values().any(|value| value.is_array() || value.is_object()) {
                self.note("nested-too-deep", "what stands deeper than two levels stays a text");
            }
        }
        Ok(amounts)
    }

    /// The contact of an event: the first parameter in the account's order that the event has decides.
    fn event_contact(&self, sent: &Sent, via: Via) -> Result<u32, Silent> {
        for name in &self.options.contact_params {
            let Some(value) = sent.named(name) else { continue };
            let lower = name.to_lowercase();
            if lower == "externalcustomerid" && !via.takes_texts_only() && value == "null" {
                continue;
            }
            let found = match lower.as_str() {
                "contactid" | "contact_id" => {
                    let found = value.parse().ok().and_then(|id| self.find_id(id));
                    found.filter(|number| !self.card(*number).deleted)
                }
                "externalcustomerid" => self.find_present(By::ExternalId, &value),
                "email" | "emailaddress" | "useremail" | "contactemail" => self.find_present(By::Email, &value),
                "phone" | "sms" | "phonenumber" => self.find_present(By::Sms, &value),
                "pushtoken" => self.find_present(By::Push, &value),
                "contactkey" | "contact_key" => self.find_present(By::ContactKey, &value),
                _ => continue,
            };
            return found.ok_or_else(|| (Outcome::UnknownContact, format!("no contact has this {name}")));
        }
        Err((Outcome::UnknownContact, "no parameter names a contact".into()))
    }

    /// One event as the control endpoints show it.
    pub fn shown_event(&self, number: u32) -> Map<String, Value> {
        let mut shown = Map::new();
        let Some(event) = self.events.list.get(number as usize) else { return shown };
        let order = self.orders.get(event.order);
        shown.insert("number".into(), number.into());
        shown.insert("type".into(), self.events.kind_name(event.kind).into());
        shown.insert("via".into(), json!(event.via));
        shown.insert("outcome".into(), json!(event.outcome));
        shown.insert("order".into(), order.map_or(Value::Null, |order| (*order.id).into()));
        shown.insert("status".into(), status_name(event.status).map_or(Value::Null, Into::into));
        let contact = (event.contact != NONE).then(|| Self::contact_id(event.contact));
        shown.insert("contact".into(), json!(contact));
        shown.insert("workflows".into(), event.starts_workflows().into());
        shown.insert("unchanged".into(), event.unchanged.into());
        if let Some(reason) = self.events.reason(number) {
            shown.insert("reason".into(), reason.into());
        }
        if let Some(body) = self.events.body(number) {
            shown.insert("body".into(), serde_json::from_slice(body).unwrap_or(Value::Null));
        }
        shown
    }
}

/// The name of a status.
pub fn status_name(place: u8) -> Option<&'static str> {
    STATUSES.get(usize::from(place)).copied()
}
