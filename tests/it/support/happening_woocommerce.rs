//! What happens at an emulated WooCommerce.

use super::happening::Happening;
use super::world::{Dice, World, has_agreed, id};
use serde_json::{Value, json};
use wharf::sandbox::woocommerce::Entity;

impl World {
    fn ids(&self, entity: Entity, is_it: impl Fn(&Value) -> bool) -> Vec<u64> {
        self.shop().rows(entity).iter().filter(|row| is_it(row)).map(id).collect()
    }

    pub(super) fn happen_at_woocommerce(&mut self, what: Happening, dice: &mut Dice) {
        let is_customer = |row: &Value| row["role"] == "customer";
        let customers = self.ids(Entity::Users, is_customer);
        match what {
            Happening::GuestOrder => {
                let n = self.number();
                let email = format!("guest{n}@walk-in.example");
                let order = self.order(dice, 0, &email);
                self.told(format!("{email} orders {order} as a guest"));
            }
            Happening::CustomerOrder => {
                let Some(customer) = dice.pick(&customers).copied() else { return };
                let row = self.shop().row(Entity::Users, customer).unwrap();
                // Stored with blanks around it by older versions of the shop, but not taken so from anybody.
                let email = row["billing"]["email"].as_str().unwrap_or_default().trim().to_owned();
                let order = self.order(dice, customer, &email);
                self.told(format!("customer {customer} orders {order}"));
            }
            Happening::OrderMovesOn => {
                let open = self.ids(Entity::Orders, |row| {
                    matches!(row["status"].as_str(), Some("pending" | "on-hold" | "processing" | "completed"))
                });
                let Some(order) = dice.pick(&open).copied() else { return };
                let row = self.shop().row(Entity::Orders, order).unwrap();
                let next = match row["status"].as_str() {
                    Some("pending" | "on-hold") => *dice.pick(&["processing", "cancelled", "completed"]).unwrap(),
                    Some("processing") => *dice.pick(&["completed", "completed", "cancelled"]).unwrap(),
                    _ => "refunded",
                };
                self.change(json!({"update": {"entity": "orders", "id": order, "fields": {"status": next}}}));
                self.told(format!("order {order} becomes {next}"));
            }
            Happening::CustomerChanges => {
                let Some(customer) = dice.pick(&customers).copied() else { return };
                let name = format!("Name{}", self.number());
                self.change(json!({"update": {"entity": "customers", "id": customer, "fields": {"last_name": name}}}));
                self.told(format!("customer {customer} is now called {name}"));
            }
            Happening::EmailMoves => {
                let Some(customer) = dice.pick(&customers).copied() else { return };
                let row = self.shop().row(Entity::Users, customer).unwrap();
                for place in [&row["email"], &row["billing"]["email"]] {
                    self.former.insert(place.as_str().unwrap_or_default().trim().to_lowercase());
                }
                let email = format!("moved{}@walk-in.example", self.number());
                self.change(json!({"update": {"entity": "customers", "id": customer,
                    "fields": {"email": email, "billing": {"email": email}}}}));
                self.told(format!("customer {customer} moves to {email}"));
            }
            Happening::ConsentFlips => {
                let Some(customer) = dice.pick(&customers).copied() else { return };
                let row = self.shop().row(Entity::Users, customer).unwrap();
                let says = if has_agreed(&row) { "no" } else { "yes" };
                // The account's clock is the real one, and a statement counts by its time there.
                let now = jiff::Timestamp::now().to_string();
                self.change(json!({"update": {"entity": "customers", "id": customer, "fields": {"meta_data": [
                    {"key": "marketing_consent", "value": says},
                    {"key": "marketing_consent_date", "value": now},
                ]}}}));
                let email = row["email"].as_str().unwrap_or_default();
                let card = self.crm.find(&self.sandbox, email);
                if let Some(card) = card.filter(|card| says == "yes" && self.opted_out.remove(card)) {
                    self.undecided.insert(card);
                }
                self.told(format!("customer {customer} says {says} at {now}"));
            }
            Happening::CustomerLeaves => {
                // Not the last ones: a shop that loses most of its customers is a matter of the guard.
                if customers.len() < 12 {
                    return;
                }
                let Some(customer) = dice.pick(&customers).copied() else { return };
                let row = self.shop().row(Entity::Users, customer).unwrap();
                for place in [&row["email"], &row["billing"]["email"]] {
                    self.former.insert(place.as_str().unwrap_or_default().trim().to_lowercase());
                }
                self.change(json!({"delete": {"entity": "customers", "id": customer, "force": true}}));
                self.told(format!("customer {customer} leaves"));
            }
            Happening::OrderVanishes => {
                let orders = self.ids(Entity::Orders, |_| true);
                if orders.len() < 20 {
                    return;
                }
                let Some(order) = dice.pick(&orders).copied() else { return };
                let row = self.shop().row(Entity::Orders, order).unwrap();
                self.former.insert(row["billing"]["email"].as_str().unwrap_or_default().trim().to_lowercase());
                self.gone_orders.insert(row["number"].as_str().unwrap_or_default().to_owned());
                self.change(json!({"delete": {"entity": "orders", "id": order, "force": true}}));
                self.told(format!("order {order} vanishes"));
            }
            Happening::CategoryRenamed => {
                let categories = self.ids(Entity::Categories, |_| true);
                let Some(category) = dice.pick(&categories).copied() else { return };
                let name = format!("Category{}", self.number());
                self.change(json!({"update": {"entity": "categories", "id": category, "fields": {"name": name}}}));
                self.told(format!("category {category} is now {name}"));
            }
            Happening::ProductChanges => {
                let products = self.ids(Entity::Products, |row| row["status"] != "trash");
                let categories = self.shop().rows(Entity::Categories);
                let (Some(product), Some(category)) = (dice.pick(&products).copied(), dice.pick(&categories)) else {
                    return;
                };
                let price = format!("{}.99", self.number());
                let into = json!([{"id": category["id"], "name": category["name"], "slug": category["slug"]}]);
                self.change(json!({"update": {"entity": "products", "id": product,
                    "fields": {"price": price, "regular_price": price, "categories": into}}}));
                self.told(format!("product {product} costs {price} and is in category {}", category["id"]));
            }
            Happening::OptOutThere => {
                let here: Vec<String> = self
                    .ids(Entity::Users, is_customer)
                    .into_iter()
                    .filter_map(|customer| {
                        Some(self.shop().row(Entity::Users, customer)?["email"].as_str()?.trim().to_lowercase())
                    })
                    .collect();
                self.opt_out_there(&here, dice);
            }
        }
    }

    fn order(&mut self, dice: &mut Dice, customer: u64, email: &str) -> u64 {
        let products = self.ids(Entity::Products, |row| row["status"] != "trash");
        let lines: Vec<Value> = (0..=dice.below(2))
            .filter_map(|_| {
                Some(json!({"product_id": dice.pick(&products)?, "quantity": 1 + dice.below(3),
                "total": format!("{}.50", 5 + dice.below(200))}))
            })
            .collect();
        let status = *dice.pick(&["processing", "processing", "completed", "pending"]).unwrap();
        let n = self.number();
        let mut billing = json!({"first_name": format!("First{n}"), "last_name": "Guest",
            "address_1": "Long Street 1", "city": "Town", "postcode": "00-001", "country": "PL"});
        // The shop takes no empty address; accounts without one leave it out.
        if !email.trim().is_empty() {
            billing["email"] = json!(email);
        }
        let made = self.change(json!({"create": {"entity": "orders", "fields": {
            "status": status, "customer_id": customer, "payment_method": "p24", "line_items": lines,
            "billing": billing,
        }}}));
        id(&made)
    }
}
