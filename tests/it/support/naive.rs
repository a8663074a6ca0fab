//! What the canonical tables and the account should hold, worked out from the shop's own rows by plain loops: no SQL, no
//! history, nothing of the product. Slow and obvious, so that it may be believed.

use super::world::World;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use wharf::sandbox::woocommerce::Entity;

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

struct Source {
    email: String,
    key: String,
    updated: String,
    row: Contact,
    speaks_only_of_consent: bool,
    statement: Option<(String, &'static str)>,
}

/// Works everything out from what the shop has now.
pub fn expected(world: &World) -> Expected {
    let shop = world.shop();
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
            let has_address = [&billing["address_1"], &billing["city"]]
                .iter()
                .any(|part| part.as_str().is_some_and(|part| !part.is_empty()));
            let place = if has_address { billing } else { shipping };
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
            lines: lines.len(),
            lines_total: lines.iter().map(|line| money(&line["total"]) + money(&line["total_tax"])).sum(),
        };
        if let (Some("DELIVERED"), Some(email)) = (status, &email) {
            let (orders, spent) = wanted.rfm.entry((email.clone(), entry.currency.clone())).or_default();
            *orders += 1;
            *spent += entry.total;
        }
        wanted.orders.insert(key, entry);
    }

    // The newest word on each field counts; nobody's silence takes anything back.
    sources.sort_by(|a, b| b.updated.cmp(&a.updated).then_with(|| a.key.cmp(&b.key)));
    for source in sources.iter().filter(|source| !source.speaks_only_of_consent) {
        let contact = wanted
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
            let is_lower = contact.account.as_ref().is_none_or(|known| (account.len(), account) < (known.len(), known));
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
        if let Some(contact) = wanted.contacts.get_mut(email) {
            contact.consent = state;
        }
    }
    tags(world, &mut wanted);
    wanted
}

/// A tag for those with an account, and one for each level of every category bought in.
fn tags(world: &World, wanted: &mut Expected) {
    let shop = world.shop();
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

/// What the platform calls a tag: upper case, no blanks, no commas.
pub fn spelled(tag: &str) -> String {
    let blanks = tag.replace(',', " ");
    blanks.split_whitespace().collect::<Vec<_>>().join("_").to_uppercase()
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

/// What a record says of marketing, and when. An order can only agree.
fn statement(row: &Value, may_refuse: bool, otherwise: &str) -> Option<(String, &'static str)> {
    let meta = |key: &str| {
        let entries = row["meta_data"].as_array()?;
        entries.iter().find(|entry| entry["key"] == key).map(|entry| entry["value"].clone())
    };
    let value = meta("marketing_consent")?;
    let said = value.as_str().map_or_else(|| value.to_string(), str::to_owned).trim().to_lowercase();
    let state = match said.as_str() {
        "yes" | "1" | "true" | "on" | "subscribed" => "opt_in",
        "no" | "0" | "false" | "off" | "unsubscribed" if may_refuse => "opt_out",
        _ => return None,
    };
    let at = meta("marketing_consent_date").and_then(|at| at.as_str().map(|at| at.replace(' ', "T")));
    let at = at.filter(|at| !at.is_empty()).unwrap_or_else(|| otherwise.to_owned());
    Some((at.trim_end_matches('Z').to_owned(), state))
}

fn clean(value: &str) -> Option<String> {
    let invisible = |letter: char| matches!(letter, ' ' | '\t' | '\r' | '\n' | '\u{a0}' | '\u{200b}' | '\u{feff}');
    Some(value.trim_matches(invisible).to_owned()).filter(|text| !text.is_empty())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => clean(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn plain(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn decoded(value: &Value) -> Option<String> {
    clean(&htmlize::unescape(value.as_str()?))
}

fn country(value: &Value) -> Option<String> {
    let code = value.as_str()?.trim();
    (code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic())).then(|| code.to_uppercase())
}

fn number(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An address that mail can go to: one @, a host with a point, nothing odd.
fn email(raw: &str) -> Option<String> {
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
