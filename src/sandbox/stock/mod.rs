//! A generated shop: customers, orders, refunds, products, categories, as a pure function of a seed and an id.
//!
//! The model: nothing is stored but the catalogue and one byte per order. Customer 17 or order 4,000,000 is computed when
//! somebody asks for it, always the same, so that a shop of millions costs no memory and starts at once. That works
//! because every time is monotone in the id: whoever asks what was changed since a moment gets a range of ids.
//! What changes after the beginning lies over this stock and is not kept here.
//!
//! Platform-neutral: a platform's rows are made of these. May use nothing but chance.

pub mod catalogue;
pub mod chance;
pub mod orders;
pub mod people;

use catalogue::Catalogue;
use chance::{Chance, Subject};
use people::Person;

/// Days that orders reach back.
const ORDER_DAYS: i64 = 3 * 365;
/// Days that customers reach back.
const USER_DAYS: i64 = ORDER_DAYS + 180;
/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// Every so-many-th user is a newsletter subscriber without purchases.
const SUBSCRIBER_EVERY: u64 = 50;
/// The first users are the shop's own people.
const STAFF: u64 = 2;

/// A generated shop.
#[derive(Debug, Clone)]
pub struct Stock {
    seed: u64,
    now: i64,
    users: u64,
    orders: u64,
    /// Categories and products.
    pub catalogue: Catalogue,
}

/// What a user may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs the site.
    Administrator,
    /// Runs the shop.
    ShopManager,
    /// Has an account with the shop.
    Customer,
    /// Signed up for the newsletter.
    Subscriber,
}

/// One user of the shop's site.
#[derive(Debug, Clone)]
pub struct User {
    /// Its id, from 1.
    pub id: u64,
    /// What the user may be.
    pub role: Role,
    /// When the account was made (UTC seconds).
    pub created: i64,
    /// When it was last changed in the shop; never for some.
    pub modified: Option<i64>,
    /// Who it is.
    pub person: Person,
    /// Whether the address is filled in.
    pub has_address: bool,
    /// A statement on marketing and when it was made; most stay silent or agree.
    pub consent: Option<(bool, i64)>,
    /// The birthday as it was typed; mostly `1985-03-07`.
    pub birthday: Option<String>,
}

impl Stock {
    /// A shop with so many customers and orders whose time ends at `now` (UTC seconds).
    pub fn new(seed: u64, customers: u64, orders: u64, now: i64) -> Self {
        let others = customers + STAFF;
        let users = others + others.saturating_sub(1) / (SUBSCRIBER_EVERY - 1);
        Self { seed, now, users, orders, catalogue: Catalogue::new(seed) }
    }

    /// How many users there are, staff and subscribers included.
    pub fn users(&self) -> u64 {
        self.users
    }

    /// How many orders there are, trash included.
    pub fn orders(&self) -> u64 {
        self.orders
    }

    /// The moment at which the stock ends (UTC seconds).
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The id of the user at a position.
    pub fn user_id(&self, index: u64) -> u64 {
        index + 1
    }

    /// The role of the user at a position.
    pub fn role(&self, index: u64) -> Role {
        match index {
            0 => Role::Administrator,
            1 => Role::ShopManager,
            _ if index % SUBSCRIBER_EVERY == SUBSCRIBER_EVERY - 1 => Role::Subscriber,
            _ => Role::Customer,
        }
    }

    /// When the user at a position registered (UTC seconds); grows with the position.
    pub fn registered(&self, index: u64) -> i64 {
        let chance = Chance::new(self.seed, Subject::Registered, index).unit();
        moment(index, self.users, self.now - USER_DAYS * DAY, USER_DAYS * DAY, chance)
    }

    /// How many users had registered at a moment.
    fn registered_before(&self, moment: i64) -> u64 {
        let mut below = 0;
        let mut above = self.users;
        while below < above {
            let middle = below + (above - below) / 2;
            if self.registered(middle) < moment {
                below = middle + 1;
            } else {
                above = middle;
            }
        }
        below
    }

    /// When the user at a position was last changed in the shop (UTC seconds).
    pub fn user_modified(&self, index: u64) -> Option<i64> {
        let created = self.registered(index);
        let mut chance = Chance::new(self.seed, Subject::CustomerMeta, index);
        if chance.per_mille(300) {
            return None;
        }
        Some(created + ((self.now - created) as f64 * chance.unit()) as i64)
    }

    /// Who the user at a position is.
    pub fn person(&self, index: u64) -> Person {
        Person::new(self.seed, index, "")
    }

    /// The user at a position.
    pub fn user(&self, index: u64) -> User {
        let role = self.role(index);
        let created = self.registered(index);
        let mut chance = Chance::new(self.seed ^ 1, Subject::CustomerMeta, index);
        let consent = match (role, chance.below(100)) {
            (Role::Administrator | Role::ShopManager, _) => None,
            (Role::Subscriber, _) | (_, 0..55) => Some(true),
            (_, 55..70) => Some(false),
            _ => None,
        };
        let consent = consent.map(|agreed| (agreed, created + (chance.unit() * 600.0) as i64));
        let birthday = chance.per_mille(400).then(|| {
            let (year, month, day) = (1945 + chance.below(62), 1 + chance.below(12), 1 + chance.below(28));
            match chance.below(60) {
                0 => format!("{day:02}.{month:02}.{year}"),
                1 => "0000-00-00".to_owned(),
                _ => format!("{year}-{month:02}-{day:02}"),
            }
        });
        User {
            id: self.user_id(index),
            role,
            created,
            modified: self.user_modified(index),
            person: self.person(index),
            has_address: role == Role::Customer && !chance.per_mille(100),
            consent,
            birthday: birthday.filter(|_| role == Role::Customer),
        }
    }
}

/// The moment of the `index`-th of `count` events between `begin` and `begin + span`; events grow denser, and `chance`
/// (0 to below 1) moves one within its place without overtaking another.
fn moment(index: u64, count: u64, begin: i64, span: i64, chance: f64) -> i64 {
    let share = (index as f64 + chance) / count.max(1) as f64;
    let time = ((1.0 + 8.0 * share).sqrt() - 1.0) / 2.0;
    begin + (time.min(1.0) * span as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_812_800;

    #[test]
    fn there_are_as_many_customers_as_were_asked_for() {
        for customers in [0, 1, 47, 300, 20_000] {
            let stock = Stock::new(1, customers, 0, NOW);
            let found = (0..stock.users()).filter(|index| stock.role(*index) == Role::Customer).count();
            assert_eq!(found as u64, customers);
        }
    }

    #[test]
    fn registrations_grow_with_the_position_and_end_before_now() {
        let stock = Stock::new(1, 500, 0, NOW);
        let times: Vec<i64> = (0..stock.users()).map(|index| stock.registered(index)).collect();
        assert!(times.is_sorted());
        assert!(times.last().is_some_and(|last| *last <= NOW));
        assert_eq!(stock.registered_before(times[200]), 200);
    }

    #[test]
    fn statements_on_marketing_are_yes_no_and_absent() {
        let stock = Stock::new(1, 500, 0, NOW);
        let users: Vec<User> = (0..stock.users()).map(|index| stock.user(index)).collect();
        let count = |wanted| users.iter().filter(|user| user.consent.map(|(agreed, _)| agreed) == wanted).count();
        assert!(count(Some(true)) > 200 && count(Some(false)) > 40 && count(None) > 100);
    }
}
