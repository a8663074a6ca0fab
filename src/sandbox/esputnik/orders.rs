//! Orders: "Add orders", what it refuses order by order, what it makes of contacts, and the money that must add up.

use super::account::{Account, By, MadeBy, NONE};
use super::card::{Details, EMAIL, SMS, Text};
use super::events::{Event, Outcome, Via};
use super::rules;
use serde_json::{Map, Value};
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_64;

/// The most orders of one call.
pub const ORDERS: usize = 1000;
/// The statuses.
pub const STATUSES: [&str; 5] = ["INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART"];
/// Texts of an order beside the required ones.
const TEXTS: [&str; 11] = [
    "externalCustomerId",
    "email",
    "phone",
    "firstName",
    "lastName",
    "restoreUrl",
    "statusDescription",
    "storeId",
    "source",
    "deliveryMethod",
    "paymentMethod",
];
/// All fields that an order has.
const KNOWN: [&str; 11] = [
    "externalOrderId",
    "totalCost",
    "status",
    "date",
    "currency",
    "shipping",
    "discount",
    "taxes",
    "deliveryAddress",
    "additionalInfo",
    "items",
];

/// The place of a status.
pub fn status_place(name: &str) -> Option<u8> {
    STATUSES.iter().position(|status| *status == name).and_then(|place| u8::try_from(place).ok())
}

/// One order.
#[derive(Debug)]
pub struct Order {
    /// The caller's number.
    pub id: Box<str>,
    /// Whose.
    pub contact: u32,
    /// Place of the status.
    pub status: u8,
    /// The total, if it was given.
    pub total: Option<f64>,
    /// ISO 4217, or blanks.
    pub currency: [u8; 3],
    /// How many items.
    pub items: u16,
    /// Fingerprint of what came last by Add orders.
    pub by_orders: u64,
    /// Fingerprint of what came last by an event.
    pub by_events: u64,
    /// Deleted.
    pub deleted: bool,
}

/// All orders.
#[derive(Debug, Default)]
pub struct Orders {
    /// In order of arrival.
    pub list: Vec<Order>,
    index: HashMap<u64, u32>,
}

impl Orders {
    /// The order with a number.
    pub fn find(&self, id: &str) -> Option<u32> {
        let number = self.index.get(&xxh3_64(id.as_bytes())).copied()?;
        self.list.get(number as usize).filter(|order| !order.deleted).map(|_| number)
    }

    /// The place of the order with a number; it is made where it is missing.
    pub fn place(&mut self, id: &str, contact: u32) -> u32 {
        if let Some(number) = self.find(id) {
            return number;
        }
        let number = u32::try_from(self.list.len()).unwrap_or(NONE);
        self.index.insert(xxh3_64(id.as_bytes()), number);
        self.list.push(Order {
            id: id.into(),
            contact,
            status: 0,
            total: None,
            currency: *b"   ",
            items: 0,
            by_orders: 0,
            by_events: 0,
            deleted: false,
        });
        number
    }

    /// An order by its place.
    pub fn get(&self, number: u32) -> Option<&Order> {
        self.list.get(number as usize)
    }
}

/// The three letters of a currency.
pub fn currency_code(text: &str) -> [u8; 3] {
    text.as_bytes().try_into().unwrap_or(*b"   ")
}

/// Whether items, with or without shipping and taxes, add up to the total; a cent per piece is rounding.
pub fn adds_up(total: f64, shipping: f64, taxes: f64, items: &[(f64, f64)]) -> bool {
    let sum: f64 = items.iter().map(|(quantity, cost)| quantity * cost).sum();
    let pieces: f64 = items.iter().map(|(quantity, _)| quantity.abs()).sum();
    let tolerance = 0.011 + 0.01 * pieces;
    [0.0, shipping, taxes, shipping + taxes].iter().any(|extra| (sum + extra - total).abs() <= tolerance)
}

impl Account {
    /// Takes orders one by one; gives back those that were refused, with the reason.
    pub fn add_orders(&mut self, orders: &[Value]) -> Vec<(Value, String)> {
        let mut failed = Vec::new();
        for order in orders {
            if let Err(reason) = self.add_order(order) {
                failed.push((order.clone(), reason));
            }
        }
        failed
    }

    fn add_order(&mut self, order: &Value) -> Result<(), String> {
        let fields = order.as_object().ok_or("An order is an object")?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let id = text("externalOrderId").ok_or("externalOrderId is required")?;
        let total = fields.get("totalCost").and_then(Value::as_f64).ok_or("totalCost is required")?;
        let status_name = text("status").ok_or("status is required")?;
        let status = status_place(status_name).ok_or_else(|| format!("'{status_name}' is not valid status"))?;
        let date = text("date").ok_or("date is required")?;
        if date.parse::<jiff::Timestamp>().is_err() {
            return Err(format!("'{date}' is not valid date"));
        }
        let currency = text("currency").ok_or("currency is required")?;
        if !self.options.currencies.iter().any(|known| known == currency) {
            return Err(format!("'{currency}' is not supported currency"));
        }
        if !["externalCustomerId", "email", "phone"].iter().any(|name| text(name).is_some()) {
            return Err("At least one of externalCustomerId, email, phone is required".into());
        }
        if let Some(email) = text("email").filter(|email| !rules::is_email(email.trim())) {
            return Err(format!("'{email}' is not valid email"));
        }
        if let Some(phone) = text("phone").filter(|phone| !rules::is_phone(phone)) {
            return Err(format!("'{phone}' is not valid phone number"));
        }
        for (name, value) in fields {
            self.check_order_field(id, name, value)?;
        }
        let items = self.order_items(id, fields)?;
        for holder in ["externalOrderId", "externalCustomerId", "email", "phone"] {
            if let Some(reason) = text(holder).and_then(|value| self.refused.get(value)) {
                return Err(reason.clone());
            }
        }
        let amount = |name: &str| fields.get(name).and_then(Value::as_f64).unwrap_or_default();
        if !items.is_empty() && !adds_up(total, amount("shipping"), amount("taxes"), &items) {
            self.note("items-do-not-add-up", format!("order {id}: items do not add up to {total}"));
        }

        let contact = self.order_contact(fields);
        let number = self.orders.place(id, contact);
        let body = order.to_string();
        let fingerprint = xxh3_64(body.as_bytes());
        let item_count = u16::try_from(items.len()).unwrap_or(u16::MAX);
        let order = &mut self.orders.list[number as usize];
        let unchanged = order.by_orders == fingerprint;
        (order.contact, order.status, order.total) = (contact, status, Some(total));
        (order.currency, order.items, order.by_orders) = (currency_code(currency), item_count, fingerprint);
        if unchanged {
            self.note("order-resent-unchanged", format!("order {id} was sent again as it was"));
        }
        let kind = self.events.kind(&format!("order{status_name}"));
        let event =
            Event { kind, order: number, contact, via: Via::Orders, outcome: Outcome::Accepted, status, unchanged };
        self.events.push(event, body.as_bytes(), self.options.kept_bodies);
        Ok(())
    }

    /// Types of optional fields.
    fn check_order_field(&mut self, id: &str, name: &str, value: &Value) -> Result<(), String> {
        let is_right = match name {
            _ if TEXTS.contains(&name) || name == "deliveryAddress" => value.is_string(),
            "shipping" | "discount" | "taxes" => value.is_number(),
            "additionalInfo" => value.as_object().is_some_and(|info| info.values().all(Value::is_string)),
            "items" => value.is_array(),
            _ => true,
        };
        if value.is_null() {
            self.note("null-field", format!("order {id}: {name} is null"));
            return Ok(());
        }
        if !is_right {
            return Err(format!("{name} has wrong format"));
        }
        if !KNOWN.contains(&name) && !TEXTS.contains(&name) {
            self.note("unknown-field", format!("order {id}: {name} is not a field of an order"));
        }
        Ok(())
    }

    /// Quantities and costs of the items.
    fn order_items(&mut self, id: &str, fields: &Map<String, Value>) -> Result<Vec<(f64, f64)>, String> {
        let mut amounts = Vec::new();
        for item in fields.get("items").and_then(Value::as_array).into_iter().flatten() {
            let is_text = |name: &str| item.get(name).is_none_or(|value| value.is_string() || value.is_null());
            let item_id = item.get("externalItemId").and_then(Value::as_str).filter(|text| !text.trim().is_empty());
            if item_id.is_none() {
                return Err("items.externalItemId is required".into());
            }
            let quantity = item.get("quantity").and_then(Value::as_f64).ok_or("items.quantity is required")?;
            let cost = match item.get("cost") {
                None | Some(Value::Null) => None,
                Some(cost) => Some(cost.as_f64().ok_or("items.cost has wrong format")?),
            };
            if !["name", "category", "url", "imageUrl", "description"].iter().all(|name| is_text(name)) {
                return Err("items have wrong format".into());
            }
            if cost.is_none() || ["name", "url", "imageUrl"].iter().any(|name| item.get(name).is_none()) {
                self.note("item-not-whole", format!("order {id}: an item without name, cost, url or imageUrl"));
            }
            amounts.push((quantity, cost.unwrap_or_default()));
        }
        Ok(amounts)
    }

    /// Whose order it is; an unknown person becomes a contact, a known one is left as it is.
    fn order_contact(&mut self, fields: &Map<String, Value>) -> u32 {
        let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let mut details = Details::default();
        for (kind, name) in [(EMAIL, "email"), (SMS, "phone")] {
            details.channels.extend(text(name).map(|value| (kind, value.trim().to_owned())));
        }
        for (place, name) in
            [(Text::ExternalId, "externalCustomerId"), (Text::FirstName, "firstName"), (Text::LastName, "lastName")]
        {
            details.texts.extend(text(name).map(|value| (place, value.to_owned())));
        }
        let own = details.text(Text::ExternalId).and_then(|id| self.find_present(By::ExternalId, id));
        let by = |by, value: Option<&str>| value.map(|value| self.find(by, value)).unwrap_or_default();
        let others = [by(By::Email, text("email")), by(By::Sms, text("phone"))].concat();
        let has_id = details.text(Text::ExternalId).is_some();
        let fits = |number: &u32| {
            let card = self.card(*number);
            !(card.deleted || has_id && card.details().text(Text::ExternalId).is_some())
        };
        match own.or_else(|| others.into_iter().find(fits)) {
            Some(number) => number,
            None => self.create(&details, MadeBy::Order, true),
        }
    }

    /// Deletes an order.
    pub fn delete_order(&mut self, id: &str) -> bool {
        match self.orders.find(id) {
            Some(number) => {
                self.orders.list[number as usize].deleted = true;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_add_up_with_or_without_shipping_and_taxes() {
        assert!(adds_up(1000.0, 10.0, 0.0, &[(2.0, 495.0)]));
        assert!(adds_up(1210.5, 70.5, 0.0, &[(2.0, 570.0)]));
        assert!(adds_up(990.0, 10.0, 0.0, &[(2.0, 495.0)]));
        assert!(adds_up(100.0, 0.0, 0.0, &[(3.0, 33.33)]), "a cent per piece is rounding");
        assert!(!adds_up(900.0, 10.0, 0.0, &[(2.0, 495.0)]), "a discount was not folded in");
    }
}
