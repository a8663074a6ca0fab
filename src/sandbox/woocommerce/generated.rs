//! The generated stock as lists of the shop: rows are computed when they are asked for. May use the stock and its rows in
//! WooCommerce's shape.

use super::rows::{self, Stamps};
use super::site::Site;
use crate::sandbox::stock::{DAY, Stock};
use crate::sandbox::table::{Base, Head};
use std::sync::Arc;

/// The stock and where it is sold.
#[derive(Clone)]
pub struct Generated {
    /// What is sold, and to whom.
    pub stock: Arc<Stock>,
    /// The site that sells it.
    pub site: Arc<Site>,
}

/// Customers, staff and subscribers.
pub struct Users(pub Generated);

impl Base for Users {
    fn rows(&self) -> usize {
        self.0.stock.users() as usize
    }

    fn head(&self, position: usize) -> Head {
        let index = position as u64;
        let stock = &self.0.stock;
        Head {
            id: stock.user_id(index),
            created: stock.registered(index),
            modified: stock.user_modified(index).unwrap_or_default(),
            settled: 0,
        }
    }

    fn find(&self, id: u64) -> Option<usize> {
        (id >= 1 && id <= self.0.stock.users()).then(|| (id - 1) as usize)
    }

    fn class(&self, position: usize) -> String {
        rows::role_name(self.0.stock.role(position as u64)).to_owned()
    }

    fn owner(&self, _position: usize) -> u64 {
        0
    }

    fn owned(&self, _owner: u64) -> Option<Vec<usize>> {
        None
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        rows::customer(out, &self.0.stock.user(position as u64), &self.0.site);
    }

    fn is_in_step(&self) -> bool {
        // Changes do not follow the position, but nothing asks for customers by change: the shop cannot.
        false
    }

    fn text(&self, position: usize, field: &str) -> Option<String> {
        let person = self.0.stock.person(position as u64);
        match field {
            "username" => Some(person.login),
            "email" => Some(person.email.trim().to_owned()),
            _ => None,
        }
    }
}

/// Orders, trash included.
pub struct Orders(pub Generated);

impl Base for Orders {
    fn rows(&self) -> usize {
        self.0.stock.orders() as usize
    }

    fn head(&self, position: usize) -> Head {
        let index = position as u64;
        let stock = &self.0.stock;
        Head {
            id: stock.order_id(index),
            created: stock.placed(index),
            modified: stock.order_modified(index),
            settled: 0,
        }
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.0.stock.order_index(id).map(|index| index as usize)
    }

    fn class(&self, position: usize) -> String {
        rows::status_name(self.0.stock.status(position as u64)).to_owned()
    }

    fn owner(&self, position: usize) -> u64 {
        self.0.stock.order_customer(position as u64)
    }

    fn owned(&self, _owner: u64) -> Option<Vec<usize>> {
        None
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        let index = position as u64;
        let stock = &self.0.stock;
        let refund = stock.refund_of(index).map(|refund| stock.refund(refund));
        rows::order(out, &stock.order(index), refund.as_ref(), &self.0.site);
    }

    fn is_in_step(&self) -> bool {
        true
    }
}

/// Refunds of all orders.
pub struct Refunds(pub Generated);

impl Base for Refunds {
    fn rows(&self) -> usize {
        self.0.stock.refunds() as usize
    }

    fn head(&self, position: usize) -> Head {
        let index = position as u64;
        let created = self.0.stock.refunded(index);
        Head { id: self.0.stock.refund_id(index), created, modified: created, settled: 0 }
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.0.stock.refund_index(id).map(|index| index as usize)
    }

    fn class(&self, _position: usize) -> String {
        "completed".to_owned()
    }

    fn owner(&self, position: usize) -> u64 {
        let stock = &self.0.stock;
        stock.order_id(stock.refunded_order(position as u64))
    }

    fn owned(&self, owner: u64) -> Option<Vec<usize>> {
        let stock = &self.0.stock;
        let refund = stock.order_index(owner).and_then(|order| stock.refund_of(order));
        Some(refund.map(|refund| refund as usize).into_iter().collect())
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        let stock = &self.0.stock;
        let refund = stock.refund(position as u64);
        let order = stock.order(stock.refunded_order(position as u64));
        rows::refund(out, &refund, &order, &self.0.site);
    }

    fn is_in_step(&self) -> bool {
        true
    }
}

/// Made before the first order, changed in turn over the last year.
fn catalogue_stamps(stock: &Stock, position: usize, count: usize) -> Stamps {
    let created = stock.now() - 4 * 365 * DAY + position as i64 * 3600;
    let modified = stock.now() - 366 * DAY + 365 * DAY * (position as i64 + 1) / count.max(1) as i64;
    Stamps { created, modified }
}

/// Products.
pub struct Products(pub Generated);

impl Products {
    fn stamps(&self, position: usize) -> Stamps {
        catalogue_stamps(&self.0.stock, position, self.rows())
    }
}

impl Base for Products {
    fn rows(&self) -> usize {
        self.0.stock.catalogue.products.len()
    }

    fn head(&self, position: usize) -> Head {
        let stamps = self.stamps(position);
        let id = self.0.stock.catalogue.products[position].id;
        Head { id, created: stamps.created, modified: stamps.modified, settled: 0 }
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.0.stock.catalogue.products.binary_search_by_key(&id, |product| product.id).ok()
    }

    fn class(&self, position: usize) -> String {
        self.0.stock.catalogue.products[position].status.to_owned()
    }

    fn owner(&self, _position: usize) -> u64 {
        0
    }

    fn owned(&self, _owner: u64) -> Option<Vec<usize>> {
        None
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        let catalogue = &self.0.stock.catalogue;
        rows::product(out, &catalogue.products[position], catalogue, self.stamps(position), &self.0.site);
    }

    fn is_in_step(&self) -> bool {
        true
    }
}

/// Variations of all products, as product and place within it.
pub struct Variations {
    generated: Generated,
    places: Vec<(usize, usize)>,
}

impl Variations {
    /// All variations of the stock.
    pub fn new(generated: Generated) -> Self {
        let mut places = Vec::new();
        for (position, product) in generated.stock.catalogue.products.iter().enumerate() {
            places.extend((0..product.variations.len()).map(|place| (position, place)));
        }
        Self { generated, places }
    }

    fn stamps(&self, position: usize) -> Stamps {
        let (product, _) = self.places[position];
        catalogue_stamps(&self.generated.stock, product, self.generated.stock.catalogue.products.len())
    }
}

impl Base for Variations {
    fn rows(&self) -> usize {
        self.places.len()
    }

    fn head(&self, position: usize) -> Head {
        let (product, place) = self.places[position];
        let stamps = self.stamps(position);
        let id = self.generated.stock.catalogue.products[product].variations[place].id;
        Head { id, created: stamps.created, modified: stamps.modified, settled: 0 }
    }

    fn find(&self, id: u64) -> Option<usize> {
        let id_at =
            |(product, place): &(usize, usize)| self.generated.stock.catalogue.products[*product].variations[*place].id;
        self.places.binary_search_by_key(&id, id_at).ok()
    }

    fn class(&self, _position: usize) -> String {
        "publish".to_owned()
    }

    fn owner(&self, position: usize) -> u64 {
        self.generated.stock.catalogue.products[self.places[position].0].id
    }

    fn owned(&self, owner: u64) -> Option<Vec<usize>> {
        Some((0..self.places.len()).filter(|position| self.owner(*position) == owner).collect())
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        let (product, place) = self.places[position];
        let product = &self.generated.stock.catalogue.products[product];
        rows::variation(out, product, &product.variations[place], self.stamps(position), &self.generated.site);
    }

    fn is_in_step(&self) -> bool {
        true
    }
}

/// Categories.
pub struct Categories(pub Generated);

impl Base for Categories {
    fn rows(&self) -> usize {
        self.0.stock.catalogue.categories.len()
    }

    fn head(&self, position: usize) -> Head {
        Head { id: self.0.stock.catalogue.categories[position].id, created: 0, modified: 0, settled: 0 }
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.0.stock.catalogue.categories.binary_search_by_key(&id, |category| category.id).ok()
    }

    fn class(&self, _position: usize) -> String {
        "publish".to_owned()
    }

    fn owner(&self, position: usize) -> u64 {
        self.0.stock.catalogue.categories[position].parent
    }

    fn owned(&self, _owner: u64) -> Option<Vec<usize>> {
        None
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        let catalogue = &self.0.stock.catalogue;
        let category = &catalogue.categories[position];
        let count = catalogue.products.iter().filter(|product| product.categories.contains(&category.id)).count();
        rows::category(out, category, count, &self.0.site);
    }

    fn is_in_step(&self) -> bool {
        true
    }
}
