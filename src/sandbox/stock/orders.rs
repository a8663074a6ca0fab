//! Orders and refunds of the generated shop. May use the stock's people and catalogue.
//!
//! Ids come in blocks of twenty: nineteen orders and the refund of one of them, as both share one space of ids at a shop.
//! A quarter of the orders are by guests; customers differ greatly in how often they buy and for how long they stay, so
//! that a split by recency, frequency and money finds its segments.

use super::chance::{Chance, Subject};
use super::people::{Currency, Person};
use super::{DAY, ORDER_DAYS, Role, STAFF, Stock, moment};

/// The id of the first order.
pub const FIRST_ORDER: u64 = 10_000;
/// Orders of a block.
const BLOCK_ORDERS: u64 = 19;
/// Ids of a block: its orders and one refund.
const BLOCK_IDS: u64 = BLOCK_ORDERS + 1;
/// An order is last changed at most so long after it was placed.
const SETTLED_AFTER: i64 = 3 * DAY;

/// The status of an order; `shipped` is the shop's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the platform's own words")]
pub enum Status {
    Pending,
    Processing,
    OnHold,
    Completed,
    Cancelled,
    Refunded,
    Failed,
    Draft,
    Trash,
    Shipped,
}

/// One line of an order. Amounts are in the currency's smallest unit.
#[derive(Debug, Clone)]
pub struct Line {
    /// The product, 0 where it was deleted for good.
    pub product: u64,
    /// The variation, 0 for none.
    pub variation: u64,
    /// The name at the time of the order, variation included.
    pub name: String,
    /// The name of the product where a variation was bought.
    pub parent_name: Option<String>,
    /// Stock keeping unit; `None` where the product was deleted for good.
    pub sku: Option<String>,
    /// Pieces.
    pub quantity: i64,
    /// Net before the discount.
    pub subtotal: i64,
    /// Tax before the discount.
    pub subtotal_tax: i64,
    /// Net after the discount.
    pub total: i64,
    /// Tax after the discount.
    pub total_tax: i64,
}

/// Where an order's buyer came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `utm`, `organic`, `typein`…
    pub kind: &'static str,
    /// Source.
    pub source: &'static str,
    /// Medium.
    pub medium: Option<&'static str>,
    /// Campaign.
    pub campaign: Option<&'static str>,
}

/// Money given back. Amounts are positive, in the currency's smallest unit.
#[derive(Debug, Clone)]
pub struct Refund {
    /// Its id, in the orders' space.
    pub id: u64,
    /// The id of the order.
    pub order: u64,
    /// When (UTC seconds).
    pub created: i64,
    /// How much, tax included.
    pub amount: i64,
    /// Why.
    pub reason: &'static str,
    /// What was given back of which line of the order (its position): pieces, net, tax. Empty for a refund by amount.
    pub lines: Vec<(usize, i64, i64, i64)>,
}

/// One order. Amounts are in the currency's smallest unit, times in UTC seconds.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the platform's own words")]
pub struct Order {
    pub id: u64,
    pub status: Status,
    pub currency: Currency,
    pub created: i64,
    pub modified: i64,
    pub paid: Option<i64>,
    pub completed: Option<i64>,
    /// The buyer's account, 0 for a guest.
    pub customer: u64,
    pub buyer: Person,
    pub lines: Vec<Line>,
    pub shipping: Option<(&'static str, &'static str)>,
    pub shipping_total: i64,
    pub shipping_tax: i64,
    pub coupon: Option<&'static str>,
    pub discount_total: i64,
    pub discount_tax: i64,
    pub total: i64,
    pub total_tax: i64,
    pub payment: (&'static str, &'static str),
    pub note: &'static str,
    /// A statement on marketing made at the checkout.
    pub consent: Option<bool>,
    pub origin: Option<Origin>,
}

const SHIPPING: [(&str, &str, i64); 4] = [
    ("flat_rate", "Kurier DPD", 399),
    ("nova_poshta", "Нова пошта: відділення №12", 199),
    ("local_pickup", "Odbiór osobisty", 0),
    ("inpost", "Paczkomat InPost WAW123M", 299),
];

const PAYMENTS: [(&str, &str); 5] = [
    ("cod", "Za pobraniem"),
    ("bacs", "Przelew bankowy"),
    ("przelewy24", "Przelewy24 (BLIK)"),
    ("paypal", "PayPal"),
    ("liqpay", "Картка онлайн"),
];

const ORIGINS: [(&str, &str, Option<&str>, Option<&str>); 6] = [
    ("utm", "google", Some("cpc"), Some("spring & summer")),
    ("utm", "facebook", Some("paid_social"), Some("осінь 2026")),
    ("utm", "newsletter", Some("email"), Some("black-friday")),
    ("organic", "google", Some("organic"), None),
    ("referral", "ceneo.example", Some("referral"), None),
    ("typein", "(direct)", None, None),
];

const NOTES: [&str; 4] =
    ["Proszę dzwonić", "Подзвоніть, будь ласка 📞", "2. Stock, bei \"Müller\" klingeln", "a < b & c"];
const REASONS: [&str; 4] = ["Zwrot klienta", "zwrot częściowy", "Пошкоджено", ""];

impl Stock {
    /// The id of the order at a position.
    pub fn order_id(&self, index: u64) -> u64 {
        FIRST_ORDER + index + index / BLOCK_ORDERS
    }

    /// The position of the order with this id.
    pub fn order_index(&self, id: u64) -> Option<u64> {
        let offset = id.checked_sub(FIRST_ORDER)?;
        let place = offset % BLOCK_IDS;
        let index = offset / BLOCK_IDS * BLOCK_ORDERS + place;
        (place < BLOCK_ORDERS && index < self.orders).then_some(index)
    }

    /// How many refunds there are.
    pub fn refunds(&self) -> u64 {
        self.orders / BLOCK_ORDERS
    }

    /// The id of the refund at a position.
    pub fn refund_id(&self, index: u64) -> u64 {
        FIRST_ORDER + index * BLOCK_IDS + BLOCK_ORDERS
    }

    /// The position of the refund with this id.
    pub fn refund_index(&self, id: u64) -> Option<u64> {
        let offset = id.checked_sub(FIRST_ORDER)?;
        let index = offset / BLOCK_IDS;
        (offset % BLOCK_IDS == BLOCK_ORDERS && index < self.refunds()).then_some(index)
    }

    /// The first id that neither an order nor a refund has.
    pub fn next_order_id(&self) -> u64 {
        self.order_id(self.orders) + 1
    }

    /// When the order at a position was placed (UTC seconds); grows with the position.
    pub fn placed(&self, index: u64) -> i64 {
        let chance = Chance::new(self.seed, Subject::Placed, index).unit();
        moment(index, self.orders, self.now - ORDER_DAYS * DAY, ORDER_DAYS * DAY, chance)
    }

    /// When the order at a position was last changed (UTC seconds); grows with the position.
    pub fn order_modified(&self, index: u64) -> i64 {
        let placed = self.placed(index);
        placed + ((self.now - placed) / 2).clamp(0, SETTLED_AFTER)
    }

    /// When the refund at a position was made (UTC seconds); grows with the position.
    pub fn refunded(&self, index: u64) -> i64 {
        let order = self.refunded_order(index);
        let placed = self.placed(order);
        placed + (self.order_modified(order) - placed) * 19 / 20
    }

    /// The position of the order that the refund at a position belongs to. Never one of a block's last five, because the
    /// newest orders have a status of their own each.
    pub fn refunded_order(&self, refund: u64) -> u64 {
        refund * BLOCK_ORDERS + Chance::new(self.seed, Subject::Refund, refund).below(BLOCK_ORDERS - 5)
    }

    /// The position of the refund of the order at a position.
    pub fn refund_of(&self, order: u64) -> Option<u64> {
        let block = order / BLOCK_ORDERS;
        (block < self.refunds() && self.refunded_order(block) == order).then_some(block)
    }

    /// The status of the order at a position.
    pub fn status(&self, index: u64) -> Status {
        if let Some(refund) = self.refund_of(index) {
            return if self.is_full_refund(refund) { Status::Refunded } else { Status::Completed };
        }
        match self.orders - index {
            1 => return Status::Draft,
            2 => return Status::Pending,
            3 => return Status::OnHold,
            4 => return Status::Processing,
            5 => return Status::Shipped,
            _ => {}
        }
        let point = Chance::new(self.seed, Subject::Status, index).below(1000);
        let is_recent = index * 100 >= self.orders * 98;
        if is_recent {
            return match point {
                0..330 => Status::Processing,
                330..420 => Status::OnHold,
                420..520 => Status::Pending,
                520..640 => Status::Shipped,
                640..700 => Status::Draft,
                700..740 => Status::Failed,
                740..780 => Status::Cancelled,
                780..800 => Status::Trash,
                _ => Status::Completed,
            };
        }
        match point {
            0..770 => Status::Completed,
            770..860 => Status::Cancelled,
            860..910 => Status::Failed,
            910..930 => Status::Trash,
            930..960 => Status::Shipped,
            960..975 => Status::Refunded,
            975..985 => Status::Pending,
            985..992 => Status::Draft,
            992..996 => Status::OnHold,
            _ => Status::Processing,
        }
    }

    fn is_full_refund(&self, refund: u64) -> bool {
        Chance::new(self.seed ^ 1, Subject::Refund, refund).per_mille(400)
    }

    /// The position of the user who placed the order at a position, and whether with the account; `None`: a guest whom
    /// nobody knows.
    fn buyer(&self, index: u64) -> (Option<u64>, bool) {
        let mut chance = Chance::new(self.seed, Subject::Buyer, index);
        let is_guest = chance.per_mille(250);
        // One guest in ten has an account and did not log in.
        if is_guest && !chance.per_mille(100) {
            return (None, false);
        }
        let placed = self.placed(index);
        let registered = self.registered_before(placed);
        let mut chosen = None;
        for _ in 0..24 {
            let user = chance.below(registered);
            if user < STAFF || self.role(user) != Role::Customer {
                continue;
            }
            chosen = Some(user);
            let mut habits = Chance::new(self.seed, Subject::Habits, user);
            let eagerness = habits.unit().powi(3);
            let stays = match habits.below(10) {
                0..4 => i64::MAX,
                _ => (habits.unit() * habits.unit() * 700.0 * DAY as f64) as i64 + DAY,
            };
            if placed - self.registered(user) <= stays && chance.unit() < eagerness {
                break;
            }
        }
        (chosen, !is_guest && chosen.is_some())
    }

    /// Whether the buyer of the order at a position did not log in; cheaper than to know who it was.
    pub fn is_by_guest(&self, index: u64) -> bool {
        Chance::new(self.seed, Subject::Buyer, index).per_mille(250)
    }

    /// The id of the account that placed the order at a position, 0 for a guest.
    pub fn order_customer(&self, index: u64) -> u64 {
        match self.buyer(index) {
            (Some(user), true) => self.user_id(user),
            _ => 0,
        }
    }

    /// Whether the order at a position was begun before an e-mail was typed in.
    fn lacks_email(&self, index: u64) -> bool {
        self.status(index) == Status::Draft && Chance::new(self.seed ^ 2, Subject::Buyer, index).per_mille(300)
    }

    fn buyer_person(&self, index: u64, user: Option<u64>) -> Person {
        if let Some(user) = user {
            return Person::new(self.seed, user, "");
        }
        // Every fifth guest has ordered as a guest before.
        let mut chance = Chance::new(self.seed ^ 1, Subject::Buyer, index);
        let guest = if chance.per_mille(200) { index - chance.below(index.min(200) + 1) } else { index };
        Person::new(self.seed, guest, "g")
    }

    /// The order at a position.
    pub fn order(&self, index: u64) -> Order {
        let mut chance = Chance::new(self.seed, Subject::Order, index);
        let (user, with_account) = self.buyer(index);
        let mut buyer = self.buyer_person(index, user);
        if self.lacks_email(index) {
            buyer.email.clear();
        }
        let currency = buyer.country.currency;
        let tax = buyer.country.tax;
        let status = self.status(index);
        let created = self.placed(index);
        let modified = self.order_modified(index);

        let coupon = chance.per_mille(120).then_some("LATO-10");
        let discount_percent = if coupon.is_some() { 10 } else { 0 };
        let line_count = 1 + (chance.unit().powi(2) * 5.0) as usize;
        let mut lines = Vec::with_capacity(line_count);
        for _ in 0..line_count {
            lines.push(self.line(&mut chance, currency, tax, discount_percent));
        }

        let (method, title, cents) = *chance.pick(&SHIPPING);
        let shipping = (status != Status::Draft).then_some((method, title));
        let shipping_gross = if shipping.is_some() { in_currency(cents, currency) } else { 0 };
        let shipping_total = net_of(shipping_gross, tax);
        let shipping_tax = shipping_gross - shipping_total;

        let sum = |amount: fn(&Line) -> i64| lines.iter().map(amount).sum::<i64>();
        let lines_total = sum(|line| line.total);
        let lines_tax = sum(|line| line.total_tax);
        let payment = *chance.pick(&PAYMENTS);
        let is_cash = payment.0 == "cod";
        let paid = match status {
            Status::Processing | Status::Shipped => !is_cash,
            Status::Completed | Status::Refunded => true,
            _ => false,
        };
        let is_completed = matches!(status, Status::Completed | Status::Refunded);
        let origin = chance.per_mille(600).then(|| {
            let (kind, source, medium, campaign) = *chance.pick(&ORIGINS);
            Origin { kind, source, medium, campaign }
        });
        Order {
            id: self.order_id(index),
            status,
            currency,
            created,
            modified,
            paid: paid.then_some(created + (modified - created) / 100),
            completed: is_completed.then_some(created + (modified - created) * 9 / 10),
            customer: if with_account { user.map_or(0, |user| self.user_id(user)) } else { 0 },
            discount_total: sum(|line| line.subtotal) - lines_total,
            discount_tax: sum(|line| line.subtotal_tax) - lines_tax,
            total: lines_total + lines_tax + shipping_gross,
            total_tax: lines_tax + shipping_tax,
            lines,
            shipping,
            shipping_total,
            shipping_tax,
            coupon,
            payment,
            note: if chance.per_mille(80) { chance.pick::<&str>(&NOTES) } else { "" },
            consent: match chance.below(10) {
                0..3 => Some(true),
                3 => Some(false),
                _ => None,
            },
            origin,
            buyer,
        }
    }

    fn line(&self, chance: &mut Chance, currency: Currency, tax: i64, discount_percent: i64) -> Line {
        let products = &self.catalogue.products;
        // A few products make most of the trade.
        let product = &products[(chance.unit().powi(2) * products.len() as f64) as usize];
        let quantity = 1 + (chance.unit().powi(4) * 6.0) as i64;
        let variation = match product.variations.len() {
            0 => None,
            count => Some(&product.variations[chance.position(count)]),
        };
        let cents = variation.map_or(product.price, |variation| variation.price);
        let gross = in_currency(cents, currency) * quantity;
        let gross_paid = gross - gross * discount_percent / 100;
        let (subtotal, total) = (net_of(gross, tax), net_of(gross_paid, tax));
        let is_deleted = chance.per_mille(20);
        let name = match variation {
            Some(variation) => format!("{} - {}, {}", product.name, variation.colour, variation.size),
            None => product.name.clone(),
        };
        let sku = variation.map_or(&product.sku, |variation| &variation.sku);
        Line {
            product: if is_deleted { 0 } else { product.id },
            variation: variation.filter(|_| !is_deleted).map_or(0, |variation| variation.id),
            name,
            parent_name: variation.filter(|_| !is_deleted).map(|_| product.name.clone()),
            sku: (!is_deleted).then(|| sku.clone()),
            quantity,
            subtotal,
            subtotal_tax: gross - subtotal,
            total,
            total_tax: gross_paid - total,
        }
    }

    /// The refund at a position.
    pub fn refund(&self, index: u64) -> Refund {
        let order = self.order(self.refunded_order(index));
        let mut chance = Chance::new(self.seed ^ 2, Subject::Refund, index);
        let mut lines = Vec::new();
        let amount = if self.is_full_refund(index) {
            for (position, line) in order.lines.iter().enumerate() {
                lines.push((position, line.quantity, line.total, line.total_tax));
            }
            order.total
        } else if chance.per_mille(500) {
            let position = chance.position(order.lines.len());
            let line = &order.lines[position];
            lines.push((position, line.quantity, line.total, line.total_tax));
            line.total + line.total_tax
        } else {
            (order.total / 3).max(1)
        };
        Refund {
            id: self.refund_id(index),
            order: order.id,
            created: self.refunded(index),
            amount,
            reason: chance.pick::<&str>(&REASONS),
            lines,
        }
    }
}

/// Euro cents in a currency's smallest unit.
fn in_currency(cents: i64, currency: Currency) -> i64 {
    cents * currency.per_euro / 100
}

/// The net part of an amount that includes so many percent of tax, rounded half up.
fn net_of(gross: i64, tax: i64) -> i64 {
    (gross * 200 + 100 + tax) / (2 * (100 + tax))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    const NOW: i64 = 1_790_812_800;

    fn stock() -> Stock {
        Stock::new(1, 1000, 3000, NOW)
    }

    #[test]
    fn ids_lead_back_to_their_positions_and_refunds_share_the_space() {
        let stock = stock();
        let mut ids = HashSet::new();
        for index in 0..stock.orders() {
            assert_eq!(stock.order_index(stock.order_id(index)), Some(index));
            assert!(ids.insert(stock.order_id(index)));
        }
        for index in 0..stock.refunds() {
            assert_eq!(stock.refund_index(stock.refund_id(index)), Some(index));
            assert_eq!(stock.order_index(stock.refund_id(index)), None);
            assert!(ids.insert(stock.refund_id(index)));
        }
        assert!(!ids.contains(&stock.next_order_id()));
    }

    #[test]
    fn times_grow_with_the_position_and_end_before_now() {
        let stock = stock();
        let placed: Vec<i64> = (0..stock.orders()).map(|index| stock.placed(index)).collect();
        let modified: Vec<i64> = (0..stock.orders()).map(|index| stock.order_modified(index)).collect();
        let refunded: Vec<i64> = (0..stock.refunds()).map(|index| stock.refunded(index)).collect();
        assert!(placed.is_sorted() && modified.is_sorted() && refunded.is_sorted());
        assert!(modified.iter().chain(&refunded).all(|moment| *moment <= NOW));
    }

    #[test]
    fn a_total_is_what_its_lines_and_shipping_add_up_to() {
        let stock = stock();
        for index in 0..500 {
            let order = stock.order(index);
            let lines: i64 = order.lines.iter().map(|line| line.total + line.total_tax).sum();
            assert_eq!(order.total, lines + order.shipping_total + order.shipping_tax);
            assert!(order.discount_total >= 0 && order.total > 0);
        }
    }

    #[test]
    fn every_status_occurs_even_in_a_small_shop() {
        let stock = Stock::new(1, 50, 200, NOW);
        let statuses: HashSet<u8> = (0..stock.orders()).map(|index| stock.status(index) as u8).collect();
        assert_eq!(statuses.len(), 10);
    }

    #[test]
    fn a_quarter_of_the_orders_is_by_guests_and_some_customers_buy_far_more_than_others() {
        let stock = stock();
        let mut orders: HashMap<u64, u32> = HashMap::new();
        for index in 0..stock.orders() {
            *orders.entry(stock.order_customer(index)).or_default() += 1;
        }
        let guests = orders.remove(&0).unwrap_or_default();
        assert!((600..900).contains(&guests), "{guests}");
        let most = orders.values().max().copied().unwrap_or_default();
        let once = orders.values().filter(|count| **count == 1).count();
        assert!(most > 15 && once > 100, "{most} {once}");
    }

    #[test]
    fn nobody_orders_before_registering() {
        let stock = stock();
        for index in 0..stock.orders() {
            let customer = stock.order_customer(index);
            if customer != 0 {
                assert!(stock.registered(customer - 1) <= stock.placed(index));
            }
        }
    }

    #[test]
    fn some_drafts_lack_an_email() {
        let stock = stock();
        let drafts: Vec<Order> = (0..stock.orders())
            .filter(|index| stock.status(*index) == Status::Draft)
            .map(|index| stock.order(index))
            .collect();
        let without = drafts.iter().filter(|order| order.buyer.email.is_empty()).count();
        assert!(without > 0 && without * 2 < drafts.len(), "{without} of {}", drafts.len());
    }

    #[test]
    fn a_refund_never_exceeds_its_order() {
        let stock = stock();
        for index in 0..stock.refunds() {
            let refund = stock.refund(index);
            let order = stock.order(stock.refunded_order(index));
            assert_eq!(order.id, refund.order);
            assert!(refund.amount > 0 && refund.amount <= order.total);
            assert!(refund.created >= order.created && refund.created <= order.modified);
        }
    }
}
