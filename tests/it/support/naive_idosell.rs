//! What should come of an emulated IdoSell panel, by plain loops over what its API shows (sheet, sections 4, 7 and 8).
//!
//! Left out: whatever hangs on the day on which it was seen. Nobody but the account's holder gives a new date with a change
//! of mind, so that of two records with one address the later word could not be told; tests change the mind of nobody who
//! shares an address.

use super::at_panel::AtPanel;
use super::naive::{Contact, Expected, Order, Source, clean, country, decoded, email, money, number, plain, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use wharf::sandbox::Sandbox;

/// Works everything out from what the panel shows now.
pub fn expected(sandbox: &Sandbox) -> Expected {
    let panel = AtPanel::of(sandbox);
    let mut sources = Vec::new();
    let mut email_of_client: HashMap<String, Option<String>> = HashMap::new();
    for client in &panel.clients {
        let key = number(&client["clientId"]);
        let address = text(&client["clientEmail"]).as_deref().and_then(email);
        email_of_client.insert(key.clone(), address.clone());
        let is_registered = client["isUnregistered"] == "n";
        let row = Contact {
            registered: is_registered,
            account: is_registered.then(|| key.clone()),
            ..person(&client["clientBillingAddress"])
        };
        sources.extend(address.map(|email| Source {
            email,
            key: format!("account:{key}"),
            updated: plain(&client["clientsLastModificationDate"]).unwrap_or_default(),
            row,
            speaks_only_of_consent: false,
            statement: None,
        }));
    }
    for said in &panel.email {
        let key = number(&said["client_number"]);
        let own = text(&said["email"]).as_deref().and_then(email);
        let (account, own) = (email_of_client.get(&key), own);
        let at = plain(&said["shops"]["1"]["date_modification"]).unwrap_or_default();
        let state = if said["shops"]["1"]["approval"] == "y" { "opt_in" } else { "opt_out" };
        sources.extend(account.cloned().unwrap_or(own).map(|email| Source {
            email,
            key: format!("subscriber:{key}"),
            updated: at.clone(),
            row: Contact { consent: "unknown", ..Contact::default() },
            // Who is no client of the shop is known by this alone.
            speaks_only_of_consent: account.is_some(),
            statement: Some((at, state)),
        }));
    }

    let mut wanted = Expected::default();
    let returned = returned(&panel.returns);
    let placed: HashSet<String> = panel.orders.iter().map(|order| number(&order["orderSerialNumber"])).collect();
    let open = panel.unfinished.iter().filter(|order| !placed.contains(&number(&order["orderSerialNumber"])));
    for (order, is_placed) in panel.orders.iter().map(|order| (order, true)).chain(open.map(|order| (order, false))) {
        let serial = number(&order["orderSerialNumber"]);
        let key = if is_placed { serial.clone() } else { format!("unfinished-{serial}") };
        let details = &order["orderDetails"];
        let account = &order["clientResult"]["clientAccount"];
        let is_relayed =
            matches!(details["orderSourceResults"]["orderSourceType"].as_str(), Some("auction" | "marketplace"));
        let email = match email_of_client.get(&number(&account["clientId"])) {
            Some(email) => email.clone(),
            None if is_relayed => None,
            None => {
                let email = text(&account["clientEmail"]).as_deref().and_then(email);
                sources.extend(email.clone().map(|email| Source {
                    email,
                    key: format!("order:{key}"),
                    updated: plain(&details["orderAddDate"]).unwrap_or_default(),
                    row: person(&order["clientResult"]["clientBillingAddress"]),
                    speaks_only_of_consent: false,
                    statement: None,
                }));
                email
            }
        };
        wanted.add(key, read(order, is_placed, email, returned.get(&serial).copied().unwrap_or_default()));
    }
    wanted.merge(sources);
    tags(&panel, &mut wanted);
    wanted
}

fn person(billing: &Value) -> Contact {
    Contact {
        first_name: text(&billing["clientFirstName"]),
        last_name: text(&billing["clientLastName"]),
        company: decoded(&billing["clientFirm"]),
        city: text(&billing["clientCity"]),
        country: country(&billing["clientCountryId"]),
        consent: "unknown",
        ..Contact::default()
    }
}

/// What came back of an order: ten-thousandths of pieces, and their worth.
#[derive(Default, Clone, Copy)]
struct Returned {
    pieces: i64,
    worth: i64,
}

fn returned(returns: &[Value]) -> HashMap<String, Returned> {
    let mut orders: HashMap<String, Returned> = HashMap::new();
    for back in returns.iter().filter(|back| back["status"] == "accepted") {
        let order = orders.entry(number(&back["order_sn"])).or_default();
        for line in back["products"].as_array().into_iter().flatten() {
            order.pieces += money(&line["quantity"]);
            order.worth += product(&line["quantity"], &line["order_price"]);
        }
    }
    orders
}

/// Ten-thousandths of a quantity times a price.
fn product(quantity: &Value, price: &Value) -> i64 {
    let exact = i128::from(money(price)) * i128::from(money(quantity));
    i64::try_from((exact + 5_000) / 10_000).unwrap()
}

fn read(order: &Value, is_placed: bool, email: Option<String>, returned: Returned) -> Order {
    let details = &order["orderDetails"];
    let costs = &details["payments"]["orderCurrency"];
    let word = details["orderStatus"].as_str().unwrap_or_default();
    let parts = ["orderProductsCost", "orderDeliveryCost", "orderPayformCost", "orderInsuranceCost"];
    let total = parts.iter().map(|part| money(&costs[*part])).sum();
    let booked = |is_back: bool| {
        let payments = details["prepaids"].as_array().into_iter().flatten();
        let booked = payments.filter(|payment| payment["paymentStatus"] == "y");
        let one_way = booked.filter(|payment| (payment["paymentType"] == "repayment") == is_back);
        one_way.map(|payment| money(&payment["paymentValue"])).sum::<i64>()
    };
    let (came, went_back) = (booked(false), booked(true));
    let is_paid_back = went_back > 0 && went_back >= came;
    let is_later = matches!(details["payments"]["orderPaymentType"].as_str(), Some("cash_on_delivery" | "tradecredit"));
    let lines = details["productsResults"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pieces: i64 = lines.iter().map(|line| money(&line["productQuantity"])).sum();
    Order {
        number: text(&order["orderId"]).unwrap_or_default(),
        email,
        status: if is_placed { status(word) } else { Some("ABANDONED_SHOPPING_CART") },
        is_paid: !is_paid_back && (came - went_back >= total || is_later && word.starts_with("finished")),
        is_returned: returned.pieces > 0 && returned.pieces >= pieces,
        currency: text(&costs["currencyId"]).unwrap_or_default(),
        total,
        refunded: returned.worth,
        lines: lines.len(),
        lines_total: lines.iter().map(|line| product(&line["productQuantity"], &line["productOrderPrice"])).sum(),
    }
}

fn status(word: &str) -> Option<&'static str> {
    Some(match word {
        "new" | "payment_waiting" => "INITIALIZED",
        "finished" | "finished_ext" => "DELIVERED",
        "canceled" | "false" | "lost" | "missing" | "joined" => "CANCELLED",
        "on_order" | "packed" | "packed_fulfillment" | "packed_ready" | "ready" | "delivery_waiting"
        | "wait_for_dispatch" | "suspended" => "IN_PROGRESS",
        _ => return None,
    })
}

/// A category as people see it: the one above it, and its name, if it is not hidden.
type Category = (String, Option<String>);

/// A tag for those with an account, one for those who subscribe without, and one for each level of what was bought.
fn tags(panel: &AtPanel, wanted: &mut Expected) {
    for contact in wanted.contacts.values_mut().filter(|contact| contact.registered) {
        contact.tags.insert("rejestracja".to_owned());
    }
    let clients: HashMap<u64, &Value> =
        panel.clients.iter().filter_map(|client| Some((client["clientId"].as_u64()?, client))).collect();
    for said in panel.email.iter().filter(|said| said["shops"]["1"]["approval"] == "y") {
        let client = said["client_number"].as_u64().and_then(|id| clients.get(&id));
        // Who bought without an account is a client without one.
        let (is_registered, address) = match client {
            Some(client) => (client["isUnregistered"] != "y", &client["clientEmail"]),
            None => (said["registered"] != "n", &said["email"]),
        };
        let Some(email) = text(address).as_deref().and_then(email).filter(|_| !is_registered) else { continue };
        if let Some(contact) = wanted.contacts.get_mut(&email).filter(|contact| !contact.registered) {
            contact.tags.insert("newsletter".to_owned());
        }
    }
    let bought = names_by_product(panel);
    for order in &panel.orders {
        let known = &wanted.orders[&number(&order["orderSerialNumber"])];
        if !matches!(known.status, Some("INITIALIZED" | "IN_PROGRESS" | "DELIVERED")) {
            continue;
        }
        let Some(contact) = known.email.as_ref().and_then(|email| wanted.contacts.get_mut(email)) else { continue };
        for line in order["orderDetails"]["productsResults"].as_array().into_iter().flatten() {
            contact.tags.extend(bought.get(&number(&line["productId"])).into_iter().flatten().cloned());
        }
    }
}

/// What the categories of each product are called, level by level: by the items of the shop's menu in which people see the
/// product, or by the panel where there is none.
fn names_by_product(panel: &AtPanel) -> HashMap<String, BTreeSet<String>> {
    let polish = |row: &Value, name: &str, is_seen: fn(&Value) -> bool| {
        let said = row["lang_data"].as_array()?.iter().find(|said| said["lang_id"] == "pol")?;
        decoded(&said[name]).filter(|_| is_seen(said))
    };
    let tree = |rows: &[Value], key: &str, name: &str, is_seen| -> BTreeMap<String, Category> {
        rows.iter().map(|row| (number(&row[key]), (number(&row["parent_id"]), polish(row, name, is_seen)))).collect()
    };
    let menu = tree(&panel.menu, "item_id", "name", |said| said["hidden"] == "n");
    let categories = tree(&panel.categories, "id", "singular_name", |_| true);
    let climb = |tree: &BTreeMap<String, Category>, from: &Value| {
        let (mut names, mut next) = (BTreeSet::new(), number(from));
        while let Some((parent, name)) = tree.get(&next) {
            names.extend(name.as_ref().and_then(|name| clean(&name.replace(',', ""))));
            next.clone_from(parent);
        }
        names
    };
    let mut all = HashMap::new();
    for product in &panel.products {
        let nodes = product["productMenu"].as_array().into_iter().flatten();
        let is_seen = |node: &&Value| menu.get(&number(&node["menuItemId"])).is_some_and(|(_, name)| name.is_some());
        let shown = nodes.filter(|node| node["shopId"] == 1 && node["menuId"] == 1).filter(is_seen);
        let mut names: BTreeSet<String> = shown.flat_map(|node| climb(&menu, &node["menuItemId"])).collect();
        if names.is_empty() {
            names = climb(&categories, &product["categoryId"]);
        }
        all.insert(number(&product["productId"]), names);
    }
    all
}
