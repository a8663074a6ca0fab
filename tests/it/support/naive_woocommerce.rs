//! What should come of an emulated WooCommerce, by plain loops over its rows.

use super::naive::{Contact, Expected, Order, Source, clean, country, decoded, email, money, number, plain, text};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use wharf::sandbox::woocommerce::{Entity, WooCommerce};

/// Works everything out from what the shop has now.
pub fn expected(shop: &WooCommerce) -> Expected {
    let users = shop.rows(Entity::Users);
    let mut sources: Vec<Source> = Vec::new();
    let mut email_of_account: HashMap<String, Option<String>> = HashMap::new();
    for user in &users {
        let key = number(&user["id"]);
        let billing = &user["billing"];
        let address = text(&user["email"]).or_else(|| text(&billing["email"]));
        let email = address.as_deref().and_then(email);
        email_of_account.insert(key.clone(), email.clone());
        let Some(email) = email else { continue };
        let updated = plain(&user["date_modified_gmt"]).or_else(|| plain(&user["date_created_gmt"]));
        let row = Contact {
            first_name: text(&user["first_name"]).or_else(|| text(&billing["first_name"])),
            last_name: text(&user["last_name"]).or_else(|| text(&billing["last_name"])),
            company: decoded(&billing["company"]),
            city: text(&billing["city"]),
            country: country(&billing["country"]),
            registered: true,
            consent: "unknown",
            account: Some(key.clone()),
            tags: BTreeSet::new(),
        };
        let statement = statement(user, true, updated.as_deref().unwrap_or_default());
        let key = format!("account:{key}");
        sources.push(Source {
            email,
            key,
            updated: updated.unwrap_or_default(),
            row,
            speaks_only_of_consent: false,
            statement,
        });
    }

    let mut wanted = Expected::default();
    for order in shop.rows(Entity::Orders) {
        let key = number(&order["id"]);
        let billing = &order["billing"];
        let customer = number(&order["customer_id"]);
        let created = plain(&order["date_created_gmt"]).unwrap_or_default();
        let statement = statement(&order, false, &created);
        let account = email_of_account.get(&customer);
        let email = match account {
            Some(email) => email.clone(),
            None => text(&billing["email"]).as_deref().and_then(email),
        };
        if let Some(email) = &email {
            let shipping = &order["shipping"];
            let has = |address: &Value, parts: &[&str]| {
                parts.iter().any(|part| address[*part].as_str().is_some_and(|part| !part.is_empty()))
            };
            let street = ["address_1", "city"];
            let place = if has(billing, &street) {
                billing
            } else if has(shipping, &street) || !has(billing, &["postcode", "state", "country"]) {
                shipping
            } else {
                billing
            };
            let row = Contact {
                first_name: text(&billing["first_name"]),
                last_name: text(&billing["last_name"]),
                company: decoded(&billing["company"]),
                city: text(&place["city"]),
                country: country(&place["country"]),
                consent: "unknown",
                ..Contact::default()
            };
            let speaks_only_of_consent = account.is_some();
            if !speaks_only_of_consent || statement.is_some() {
                sources.push(Source {
                    email: email.clone(),
                    key: format!("order:{key}"),
                    updated: created,
                    row,
                    speaks_only_of_consent,
                    statement,
                });
            }
        }
        let shop_status = order["status"].as_str().unwrap_or_default();
        let status = status(shop_status);
        let lines = order["line_items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let entry = Order {
            number: text(&order["number"]).unwrap_or_else(|| key.clone()),
            email: email.clone(),
            status,
            is_paid: shop_status != "refunded" && text(&order["date_paid_gmt"]).is_some(),
            is_returned: shop_status == "refunded",
            currency: text(&order["currency"]).unwrap_or_default().to_uppercase(),
            total: money(&order["total"]),
            refunded: order["refunds"].as_array().into_iter().flatten().map(|refund| -money(&refund["total"])).sum(),
            lines: lines.len(),
            lines_total: lines.iter().map(|line| money(&line["total"]) + money(&line["total_tax"])).sum(),
        };
        wanted.add(key, entry);
    }
    wanted.merge(sources);
    tags(shop, &mut wanted);
    wanted
}

/// A tag for those with an account, and one for each level of every category bought in.
fn tags(shop: &WooCommerce, wanted: &mut Expected) {
    let categories: HashMap<u64, (u64, String)> = shop
        .rows(Entity::Categories)
        .iter()
        .map(|row| {
            let parent = row["parent"].as_u64().unwrap_or_default();
            (row["id"].as_u64().unwrap(), (parent, decoded(&row["name"]).unwrap_or_default()))
        })
        .collect();
    let products: HashMap<u64, Vec<u64>> = shop
        .rows(Entity::Products)
        .iter()
        // What lies in the trash is on no list.
        .filter(|row| row["status"] != "trash")
        .map(|row| {
            let into = row["categories"].as_array().into_iter().flatten();
            (row["id"].as_u64().unwrap(), into.filter_map(|category| category["id"].as_u64()).collect())
        })
        .collect();
    for contact in wanted.contacts.values_mut().filter(|contact| contact.registered) {
        contact.tags.insert("rejestracja".to_owned());
    }
    for row in shop.rows(Entity::Orders) {
        let order = &wanted.orders[&number(&row["id"])];
        let Some(email) = &order.email else { continue };
        if !matches!(order.status, Some("INITIALIZED" | "IN_PROGRESS" | "DELIVERED")) {
            continue;
        }
        let Some(contact) = wanted.contacts.get_mut(email) else { continue };
        for line in row["line_items"].as_array().into_iter().flatten() {
            let product = line["product_id"].as_u64().unwrap_or_default();
            for category in products.get(&product).into_iter().flatten() {
                let mut next = *category;
                while let Some((parent, name)) = categories.get(&next) {
                    let tag = name.replace(',', "");
                    contact.tags.extend(clean(&tag));
                    next = *parent;
                }
            }
        }
    }
}

fn status(shop_status: &str) -> Option<&'static str> {
    Some(match shop_status {
        "pending" | "on-hold" => "INITIALIZED",
        "processing" | "shipped" => "IN_PROGRESS",
        "completed" => "DELIVERED",
        "cancelled" | "failed" | "trash" | "refunded" => "CANCELLED",
        "checkout-draft" => "ABANDONED_SHOPPING_CART",
        _ => return None,
    })
}

/// What a record says of marketing, and when. An order can only agree, and does so when it is placed; an account that
/// agrees without a date does so before everything else.
fn statement(row: &Value, is_account: bool, otherwise: &str) -> Option<(String, &'static str)> {
    let meta = |key: &str| {
        let entries = row["meta_data"].as_array()?;
        entries.iter().find(|entry| entry["key"] == key).map(|entry| entry["value"].clone())
    };
    let value = meta("marketing_consent")?;
    let said = value.as_str().map_or_else(|| value.to_string(), str::to_owned).trim().to_lowercase();
    let state = match said.as_str() {
        "yes" | "1" | "true" | "on" | "subscribed" => "opt_in",
        "no" | "0" | "false" | "off" | "unsubscribed" if is_account => "opt_out",
        _ => return None,
    };
    let at = meta("marketing_consent_date").and_then(|at| at.as_str().map(|at| at.replace(' ', "T")));
    let otherwise = if is_account && state == "opt_in" { "" } else { otherwise };
    let at = at.filter(|at| !at.is_empty()).unwrap_or_else(|| otherwise.to_owned());
    Some((at.trim_end_matches('Z').to_owned(), state))
}
