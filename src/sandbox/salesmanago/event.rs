//! External events: what the platform refuses, what it keeps. It never deduplicates (sheet, section 5.5).

use super::account::{Account, NONE};
use serde_json::{Map, Value};

/// The kinds of events (sheet, section 5.5).
pub const KINDS: [&str; 25] = [
    "PURCHASE",
    "CART",
    "VISIT",
    "PHONE_CALL",
    "OTHER",
    "RESERVATION",
    "CANCELLED",
    "ACTIVATION",
    "MEETING",
    "OFFER",
    "DOWNLOAD",
    "LOGIN",
    "TRANSACTION",
    "CANCELLATION",
    "RETURN",
    "SURVEY",
    "APP_STATUS",
    "APP_TYPE_WEB",
    "APP_TYPE_MANUAL",
    "APP_TYPE_RETENTION",
    "APP_TYPE_UPSALE",
    "LOAN_STATUS",
    "LOAN_ORDER",
    "FIRST_LOAN",
    "REPEATED_LOAN",
];

/// The prefix of every event id.
pub const EVENT_PREFIX: &str = "7c1e3a90-2222-4bbb-8ccc-0000";

/// One event.
pub struct Event {
    /// Whose it is.
    pub contact: u32,
    /// The contact's event before this one, or [`NONE`].
    pub previous: u32,
    /// When it happened (ms).
    pub date: i64,
    /// Place of its kind in [`KINDS`].
    pub kind: u8,
    /// Deleted.
    pub deleted: bool,
    /// All other fields as one packed JSON object.
    pub fields: Box<str>,
}

impl Event {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        KINDS[usize::from(self.kind)]
    }

    /// All other fields.
    pub fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.fields).unwrap_or_default()
    }
}

/// The id of an event.
pub fn event_id(number: u32) -> String {
    format!("{EVENT_PREFIX}{number:08x}")
}

/// An event as it may be kept.
pub struct Draft {
    date: i64,
    kind: u8,
    fields: Map<String, Value>,
}

/// Reads `contactEvent`; an error is the platform's text. `iso_date`: the old path also takes an ISO date.
pub fn read(event: &Map<String, Value>, iso_date: bool) -> Result<Draft, String> {
    let kind_name = event.get("contactExtEventType").and_then(Value::as_str).unwrap_or_default();
    let kind = KINDS
        .iter()
        .position(|known| *known == kind_name)
        .and_then(|place| u8::try_from(place).ok())
        .ok_or_else(|| format!("Incorrect contactExtEventType: {kind_name}"))?;
    let date = match event.get("date") {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) if iso_date => {
            text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
        }
        _ => None,
    };
    let date = date.ok_or("Incorrect date")?;
    let mut fields = event.clone();
    for name in ["date", "contactExtEventType", "eventId"] {
        fields.remove(name);
    }
    for (name, value) in &fields {
        let Value::String(text) = value else { continue };
        if text.len() > limit(name) {
            return Err(format!("Field {name} is too long"));
        }
    }
    Ok(Draft { date, kind, fields })
}

/// The most bytes a text may have (sheet, section 3).
fn limit(name: &str) -> usize {
    match name {
        "description" => 2048,
        "products" => 512,
        _ => 255,
    }
}

impl Account {
    /// Keeps an event; gives its number.
    pub fn add_event(&mut self, contact: u32, draft: Draft, now: i64) -> u32 {
        let number = u32::try_from(self.events.len()).unwrap_or(NONE);
        let card = self.card_mut(contact);
        card.modified = now;
        let previous = std::mem::replace(&mut card.last_event, number);
        self.events.push(Event {
            contact,
            previous,
            date: draft.date,
            kind: draft.kind,
            deleted: false,
            fields: Value::Object(draft.fields).to_string().into(),
        });
        number
    }

    /// Replaces an event: what is left out is gone.
    pub fn replace_event(&mut self, number: u32, draft: Draft) {
        let event = &mut self.events[number as usize];
        event.date = draft.date;
        event.kind = draft.kind;
        event.fields = Value::Object(draft.fields).to_string().into();
    }

    /// Deletes an event.
    pub fn delete_event(&mut self, number: u32) {
        self.events[number as usize].deleted = true;
    }

    /// The event with an id.
    pub fn find_event(&self, id: &str) -> Option<u32> {
        let number = u32::from_str_radix(id.strip_prefix(EVENT_PREFIX)?, 16).ok()?;
        self.events.get(number as usize).filter(|event| !event.deleted).map(|_| number)
    }

    /// An event by its number.
    pub fn event(&self, number: u32) -> &Event {
        &self.events[number as usize]
    }

    /// The events of a card, oldest first.
    pub fn events_of(&self, contact: u32) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut number = self.card(contact).last_event;
        while number != NONE {
            let event = self.event(number);
            if !event.deleted {
                numbers.push(number);
            }
            number = event.previous;
        }
        numbers.reverse();
        numbers
    }

    /// Notes what a careful caller does not send in an event.
    pub fn note_event(&mut self, call: &str, event: &Map<String, Value>, email: Option<&str>) {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if event.get("date").and_then(Value::as_i64).is_some_and(|date| date.abs() < 100_000_000_000) {
            self.note(call, "date-in-seconds", "date is so small that it looks like seconds", email);
        }
        if text("products").contains(", ") {
            self.note(call, "space-in-products", "products are joined by a comma without a space", email);
        }
        let location = text("location");
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'/' | b'_' | b'-' | b'.');
        if location.len() > 36 || !location.bytes().all(plain) {
            self.note(call, "bad-location", format!("location `{location}`"), email);
        }
        for (name, value) in event {
            let is_number = matches!(name.as_str(), "date" | "value");
            if value.is_null() {
                self.note(call, "null-field", format!("{name} is null, which may erase it"), email);
            } else if is_number != value.is_number() {
                self.note(call, "wrong-type", format!("{name} has the wrong type"), email);
            }
            let is_detail = name
                .strip_prefix("detail")
                .and_then(|number| number.parse::<u8>().ok())
                .is_some_and(|number| (1..=20).contains(&number));
            let is_known = is_detail
                || matches!(
                    name.as_str(),
                    "date"
                        | "contactExtEventType"
                        | "products"
                        | "value"
                        | "location"
                        | "description"
                        | "externalId"
                        | "shopDomain"
                        | "eventId"
                );
            if !is_known {
                self.note(call, "unknown-field", format!("{name} is not a field of an event"), email);
            }
        }
        if let Some(number) = event.get("value").filter(|value| value.is_number()) {
            let written = number.to_string();
            let (whole, cents) = written.split_once('.').unwrap_or((&written, ""));
            if whole.trim_start_matches('-').len() > 19 || cents.len() > 2 {
                self.note(call, "bad-value", "value has more than 19 digits or more than 2 decimals", email);
            }
        }
    }
}
