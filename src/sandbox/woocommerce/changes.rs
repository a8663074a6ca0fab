//! Changes that the shop goes through by itself: about one row in a hundred, as in an ordinary week, or one named change.
//! May use the shop's state.

use super::shop::{Entity, Shop, merge, set_date};
use super::site::Site;
use super::writes::{self, stamp_status};
use crate::sandbox::stock::chance::{Chance, Subject};
use crate::sandbox::table::{Filter, OrderBy};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// One thing that was changed.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// What was done: `order placed`, `order status`, `unsubscribed`, `subscribed`, `e-mail changed`, `customer deleted`,
    /// `category renamed`.
    pub what: &'static str,
    /// The list.
    pub entity: &'static str,
    /// The row.
    pub id: u64,
    /// What it was before, where that is one value.
    pub old: Value,
    /// What it is now.
    pub new: Value,
}

/// Changes about this share of the shop. The same share and seed on the same shop change the same rows.
pub fn change_about(shop: &mut Shop, site: &Site, share: f64, seed: u64) -> Vec<Change> {
    let mut chance = Chance::new(seed, Subject::Change, 0);
    let part = |rows: usize, share: f64| ((rows as f64 * share).round() as usize).min(rows);
    let orders = shop.table(Entity::Orders).base_rows();
    let customers = shop.table(Entity::Users).base_rows();
    let at_least_one = |rows: usize, share: f64| if rows == 0 { 0 } else { part(rows, share).max(1) };

    let mut changes = Vec::new();
    changes.extend(place_orders(shop, site, &mut chance, at_least_one(orders, share * 0.4)));
    changes.extend(move_orders_on(shop, site, &mut chance, at_least_one(orders, share * 0.6)));
    let mut touched = HashSet::new();
    changes.extend(change_consent(shop, site, &mut chance, at_least_one(customers, share * 0.5), &mut touched));
    changes.extend(change_emails(shop, site, &mut chance, at_least_one(customers, share * 0.3), &mut touched));
    changes.extend(delete_customers(shop, site, &mut chance, at_least_one(customers, share * 0.1), &mut touched));
    changes.extend(rename_category(shop, site, &mut chance));
    changes
}

/// Draws rows until `wanted` of them were changed; gives up after a while, as a small shop may have none left.
fn draw(
    chance: &mut Chance,
    range: std::ops::Range<usize>,
    wanted: usize,
    mut change: impl FnMut(&mut Chance, usize) -> Option<Change>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut tries = wanted * 40 + 200;
    while changes.len() < wanted && tries > 0 && !range.is_empty() {
        tries -= 1;
        let position = range.start + chance.position(range.len());
        changes.extend(change(chance, position));
    }
    changes
}

/// New orders, made after the pattern of older ones.
fn place_orders(shop: &mut Shop, site: &Site, chance: &mut Chance, wanted: usize) -> Vec<Change> {
    let length = shop.table(Entity::Orders).base_rows();
    draw(chance, 0..length, wanted, |chance, position| {
        let pattern = shop.table(Entity::Orders).untouched(position)?;
        let mut row = shop.read(Entity::Orders, pattern)?;
        if matches!(row["status"].as_str(), Some("trash" | "checkout-draft")) {
            return None;
        }
        let customer = row["customer_id"].as_u64().unwrap_or_default();
        if customer != 0 && shop.read(Entity::Users, customer).is_none() {
            return None;
        }
        let id = shop.next_id(Entity::Orders);
        let (old_number, new_number) = (pattern.to_string(), id.to_string());
        let now = shop.now();
        let status = *chance.pick(&["processing", "processing", "pending", "on-hold", "completed", "checkout-draft"]);
        row["id"] = json!(id);
        row["number"] = json!(new_number);
        row["order_key"] = json!(format!("wc_order_{id:013x}"));
        row["refunds"] = json!([]);
        row["status"] = json!(status);
        for (place, line) in row["line_items"].as_array_mut().into_iter().flatten().enumerate() {
            line["id"] = json!(id * 10 + place as u64);
        }
        if let Some(Value::String(href)) = row.pointer_mut("/_links/self/0/href") {
            *href = href.replace(&old_number, &new_number);
        }
        set_date(&mut row, site, "date_created", Some(now));
        set_date(&mut row, site, "date_paid", None);
        set_date(&mut row, site, "date_completed", None);
        stamp_status(shop, site, &mut row, status);
        shop.save(Entity::Orders, site, row, true);
        Some(Change { what: "order placed", entity: "orders", id, old: Value::Null, new: json!(status) })
    })
}

/// Orders that go the way of orders; the newest fifth of them, where most are still on their way.
fn move_orders_on(shop: &mut Shop, site: &Site, chance: &mut Chance, wanted: usize) -> Vec<Change> {
    let length = shop.table(Entity::Orders).base_rows();
    draw(chance, length - length / 5..length, wanted, |chance, position| {
        let id = shop.table(Entity::Orders).untouched(position)?;
        let mut row = shop.read(Entity::Orders, id)?;
        let old = row["status"].as_str()?.to_owned();
        let new = match old.as_str() {
            "pending" => *chance.pick(&["processing", "cancelled"]),
            "on-hold" => "processing",
            "processing" => *chance.pick(&["completed", "completed", "shipped"]),
            "shipped" => "completed",
            "checkout-draft" => "pending",
            "failed" => "processing",
            // Few finished orders come back.
            "completed" if chance.per_mille(100) => "refunded",
            _ => return None,
        };
        row["status"] = json!(new);
        stamp_status(shop, site, &mut row, new);
        shop.save(Entity::Orders, site, row, true);
        Some(Change { what: "order status", entity: "orders", id, old: json!(old), new: json!(new) })
    })
}

fn change_consent(
    shop: &mut Shop,
    site: &Site,
    chance: &mut Chance,
    wanted: usize,
    touched: &mut HashSet<u64>,
) -> Vec<Change> {
    let length = shop.table(Entity::Users).base_rows();
    draw(chance, 0..length, wanted, |chance, position| {
        let id = customer_at(shop, position, touched)?;
        let mut row = shop.read(Entity::Users, id)?;
        let old = meta(&row, "marketing_consent");
        let new = match old.as_str() {
            Some("yes") => "no",
            // Some who said no or nothing agree later.
            _ if chance.per_mille(200) => "yes",
            _ => return None,
        };
        let now = shop.now();
        shop.set_meta(&mut row, "marketing_consent", &json!(new));
        shop.set_meta(&mut row, "marketing_consent_date", &json!(format!("{}Z", Site::gmt(now))));
        shop.save(Entity::Users, site, row, true);
        touched.insert(id);
        let what = if new == "no" { "unsubscribed" } else { "subscribed" };
        Some(Change { what, entity: "customers", id, old, new: json!(new) })
    })
}

fn change_emails(
    shop: &mut Shop,
    site: &Site,
    chance: &mut Chance,
    wanted: usize,
    touched: &mut HashSet<u64>,
) -> Vec<Change> {
    let length = shop.table(Entity::Users).base_rows();
    draw(chance, 0..length, wanted, |_, position| {
        let id = customer_at(shop, position, touched)?;
        let mut row = shop.read(Entity::Users, id)?;
        let old = row["email"].as_str().filter(|email| email.contains('@'))?.to_owned();
        let new = format!("new.{}", old.to_lowercase());
        row["email"] = json!(new);
        if row["billing"]["email"].as_str().is_some_and(|email| email.trim().eq_ignore_ascii_case(&old)) {
            row["billing"]["email"] = json!(new);
        }
        shop.save(Entity::Users, site, row, true);
        touched.insert(id);
        Some(Change { what: "e-mail changed", entity: "customers", id, old: json!(old), new: json!(new) })
    })
}

/// Customers who leave: every second one with orders, which become a guest's.
fn delete_customers(
    shop: &mut Shop,
    site: &Site,
    chance: &mut Chance,
    wanted: usize,
    touched: &mut HashSet<u64>,
) -> Vec<Change> {
    let length = shop.table(Entity::Users).base_rows();
    let orders = shop.table(Entity::Orders).base_rows();
    let mut by_order = false;
    let changes = draw(chance, 0..length, wanted, |chance, position| {
        by_order = !by_order;
        let id = if by_order && orders > 0 {
            let order = shop.table(Entity::Orders).untouched(chance.position(orders))?;
            let customer = shop.table(Entity::Orders).get(order)?.owner;
            let is_customer = shop.table(Entity::Users).class_of(customer).as_deref() == Some("customer");
            Some(customer).filter(|_| is_customer && !touched.contains(&customer))?
        } else {
            customer_at(shop, position, touched)?
        };
        let email = shop.read(Entity::Users, id)?["email"].clone();
        touched.insert(id);
        Some(Change { what: "customer deleted", entity: "customers", id, old: email, new: Value::Null })
    });
    let ids: Vec<u64> = changes.iter().map(|change| change.id).collect();
    shop.delete_users(site, &ids);
    changes
}

fn rename_category(shop: &mut Shop, site: &Site, chance: &mut Chance) -> Option<Change> {
    let ids = shop.table(Entity::Categories).select(OrderBy::Id, false, &Filter::default(), 0, usize::MAX);
    let id = *ids.ids.get(chance.position(ids.ids.len().max(1)))?;
    let old = shop.read(Entity::Categories, id)?["name"].clone();
    let name = format!("{} – nowość", old.as_str().unwrap_or_default());
    let mut fields = Map::new();
    fields.insert("name".to_owned(), json!(name));
    shop.rename_category(site, id, &fields)?;
    Some(Change { what: "category renamed", entity: "categories", id, old, new: json!(name) })
}

fn customer_at(shop: &Shop, position: usize, touched: &HashSet<u64>) -> Option<u64> {
    let id = shop.table(Entity::Users).untouched(position)?;
    let is_customer = shop.table(Entity::Users).class_of(id).as_deref() == Some("customer");
    (is_customer && !touched.contains(&id)).then_some(id)
}

fn meta(row: &Value, key: &str) -> Value {
    let entries = row["meta_data"].as_array();
    let entry = entries.and_then(|entries| entries.iter().find(|entry| entry["key"] == json!(key)));
    entry.map(|entry| entry["value"].clone()).unwrap_or_default()
}

/// Does what `POST /_sandbox/change` asks:
///
/// - `{"share": 0.01, "seed": 7}`: about one row in a hundred;
/// - `{"edit": {"entity": "orders", "id": 1, "fields": {…}, "meta": {…}, "touch": false}}`: one row past the API, as a
///   plugin does it; without `touch` its stamp stays;
/// - `{"vanish": {"entity": "orders", "id": 1}}`: one row without a trace;
/// - `{"raw": {"entity": "orders", "id": 1, "text": "…", "class": "processing"}}`: a row that is answered as it is, JSON
///   or not, at the place of this id;
/// - `{"create": {"entity": "orders", "fields": {…}}}`, `{"update": {"entity": "orders", "id": 1, "fields": {…}}}`,
///   `{"delete": {"entity": "customers", "id": 1, "force": true}}`: what the shop's own API does with such a call, for
///   changes while every call fails;
/// - `{"advance_seconds": 3600}`: the shop's clock.
///
/// # Errors
/// A sentence that says what is wrong with the request.
pub fn change(shop: &mut Shop, site: &Site, request: &Value) -> Result<Value, String> {
    let known = "`share`, `edit`, `vanish`, `raw`, `create`, `update`, `delete` or `advance_seconds`";
    if let Some(share) = request.get("share") {
        let share = share.as_f64().filter(|share| (0.0..=1.0).contains(share));
        let share = share.ok_or("`share` is a number from 0 to 1")?;
        let seed = request.get("seed").and_then(Value::as_u64).unwrap_or(1);
        let changes = change_about(shop, site, share, seed);
        return Ok(json!({ "changed": changes.len(), "changes": changes }));
    }
    if let Some(seconds) = request.get("advance_seconds") {
        let seconds = seconds.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
        shop.advance(seconds.ok_or("`advance_seconds` is a whole number")?);
        return Ok(json!({ "now": Site::gmt(shop.now()) }));
    }
    let (verb, wanted) = ["edit", "vanish", "raw", "create", "update", "delete"]
        .into_iter()
        .find_map(|verb| request.get(verb).map(|wanted| (verb, wanted)))
        .ok_or(format!("nothing to change: give {known}"))?;
    let name = wanted.get("entity").and_then(Value::as_str).unwrap_or_default();
    let entity = Entity::named(name).ok_or(format!("`{name}` is no list; there are {}", names()))?;
    let nothing = Map::new();
    let fields = wanted.get("fields").and_then(Value::as_object).unwrap_or(&nothing);
    let refused = |error: super::answers::WpError| error.body().to_string();
    if verb == "create" {
        return writes::create(shop, site, entity, 0, fields, true).map_err(refused);
    }
    let id = wanted.get("id").and_then(Value::as_u64).ok_or("`id` is a whole number")?;
    match verb {
        "update" => writes::update(shop, site, entity, id, fields, true).map_err(refused),
        "delete" => {
            let force = wanted.get("force").and_then(Value::as_bool).unwrap_or(false);
            writes::delete(shop, site, entity, id, force).map_err(refused)
        }
        "edit" => {
            let mut row = shop.read(entity, id).ok_or(format!("there is no {id} in {name}"))?;
            merge(&mut row, fields, &["id"]);
            for (key, value) in wanted.get("meta").and_then(Value::as_object).into_iter().flatten() {
                shop.set_meta(&mut row, key, value);
            }
            let touch = wanted.get("touch").and_then(Value::as_bool).unwrap_or(false);
            shop.save(entity, site, row, touch);
            Ok(shop.read(entity, id).unwrap_or_default())
        }
        "vanish" => {
            if shop.table_mut(entity).remove(id) {
                Ok(json!({ "vanished": id }))
            } else {
                Err(format!("there is no {id} in {name}"))
            }
        }
        _ => {
            let text = wanted.get("text").and_then(Value::as_str).ok_or("`text` is the row as it is answered")?;
            let class = wanted.get("class").and_then(Value::as_str).unwrap_or(match entity {
                Entity::Users => "customer",
                Entity::Orders => "processing",
                _ => "publish",
            });
            shop.save_raw(entity, id, class.to_owned(), text.to_owned());
            Ok(json!({ "stored": id }))
        }
    }
}

fn names() -> String {
    Entity::ALL.map(Entity::name).join(", ")
}
