//! The shop's state: its lists and its clock. May use the stock, the files of a loaded shop and nothing of HTTP.

use super::Options;
use super::generated::{Categories, Generated, Orders, Products, Refunds, Users, Variations};
use super::loaded::Loaded;
use super::site::{Site, parse_gmt};
use crate::Result;
use crate::sandbox::php::to_bytes;
use crate::sandbox::stock::Stock;
use crate::sandbox::table::{Base, Filter, Head, OrderBy, Row, Table};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A list of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    /// Customers, staff, subscribers.
    Users,
    /// Orders.
    Orders,
    /// Refunds.
    Refunds,
    /// Products.
    Products,
    /// Variations.
    Variations,
    /// Categories.
    Categories,
}

impl Entity {
    /// All of them.
    pub const ALL: [Entity; 6] =
        [Entity::Users, Entity::Orders, Entity::Refunds, Entity::Products, Entity::Variations, Entity::Categories];

    /// Its name, which is that of its file, too.
    pub fn name(self) -> &'static str {
        match self {
            Entity::Users => "customers",
            Entity::Orders => "orders",
            Entity::Refunds => "refunds",
            Entity::Products => "products",
            Entity::Variations => "variations",
            Entity::Categories => "categories",
        }
    }

    /// The list with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.name() == name)
    }
}

/// The shop's lists and its clock.
pub struct Shop {
    tables: [Table; 6],
    begins: i64,
    began: Instant,
    ahead: i64,
    /// Orders and refunds share one space of ids.
    next_order_id: u64,
    next_meta_id: u64,
    /// How many lists have been answered: what a shop draws anew for each answer hangs on it.
    answers: AtomicU64,
}

impl Shop {
    /// Opens the shop.
    ///
    /// # Errors
    /// [`crate::Kind::Io`] where files cannot be read.
    pub fn open(options: &Options, site: &Arc<Site>) -> Result<Self> {
        let mut begins = options.now.as_second();
        let bases: [Arc<dyn Base>; 6] = match &options.load {
            Some(folder) => {
                let load =
                    |entity: Entity| Loaded::open(folder, entity.name()).map(|base| Arc::new(base) as Arc<dyn Base>);
                [
                    load(Entity::Users)?,
                    load(Entity::Orders)?,
                    load(Entity::Refunds)?,
                    load(Entity::Products)?,
                    load(Entity::Variations)?,
                    load(Entity::Categories)?,
                ]
            }
            None => {
                let stock = Arc::new(Stock::new(options.seed, options.customers, options.orders, begins));
                let generated = Generated { stock, site: Arc::clone(site) };
                [
                    Arc::new(Users(generated.clone())),
                    Arc::new(Orders(generated.clone())),
                    Arc::new(Refunds(generated.clone())),
                    Arc::new(Products(generated.clone())),
                    Arc::new(Variations::new(generated.clone())),
                    Arc::new(Categories(generated)),
                ]
            }
        };
        let tables = bases.map(Table::new);
        // A shop in files goes on after its newest row.
        let newest = tables.iter().map(Table::newest).max().unwrap_or_default();
        if options.load.is_some() {
            begins = begins.max(newest + 1);
        }
        let mut shop = Self {
            tables,
            begins,
            began: Instant::now(),
            ahead: 0,
            next_order_id: 0,
            next_meta_id: 0,
            answers: AtomicU64::new(0),
        };
        shop.set_next_ids();
        Ok(shop)
    }

    fn set_next_ids(&mut self) {
        self.next_order_id = self.table(Entity::Orders).last_id().max(self.table(Entity::Refunds).last_id()) + 1;
        self.next_meta_id = 2_000_000_000;
    }

    /// Forgets all changes; the clock begins again.
    pub fn reset(&mut self) {
        for table in &mut self.tables {
            table.reset();
        }
        self.began = Instant::now();
        self.ahead = 0;
        self.set_next_ids();
    }

    /// The number of the next answer.
    pub fn next_answer(&self) -> u64 {
        self.answers.fetch_add(1, Ordering::Relaxed)
    }

    /// A list.
    pub fn table(&self, entity: Entity) -> &Table {
        &self.tables[entity as usize]
    }

    /// A list, to be changed.
    pub fn table_mut(&mut self, entity: Entity) -> &mut Table {
        &mut self.tables[entity as usize]
    }

    /// The shop's time (UTC seconds): it begins where the stock ends and runs on.
    pub fn now(&self) -> i64 {
        self.begins + self.ahead + i64::try_from(self.began.elapsed().as_secs()).unwrap_or_default()
    }

    /// Puts the clock forward.
    pub fn advance(&mut self, seconds: u32) {
        self.ahead += i64::from(seconds);
    }

    /// An id for a new row.
    pub fn next_id(&mut self, entity: Entity) -> u64 {
        match entity {
            Entity::Orders | Entity::Refunds => {
                self.next_order_id += 1;
                self.next_order_id - 1
            }
            _ => self.table(entity).last_id() + 1,
        }
    }

    /// An id for a new meta entry.
    pub fn next_meta_id(&mut self) -> u64 {
        self.next_meta_id += 1;
        self.next_meta_id
    }

    /// A row as it is read.
    pub fn read(&self, entity: Entity, id: u64) -> Option<Value> {
        serde_json::from_slice(&self.table(entity).get(id)?.json).ok()
    }

    /// Puts a row in and gives it the stamp of a save, if it is one. What lists sort and filter by is taken from the row.
    pub fn save(&mut self, entity: Entity, site: &Site, mut row: Value, touch: bool) {
        let id = row.get("id").and_then(Value::as_u64).unwrap_or_default();
        let known = self.table(entity).get(id).map(|row| row.head);
        let now = self.now();
        let has_stamp = matches!(entity, Entity::Users | Entity::Orders | Entity::Products | Entity::Variations);
        if touch && has_stamp {
            set_date(&mut row, site, "date_modified", Some(now));
        }
        let moment = |name: &str| row.get(name).and_then(Value::as_str).and_then(parse_gmt);
        let created = moment("date_created_gmt").or(known.map(|head| head.created)).unwrap_or_default();
        let modified = match (moment("date_modified_gmt"), touch) {
            (Some(modified), _) => modified,
            (None, true) => now,
            (None, false) => known.map_or(created, |head| head.modified),
        };
        let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| row.get(name).and_then(Value::as_u64).filter(|number| *number != 0);
        let class = text("status").or_else(|| text("role")).unwrap_or_else(|| "publish".to_owned());
        let owner = match entity {
            Entity::Orders => number("customer_id"),
            Entity::Categories => number("parent"),
            Entity::Refunds | Entity::Variations => number("parent_id"),
            Entity::Users | Entity::Products => None,
        };
        let class = if entity == Entity::Refunds { "completed".to_owned() } else { class };
        self.table_mut(entity).put(Row {
            head: Head { id, created, modified, settled: 0 },
            class,
            owner: owner.unwrap_or_default(),
            json: to_bytes(&row),
        });
    }

    /// Puts a row in as it is, JSON or not.
    pub fn save_raw(&mut self, entity: Entity, id: u64, class: String, text: String) {
        let now = self.now();
        let head = Head { id, created: now, modified: now, settled: 0 };
        self.table_mut(entity).put(Row { head, class, owner: 0, json: text.into_bytes() });
    }

    /// Deletes users; their orders become guests' and are touched. Gives the ids of these orders.
    pub fn delete_users(&mut self, site: &Site, ids: &[u64]) -> Vec<u64> {
        let mut deleted = Vec::new();
        for id in ids {
            if self.table_mut(Entity::Users).remove(*id) {
                deleted.push(*id);
            }
        }
        // One walk over the orders, however many users go.
        let orders = self.orders_of(&deleted);
        for order in &orders {
            if let Some(mut row) = self.read(Entity::Orders, *order) {
                row["customer_id"] = json!(0);
                if let Some(links) = row.get_mut("_links").and_then(Value::as_object_mut) {
                    links.remove("customer");
                }
                self.save(Entity::Orders, site, row, true);
            }
        }
        orders
    }

    /// The ids of the orders of some customers, trash included.
    fn orders_of(&self, customers: &[u64]) -> Vec<u64> {
        if customers.is_empty() {
            return Vec::new();
        }
        let filter = Filter { owners: Some(customers.to_vec()), ..Default::default() };
        self.table(Entity::Orders).select(OrderBy::Id, false, &filter, 0, usize::MAX).ids
    }

    /// Renames a category; the products in it show the new name but are not touched.
    pub fn rename_category(&mut self, site: &Site, id: u64, fields: &Map<String, Value>) -> Option<Value> {
        let mut row = self.read(Entity::Categories, id)?;
        merge(&mut row, fields, &["id", "_links"]);
        self.save(Entity::Categories, site, row.clone(), true);
        let in_category = |product: &Value| {
            let categories = product.get("categories").and_then(Value::as_array);
            categories.is_some_and(|categories| categories.iter().any(|category| category["id"] == json!(id)))
        };
        let filter = Filter { row: Some(&in_category), ..Default::default() };
        let products = self.table(Entity::Products).select(OrderBy::Id, false, &filter, 0, usize::MAX).ids;
        for product in products {
            let Some(mut product_row) = self.read(Entity::Products, product) else { continue };
            if let Some(categories) = product_row.get_mut("categories").and_then(Value::as_array_mut) {
                for category in categories.iter_mut().filter(|category| category["id"] == json!(id)) {
                    category["name"] = row["name"].clone();
                    category["slug"] = row["slug"].clone();
                }
            }
            self.save(Entity::Products, site, product_row, false);
        }
        Some(row)
    }

    /// Sets a meta entry: the same key is updated, another is added.
    pub fn set_meta(&mut self, row: &mut Value, key: &str, value: &Value) {
        let next = self.next_meta_id();
        let Some(entries) = row.get_mut("meta_data").and_then(Value::as_array_mut) else {
            row["meta_data"] = json!([{ "id": next, "key": key, "value": value }]);
            return;
        };
        match entries.iter_mut().find(|entry| entry["key"] == json!(key)) {
            Some(entry) => entry["value"] = value.clone(),
            None => entries.push(json!({ "id": next, "key": key, "value": value })),
        }
    }
}

/// Sets a pair of date fields.
pub fn set_date(row: &mut Value, site: &Site, name: &str, moment: Option<i64>) {
    let (local, gmt) = match moment {
        Some(moment) => (json!(site.local(moment)), json!(Site::gmt(moment))),
        None => (Value::Null, Value::Null),
    };
    row[name] = local;
    row[format!("{name}_gmt")] = gmt;
}

/// Lays fields over a row, objects field by field; some fields cannot be set, meta entries are set by themselves.
pub fn merge(row: &mut Value, fields: &Map<String, Value>, fixed: &[&str]) {
    for (name, value) in fields {
        if fixed.contains(&name.as_str()) || name == "meta_data" {
            continue;
        }
        match (row.get_mut(name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                for (inner, value) in new {
                    old.insert(inner.clone(), value.clone());
                }
            }
            _ => row[name.as_str()] = value.clone(),
        }
    }
}
