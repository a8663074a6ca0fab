//! What happens at an emulated IdoSell panel. Orders are never deleted there, so one that vanishes is merged into another;
//! one that moves on may also be paid, which leaves its own date as it was.

use super::at_panel::AtPanel;
use super::happening::Happening;
use super::world::{Dice, World};
use serde_json::{Value, json};
use std::collections::HashMap;
use wharf::sandbox::idosell::shop::Shop;

/// What an order becomes after what.
const NEXT: [(&[&str], &[&str]); 3] = [
    (&["new", "payment_waiting"], &["on_order", "packed", "canceled", "finished"]),
    (
        &["on_order", "packed", "packed_fulfillment", "packed_ready", "ready", "delivery_waiting", "wait_for_dispatch"],
        &["finished", "finished_ext", "suspended", "canceled"],
    ),
    (&["finished", "finished_ext"], &["lost", "canceled"]),
];

fn number(row: &Value, name: &str) -> u64 {
    row[name].as_u64().unwrap()
}

fn address(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().trim().to_lowercase()
}

impl World {
    /// The panel's own state.
    fn panel<T>(&self, look: impl FnOnce(&Shop) -> T) -> T {
        look(&self.sandbox.idosell().unwrap().read())
    }

    pub(super) fn happen_at_idosell(&mut self, what: Happening, dice: &mut Dice) {
        let shown = AtPanel::of(&self.sandbox);
        let accounts: Vec<&Value> = shown.clients.iter().filter(|client| client["isUnregistered"] == "n").collect();
        let account = dice.pick(&accounts).map(|client| (number(client, "clientId"), address(client, "clientEmail")));
        match what {
            Happening::GuestOrder => {
                let n = self.number();
                let email = format!("guest{n}@walk-in.example");
                let buyer = json!({"email": email, "first": format!("First{n}"), "last": "Guest",
                    "street": "Long Street 1", "city": "Town", "zip": "00-001"});
                let order = self.order_at_panel(dice, &shown, buyer);
                self.told(format!("{email} orders {order} as a guest"));
            }
            Happening::CustomerOrder => {
                let Some((client, _)) = account else { return };
                let order = self.order_at_panel(dice, &shown, json!({"client": client}));
                self.told(format!("client {client} orders {order}"));
            }
            Happening::OrderMovesOn => self.order_moves_on(dice, &shown),
            Happening::CustomerChanges => {
                let Some((client, _)) = account else { return };
                let name = format!("Name{}", self.number());
                self.change(json!({"edit_client": {"id": client, "last": name}}));
                self.told(format!("client {client} is now called {name}"));
            }
            Happening::EmailMoves => {
                let Some((client, former)) = account else { return };
                self.former.insert(former);
                let email = format!("moved{}@walk-in.example", self.number());
                self.change(json!({"edit_client": {"id": client, "email": email}}));
                self.told(format!("client {client} moves to {email}"));
            }
            Happening::ConsentFlips => self.consent_flips_at_panel(dice, &shown),
            Happening::CustomerLeaves => {
                // Not the last ones: a shop that loses most of its customers is a matter of the guard.
                let Some((client, former)) = account.filter(|_| accounts.len() >= 12) else { return };
                self.former.insert(former);
                self.change(json!({"delete_client": client}));
                self.told(format!("client {client} leaves"));
            }
            Happening::OrderVanishes => {
                let apart: Vec<&Value> =
                    shown.orders.iter().filter(|order| order["orderDetails"]["orderStatus"] != "joined").collect();
                let Some(order) = dice.pick(&apart).map(|order| number(order, "orderSerialNumber")) else { return };
                self.change(json!({"order_status": {"id": order, "status": "joined"}}));
                self.told(format!("order {order} is merged into another"));
            }
            Happening::CategoryRenamed => {
                let Some(category) = dice.pick(&shown.categories).map(|row| number(row, "id")) else { return };
                let name = format!("Category{}", self.number());
                self.change(json!({"rename_category": {"id": category, "name": name}}));
                self.told(format!("category {category} is now {name}"));
            }
            Happening::ProductChanges => {
                let category = dice.pick(&shown.categories).map(|row| number(row, "id"));
                let product = dice.pick(&shown.products).map(|row| number(row, "productId"));
                let (Some(product), Some(category)) = (product, category) else { return };
                let change = match dice.below(4) {
                    // What is deleted stays on a list of its own, what is in the trash is on none.
                    0 => json!({"class": dice.pick(&["active", "deleted", "in_trash"])}),
                    1 => json!({"pieces": dice.below(50)}),
                    _ => json!({"price": self.number(), "categories": [category]}),
                };
                let mut wanted = json!({"id": product});
                wanted.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
                self.change(json!({"edit_product": wanted}));
                // A product that only the offer still knows is a product all the same; what it means is another test's matter.
                if change.get("class").is_some() || dice.below(2) == 0 {
                    self.change(json!({"offer": "full"}));
                }
                self.told(format!("product {product} changes: {change}"));
            }
            Happening::OptOutThere => {
                let here: Vec<String> = accounts.iter().map(|client| address(client, "clientEmail")).collect();
                self.opt_out_there(&here, dice);
            }
        }
    }

    fn order_at_panel(&mut self, dice: &mut Dice, shown: &AtPanel, buyer: Value) -> u64 {
        let items: Vec<Value> = (0..=dice.below(2))
            .filter_map(|_| {
                let product = number(dice.pick(&shown.products)?, "productId");
                let price = 5.5 + f64::from(u32::try_from(dice.below(200)).unwrap());
                Some(json!({"product": product, "quantity": 1 + dice.below(3), "price": price}))
            })
            .collect();
        let status = *dice.pick(&["new", "payment_waiting", "on_order", "packed", "finished"]).unwrap();
        let mut wanted = json!({"status": status, "items": items, "delivery": 12.99});
        if dice.below(6) == 0 {
            wanted["unfinished"] = json!(true);
        }
        wanted.as_object_mut().unwrap().extend(buyer.as_object().unwrap().clone());
        number(&self.change(json!({"place_order": wanted})), "orderSerialNumber")
    }

    /// An order is paid, or it becomes what comes next; one that was only begun is placed.
    fn order_moves_on(&mut self, dice: &mut Dice, shown: &AtPanel) {
        let begun = shown.unfinished.iter().map(|order| (order, "new"));
        let mut moves: Vec<(&Value, &str)> = begun.collect();
        for order in &shown.orders {
            let word = order["orderDetails"]["orderStatus"].as_str().unwrap_or_default();
            if order["orderDetails"]["prepaids"][0]["paymentStatus"] == "n" {
                moves.push((order, "paid"));
            }
            if let Some((_, next)) = NEXT.iter().find(|(now, _)| now.contains(&word)) {
                moves.push((order, *dice.pick(next).unwrap()));
            }
        }
        let Some((order, next)) = dice.pick(&moves) else { return };
        let id = number(order, "orderSerialNumber");
        if *next == "paid" {
            let now = self.panel(|shop| shop.panel.zone.time(shop.now()));
            let fields = json!({"/orderDetails/prepaids/0/paymentStatus": "y",
                "/orderDetails/prepaids/0/paymentModifiedDateByShop": now});
            self.change(json!({"edit_order": {"id": id, "fields": fields, "touch": false}}));
        } else {
            self.change(json!({"order_status": {"id": id, "status": next}}));
        }
        self.told(format!("order {id} becomes {next}"));
    }

    /// Somebody changes their mind who shares an address with nobody.
    fn consent_flips_at_panel(&mut self, dice: &mut Dice, shown: &AtPanel) {
        let clients = shown.clients.iter().map(|row| (number(row, "clientId"), address(row, "clientEmail")));
        let listed = shown.email.iter().map(|row| (number(row, "client_number"), address(row, "email")));
        let people: HashMap<u64, String> = clients.chain(listed).collect();
        let mut alone: Vec<(&u64, &String)> = people
            .iter()
            .filter(|(_, email)| email.contains('@') && people.values().filter(|other| other == email).count() == 1)
            .collect();
        alone.sort_unstable();
        let Some((client, email)) = dice.pick(&alone).copied() else { return };
        // The account's clock is the real one, and a statement counts by its time there.
        let now = jiff::Timestamp::now().as_second();
        let (kind, agrees, at) = self.panel(|shop| {
            let person = shop.person(*client).unwrap();
            (person.kind, person.email_news[0].is_some_and(|said| said.agreed), shop.panel.zone.time(now))
        });
        self.change(json!({"consent": {"client": client, "shop": 1, "agreed": !agrees, "at": at}}));
        let card = self.crm.find(&self.sandbox, email);
        if let Some(card) = card.filter(|card| !agrees && self.opted_out.remove(card)) {
            self.undecided.insert(card);
        }
        let word = if agrees { "no" } else { "yes" };
        self.told(format!("{kind:?} {client}, {email}, says {word} at {at}"));
    }
}
