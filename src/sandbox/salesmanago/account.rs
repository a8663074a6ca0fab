//! The cards and tags of one account, what an upsert does to a card, and what waits to be applied. No HTTP in here.

use super::event::Event;
use super::{Apply, Options};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// No event: the end of a card's chain.
pub const NONE: u32 = u32::MAX;

/// How many violations are kept word for word; all are counted.
const KEPT_VIOLATIONS: usize = 10_000;

/// Texts directly inside `contact`.
const CONTACT_TEXTS: [&str; 6] = ["name", "phone", "fax", "company", "externalId", "state"];
/// Texts inside `contact.address`.
const ADDRESS_TEXTS: [&str; 4] = ["streetAddress", "zipCode", "city", "country"];
/// Texts beside `contact`.
const ROOT_TEXTS: [&str; 3] = ["province", "birthday", "lang"];
/// Everything that may stand beside `contact`, apart from texts.
const ROOT_OTHERS: [&str; 14] = [
    "contact",
    "newEmail",
    "tags",
    "removeTags",
    "properties",
    "dictionaryProperties",
    "consentDetails",
    "forceOptIn",
    "forceOptOut",
    "forcePhoneOptIn",
    "forcePhoneOptOut",
    "useApiDoubleOptIn",
    "tagScoring",
    "loyaltyProgram",
];
const STATES: [&str; 5] = ["CUSTOMER", "PROSPECT", "PARTNER", "OTHER", "UNKNOWN"];

/// One contact.
pub struct Card {
    /// Trimmed, lower-cased: the key.
    pub email: Arc<str>,
    /// All texts, properties and consent details as one packed JSON object.
    pub details: Box<str>,
    /// Tags: number of the name, when it was given (ms).
    pub tags: Box<[(u32, i64)]>,
    /// When the card was made (ms).
    pub created: i64,
    /// When it was last changed (ms).
    pub modified: i64,
    /// Its newest event; the others follow by [`Event::previous`].
    pub last_event: u32,
    /// Number of the owner among the account's users.
    pub owner: u16,
    /// E-mail consent withdrawn or never given.
    pub opted_out: bool,
    /// The same for text messages.
    pub opted_out_phone: bool,
    /// Deleted, but shown.
    pub deleted: bool,
    /// Deleted for good: the place is empty.
    pub gone: bool,
}

impl Card {
    /// The packed texts.
    pub fn details(&self) -> Map<String, Value> {
        serde_json::from_str(&self.details).unwrap_or_default()
    }
}

/// How the opt flags decide (sheet, section 5.1): out wins, in alone opts in, neither leaves an existing contact as it is
/// and makes a new one opted out. `before` is `None` for a new contact.
pub fn opted_out(before: Option<bool>, force_in: bool, force_out: bool) -> bool {
    match (force_in, force_out) {
        (_, true) => true,
        (true, false) => false,
        (false, false) => before.unwrap_or(true),
    }
}

/// The platform's own spelling of a tag (sheet, section 5.3).
pub fn tag_spelling(tag: &str) -> String {
    tag.trim().to_uppercase().replace(' ', "_")
}

/// Something the platform would suffer, or is not known to suffer, and a careful caller does not do.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// The call, as its path.
    pub call: String,
    /// A stable word for what is wrong.
    pub code: &'static str,
    /// What exactly.
    pub text: String,
    /// Whom it concerns.
    pub email: Option<String>,
}

/// How an upsert was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// `contact/upsert`, which alone knows `newEmail`.
    pub single: bool,
    /// Confirmation letters are wanted.
    pub double_opt_in: bool,
    /// Rules and workflows are triggered.
    pub fire_events: bool,
    /// Number of the owner among the users.
    pub owner: u16,
}

/// An accepted batch upsert that has not taken effect yet.
struct Waiting {
    elements: Vec<Map<String, Value>>,
    manner: Manner,
    calls_left: Option<u32>,
    due: Option<i64>,
}

/// One emulated account.
pub struct Account {
    /// How it behaves.
    pub options: Options,
    pub(super) cards: Vec<Card>,
    by_email: HashMap<Arc<str>, u32>,
    pub(super) events: Vec<Event>,
    tag_names: Vec<Box<str>>,
    tag_numbers: HashMap<Box<str>, u32>,
    waiting: VecDeque<Waiting>,
    next_request: u64,
    /// Exports by request number: page, size, and whether `job/status` has been asked once.
    pub(super) exports: BTreeMap<u64, (usize, usize, bool)>,
    /// Cards to which a confirmation letter was sent.
    pub letters: Vec<u32>,
    /// Cards for which rules and workflows ran.
    pub automations: Vec<u32>,
    /// The first violations, word for word.
    pub violations: Vec<Violation>,
    /// All violations by code.
    pub violation_counts: BTreeMap<&'static str, u64>,
    /// Calls by path.
    pub calls: BTreeMap<String, u64>,
    /// Addresses that make any upsert or event call carrying them fail as a whole, with the platform's text.
    pub refused: HashMap<String, String>,
}

impl Account {
    /// An empty account.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            cards: Vec::new(),
            by_email: HashMap::new(),
            events: Vec::new(),
            tag_names: Vec::new(),
            tag_numbers: HashMap::new(),
            waiting: VecDeque::new(),
            next_request: 410_233,
            exports: BTreeMap::new(),
            letters: Vec::new(),
            automations: Vec::new(),
            violations: Vec::new(),
            violation_counts: BTreeMap::new(),
            calls: BTreeMap::new(),
            refused: HashMap::new(),
        }
    }

    /// Notes a violation.
    pub fn note(&mut self, call: &str, code: &'static str, text: impl Into<String>, email: Option<&str>) {
        *self.violation_counts.entry(code).or_default() += 1;
        if self.violations.len() < KEPT_VIOLATIONS {
            self.violations.push(Violation {
                call: call.to_owned(),
                code,
                text: text.into(),
                email: email.map(str::to_owned),
            });
        }
    }

    /// The number of the next asynchronous request.
    pub(super) fn request_number(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// The card at an address, deleted ones included.
    pub fn find(&self, email: &str) -> Option<u32> {
        self.by_email.get(email.trim().to_lowercase().as_str()).copied()
    }

    /// The card with an id.
    pub fn find_id(&self, id: &str) -> Option<u32> {
        let number = u32::from_str_radix(id.strip_prefix(super::show::CONTACT_PREFIX)?, 16).ok()?;
        self.cards.get(number as usize).filter(|card| !card.gone).map(|_| number)
    }

    /// All cards in the order of their numbers, deleted ones included.
    pub fn all_cards(&self) -> &[Card] {
        &self.cards
    }

    /// A card by its number.
    pub fn card(&self, number: u32) -> &Card {
        &self.cards[number as usize]
    }

    pub(super) fn card_mut(&mut self, number: u32) -> &mut Card {
        &mut self.cards[number as usize]
    }

    /// The name of a tag.
    pub fn tag_name(&self, number: u32) -> &str {
        &self.tag_names[number as usize]
    }

    /// The tags of a card.
    pub fn tags_of(&self, number: u32) -> Vec<&str> {
        self.card(number).tags.iter().map(|(tag, _)| self.tag_name(*tag)).collect()
    }

    /// Every tag with the number of cards that carry it.
    pub fn tag_counts(&self) -> BTreeMap<&str, u64> {
        let mut counts = vec![0_u64; self.tag_names.len()];
        for card in self.cards.iter().filter(|card| !card.gone && !card.deleted) {
            for (tag, _) in &card.tags {
                counts[*tag as usize] += 1;
            }
        }
        self.tag_names.iter().zip(counts).map(|(name, count)| (&**name, count)).collect()
    }

    /// How many batch upserts wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Lets time pass: what is due takes effect. `call` says that this is one of the later calls that are counted.
    pub fn pass(&mut self, now: i64, call: bool) {
        if call {
            for waiting in &mut self.waiting {
                if let Some(left) = &mut waiting.calls_left {
                    *left = left.saturating_sub(1);
                }
            }
        }
        while let Some(first) = self.waiting.front() {
            let is_due = first.calls_left == Some(0) || first.due.is_some_and(|due| due <= now);
            if !is_due {
                break;
            }
            self.apply_first(now);
        }
    }

    /// Everything that waits takes effect; how many batches that was.
    pub fn settle(&mut self, now: i64) -> usize {
        let batches = self.waiting.len();
        while !self.waiting.is_empty() {
            self.apply_first(now);
        }
        batches
    }

    fn apply_first(&mut self, now: i64) {
        let Some(batch) = self.waiting.pop_front() else { return };
        for element in batch.elements {
            // The platform answers nothing per contact, so what it cannot use is lost without a word.
            if let Err(text) = self.upsert(&element, batch.manner, now) {
                let email = email_of(&element).map(str::to_owned);
                self.note("contact/batchupsertv2", "lost-contact", text, email.as_deref());
            }
        }
    }

    /// Accepts a batch upsert.
    pub fn accept(&mut self, elements: Vec<Map<String, Value>>, manner: Manner, now: i64) -> u64 {
        let (calls_left, due) = match self.options.apply {
            Apply::AfterRequests(calls) => (Some(calls), None),
            Apply::AfterMilliseconds(wait) => (None, Some(now.saturating_add(wait))),
            Apply::OnCommand => (None, None),
        };
        self.waiting.push_back(Waiting { elements, manner, calls_left, due });
        self.pass(now, false);
        self.request_number()
    }

    /// Creates or changes one card; gives its number, or the platform's text of refusal.
    pub fn upsert(&mut self, request: &Map<String, Value>, manner: Manner, now: i64) -> Result<u32, String> {
        let call = if manner.single { "contact/upsert" } else { "contact/batchupsertv2" };
        let empty = Map::new();
        let contact = request.get("contact").and_then(Value::as_object).unwrap_or(&empty);
        let email = match email_of(request) {
            Some(email) => email.trim().to_lowercase(),
            None => match contact.get("contactId").and_then(Value::as_str).and_then(|id| self.find_id(id)) {
                Some(number) => self.card(number).email.to_string(),
                None => return Err("No email specified".into()),
            },
        };
        check_email(&email)?;
        let rename = request.get("newEmail").and_then(Value::as_str).map(|email| email.trim().to_lowercase());
        if rename.is_some() && !manner.single {
            self.note(call, "new-email-in-batch", "newEmail has no effect in a batch", Some(&email));
        }
        let rename = rename.filter(|new| manner.single && *new != email);
        if let Some(new) = &rename {
            check_email(new)?;
            if self.find(new).is_some() {
                return Err("Contact with this email already exists".into());
            }
        }
        self.note_oddities(call, request, contact, &email);

        let found = self.find(&email);
        // A card that was deleted and comes back has no consent of its own.
        let before = found.map(|number| self.card(number)).filter(|card| !card.deleted);
        let (mail_before, phone_before) = (before.map(|card| card.opted_out), before.map(|card| card.opted_out_phone));
        let flag = |name: &str| request.get(name).and_then(Value::as_bool).unwrap_or(false);
        let number = found.unwrap_or_else(|| self.create(&email, manner.owner, now));
        let mut details = self.card(number).details();
        merge_texts(&mut details, contact, &CONTACT_TEXTS);
        if let Some(address) = contact.get("address").and_then(Value::as_object) {
            merge_texts(&mut details, address, &ADDRESS_TEXTS);
        }
        merge_texts(&mut details, request, &ROOT_TEXTS);
        merge_collections(&mut details, request);

        let added = self.tags_in(request, "tags");
        let removed: HashSet<u32> = self.tags_in(request, "removeTags").into_iter().collect();
        let mail_out = opted_out(mail_before, flag("forceOptIn"), flag("forceOptOut"));
        let phone_out = opted_out(phone_before, flag("forcePhoneOptIn"), flag("forcePhoneOptOut"));
        if manner.double_opt_in && !flag("forceOptOut") && mail_before != Some(false) {
            self.letters.push(number);
        }
        if manner.fire_events {
            self.automations.push(number);
        }
        let card = self.card_mut(number);
        card.details = Value::Object(details).to_string().into();
        card.opted_out = mail_out;
        card.opted_out_phone = phone_out;
        card.deleted = false;
        card.modified = now;
        retag(card, &added, &removed, now);
        if let Some(new) = rename {
            self.rename(number, &new);
        }
        Ok(number)
    }

    /// A fresh card without any consent.
    fn create(&mut self, email: &str, owner: u16, now: i64) -> u32 {
        let email: Arc<str> = email.into();
        let number = u32::try_from(self.cards.len()).unwrap_or(NONE);
        self.by_email.insert(email.clone(), number);
        self.cards.push(Card {
            email,
            details: "{}".into(),
            tags: Box::default(),
            created: now,
            modified: now,
            last_event: NONE,
            owner,
            opted_out: true,
            opted_out_phone: true,
            deleted: false,
            gone: false,
        });
        number
    }

    fn rename(&mut self, number: u32, new: &str) {
        let new: Arc<str> = new.into();
        let old = std::mem::replace(&mut self.card_mut(number).email, new.clone());
        self.by_email.remove(&old);
        self.by_email.insert(new, number);
    }

    /// Adds and removes tags of a card.
    pub fn manage_tags(&mut self, number: u32, request: &Map<String, Value>, now: i64) {
        let added = self.tags_in(request, "tags");
        let removed: HashSet<u32> = self.tags_in(request, "removeTags").into_iter().collect();
        let card = self.card_mut(number);
        card.modified = now;
        retag(card, &added, &removed, now);
    }

    /// Sets consent, as by a click or by the opt calls; `None` leaves a side as it is.
    pub fn set_opted_out(&mut self, number: u32, mail: Option<bool>, phone: Option<bool>, now: i64) {
        let card = self.card_mut(number);
        card.opted_out = mail.unwrap_or(card.opted_out);
        card.opted_out_phone = phone.unwrap_or(card.opted_out_phone);
        card.modified = now;
    }

    /// Deletes a card; permanently, its events go too.
    pub fn delete(&mut self, number: u32, permanently: bool, now: i64) {
        let card = self.card_mut(number);
        card.deleted = true;
        card.modified = now;
        if !permanently {
            return;
        }
        card.gone = true;
        card.details = Box::default();
        card.tags = Box::default();
        let mut event = std::mem::replace(&mut card.last_event, NONE);
        let email = card.email.clone();
        self.by_email.remove(&email);
        while event != NONE {
            let gone = &mut self.events[event as usize];
            gone.deleted = true;
            event = gone.previous;
        }
    }

    fn tags_in(&mut self, request: &Map<String, Value>, field: &str) -> Vec<u32> {
        let names = request.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(Value::as_str).filter(|tag| !tag.trim().is_empty()).map(|tag| self.tag(tag)).collect()
    }

    fn tag(&mut self, tag: &str) -> u32 {
        let name: Box<str> = tag_spelling(tag).into();
        if let Some(number) = self.tag_numbers.get(&name) {
            return *number;
        }
        let number = u32::try_from(self.tag_names.len()).unwrap_or(NONE);
        self.tag_names.push(name.clone());
        self.tag_numbers.insert(name, number);
        number
    }

    /// What the platform is not known to suffer: nulls, numbers where texts belong, unknown fields and words.
    fn note_oddities(&mut self, call: &str, request: &Map<String, Value>, contact: &Map<String, Value>, email: &str) {
        let empty = Map::new();
        let address = contact.get("address").and_then(Value::as_object).unwrap_or(&empty);
        for (place, fields) in [("contact", contact), ("address", address), ("", request)] {
            for (name, value) in fields {
                let is_text = match place {
                    "contact" => CONTACT_TEXTS.contains(&name.as_str()),
                    "address" => ADDRESS_TEXTS.contains(&name.as_str()),
                    _ => ROOT_TEXTS.contains(&name.as_str()),
                };
                let is_known = is_text
                    || match place {
                        "contact" => matches!(name.as_str(), "email" | "contactId" | "address"),
                        "address" => false,
                        _ => ROOT_OTHERS.contains(&name.as_str()) || super::api::ROOT_FIELDS.contains(&name.as_str()),
                    };
                if value.is_null() {
                    self.note(call, "null-field", format!("{name} is null, which may erase it"), Some(email));
                } else if !is_known {
                    self.note(call, "unknown-field", format!("{name} is not a field"), Some(email));
                } else if is_text && !value.is_string() {
                    self.note(call, "not-a-text", format!("{name} is not a text"), Some(email));
                } else if name.starts_with("force") && !value.is_boolean() {
                    self.note(call, "not-a-boolean", format!("{name} is not true or false"), Some(email));
                }
            }
        }
        if let Some(state) = contact.get("state").and_then(Value::as_str)
            && !STATES.contains(&state)
        {
            self.note(call, "unknown-state", format!("state {state} is not known"), Some(email));
        }
        if let Some(birthday) = request.get("birthday").and_then(Value::as_str)
            && !(matches!(birthday.len(), 4 | 8) && birthday.bytes().all(|byte| byte.is_ascii_digit()))
        {
            self.note(call, "bad-birthday", "birthday is neither yyyyMMdd nor MMdd", Some(email));
        }
        if let Some(properties) = request.get("properties")
            && !properties.as_object().is_some_and(|map| map.values().all(Value::is_string))
        {
            self.note(call, "bad-properties", "properties is not an object of texts", Some(email));
        }
    }
}

/// The address of an upsert element.
pub fn email_of(request: &Map<String, Value>) -> Option<&str> {
    request.get("contact")?.get("email")?.as_str().filter(|email| !email.trim().is_empty())
}

/// Sheet, section 3: at most 64 bytes before the @, 254 in all.
pub fn check_email(email: &str) -> Result<(), String> {
    let well_formed = email
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && name.len() <= 64 && host.contains('.') && !host.contains('@'));
    let clean = !email.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    if well_formed && clean && email.len() <= 254 { Ok(()) } else { Err("Incorrect email".into()) }
}

fn retag(card: &mut Card, added: &[u32], removed: &HashSet<u32>, now: i64) {
    let mut tags: Vec<(u32, i64)> = card.tags.iter().filter(|(tag, _)| !removed.contains(tag)).copied().collect();
    for tag in added {
        if !removed.contains(tag) && !tags.iter().any(|(there, _)| there == tag) {
            tags.push((*tag, now));
        }
    }
    card.tags = tags.into();
}

/// A text is taken over, a null erases, what is left out stays.
fn merge_texts(details: &mut Map<String, Value>, from: &Map<String, Value>, names: &[&str]) {
    for name in names {
        match from.get(*name) {
            Some(Value::Null) => drop(details.remove(*name)),
            Some(Value::String(text)) => drop(details.insert((*name).into(), text.as_str().into())),
            _ => {}
        }
    }
}

fn merge_collections(details: &mut Map<String, Value>, request: &Map<String, Value>) {
    if let Some(Value::Object(properties)) = request.get("properties") {
        let kept = details.entry("properties").or_insert_with(|| Map::new().into());
        if let Value::Object(kept) = kept {
            for (name, value) in properties {
                match value {
                    Value::Null => drop(kept.remove(name)),
                    value => drop(kept.insert(name.clone(), value.clone())),
                }
            }
        }
    }
    for (field, key) in [("dictionaryProperties", "name"), ("consentDetails", "consentName")] {
        let Some(Value::Array(entries)) = request.get(field) else { continue };
        let kept = details.entry(field).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(kept) = kept {
            for entry in entries {
                kept.retain(|there| there.get(key) != entry.get(key));
                kept.push(entry.clone());
            }
        }
    }
}
