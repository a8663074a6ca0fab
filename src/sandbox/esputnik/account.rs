//! The contacts of one account: how they are kept and found, segments, the list of unsubscribed addresses, what a person
//! did. No HTTP in here; jobs, orders and events have files of their own.

use super::card::{Details, EMAIL, MOBILE_PUSH, SMS, Text, WEB_PUSH};
use super::events::Events;
use super::import::Imports;
use super::limits::Meters;
use super::options::{Options, Repeat};
use super::orders::Orders;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use xxhash_rust::xxh3::xxh3_64;

/// The number of the first contact.
pub const FIRST_CONTACT: u64 = 1_200_000_001;
/// The number of the first segment.
pub const FIRST_GROUP: u64 = 200_400;
/// No contact, no order.
pub const NONE: u32 = u32::MAX;
/// How many violations are kept word for word; all are counted.
const KEPT_VIOLATIONS: usize = 10_000;

/// What made a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MadeBy {
    /// `POST /v1/contacts`
    Import,
    /// `POST /v1/contact`
    Single,
    /// `POST /v1/contact/subscribe`
    Subscribe,
    /// `POST /v1/orders`
    Order,
    /// A letter to an address without a contact.
    Message,
}

/// One contact.
pub struct Card {
    /// [`Details`], packed.
    pub details: Box<[u8]>,
    /// Places of its segments.
    pub groups: Box<[u16]>,
    /// Its subscription categories, one bit each.
    pub subscriptions: u64,
    /// The call by which it was made.
    pub created: u64,
    /// The change by which it was last changed; no two changes are alike.
    pub updated: u64,
    /// What made it.
    pub made_by: MadeBy,
    /// May be mailed.
    pub confirmed: bool,
    /// Deleted, but known.
    pub deleted: bool,
    /// Deleted for good.
    pub erased: bool,
}

impl Card {
    /// What is known of it.
    pub fn details(&self) -> Details {
        Details::unpack(&self.details)
    }

    /// Whether it is there for readers.
    pub fn is_present(&self) -> bool {
        !self.deleted && !self.erased
    }
}

/// A segment.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Whether contacts can be put in and out.
    pub is_static: bool,
}

/// How an address came onto the list of the unsubscribed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Unsubscribed {
    /// The person did it, not the API.
    pub by_person: bool,
    /// After so many calls.
    pub at_call: u64,
}

/// An address that the API took off the list.
#[derive(Debug, Clone, Serialize)]
pub struct Lifted {
    /// The address.
    pub email: String,
    /// The person had unsubscribed, not the API.
    pub by_person: bool,
    /// By which call.
    pub at_call: u64,
}

/// One line of the activity list.
#[derive(Debug, Clone)]
pub struct Activity {
    /// Whose.
    pub contact: u32,
    /// The address.
    pub email: Box<str>,
    /// `UNSUBSCRIBED`, `SPAM`, …
    pub status: Box<str>,
    /// When, in seconds.
    pub at: i64,
}

/// Something that a careful caller does not do.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// The call.
    pub call: String,
    /// A stable word for what is wrong.
    pub code: &'static str,
    /// What exactly.
    pub text: String,
}

/// Keys to the few contacts that share each of them.
#[derive(Default)]
pub struct Index {
    one: HashMap<u64, u32>,
    more: HashMap<u64, Vec<u32>>,
}

impl Index {
    /// Everyone who has the key.
    pub fn holders(&self, key: u64) -> Vec<u32> {
        let mut holders: Vec<u32> = self.one.get(&key).copied().into_iter().collect();
        holders.extend(self.more.get(&key).into_iter().flatten());
        holders
    }

    /// The first who has the key.
    pub fn first(&self, key: u64) -> Option<u32> {
        self.one.get(&key).copied()
    }

    /// Gives the key to one more.
    pub fn add(&mut self, key: u64, number: u32) {
        match self.one.entry(key) {
            std::collections::hash_map::Entry::Vacant(free) => drop(free.insert(number)),
            std::collections::hash_map::Entry::Occupied(taken) if *taken.get() == number => {}
            std::collections::hash_map::Entry::Occupied(_) => {
                let more = self.more.entry(key).or_default();
                if !more.contains(&number) {
                    more.push(number);
                }
            }
        }
    }

    /// Takes the key away from one.
    pub fn remove(&mut self, key: u64, number: u32) {
        let next = match self.more.get_mut(&key) {
            Some(more) => {
                more.retain(|there| *there != number);
                more.first().copied()
            }
            None => None,
        };
        if self.one.get(&key) == Some(&number) {
            match next {
                Some(next) => {
                    self.one.insert(key, next);
                    if let Some(more) = self.more.get_mut(&key) {
                        more.retain(|there| *there != next);
                    }
                }
                None => drop(self.one.remove(&key)),
            }
        }
        if self.more.get(&key).is_some_and(Vec::is_empty) {
            self.more.remove(&key);
        }
    }
}

/// What a contact can be found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The caller's own number.
    ExternalId,
    /// An e-mail address, in any case.
    Email,
    /// A phone of the channel `sms`.
    Sms,
    /// A push token.
    Push,
    /// `contactKey`.
    ContactKey,
    /// An additional field.
    Field(u32),
}

impl By {
    /// The key of a value; equal keys of unlike values are as good as impossible.
    pub fn key(self, value: &str) -> u64 {
        let (letter, field) = match self {
            Self::ExternalId => (b'x', 0),
            Self::Email => (b'e', 0),
            Self::Sms => (b's', 0),
            Self::Push => (b'p', 0),
            Self::ContactKey => (b'k', 0),
            Self::Field(id) => (b'f', id),
        };
        let mut bytes = vec![letter];
        bytes.extend_from_slice(&field.to_le_bytes());
        match self {
            Self::Email => bytes.extend_from_slice(value.trim().to_lowercase().as_bytes()),
            _ => bytes.extend_from_slice(value.as_bytes()),
        }
        xxh3_64(&bytes)
    }
}

/// One emulated account.
pub struct Account {
    /// How it behaves.
    pub options: Options,
    /// All contacts, erased ones included.
    pub cards: Vec<Card>,
    index: Index,
    /// The additional field that contacts were last looked for by; it is indexed from then on.
    indexed_field: Option<u32>,
    /// All segments.
    pub groups: Vec<Group>,
    /// Addresses that nobody may mail.
    pub unsubscribed: BTreeMap<Box<str>, Unsubscribed>,
    /// Addresses that the API took off that list.
    pub lifted: Vec<Lifted>,
    /// Addresses that are on the blacklist common to all customers.
    pub blacklist: BTreeMap<String, ()>,
    /// The activity list, oldest first.
    pub activities: Vec<Activity>,
    /// Import jobs.
    pub imports: Imports,
    /// Orders.
    pub orders: Orders,
    /// Events.
    pub events: Events,
    /// What is used of each limit.
    pub meters: Meters,
    /// The product feeds as they were set.
    pub feeds: Value,
    /// Letters asked for: request id, and whether it went.
    pub messages: Vec<(Box<str>, bool)>,
    /// The first violations, word for word.
    pub violations: Vec<Violation>,
    /// All violations by code.
    pub violation_counts: BTreeMap<&'static str, u64>,
    /// Calls by method and route.
    pub calls: BTreeMap<String, u64>,
    /// All calls so far.
    pub call: u64,
    /// The route of the present call.
    pub route: &'static str,
    /// Contacts or orders that hold this address or number are refused, with the text.
    pub refused: BTreeMap<String, String>,
    changes: u64,
    /// Seconds that the account's clock is ahead of the machine's.
    pub ahead: i64,
    recent: HashMap<u64, (i64, u64)>,
}

impl Account {
    /// An empty account.
    pub fn new(options: Options) -> Self {
        let group = |is_static| move |name: &String| Group { name: name.clone(), is_static };
        let groups = options.static_groups.iter().map(group(true));
        let groups = groups.chain(options.dynamic_groups.iter().map(group(false)));
        Self {
            groups: groups.collect(),
            options,
            cards: Vec::new(),
            index: Index::default(),
            indexed_field: None,
            unsubscribed: BTreeMap::new(),
            lifted: Vec::new(),
            blacklist: BTreeMap::new(),
            activities: Vec::new(),
            imports: Imports::default(),
            orders: Orders::default(),
            events: Events::default(),
            meters: Meters::default(),
            feeds: json!({"feeds": []}),
            messages: Vec::new(),
            violations: Vec::new(),
            violation_counts: BTreeMap::new(),
            calls: BTreeMap::new(),
            call: 0,
            route: "",
            refused: BTreeMap::new(),
            changes: 0,
            ahead: 0,
            recent: HashMap::new(),
        }
    }

    /// The account's own time, in seconds.
    pub fn now(&self) -> i64 {
        jiff::Timestamp::now().as_second().saturating_add(self.ahead)
    }

    /// Notes a violation.
    pub fn note(&mut self, code: &'static str, text: impl Into<String>) {
        *self.violation_counts.entry(code).or_default() += 1;
        if self.violations.len() < KEPT_VIOLATIONS {
            self.violations.push(Violation { call: self.route.to_owned(), code, text: text.into() });
        }
    }

    /// Whether this very request has been taken a short time ago.
    pub fn is_repeated(&self, request: u64) -> bool {
        match (self.options.repeat, self.recent.get(&request)) {
            (Repeat::Taken, _) | (_, None) => false,
            (Repeat::WithinSeconds(seconds), Some((at, _))) => self.now() - at < seconds,
            (Repeat::WithinCalls(calls), Some((_, call))) => self.call - call <= u64::from(calls),
        }
    }

    /// Remembers a request that was taken.
    pub fn remember(&mut self, request: u64) {
        let (now, call) = (self.now(), self.call);
        if self.recent.len() > 100_000 {
            self.recent.retain(|_, (at, _)| now - *at < 60);
        }
        self.recent.insert(request, (now, call));
    }

    /// A contact by its place.
    pub fn card(&self, number: u32) -> &Card {
        &self.cards[number as usize]
    }

    /// A contact by its place, to change it.
    pub fn card_mut(&mut self, number: u32) -> &mut Card {
        self.changes += 1;
        let change = self.changes;
        let card = &mut self.cards[number as usize];
        card.updated = change;
        card
    }

    /// The platform's number of a contact.
    pub fn contact_id(number: u32) -> u64 {
        FIRST_CONTACT + u64::from(number)
    }

    /// The contact with a number, deleted ones included.
    pub fn find_id(&self, id: u64) -> Option<u32> {
        let number = u32::try_from(id.checked_sub(FIRST_CONTACT)?).ok()?;
        self.cards.get(number as usize).filter(|card| !card.erased).map(|_| number)
    }

    /// Everyone who has a value, deleted ones included, last changed first.
    pub fn find(&self, by: By, value: &str) -> Vec<u32> {
        let mut found = self.index.holders(by.key(value));
        found.retain(|number| !self.card(*number).erased);
        found.sort_by_key(|number| std::cmp::Reverse(self.card(*number).updated));
        found
    }

    /// The first contact with a value that is not deleted.
    pub fn find_present(&self, by: By, value: &str) -> Option<u32> {
        self.find(by, value).into_iter().find(|number| !self.card(*number).deleted)
    }

    /// Makes sure that contacts can be found by an additional field.
    pub fn index_field(&mut self, id: u32) {
        if self.indexed_field == Some(id) {
            return;
        }
        self.indexed_field = Some(id);
        for (number, card) in (0_u32..).zip(&self.cards) {
            if let Some(value) = card.details().fields.get(&id) {
                self.index.add(By::Field(id).key(value), number);
            }
        }
    }

    fn keys(&self, details: &Details) -> Vec<u64> {
        let mut keys = Vec::new();
        keys.extend(details.text(Text::ExternalId).map(|value| By::ExternalId.key(value)));
        keys.extend(details.text(Text::ContactKey).map(|value| By::ContactKey.key(value)));
        for (kind, value) in &details.channels {
            match *kind {
                EMAIL => keys.push(By::Email.key(value)),
                SMS => keys.push(By::Sms.key(value)),
                MOBILE_PUSH | WEB_PUSH => keys.push(By::Push.key(value)),
                _ => {}
            }
        }
        if let Some(id) = self.indexed_field {
            keys.extend(details.fields.get(&id).map(|value| By::Field(id).key(value)));
        }
        keys
    }

    /// Makes a contact.
    pub fn create(&mut self, details: &Details, made_by: MadeBy, confirmed: bool) -> u32 {
        let number = u32::try_from(self.cards.len()).unwrap_or(NONE);
        for key in self.keys(details) {
            self.index.add(key, number);
        }
        self.changes += 1;
        self.cards.push(Card {
            details: details.pack(),
            groups: Box::default(),
            subscriptions: 0,
            created: self.call,
            updated: self.changes,
            made_by,
            confirmed,
            deleted: false,
            erased: false,
        });
        number
    }

    /// Gives a contact other details; a deleted one is restored by it.
    pub fn replace(&mut self, number: u32, details: &Details) {
        let before = self.card(number).details();
        if before != *details {
            let (old, new) = (self.keys(&before), self.keys(details));
            for key in old.iter().filter(|key| !new.contains(key)) {
                self.index.remove(*key, number);
            }
            for key in new {
                self.index.add(key, number);
            }
        }
        let card = self.card_mut(number);
        if before != *details {
            card.details = details.pack();
        }
        card.deleted = false;
    }

    /// Deletes a contact; for good, nobody finds it again.
    pub fn delete(&mut self, number: u32, erase: bool) {
        if erase {
            for key in self.keys(&self.card(number).details()) {
                self.index.remove(key, number);
            }
        }
        let card = self.card_mut(number);
        card.deleted = true;
        card.groups = Box::default();
        if erase {
            card.erased = true;
            card.details = Box::default();
        }
    }

    /// The place of a segment by its name.
    pub fn group(&self, name: &str) -> Option<u16> {
        self.groups.iter().position(|group| group.name == name).and_then(|place| u16::try_from(place).ok())
    }

    /// The place of a segment by its number.
    pub fn group_by_id(&self, id: u64) -> Option<u16> {
        let place = u16::try_from(id.checked_sub(FIRST_GROUP)?).ok()?;
        (usize::from(place) < self.groups.len()).then_some(place)
    }

    /// The place of a static segment by its name; one that is missing is made.
    pub fn group_or_new(&mut self, name: &str) -> Option<u16> {
        match self.group(name) {
            Some(place) if self.groups[usize::from(place)].is_static => Some(place),
            Some(_) => {
                self.note("dynamic-group", format!("{name} is no static segment"));
                None
            }
            None => {
                self.groups.push(Group { name: name.to_owned(), is_static: true });
                self.group(name)
            }
        }
    }

    /// Puts a contact into segments and takes it out of others.
    pub fn regroup(&mut self, number: u32, into: &[u16], out_of: &[u16]) {
        let card = &self.cards[number as usize];
        let mut groups: Vec<u16> = card.groups.iter().filter(|there| !out_of.contains(there)).copied().collect();
        groups.extend(into.iter().filter(|wanted| !card.groups.contains(wanted) && !out_of.contains(wanted)));
        if *groups != *card.groups {
            self.card_mut(number).groups = groups.into();
        }
    }

    /// Whether a letter would reach the contact.
    pub fn is_mailable(&self, number: u32) -> bool {
        let card = self.card(number);
        let details = card.details();
        card.is_present()
            && card.confirmed
            && details.values(EMAIL).next().is_some()
            && !details.values(EMAIL).any(|email| {
                self.unsubscribed.contains_key(email.to_lowercase().as_str())
                    || self.blacklist.contains_key(&email.to_lowercase())
            })
    }

    /// Puts an address onto the list of the unsubscribed.
    pub fn unsubscribe(&mut self, email: &str, by_person: bool) {
        let email: Box<str> = email.trim().to_lowercase().into();
        let at_call = self.call;
        if by_person {
            let contact = self.find_present(By::Email, &email).unwrap_or(NONE);
            let at = self.now();
            self.activities.push(Activity { contact, email: email.clone(), status: "UNSUBSCRIBED".into(), at });
        }
        let entry = self.unsubscribed.entry(email).or_insert(Unsubscribed { by_person, at_call });
        entry.by_person |= by_person;
    }

    /// Takes an address off that list, as the API asks.
    pub fn lift(&mut self, email: &str) {
        let email = email.trim().to_lowercase();
        if let Some(entry) = self.unsubscribed.remove(email.as_str()) {
            self.lifted.push(Lifted { email, by_person: entry.by_person, at_call: self.call });
        }
    }
}
