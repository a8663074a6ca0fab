//! The shop that a world reads: what tests need of each kind alike.

use super::at_panel::AtPanel;
use super::naive::number;
use super::world::{Kind, has_agreed, id};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wharf::sandbox::woocommerce::Entity;
use wharf::sandbox::{Platform, Sandbox, SandboxOptions, idosell, woocommerce};

/// What an IdoSell panel changes is asked for up to a minute before the present, so this long after it all is asked for.
const SETTLED: u64 = 120;

/// A source platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seller {
    #[default]
    WooCommerce,
    IdoSell,
}

impl Seller {
    /// The sandbox's options with a shop of this kind among them.
    pub fn served(self, options: SandboxOptions, kind: &Kind) -> SandboxOptions {
        let (customers, orders, seed) = (kind.customers, kind.orders, kind.seed);
        match self {
            Self::WooCommerce => {
                options.with(woocommerce::Options { customers, orders, seed, ..woocommerce::Options::default() })
            }
            Self::IdoSell => {
                let products = kind.products as u64;
                options.with(idosell::Options { customers, orders, products, seed, ..idosell::Options::default() })
            }
        }
    }

    /// The address that `base_url` takes.
    pub fn url(self, sandbox: &Sandbox) -> String {
        match self {
            Self::WooCommerce => sandbox.woocommerce_url(),
            Self::IdoSell => sandbox.idosell_url(),
        }
    }

    /// The pipeline's source.
    pub fn source(self, sandbox: &Sandbox, url: &str) -> Value {
        let mut source = json!({
            "connection": "shop", "base_url": url, "per_page": 20, "compare_keys_every": "0s", "full_walk_every": "0s",
            "max_deleted_share": 0.6,
        });
        let own = match self {
            Self::WooCommerce => json!({
                "platform": "woocommerce", "auth": "basic", "consumer_key": woocommerce::CONSUMER_KEY,
                "consumer_secret": woocommerce::CONSUMER_SECRET,
                "consent_meta_keys": [{"key": "marketing_consent", "date_key": "marketing_consent_date"}],
            }),
            Self::IdoSell => json!({
                "platform": "idosell", "api_key": idosell::API_KEY, "rate": "10000/s",
                "iof_url": sandbox.idosell().unwrap().offer_url(1),
            }),
        };
        source.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        source
    }

    fn platform(self, sandbox: &Sandbox) -> &dyn Platform {
        match self {
            Self::WooCommerce => &**sandbox.woocommerce().unwrap(),
            Self::IdoSell => &**sandbox.idosell().unwrap(),
        }
    }

    /// Changes the shop, past all faults.
    pub fn change(self, sandbox: &Sandbox, request: &Value) -> Value {
        self.platform(sandbox).change(request).unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    /// Lets so much time pass that everything can be asked for.
    pub fn settle(self, sandbox: &Sandbox) {
        if self == Self::IdoSell {
            self.change(sandbox, &json!({"advance_seconds": SETTLED}));
        }
    }

    /// A catalogue of hundreds of products is the longest part of every first run and tells a test nothing.
    pub fn trim_catalogue(self, sandbox: &Sandbox, products: usize) {
        // A panel was opened with no more.
        let Self::WooCommerce = self else { return };
        let shop = sandbox.woocommerce().unwrap();
        let kept: BTreeSet<u64> = shop.rows(Entity::Products).iter().take(products).map(id).collect();
        for variation in shop.rows(Entity::Variations) {
            if !kept.contains(&variation["parent_id"].as_u64().unwrap_or_default()) {
                self.change(sandbox, &json!({"vanish": {"entity": "variations", "id": id(&variation)}}));
            }
        }
        for product in shop.rows(Entity::Products) {
            if !kept.contains(&id(&product)) {
                self.change(sandbox, &json!({"vanish": {"entity": "products", "id": id(&product)}}));
            }
        }
    }

    /// Addresses of people with an account who agreed to be written to.
    pub fn agreed(self, sandbox: &Sandbox) -> Vec<String> {
        let emails: Vec<String> = match self {
            Self::WooCommerce => {
                let agreed = sandbox.woocommerce().unwrap().rows(Entity::Users).into_iter().filter(has_agreed);
                agreed.filter_map(|row| Some(row["email"].as_str()?.to_owned())).collect()
            }
            Self::IdoSell => {
                let list = AtPanel::of(sandbox).email;
                let agreed = list.iter().filter(|row| row["registered"] == "y" && row["shops"]["1"]["approval"] == "y");
                agreed.filter_map(|row| Some(row["email"].as_str()?.to_owned())).collect()
            }
        };
        emails.iter().map(|email| email.trim().to_lowercase()).filter(|email| email.contains('@')).collect()
    }

    /// What the shop shows, by the table of staging that should hold it, and by key.
    pub fn shown(self, sandbox: &Sandbox) -> BTreeMap<&'static str, BTreeMap<String, Value>> {
        let lists = match self {
            Self::WooCommerce => {
                let shop = sandbox.woocommerce().unwrap();
                let list = |entity| shop.rows(entity);
                let products: Vec<Value> =
                    list(Entity::Products).into_iter().filter(|row| row["status"] != "trash").collect();
                vec![
                    ("categories", "", "id", list(Entity::Categories)),
                    ("products", "", "id", products),
                    ("variations", "", "id", list(Entity::Variations)),
                    ("customers", "", "id", list(Entity::Users)),
                    ("orders", "", "id", list(Entity::Orders)),
                    ("refunds", "", "id", list(Entity::Refunds)),
                ]
            }
            Self::IdoSell => {
                let panel = AtPanel::of(sandbox);
                vec![
                    ("categories", "panel-", "id", panel.categories),
                    ("categories", "menu-", "item_id", panel.menu),
                    ("products", "", "productId", panel.products),
                    ("customers", "", "clientId", panel.clients),
                    ("subscribers", "email-", "client_number", panel.email),
                    ("subscribers", "sms-", "client_number", panel.sms),
                    ("orders", "", "orderSerialNumber", panel.orders),
                    ("orders", "unfinished-", "orderSerialNumber", panel.unfinished),
                    ("refunds", "", "id", panel.returns),
                    ("offers", "", "@id", panel.offers),
                    ("offer_prices", "", "@id", panel.offer_prices),
                    ("offer_categories", "", "@id", panel.offer_categories),
                ]
            }
        };
        let mut tables: BTreeMap<&'static str, BTreeMap<String, Value>> = BTreeMap::new();
        for (table, prefix, key, rows) in lists {
            let keyed = rows.into_iter().map(|row| (format!("{prefix}{}", number(&row[key])), row));
            tables.entry(table).or_default().extend(keyed);
        }
        tables
    }

    /// A row without what may change in it though the shop does not mark the row as changed.
    pub fn comparable(self, mut row: Value) -> Value {
        match self {
            // The names of categories; and what the shop draws anew for each answer.
            Self::WooCommerce => {
                if let Some(categories) = row.get_mut("categories").and_then(Value::as_array_mut) {
                    categories.iter_mut().for_each(|category| *category = category["id"].clone());
                    categories.sort_by_key(Value::as_u64);
                }
                if let Some(row) = row.as_object_mut() {
                    row.remove("related_ids");
                }
            }
            // Of the offer's files little is read here, see `AtPanel`.
            Self::IdoSell if row.get("@id").is_some() => row = json!([row["@id"], row["price"][0]["@gross"]]),
            // The names of categories, and what a customer says of newsletters: that is told by a list of its own.
            Self::IdoSell => {
                for node in row.get_mut("productMenu").and_then(Value::as_array_mut).into_iter().flatten() {
                    *node = node["menuItemId"].clone();
                }
                if let Some(row) = row.as_object_mut() {
                    for name in ["categoryName", "newsletterEmailApprovalsData", "newsletterSmsApprovalsData"] {
                        row.remove(name);
                    }
                }
            }
        }
        row
    }

    /// Whether a row may stay in staging that the shop does not show any more: an order that was begun, once it is placed.
    pub fn may_stay(self, key: &str, shown: &BTreeMap<String, Value>) -> bool {
        self == Self::IdoSell && key.strip_prefix("unfinished-").is_some_and(|placed| shown.contains_key(placed))
    }
}
