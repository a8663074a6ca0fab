//! Writes: what changes the stock over the shop's own API, with what a save touches and what it does not (sheet, sections
//! 4 and 5). May use the shop's state.

use super::answers::WpError;
use super::lists::ORDER_STATUSES;
use super::params::{Params, Refusals, spoken_list};
use super::shop::{Entity, Shop, merge, set_date};
use super::site::Site;
use crate::sandbox::table::{Filter, OrderBy};
use serde_json::{Map, Value, json};

/// The statuses that an order can be given.
fn is_settable(status: &str, shop: &Shop) -> bool {
    let is_known = ORDER_STATUSES.contains(&status)
        || shop.table(Entity::Orders).class_names().iter().any(|known| known == status);
    is_known && !matches!(status, "any" | "trash")
}

fn invalid_id(entity: Entity) -> WpError {
    let (code, message) = match entity {
        Entity::Orders => ("woocommerce_rest_shop_order_invalid_id", "Invalid ID."),
        Entity::Refunds => ("woocommerce_rest_shop_order_refund_invalid_id", "Invalid ID."),
        Entity::Products => ("woocommerce_rest_product_invalid_id", "Invalid ID."),
        Entity::Variations => ("woocommerce_rest_product_variation_invalid_id", "Invalid ID."),
        Entity::Categories => ("woocommerce_rest_term_invalid", "Resource does not exist."),
        Entity::Users => ("woocommerce_rest_invalid_id", "Invalid resource ID."),
    };
    WpError::new(404, code, message)
}

/// A row by its id.
///
/// # Errors
/// 404 with the entity's own code.
pub fn read(shop: &Shop, entity: Entity, id: u64) -> Result<Value, WpError> {
    shop.read(entity, id).ok_or_else(|| invalid_id(entity))
}

fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.split_once('@') else { return false };
    !local.is_empty() && host.contains('.') && !host.contains('@') && !text.contains(char::is_whitespace)
}

/// Checks what a single write checks and a batch does not.
fn validate(shop: &Shop, entity: Entity, fields: &Map<String, Value>) -> Result<(), WpError> {
    let mut refusals = Refusals::default();
    if let (Entity::Orders, Some(status)) = (entity, fields.get("status")) {
        let is_allowed = status.as_str().is_some_and(|status| is_settable(status, shop));
        if !is_allowed {
            let mut known: Vec<&str> = ORDER_STATUSES.to_vec();
            known.retain(|status| !matches!(*status, "any" | "trash"));
            refusals.add("status", "rest_not_in_enum", format!("status is not one of {}.", spoken_list(&known)));
        }
    }
    if let Some(email) = fields.get("email").filter(|_| entity == Entity::Users)
        && !email.as_str().is_some_and(is_email)
    {
        refusals.add("email", "rest_invalid_email", "Invalid email address.");
    }
    if let Some(email) = fields.get("billing").and_then(|billing| billing.get("email"))
        && !email.as_str().is_some_and(is_email)
    {
        refusals.add("billing", "rest_invalid_email", "billing[email] is not a valid email address.");
    }
    refusals.check()
}

/// Changes a row; any save touches it, even an empty one.
///
/// # Errors
/// 404 for an unknown id, 400 for a bad value.
pub fn update(
    shop: &mut Shop,
    site: &Site,
    entity: Entity,
    id: u64,
    fields: &Map<String, Value>,
    is_checked: bool,
) -> Result<Value, WpError> {
    read(shop, entity, id)?;
    if is_checked {
        validate(shop, entity, fields)?;
    }
    if entity == Entity::Categories {
        return shop.rename_category(site, id, fields).ok_or_else(|| invalid_id(entity));
    }
    let mut row = read(shop, entity, id)?;
    let old_status = row.get("status").cloned();
    merge(&mut row, fields, &["id", "_links", "number", "date_created", "date_created_gmt", "refunds"]);
    if let Some(entries) = fields.get("meta_data").and_then(Value::as_array) {
        for entry in entries {
            if let Some(key) = entry.get("key").and_then(Value::as_str) {
                shop.set_meta(&mut row, key, entry.get("value").unwrap_or(&Value::Null));
            }
        }
    }
    if entity == Entity::Orders && row.get("status").cloned() != old_status {
        let status = row.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
        stamp_status(shop, site, &mut row, &status);
    }
    shop.save(entity, site, row, true);
    if entity == Entity::Variations {
        touch_parent(shop, site, id);
    }
    read(shop, entity, id)
}

/// A variation saved over the API moves its product's stamp, too.
fn touch_parent(shop: &mut Shop, site: &Site, variation: u64) {
    let parent = shop.read(Entity::Variations, variation).and_then(|row| row["parent_id"].as_u64());
    if let Some(product) = parent.and_then(|id| shop.read(Entity::Products, id)) {
        shop.save(Entity::Products, site, product, true);
    }
}

/// Processing is paid unless it is paid on delivery; completed is paid and completed.
pub fn stamp_status(shop: &Shop, site: &Site, row: &mut Value, status: &str) {
    let now = shop.now();
    let is_paid = status == "completed" || (status == "processing" && row["payment_method"] != json!("cod"));
    if is_paid && row["date_paid_gmt"].is_null() {
        set_date(row, site, "date_paid", Some(now));
    }
    if status == "completed" {
        set_date(row, site, "date_completed", Some(now));
    }
    row["needs_payment"] = json!(matches!(status, "pending" | "failed"));
}

/// Deletes a row: orders and products go into the trash unless forced; customers only by force.
///
/// # Errors
/// 404 for an unknown id, 501 where only force deletes.
pub fn delete(shop: &mut Shop, site: &Site, entity: Entity, id: u64, force: bool) -> Result<Value, WpError> {
    let row = read(shop, entity, id)?;
    match entity {
        Entity::Users => {
            if !force {
                let message = "Customers do not support trashing.";
                return Err(WpError::new(501, "woocommerce_rest_trash_not_supported", message));
            }
            shop.delete_users(site, &[id]);
        }
        Entity::Orders | Entity::Products if !force => {
            if row["status"] == json!("trash") {
                let message = "The object has already been deleted.";
                return Err(WpError::new(410, "woocommerce_rest_already_trashed", message));
            }
            let mut trashed = row.clone();
            trashed["status"] = json!("trash");
            shop.save(entity, site, trashed, true);
        }
        Entity::Orders => {
            shop.table_mut(entity).remove(id);
            let filter = Filter { owners: Some(vec![id]), ..Default::default() };
            let refunds = shop.table(Entity::Refunds).select(OrderBy::Id, false, &filter, 0, usize::MAX);
            for refund in refunds.ids {
                shop.table_mut(Entity::Refunds).remove(refund);
            }
        }
        Entity::Refunds => {
            // The order loses the refund and keeps its stamp.
            let order = row["parent_id"].as_u64().unwrap_or_default();
            shop.table_mut(entity).remove(id);
            if let Some(mut order_row) = shop.read(Entity::Orders, order) {
                if let Some(refunds) = order_row.get_mut("refunds").and_then(Value::as_array_mut) {
                    refunds.retain(|refund| refund["id"] != json!(id));
                }
                shop.save(Entity::Orders, site, order_row, false);
            }
        }
        Entity::Categories if !force => {
            let message = "Resource does not support trashing.";
            return Err(WpError::new(501, "woocommerce_rest_trash_not_supported", message));
        }
        _ => {
            shop.table_mut(entity).remove(id);
        }
    }
    Ok(row)
}

/// Makes a row.
///
/// # Errors
/// 400 for a bad value, 404 for the refund of an unknown order.
pub fn create(
    shop: &mut Shop,
    site: &Site,
    entity: Entity,
    parent: u64,
    fields: &Map<String, Value>,
    is_checked: bool,
) -> Result<Value, WpError> {
    if is_checked {
        validate(shop, entity, fields)?;
    }
    match entity {
        Entity::Orders => Ok(create_order(shop, site, fields)),
        Entity::Refunds => create_refund(shop, site, parent, fields),
        Entity::Users => create_customer(shop, site, fields),
        Entity::Categories => create_category(shop, site, fields),
        Entity::Products | Entity::Variations => Err(WpError::no_route()),
    }
}

fn create_customer(shop: &mut Shop, site: &Site, fields: &Map<String, Value>) -> Result<Value, WpError> {
    let email = fields.get("email").and_then(Value::as_str).unwrap_or_default();
    if !is_email(email) {
        return Err(WpError::new(400, "rest_missing_callback_param", "Missing parameter(s): email")
            .with("params", json!(["email"])));
    }
    let id = shop.next_id(Entity::Users);
    let root = format!("{}/wp-json/wc/v3/customers", site.home);
    let address = |names: &[&str]| Value::Object(names.iter().map(|name| ((*name).to_owned(), json!(""))).collect());
    const NAMES: [&str; 9] =
        ["first_name", "last_name", "company", "address_1", "address_2", "city", "state", "postcode", "country"];
    let mut row = json!({
        "id": id, "email": email, "first_name": "", "last_name": "", "role": "customer",
        "username": email.split('@').next().unwrap_or_default(),
        "billing": address(&[&NAMES[..], &["email", "phone"]].concat()),
        "shipping": address(&[&NAMES[..], &["phone"]].concat()),
        "is_paying_customer": false, "avatar_url": "", "meta_data": [],
        "_links": { "self": [{ "href": format!("{root}/{id}") }], "collection": [{ "href": root }] },
    });
    let now = shop.now();
    set_date(&mut row, site, "date_created", Some(now));
    store_new(shop, site, Entity::Users, row, fields)
}

fn create_category(shop: &mut Shop, site: &Site, fields: &Map<String, Value>) -> Result<Value, WpError> {
    let id = shop.next_id(Entity::Categories);
    let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
    let root = format!("{}/wp-json/wc/v3/products/categories", site.home);
    let row = json!({
        "id": id, "name": name, "slug": crate::sandbox::stock::catalogue::slug(name), "parent": 0, "description": "",
        "display": "default", "image": null, "menu_order": 0, "count": 0,
        "_links": { "self": [{ "href": format!("{root}/{id}") }], "collection": [{ "href": root }] },
    });
    store_new(shop, site, Entity::Categories, row, fields)
}

fn store_new(
    shop: &mut Shop,
    site: &Site,
    entity: Entity,
    mut row: Value,
    fields: &Map<String, Value>,
) -> Result<Value, WpError> {
    let id = row["id"].as_u64().unwrap_or_default();
    merge(&mut row, fields, &["id", "_links", "username"]);
    for entry in fields.get("meta_data").and_then(Value::as_array).into_iter().flatten() {
        if let Some(key) = entry.get("key").and_then(Value::as_str) {
            shop.set_meta(&mut row, key, entry.get("value").unwrap_or(&Value::Null));
        }
    }
    shop.save(entity, site, row, true);
    read(shop, entity, id)
}

/// A new order of the products named, at the price that is sent with a line or else the product's; without tax.
fn create_order(shop: &mut Shop, site: &Site, fields: &Map<String, Value>) -> Value {
    let id = shop.next_id(Entity::Orders);
    let now = shop.now();
    let status =
        fields.get("status").and_then(Value::as_str).filter(|status| is_settable(status, shop)).unwrap_or("pending");
    let mut cents = 0;
    let mut lines = Vec::new();
    for (position, wanted) in fields.get("line_items").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let product_id = wanted["product_id"].as_u64().unwrap_or_default();
        let product = shop.read(Entity::Products, product_id).unwrap_or_default();
        let quantity = wanted["quantity"].as_i64().unwrap_or(1).max(1);
        let each = parse_cents(product["price"].as_str().unwrap_or_default());
        let total = wanted["total"].as_str().map_or(each * quantity, parse_cents);
        cents += total;
        let amount = format_cents(total);
        lines.push(json!({
            "id": id * 10 + position as u64, "name": product.get("name").unwrap_or(&json!("")), "product_id": product_id,
            "variation_id": wanted["variation_id"].as_u64().unwrap_or_default(), "quantity": quantity, "tax_class": "",
            "subtotal": amount, "subtotal_tax": "0.00", "total": amount, "total_tax": "0.00", "taxes": [],
            "meta_data": [], "sku": product.get("sku").unwrap_or(&json!("")),
            "price": total as f64 / 100.0 / quantity as f64, "image": { "id": "", "src": "" }, "parent_name": null,
        }));
    }
    let total = format_cents(cents);
    let root = format!("{}/wp-json/wc/v3/orders", site.home);
    let mut row = json!({
        "id": id, "parent_id": 0, "status": status, "currency": "PLN", "version": super::rows::VERSION,
        "prices_include_tax": true, "total": total, "customer_id": 0, "order_key": format!("wc_order_{id:013x}"),
        "billing": {}, "shipping": {}, "created_via": "rest-api", "number": id.to_string(), "line_items": lines,
        "payment_url": format!("{}/checkout/order-pay/{id}/", site.home), "is_editable": true, "needs_payment": false,
        "needs_processing": true,
        "_links": { "self": [{ "href": format!("{root}/{id}") }], "collection": [{ "href": root }] },
    });
    for name in ["discount_total", "discount_tax", "shipping_total", "shipping_tax", "cart_tax", "total_tax"] {
        row[name] = json!("0.00");
    }
    for name in ["meta_data", "tax_lines", "shipping_lines", "fee_lines", "coupon_lines", "refunds"] {
        row[name] = json!([]);
    }
    const TEXTS: [&str; 8] = [
        "payment_method",
        "payment_method_title",
        "transaction_id",
        "customer_ip_address",
        "customer_user_agent",
        "customer_note",
        "cart_hash",
        "currency_symbol",
    ];
    for name in TEXTS {
        row[name] = json!("");
    }
    const ADDRESS: [&str; 11] = [
        "first_name",
        "last_name",
        "company",
        "address_1",
        "address_2",
        "city",
        "state",
        "postcode",
        "country",
        "email",
        "phone",
    ];
    for name in ADDRESS {
        row["billing"][name] = json!("");
        if name != "email" {
            row["shipping"][name] = json!("");
        }
    }
    set_date(&mut row, site, "date_created", Some(now));
    set_date(&mut row, site, "date_paid", None);
    set_date(&mut row, site, "date_completed", None);
    merge(&mut row, fields, &["id", "_links", "number", "line_items", "status", "total"]);
    for entry in fields.get("meta_data").and_then(Value::as_array).into_iter().flatten() {
        if let Some(key) = entry.get("key").and_then(Value::as_str) {
            shop.set_meta(&mut row, key, entry.get("value").unwrap_or(&Value::Null));
        }
    }
    let status = status.to_owned();
    stamp_status(shop, site, &mut row, &status);
    shop.save(Entity::Orders, site, row, true);
    shop.read(Entity::Orders, id).unwrap_or_default()
}

/// A refund by amount. It touches its order; given back whole, the order becomes `refunded`.
fn create_refund(shop: &mut Shop, site: &Site, order: u64, fields: &Map<String, Value>) -> Result<Value, WpError> {
    let mut order_row = shop
        .read(Entity::Orders, order)
        .ok_or_else(|| WpError::new(404, "woocommerce_rest_invalid_order", "Invalid order ID."))?;
    let amount = fields.get("amount").and_then(Value::as_str).map(parse_cents).unwrap_or_default();
    let total = parse_cents(order_row["total"].as_str().unwrap_or_default());
    let refunds = order_row["refunds"].as_array().cloned().unwrap_or_default();
    let given_back: i64 = refunds.iter().map(|refund| -parse_cents(refund["total"].as_str().unwrap_or_default())).sum();
    if amount <= 0 || given_back + amount > total {
        let message = "Invalid refund amount";
        return Err(WpError::new(400, "woocommerce_rest_cannot_create_order_refund", message));
    }
    let id = shop.next_id(Entity::Refunds);
    let reason = fields.get("reason").cloned().unwrap_or_else(|| json!(""));
    let root = format!("{}/wp-json/wc/v3/orders/{order}", site.home);
    let mut row = json!({
        "id": id, "parent_id": order, "amount": format_cents(amount), "reason": reason, "refunded_by": 1,
        "refunded_payment": false, "meta_data": [], "line_items": [], "shipping_lines": [], "tax_lines": [],
        "fee_lines": [],
        "_links": {
            "self": [{ "href": format!("{root}/refunds/{id}") }],
            "collection": [{ "href": format!("{root}/refunds") }],
            "up": [{ "href": root }],
        },
    });
    let now = shop.now();
    set_date(&mut row, site, "date_created", Some(now));
    shop.save(Entity::Refunds, site, row, true);
    if let Some(refunds) = order_row.get_mut("refunds").and_then(Value::as_array_mut) {
        refunds.insert(0, json!({ "id": id, "reason": reason, "total": format!("-{}", format_cents(amount)) }));
    }
    if given_back + amount == total {
        order_row["status"] = json!("refunded");
    }
    shop.save(Entity::Orders, site, order_row, true);
    read(shop, Entity::Refunds, id)
}

fn parse_cents(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let padded = format!("{fraction}00");
    let whole: i64 = whole.parse().unwrap_or_default();
    let fraction: i64 = padded.get(..2).and_then(|text| text.parse().ok()).unwrap_or_default();
    sign * (whole * 100 + fraction)
}

fn format_cents(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Up to a hundred writes; the whole is 200 whatever becomes of its rows, and rows are not checked: a bad e-mail empties
/// the stored one, an unknown status makes the order pending.
///
/// # Errors
/// 413 for more than a hundred rows.
pub fn batch(shop: &mut Shop, site: &Site, entity: Entity, body: &Map<String, Value>) -> Result<Value, WpError> {
    let list = |name: &str| body.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let (creates, updates, deletes) = (list("create"), list("update"), list("delete"));
    if creates.len() + updates.len() + deletes.len() > 100 {
        let message = "Unable to accept more than 100 items for this request.";
        return Err(WpError::new(413, "woocommerce_rest_request_entity_too_large", message));
    }
    let failed = |id: Value, error: &WpError| json!({ "id": id, "error": error.body() });
    let mut answer = Map::new();
    if !creates.is_empty() {
        let mut rows = Vec::new();
        for fields in creates {
            let fields = fields.as_object().cloned().unwrap_or_default();
            rows.push(create(shop, site, entity, 0, &fields, false).unwrap_or_else(|error| failed(json!(0), &error)));
        }
        answer.insert("create".to_owned(), Value::Array(rows));
    }
    if !updates.is_empty() {
        let mut rows = Vec::new();
        for fields in updates {
            let mut fields = fields.as_object().cloned().unwrap_or_default();
            let id = fields.get("id").cloned().unwrap_or(Value::Null);
            make_acceptable(shop, entity, &mut fields);
            let updated = update(shop, site, entity, id.as_u64().unwrap_or_default(), &fields, false);
            rows.push(updated.unwrap_or_else(|error| failed(id, &error)));
        }
        answer.insert("update".to_owned(), Value::Array(rows));
    }
    if !deletes.is_empty() {
        let mut rows = Vec::new();
        for id in deletes {
            let deleted = delete(shop, site, entity, id.as_u64().unwrap_or_default(), true);
            rows.push(deleted.unwrap_or_else(|error| failed(id, &error)));
        }
        answer.insert("delete".to_owned(), Value::Array(rows));
    }
    Ok(Value::Object(answer))
}

/// What an unchecked row becomes: bad e-mails are emptied, a bad status is pending.
fn make_acceptable(shop: &Shop, entity: Entity, fields: &mut Map<String, Value>) {
    if let Some(status) = fields.get_mut("status").filter(|_| entity == Entity::Orders)
        && !status.as_str().is_some_and(|status| is_settable(status, shop))
    {
        *status = json!("pending");
    }
    let empty_if_bad = |email: Option<&mut Value>| {
        if let Some(email) = email
            && !email.as_str().is_some_and(is_email)
        {
            *email = json!("");
        }
    };
    if entity == Entity::Users {
        empty_if_bad(fields.get_mut("email"));
    }
    empty_if_bad(fields.get_mut("billing").and_then(|billing| billing.get_mut("email")));
}

/// Whether a request asks to delete for good.
pub fn is_forced(params: &Params, body: &Map<String, Value>) -> bool {
    params.is_on("force") || body.get("force").is_some_and(|force| *force == json!(true) || *force == json!("true"))
}
