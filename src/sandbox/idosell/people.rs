//! Everybody the panel knows: accounts, buyers without one, and newsletter subscribers without either, in the order in
//! which they came, so that times grow with the position. Computed from the stock when they are asked for.
//!
//! Who somebody is costs four bytes: a user of the stock, or the order of a guest, since each purchase without an account
//! makes a client of its own.

use super::zone::Zone;
use crate::sandbox::stock::catalogue::Catalogue;
use crate::sandbox::stock::chance::{Chance, Subject};
use crate::sandbox::stock::{DAY, Role, Stock};

/// Numbers of clients begin here.
const FIRST_CLIENT: u64 = 41;
/// As many shops as one panel may run here: what a person agreed to is kept for each.
pub const MOST_SHOPS: usize = 4;
/// Marks the order of a guest.
const GUEST: u32 = 1 << 31;
/// A client is last changed at most so long after having come.
const SETTLED_AFTER: i64 = 30 * DAY;

/// What generated rows depend on.
pub struct Panel {
    /// What is sold, and to whom.
    pub stock: Stock,
    /// The zone of the panel's times.
    pub zone: Zone,
    /// How many shops the panel runs.
    pub shops: usize,
    /// How many products there are; orders are made of the first ones.
    pub products: u64,
    /// The address, without a final slash.
    pub origin: String,
    /// The seed of what this platform alone adds.
    pub seed: u64,
    /// Everybody, by position.
    who: Vec<u32>,
}

/// What kind of person somebody is to the panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Has an account.
    Account,
    /// Bought without one.
    Guest,
    /// Is on the newsletter list alone.
    Subscriber,
}

/// Where somebody comes from in the stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The user at a position.
    User(u64),
    /// The guest who placed the order at a position.
    Guest(u64),
}

/// A newsletter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// By e-mail.
    Email,
    /// By text message.
    Sms,
}

/// What somebody said about a newsletter of one shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// Yes or no.
    pub agreed: bool,
    /// When it was said; for people without an account, when they joined.
    pub at: i64,
}

/// Statements by shop, the first being that of shop 1.
pub type Statements = [Option<Statement>; MOST_SHOPS];

/// One person.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the platform's own words")]
pub struct Client {
    pub id: u64,
    pub kind: Kind,
    pub created: i64,
    pub modified: i64,
    pub login: String,
    pub email: String,
    pub first: String,
    pub last: String,
    pub company: String,
    pub nip: String,
    pub street: String,
    pub zip: String,
    pub city: String,
    pub country: String,
    pub phone: String,
    pub phone_2: String,
    pub birthday: String,
    pub sex: &'static str,
    pub lang: String,
    pub currency: String,
    pub code: String,
    pub note: String,
    pub active: bool,
    pub email_news: Statements,
    pub sms_news: Statements,
}

impl Panel {
    /// Puts everybody in order.
    pub fn new(stock: Stock, zone: Zone, shops: usize, products: u64, origin: String, seed: u64) -> Self {
        let mut who = Vec::with_capacity((stock.users() + stock.orders() / 4) as usize);
        let mut users = (0..stock.users()).filter(|user| is_person(stock.role(*user))).peekable();
        for order in 0..stock.orders() {
            // Drafts are nobody's: whoever did not finish is not made a client.
            if !stock.is_by_guest(order) || stock.status(order) == crate::sandbox::stock::orders::Status::Draft {
                continue;
            }
            let placed = stock.placed(order);
            while let Some(user) = users.next_if(|user| stock.registered(*user) <= placed) {
                who.push(user as u32);
            }
            who.push(order as u32 | GUEST);
        }
        who.extend(users.map(|user| user as u32));
        who.shrink_to_fit();
        Self { stock, zone, shops, products, origin, seed, who }
    }

    /// How many people there are.
    pub fn people(&self) -> usize {
        self.who.len()
    }

    /// The number of the person at a position.
    pub fn client_id(&self, position: usize) -> u64 {
        FIRST_CLIENT + position as u64
    }

    /// The position of the person with this number.
    pub fn client_position(&self, id: u64) -> Option<usize> {
        let position = id.checked_sub(FIRST_CLIENT)? as usize;
        (position < self.who.len()).then_some(position)
    }

    /// Where the person at a position comes from.
    pub fn who(&self, position: usize) -> Who {
        let packed = self.who[position];
        match packed & GUEST {
            0 => Who::User(u64::from(packed)),
            _ => Who::Guest(u64::from(packed & !GUEST)),
        }
    }

    /// The kind of the person at a position.
    pub fn kind(&self, position: usize) -> Kind {
        match self.who(position) {
            Who::Guest(_) => Kind::Guest,
            Who::User(user) if self.stock.role(user) == Role::Subscriber => Kind::Subscriber,
            Who::User(_) => Kind::Account,
        }
    }

    fn came(&self, who: Who) -> i64 {
        match who {
            Who::User(user) => self.stock.registered(user),
            Who::Guest(order) => self.stock.placed(order),
        }
    }

    /// When the person at a position came; grows with the position.
    pub fn created(&self, position: usize) -> i64 {
        self.came(self.who(position))
    }

    /// When the person at a position was last changed; grows with the position.
    pub fn modified(&self, position: usize) -> i64 {
        let created = self.created(position);
        created + ((self.stock.now() - created) / 2).clamp(0, SETTLED_AFTER)
    }

    /// The number of somebody of the stock.
    pub fn id_of(&self, who: Who) -> Option<u64> {
        let came = self.came(who);
        let first = self.who.partition_point(|packed| self.came(unpacked(*packed)) < came);
        (first..self.who.len())
            .take_while(|position| self.created(*position) == came)
            .find(|position| self.who(*position) == who)
            .map(|position| self.client_id(position))
    }

    /// Chance of this platform alone, for one thing of the stock.
    pub fn chance(&self, mark: u64, index: u64) -> Chance {
        Chance::new(self.seed ^ (mark << 48), Subject::Own, index)
    }

    /// What the person at a position said about a newsletter, by shop.
    pub fn agreed(&self, position: usize, channel: Channel) -> [Option<bool>; MOST_SHOPS] {
        let mark = if channel == Channel::Email { 1 } else { 2 };
        let mut chance = self.chance(mark, position as u64);
        let kind = self.kind(position);
        let mut agreed = [None; MOST_SHOPS];
        for (shop, agreed) in agreed.iter_mut().enumerate().take(self.shops) {
            let point = chance.below(100);
            *agreed = match (kind, channel, shop) {
                (Kind::Account, Channel::Email, 0) => yes_or_no(point, 50, 65),
                (Kind::Account, Channel::Email, _) => yes_or_no(point, 15, 30),
                (Kind::Account, Channel::Sms, _) => yes_or_no(point, 20, 35),
                (Kind::Guest, Channel::Email, 0) => yes_or_no(point, 25, 30),
                (Kind::Guest, ..) => yes_or_no(point, 5, 7),
                (Kind::Subscriber, Channel::Email, 0) => yes_or_no(point, 95, 100),
                (Kind::Subscriber, ..) => yes_or_no(point, 15, 18),
            };
        }
        agreed
    }

    fn statements(&self, position: usize, channel: Channel) -> Statements {
        let at = self.created(position);
        self.agreed(position, channel).map(|agreed| agreed.map(|agreed| Statement { agreed, at }))
    }

    /// The person at a position.
    pub fn client(&self, position: usize) -> Client {
        let kind = self.kind(position);
        let mut chance = self.chance(3, position as u64);
        let (person, login, birthday) = match self.who(position) {
            Who::User(user) => {
                let user = self.stock.user(user);
                let login = if kind == Kind::Subscriber { String::new() } else { user.person.login.clone() };
                (user.person, login, user.birthday)
            }
            Who::Guest(order) => (self.stock.order(order).buyer, format!("{:06x}-unreg", chance.below(1 << 24)), None),
        };
        let email = match self.who(position) {
            Who::Guest(order) if !super::orders::Source::of(self, order).knows_email() => String::new(),
            _ => person.email,
        };
        let is_known = kind != Kind::Subscriber;
        let known = |text: String| if is_known { text } else { String::new() };
        // Only whole dates fit the platform's field.
        let birthday = birthday.filter(|text| text.as_bytes().get(4) == Some(&b'-'));
        let street = [person.street, person.street_2].join(" ").trim_end().to_owned();
        Client {
            id: self.client_id(position),
            kind,
            created: self.created(position),
            modified: self.modified(position),
            login,
            email,
            first: known(person.first),
            last: known(person.last),
            nip: if person.company.is_empty() { String::new() } else { "1111111111".to_owned() },
            company: known(person.company),
            street: known(street),
            zip: known(person.postal_code),
            city: known(person.city),
            country: person.country.code.to_ascii_lowercase(),
            phone_2: if chance.per_mille(100) { "221000000".to_owned() } else { String::new() },
            phone: if is_known || chance.per_mille(200) { person.phone } else { String::new() },
            birthday: birthday.unwrap_or_else(|| super::zone::ZERO_DATE.to_owned()),
            sex: chance.pick::<&str>(&["private", "male", "female"]),
            lang: if person.country.code == "PL" { "pol" } else { "eng" }.to_owned(),
            currency: person.country.currency.code.to_owned(),
            code: if chance.per_mille(50) { format!("ERP-{:05}", position) } else { String::new() },
            note: String::new(),
            active: true,
            email_news: self.statements(position, Channel::Email),
            sms_news: self.statements(position, Channel::Sms),
        }
    }

    /// How many products orders are made of.
    pub fn sold_products(&self) -> &Catalogue {
        &self.stock.catalogue
    }
}

impl Client {
    /// Its type as the clients' gate says it.
    pub fn shown_type(&self) -> &'static str {
        if self.company.is_empty() { self.sex } else { "firm" }
    }

    /// Its type as it is written, and as the CRM gate says it.
    pub fn written_type(&self) -> &'static str {
        match self.shown_type() {
            "male" => "person_male",
            "female" => "person_female",
            "firm" => "firm",
            _ => "person",
        }
    }

    /// What was said about a newsletter.
    pub fn news(&self, channel: Channel) -> &Statements {
        match channel {
            Channel::Email => &self.email_news,
            Channel::Sms => &self.sms_news,
        }
    }

    /// Says something about a shop's newsletter. People without an account keep the day on which they joined.
    pub fn state(&mut self, channel: Channel, shop: usize, agreed: bool, at: i64) {
        let keeps_day = self.kind != Kind::Account;
        let news = match channel {
            Channel::Email => &mut self.email_news,
            Channel::Sms => &mut self.sms_news,
        };
        if let Some(statement) = news.get_mut(shop) {
            let joined = statement.filter(|_| keeps_day).map(|statement| statement.at);
            *statement = Some(Statement { agreed, at: joined.unwrap_or(at) });
        }
    }
}

fn is_person(role: Role) -> bool {
    matches!(role, Role::Customer | Role::Subscriber)
}

fn unpacked(packed: u32) -> Who {
    if packed & GUEST == 0 { Who::User(u64::from(packed)) } else { Who::Guest(u64::from(packed & !GUEST)) }
}

/// Yes below the first of a hundred, no below the second.
fn yes_or_no(point: u64, yes: u64, no: u64) -> Option<bool> {
    match point {
        _ if point < yes => Some(true),
        _ if point < no => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel() -> Panel {
        let stock = Stock::new(1, 200, 600, 1_790_812_800);
        Panel::new(stock, Zone::open("Europe/Warsaw").unwrap(), 2, 500, String::new(), 1)
    }

    #[test]
    fn people_stand_in_the_order_in_which_they_came_and_are_found_by_where_they_come_from() {
        let panel = panel();
        let times: Vec<i64> = (0..panel.people()).map(|position| panel.created(position)).collect();
        let changes: Vec<i64> = (0..panel.people()).map(|position| panel.modified(position)).collect();
        assert!(times.is_sorted() && changes.is_sorted());
        for position in 0..panel.people() {
            assert_eq!(panel.id_of(panel.who(position)), Some(panel.client_id(position)));
        }
        for kind in [Kind::Account, Kind::Guest, Kind::Subscriber] {
            assert!((0..panel.people()).any(|position| panel.kind(position) == kind), "{kind:?}");
        }
    }

    #[test]
    fn people_without_an_account_keep_the_day_on_which_they_joined() {
        let panel = panel();
        let position = (0..panel.people()).find(|position| panel.kind(*position) == Kind::Subscriber).unwrap();
        let mut client = panel.client(position);
        let joined = client.created;
        client.state(Channel::Email, 0, false, joined + 1000);
        assert_eq!(client.email_news[0], Some(Statement { agreed: false, at: joined }));
    }
}
