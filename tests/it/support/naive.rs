//! What the canonical tables and the account should hold, worked out from the shop's own rows by plain loops: no SQL, no
//! history, nothing of the product. Slow and obvious, so that it may be believed.

use super::seller::Seller;
use super::world::World;
use super::{naive_idosell, naive_woocommerce};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A contact as it should be; keyed by e-mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub company: Option<String>,
    pub city: Option<String>,
    pub country: Option<String>,
    pub registered: bool,
    pub consent: &'static str,
    /// The account's key, where there is an account.
    pub account: Option<String>,
    /// As the pipeline names them.
    pub tags: BTreeSet<String>,
}

/// An order as it should be; keyed by the shop's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub number: String,
    /// Of the contact it hangs on.
    pub email: Option<String>,
    pub status: Option<&'static str>,
    pub is_paid: bool,
    pub is_returned: bool,
    pub currency: String,
    /// Ten-thousandths.
    pub total: i64,
    /// Of the total, what was paid back.
    pub refunded: i64,
    pub lines: usize,
    pub lines_total: i64,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Expected {
    pub contacts: BTreeMap<String, Contact>,
    pub orders: BTreeMap<String, Order>,
    /// By e-mail and currency: delivered orders, and what they were worth.
    pub rfm: BTreeMap<(String, String), (i64, i64)>,
}

/// What one record of the shop says of somebody.
pub(super) struct Source {
    pub email: String,
    pub key: String,
    pub updated: String,
    pub row: Contact,
    pub speaks_only_of_consent: bool,
    pub statement: Option<(String, &'static str)>,
}

/// Works everything out from what the shop has now.
pub fn expected(world: &World) -> Expected {
    match world.seller {
        Seller::WooCommerce => naive_woocommerce::expected(world.shop()),
        Seller::IdoSell => naive_idosell::expected(&world.sandbox),
    }
}

impl Expected {
    /// Adds an order, and what it is worth to whoever counts buyers.
    pub(super) fn add(&mut self, key: String, order: Order) {
        if let (Some("DELIVERED"), Some(email)) = (order.status, &order.email) {
            let (orders, spent) = self.rfm.entry((email.clone(), order.currency.clone())).or_default();
            *orders += 1;
            *spent += (order.total - order.refunded).max(0);
        }
        self.orders.insert(key, order);
    }

    /// Makes contacts of what all records say.
    pub(super) fn merge(&mut self, mut sources: Vec<Source>) {
        // The newest word on each field counts; nobody's silence takes anything back.
        sources.sort_by(|a, b| b.updated.cmp(&a.updated).then_with(|| a.key.cmp(&b.key)));
        for source in sources.iter().filter(|source| !source.speaks_only_of_consent) {
            let contact = self
                .contacts
                .entry(source.email.clone())
                .or_insert_with(|| Contact { consent: "unknown", ..Contact::default() });
            let row = &source.row;
            for (field, value) in [
                (&mut contact.first_name, &row.first_name),
                (&mut contact.last_name, &row.last_name),
                (&mut contact.company, &row.company),
                (&mut contact.city, &row.city),
                (&mut contact.country, &row.country),
            ] {
                if field.is_none() {
                    field.clone_from(value);
                }
            }
            contact.registered |= row.registered;
            if let Some(account) = &row.account {
                let is_lower =
                    contact.account.as_ref().is_none_or(|known| (account.len(), account) < (known.len(), known));
                if is_lower {
                    contact.account = Some(account.clone());
                }
            }
        }
        let mut statements: BTreeMap<&str, (&str, &'static str)> = BTreeMap::new();
        for source in &sources {
            let Some((at, state)) = &source.statement else { continue };
            let said = statements.entry(&source.email).or_insert((at, state));
            // The withdrawal counts where both are equally late.
            if (at.as_str(), *state) > *said {
                *said = (at, state);
            }
        }
        for (email, (_, state)) in statements {
            if let Some(contact) = self.contacts.get_mut(email) {
                contact.consent = state;
            }
        }
    }
}

/// What the platform calls a tag: upper case, no blanks, no commas.
pub fn spelled(tag: &str) -> String {
    let blanks = tag.replace(',', " ");
    blanks.split_whitespace().collect::<Vec<_>>().join("_").to_uppercase()
}

pub(super) fn clean(value: &str) -> Option<String> {
    let invisible = |letter: char| matches!(letter, ' ' | '\t' | '\r' | '\n' | '\u{a0}' | '\u{200b}' | '\u{feff}');
    Some(value.trim_matches(invisible).to_owned()).filter(|text| !text.is_empty())
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => clean(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn plain(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

pub(super) fn decoded(value: &Value) -> Option<String> {
    clean(&htmlize::unescape(value.as_str()?))
}

pub(super) fn country(value: &Value) -> Option<String> {
    let code = value.as_str()?.trim();
    (code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic())).then(|| code.to_uppercase())
}

pub(super) fn number(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An address that mail can go to: one @, a host with a point, nothing odd.
pub(super) fn email(raw: &str) -> Option<String> {
    let address = clean(raw)?.to_lowercase();
    let (name, host) = address.split_once('@')?;
    let odd = |letter: char| letter.is_whitespace() || "\"(),:;<>\\[]@".contains(letter);
    let labels: Vec<&str> = host.split('.').collect();
    let is_label = |label: &&str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let sound = !name.is_empty()
        && name.len() <= 64
        && !name.contains(odd)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !address.contains("..")
        && labels.len() > 1
        && labels.iter().all(is_label)
        && host.chars().all(|letter| letter.is_alphanumeric() || letter == '.' || letter == '-')
        && labels.last().is_some_and(|last| last.starts_with(char::is_alphabetic) && last.len() > 1);
    sound.then_some(address)
}

/// Ten-thousandths of a decimal number, rounded half away from zero as Postgres does.
pub fn money(value: &Value) -> i64 {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return 0,
    };
    let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let padded: String = part.chars().chain("00000".chars()).take(5).collect();
    let Ok(part) = padded.parse::<i64>() else { return 0 };
    let whole: i64 = whole.parse().unwrap_or_default();
    sign * (whole * 10_000 + (part + 5) / 10)
}
