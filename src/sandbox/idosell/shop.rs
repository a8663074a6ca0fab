//! The panel's state: its lists with what changed over them, tags, and the clock. May use the rows and nothing of HTTP.

use super::Options;
use super::gate::Access;
use super::goods::{Goods, Products, Tree};
use super::iof::Feed;
use super::orders::{self, Orders};
use super::people::{Channel, Client, Kind, Panel};
use super::people_rows::{self, Clients, Newsletter, Purchases, client_class, news_class};
use super::returns::Returns;
use super::zone::{UNDATED, Zone};
use crate::sandbox::php::to_bytes;
use crate::sandbox::stock::Stock;
use crate::sandbox::table::{Head, Row, Table};
use crate::{Error, Kind as ErrorKind, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// A tag of a client: number, name, value.
pub type Tag = (u64, String, i64);

/// The panel's lists and its clock.
pub struct Shop {
    /// What generated rows depend on.
    pub panel: Arc<Panel>,
    /// Accounts and buyers without one; subscribers stand here, too, in a class that the gate leaves out.
    pub clients: Table,
    /// The newsletter by e-mail.
    pub email: Table,
    /// The newsletter by text message.
    pub sms: Table,
    /// Orders, unfinished ones included.
    pub orders: Table,
    /// Returns.
    pub returns: Table,
    /// Products, by number alone.
    pub products: Table,
    /// The category tree.
    pub tree: Tree,
    /// When the tree was last changed.
    pub tree_changed: i64,
    /// Products that changed.
    pub goods: BTreeMap<u64, Arc<Goods>>,
    /// People who changed or came.
    people: BTreeMap<u64, Client>,
    /// Tags by client.
    pub tags: BTreeMap<u64, Vec<Tag>>,
    /// The files of the offer.
    pub feed: Feed,
    /// Who may do what.
    pub access: Access,
    /// Whether the panel was blocked for unpaid invoices.
    pub blocked: bool,
    /// How many times more the server says that it is overloaded.
    pub overloaded: u64,
    /// Whether the template of products is listed although nobody asks for it.
    pub lists_template: bool,
    /// Letters and messages that the shop would have sent to buyers.
    pub letters: u64,
    begins: i64,
    began: Instant,
    ahead: i64,
    next_client: u64,
    next_order: u64,
    purchases: Option<BTreeMap<u64, Purchases>>,
}

impl Shop {
    /// Opens the panel.
    ///
    /// # Errors
    /// [`ErrorKind::Command`] for an unknown time zone and for more shops than a panel has here.
    pub fn open(options: &Options, origin: &str) -> Result<Self> {
        if options.shops == 0 || options.shops > super::people::MOST_SHOPS {
            return Err(Error::new(ErrorKind::Command, format!("a panel cannot run {} shops here", options.shops))
                .hint(format!("give a number from 1 to {}", super::people::MOST_SHOPS)));
        }
        let begins = options.now.as_second();
        let stock = Stock::new(options.seed, options.customers, options.orders, begins);
        let zone = Zone::open(&options.zone)?;
        let panel = Panel::new(stock, zone, options.shops, options.products, origin.to_owned(), options.seed);
        Ok(Self::begin(Arc::new(panel), begins))
    }

    fn begin(panel: Arc<Panel>, begins: i64) -> Self {
        let orders = Table::new(Arc::new(Orders(Arc::clone(&panel))));
        Self {
            clients: Table::new(Arc::new(Clients(Arc::clone(&panel)))),
            email: Table::new(Arc::new(Newsletter(Arc::clone(&panel), Channel::Email))),
            sms: Table::new(Arc::new(Newsletter(Arc::clone(&panel), Channel::Sms))),
            returns: Table::new(Arc::new(Returns(Arc::clone(&panel)))),
            products: Table::new(Arc::new(Products(Arc::clone(&panel)))),
            tree: Tree(panel.stock.catalogue.categories.clone()),
            tree_changed: begins,
            goods: BTreeMap::new(),
            people: BTreeMap::new(),
            tags: BTreeMap::new(),
            feed: Feed::new(begins),
            access: Access::default(),
            blocked: false,
            overloaded: 0,
            lists_template: false,
            letters: 0,
            begins,
            began: Instant::now(),
            ahead: 0,
            next_client: panel.client_id(panel.people()),
            next_order: panel.stock.next_order_id().max(orders.last_id() + 1),
            purchases: None,
            orders,
            panel,
        }
    }

    /// Forgets all changes; the clock begins again.
    pub fn reset(&mut self) {
        let (panel, begins) = (Arc::clone(&self.panel), self.begins);
        for table in
            [&mut self.clients, &mut self.email, &mut self.sms, &mut self.orders, &mut self.returns, &mut self.products]
        {
            table.reset();
        }
        self.tree = Tree(panel.stock.catalogue.categories.clone());
        self.tree_changed = begins;
        self.goods.clear();
        self.people.clear();
        self.tags.clear();
        self.feed = Feed::new(begins);
        self.access = Access::default();
        self.blocked = false;
        self.overloaded = 0;
        self.lists_template = false;
        self.letters = 0;
        self.began = Instant::now();
        self.ahead = 0;
        self.next_client = panel.client_id(panel.people());
        self.next_order = panel.stock.next_order_id().max(self.orders.last_id() + 1);
        self.purchases = None;
    }

    /// The panel's time (UTC seconds): it begins where the stock ends and runs on.
    pub fn now(&self) -> i64 {
        self.begins + self.ahead + i64::try_from(self.began.elapsed().as_secs()).unwrap_or_default()
    }

    /// Puts the clock forward.
    pub fn advance(&mut self, seconds: u32) {
        self.ahead += i64::from(seconds);
    }

    /// A newsletter list.
    pub fn newsletter(&self, channel: Channel) -> &Table {
        match channel {
            Channel::Email => &self.email,
            Channel::Sms => &self.sms,
        }
    }

    /// The person with this number.
    pub fn person(&self, id: u64) -> Option<Client> {
        if let Some(client) = self.people.get(&id) {
            return Some(client.clone());
        }
        // Who left is in no list any more.
        self.clients.class_of(id)?;
        Some(self.panel.client(self.panel.client_position(id)?))
    }

    /// The person with this login.
    pub fn person_by_login(&self, login: &str) -> Option<Client> {
        if login.is_empty() {
            return None;
        }
        if let Some(client) = self.people.values().find(|client| client.login == login) {
            return Some(client.clone());
        }
        // Logins of the stock end in a number that is not worth unpacking: a walk, but over people's names alone.
        let position = (0..self.panel.people()).find(|position| match self.panel.who(*position) {
            super::people::Who::User(user) => self.panel.stock.person(user).login == login,
            super::people::Who::Guest(_) => self.panel.client(*position).login == login,
        })?;
        self.person(self.panel.client_id(position)).filter(|client| client.login == login)
    }

    /// A number for a new client.
    pub fn next_client(&mut self) -> u64 {
        self.next_client += 1;
        self.next_client - 1
    }

    /// A number for a new order.
    pub fn next_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order - 1
    }

    /// Puts a person in, into every list they belong to. `touch`: their data were changed, not their statements alone,
    /// which do not move the date of the last modification.
    pub fn save_person(&mut self, mut client: Client, touch: bool) {
        if touch {
            client.modified = self.now();
        }
        let panel = Arc::clone(&self.panel);
        let mut json = Vec::new();
        people_rows::client(&mut json, &client, &panel);
        let head = Head { id: client.id, created: client.created, modified: client.modified, settled: client.created };
        let class = client_class(client.kind, client.active).to_owned();
        self.clients.put(Row { head, class, owner: 0, json });
        for channel in [Channel::Email, Channel::Sms] {
            let news = client.news(channel);
            let said = news.iter().flatten().map(|statement| statement.at).filter(|at| *at != UNDATED).max();
            let mut json = Vec::new();
            people_rows::newsletter(&mut json, &client, channel, &panel.zone);
            let modified = said.unwrap_or(client.created);
            let class = news_class(client.kind, news.iter().map(|said| said.map(|said| said.agreed)));
            let row = Row { head: Head { modified, ..head }, class, owner: 0, json };
            match channel {
                Channel::Email => self.email.put(row),
                Channel::Sms => self.sms.put(row),
            }
        }
        self.people.insert(client.id, client);
    }

    /// Takes a person out of every list; says whether there was one.
    pub fn remove_person(&mut self, id: u64) -> bool {
        self.people.remove(&id);
        self.tags.remove(&id);
        self.email.remove(id);
        self.sms.remove(id);
        self.clients.remove(id)
    }

    /// Everybody who changed or came, by number.
    pub fn changed_people(&self) -> impl Iterator<Item = &Client> {
        self.people.values()
    }

    /// An order as it is read.
    pub fn order(&self, id: u64) -> Option<Value> {
        serde_json::from_slice(&self.orders.get(id)?.json).ok()
    }

    /// Puts an order in; `touch` gives it the stamp of a change.
    pub fn save_order(&mut self, mut row: Value, touch: bool) {
        let now = self.panel.zone.time(self.now());
        if touch {
            row["orderDetails"]["orderChangeDate"] = Value::String(now);
        }
        let head = orders::head_of(&row, &self.panel);
        let class = row["orderDetails"]["orderStatus"].as_str().unwrap_or_default().to_owned();
        let owner = row.pointer("/clientResult/clientAccount/clientId").and_then(Value::as_u64).unwrap_or_default();
        self.orders.put(Row { head, class, owner, json: to_bytes(&row) });
        self.purchases = None;
    }

    /// Takes an order out; says whether there was one.
    pub fn remove_order(&mut self, id: u64) -> bool {
        self.purchases = None;
        self.orders.remove(id)
    }

    /// The product with this number, whatever became of it.
    pub fn product(&self, id: u64) -> Option<Arc<Goods>> {
        if let Some(goods) = self.goods.get(&id) {
            return Some(Arc::clone(goods));
        }
        self.products.class_of(id)?;
        let index = crate::sandbox::stock::catalogue::Catalogue::product_index(id)?;
        Some(Arc::new(self.panel.goods(index)))
    }

    /// Puts a product in.
    pub fn save_product(&mut self, goods: Goods) {
        let json = goods.id.to_string().into_bytes();
        self.products.put(Row { head: goods.head(), class: goods.class.to_owned(), owner: 0, json });
        self.goods.insert(goods.id, Arc::new(goods));
    }

    /// What everybody bought; counted when somebody first asks after a change.
    pub fn purchases(&mut self) -> &BTreeMap<u64, Purchases> {
        let counted = match self.purchases.take() {
            Some(purchases) => purchases,
            None => self.count_purchases(),
        };
        self.purchases.insert(counted)
    }

    fn count_purchases(&self) -> BTreeMap<u64, Purchases> {
        let mut purchases: BTreeMap<u64, Purchases> = BTreeMap::new();
        let mut add = |owner: u64, class: &str, value: i64, pieces: u32, at: i64| {
            if owner == 0 || class == orders::UNFINISHED || class == "joined" {
                return;
            }
            let bought = purchases.entry(owner).or_default();
            bought.orders += 1;
            bought.products += pieces;
            bought.last = bought.last.max(at);
            if class.starts_with("finished") {
                bought.completed += 1;
                bought.value += value;
            }
        };
        for position in 0..self.orders.base_rows() {
            if self.orders.untouched(position).is_some() {
                let owner = self.orders.owner_at(position);
                let (value, pieces) = orders::worth(&self.panel, position as u64);
                let at = self.panel.stock.placed(position as u64);
                add(owner, orders::status(&self.panel, position as u64), value, pieces, at);
            }
        }
        for row in self.orders.changed() {
            let json: Value = serde_json::from_slice(&row.json).unwrap_or_default();
            let pieces = json["orderDetails"]["productsResults"].as_array().into_iter().flatten();
            let pieces: f64 = pieces.filter_map(|line| line["productQuantity"].as_f64()).sum();
            let value = orders::total_of(&json).unwrap_or_default();
            add(row.owner, &row.class, value, pieces as u32, row.head.created);
        }
        purchases
    }

    /// How many people of a kind there are, changed ones included; for figures.
    pub fn count_people(&self, kind: Kind) -> usize {
        self.clients.counts().get(client_class(kind, true)).copied().unwrap_or_default()
    }
}
