//! IdoSell to eSputnik from end to end with the real program, by the example pipeline: every request at both ends goes
//! through a proxy that refuses what the platform's own specification does not allow, and the program is killed in every
//! stage on the way.

use crate::support::openapi::Specification;
use crate::support::openapi::proxy::Proxy;
use crate::support::panel::Panel;
use crate::support::person;
use crate::support::program::program;
use crate::support::world::{Ran, ended};
use crate::support::{TestDatabase, database};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::process::Command;
use wharf::sandbox::esputnik::account::By;
use wharf::sandbox::esputnik::events::status_name;
use wharf::sandbox::esputnik::{self, Counted, inspect};
use wharf::sandbox::idosell::{Options, orders::total_of};
use wharf::sandbox::{Fault, FaultKind, Sandbox, SandboxOptions};

/// What changed is asked for up to a minute before the present.
const SETTLED: u64 = 120;
/// What the shop's money is worth in that of the account, as the pipeline file says.
const RATES: [(&str, f64); 4] = [("PLN", 10.45), ("JPY", 0.28), ("UAH", 1.0), ("EUR", 1.0)];

/// What a user fills in, and what makes a test quick.
const FILLED_IN: [(&str, &str); 5] = [
    ("  # convert_to: UAH ", "  convert_to: UAH #"),
    ("  # rates: {PLN: 10.45}", "  rates: {PLN: 10.45, JPY: 0.28} #"),
    ("    # rate: 5/s", "    rate: 10000/s"),
    (
        "  # item_url: https://shop.example/ #",
        "  item_url: https://shop.example/
  job_poll: 10ms
  job_poll_max: 50ms
  job_grace: 1s
  old_orders: as_new
  order_batch: 20 #",
    ),
    ("  # item_image_url:", "  item_image_url:"),
];

struct Way {
    test: TestDatabase,
    panel: Panel,
    shop: Proxy,
    crm: Proxy,
    folder: TempDir,
}

/// An order as the panel has it.
#[derive(Debug)]
struct Bought {
    serial: u64,
    /// What people call it, and the account.
    number: String,
    email: String,
    client: u64,
    status: &'static str,
    /// In the account's money.
    total: f64,
}

impl Way {
    /// The example pipeline, filled in, between an emulated panel and an emulated account whose jobs go on with each call.
    async fn open() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // What is said there and what is said here is dated by one clock.
        let now = jiff::Timestamp::now();
        let shop = Options { customers: 50, orders: 120, products: 60, now, ..Options::small() };
        let mut account = esputnik::Options::default();
        account.jobs.counted = Counted::Requests;
        let sandbox = Sandbox::start(SandboxOptions::default().with(shop).with(account)).await.unwrap();
        let shop = Proxy::start(Specification::idosell(), &sandbox.idosell_url()).await;
        let crm = Proxy::start(Specification::esputnik(), sandbox.url("esputnik").unwrap()).await;
        let folder = tempfile::Builder::new().prefix("wharf-way-").tempdir().unwrap();
        let mut file = std::fs::read_to_string("pipelines/idosell-esputnik.yaml").unwrap();
        for (instead_of, filled_in) in FILLED_IN {
            assert!(file.contains(instead_of), "the example has no `{instead_of}`");
            file = file.replace(instead_of, filled_in);
        }
        std::fs::write(folder.path().join("way.yaml"), file).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { test: database().await, panel: Panel { sandbox, http }, shop, crm, folder }
    }

    fn account(&self) -> &esputnik::ESputnik {
        self.panel.sandbox.esputnik().unwrap()
    }

    fn archive(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    fn wharf(&self, words: &[&str], failpoints: &str) -> Command {
        let mut command = program(self.folder.path(), words, &self.test.url, failpoints);
        for (platform, _) in self.panel.sandbox.platforms() {
            let proxy = if platform.name() == "esputnik" { &self.crm } else { &self.shop };
            command.env(platform.url_variable(), platform.base_url(&proxy.origin)).envs(platform.credentials());
        }
        command
    }

    async fn run(&self, failpoints: &str) -> Ran {
        ended(self.wharf(&["-q", "run", "way.yaml"], failpoints).spawn().unwrap()).await
    }

    /// Dies with a call of orders whose outcome is open: it was done, its answer was lost, and nothing of that is written.
    async fn dies_with_orders_in_flight(&self) {
        self.panel.sandbox.fault(Fault::new(FaultKind::Lost, "/api/v1/orders"));
        let ran = self.run("load/after-look-up=kill").await;
        assert_eq!(ran.signal, Some(9), "{ran:?}");
        assert!(!self.account().account().orders.list.is_empty(), "the program was to die when orders had been taken");
        self.panel.sandbox.clear_faults();
    }

    /// Runs until nothing is left to do, a person deciding where nobody else can: whether it was there, for each.
    async fn run_to_the_end(&self) -> Vec<bool> {
        let mut all = Vec::new();
        loop {
            let ran = self.run("").await;
            assert!(ran.is_done(), "{ran:?}");
            let decided = person::decide(&self.test.url, &self.panel.sandbox, |words| self.wharf(words, "")).await;
            let decided = decided.unwrap();
            if decided.is_empty() {
                return all;
            }
            all.extend(decided.into_iter().map(|one| one.is_there));
        }
    }

    fn settle(&self) {
        self.panel.change(json!({"advance_seconds": SETTLED}));
        self.account().account().settle_jobs();
    }

    /// Placed orders, merged ones left out, whose buyer has an address of their own.
    async fn bought(&self) -> Vec<Bought> {
        let range = json!({"ordersRange": {"ordersDateRange": {"ordersDateType": "modified",
            "ordersDateBegin": "2000-01-01 00:00:00", "ordersDateEnd": "2099-01-01 00:00:00"}}});
        let rows = self.panel.every("orders/orders/search", range).await;
        rows.iter().filter_map(read_order).collect()
    }

    /// Who agreed at the first shop and who did not, by number, as the newsletter's list says.
    async fn agreed(&self) -> BTreeMap<u64, bool> {
        let rows = self.panel.every("clients/newsletter/email/search", json!({})).await;
        let said = |row: &Value| Some((row["client_number"].as_u64()?, row["shops"]["1"]["approval"] == "y"));
        rows.iter().filter_map(said).collect()
    }

    /// The keys of orders that were refused, by a rule or there.
    async fn rejected(&self) -> BTreeSet<String> {
        let client = self.test.db.client().await.unwrap();
        let keys = "select source_key from canonical.orders join delivery.rejects on key = order_id";
        client.query(keys, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Calls to the account that may change something, so far.
    fn writes(&self) -> usize {
        let calls = self.panel.sandbox.requests().calls("esputnik", "");
        calls.iter().filter(|call| call.method != "GET").count()
    }

    /// An agreed client with an order, and the client's number and the order's.
    fn buyer(&self, name: &str, agreed: bool) -> (u64, u64) {
        let wanted = json!({"login": name, "email": format!("{name}@example.com"), "first": "Anna", "last": "Żak",
            "street": "Długa 1", "zip": "00-001", "city": "Łódź", "phone": "601000101", "email_news": agreed});
        let client = self.panel.change(json!({"create_client": wanted}))["id"].as_u64().unwrap();
        (client, self.order(client))
    }

    fn order(&self, client: u64) -> u64 {
        let items = json!([{"product": 100, "quantity": 2, "price": 50.25}]);
        let wanted = json!({"client": client, "status": "new", "items": items, "delivery": 12.99});
        self.panel.change(json!({"place_order": wanted}))["orderSerialNumber"].as_u64().unwrap()
    }

    fn becomes(&self, order: u64, status: &str) {
        self.panel.change(json!({"order_status": {"id": order, "status": status}}));
    }

    fn consents(&self, client: u64, agreed: bool) {
        self.panel.change(json!({"consent": {"client": client, "shop": 1, "agreed": agreed}}));
    }

    /// Every order of who agreed is there once as it is at the shop; of who did not, none is; nobody who opted out there
    /// is back; and nothing was ignored, sent twice or against the rules.
    async fn holds(&self, when: &str, opted_out: &BTreeSet<String>) {
        for proxy in [&self.shop, &self.crm] {
            assert_eq!(proxy.take_refusals(), Vec::<String>::new(), "{when}");
        }
        let (bought, agreed) = (self.bought().await, self.agreed().await);
        let names: BTreeMap<&str, BTreeSet<u64>> = bought.iter().fold(BTreeMap::new(), |mut names, order| {
            names.entry(order.email.as_str()).or_insert_with(BTreeSet::new).insert(order.client);
            names
        });
        let rejected = self.rejected().await;
        assert!(rejected.len() < bought.len() / 10, "{when}: {rejected:?}");
        let account = self.account().account();
        let (violations, first) = (&account.violation_counts, account.violations.first());
        assert!(violations.is_empty(), "{when}: {violations:?} {first:?}");
        let ignored = inspect::ignored(&account);
        assert_eq!(ignored["counts"], json!({}), "{when}: {ignored}");
        let (mut there, mut not_there) = (0, 0);
        for order in &bought {
            // Two people with one address are one contact there, and which of them spoke last is another test's matter.
            if names[order.email.as_str()].len() > 1 || rejected.contains(&order.serial.to_string()) {
                continue;
            }
            let number = account.orders.find(&order.number);
            match agreed.get(&order.client) {
                Some(true) => {
                    let number = number.unwrap_or_else(|| panic!("{when}: {order:?} is missing"));
                    let found = account.orders.get(number).unwrap();
                    assert_eq!(status_name(found.status), Some(order.status), "{when}: {order:?}");
                    assert!((found.total.unwrap() - order.total).abs() < 0.011, "{when}: {order:?}, {found:?}");
                    there += 1;
                }
                Some(false) if account.find(By::Email, &order.email).is_empty() => {
                    assert!(number.is_none(), "{when}: {order:?} was sent, and nobody agreed to it");
                    not_there += 1;
                }
                _ => {}
            }
        }
        assert!(there > 10 && not_there > 3, "{when}: {there} orders there, {not_there} not");
        for ((order, kind, status), starts) in inspect::starts(&account) {
            let order = account.orders.get(order).map(|order| order.id.to_string());
            assert_eq!(starts.unchanged, 0, "{when}: order {order:?}, type {kind}, status {status}");
        }
        for email in opted_out {
            assert!(account.unsubscribed.contains_key(&**email), "{when}: {email} opted out and is back");
        }
        assert!(account.lifted.iter().all(|one| !opted_out.contains(&one.email)), "{when}");
    }
}

fn read_order(row: &Value) -> Option<Bought> {
    let status = match row["orderDetails"]["orderStatus"].as_str()? {
        "new" | "payment_waiting" => "INITIALIZED",
        "finished" | "finished_ext" => "DELIVERED",
        "canceled" | "false" | "lost" | "missing" => "CANCELLED",
        "joined" => return None,
        _ => "IN_PROGRESS",
    };
    let account = &row["clientResult"]["clientAccount"];
    let source = &row["orderDetails"]["orderSourceResults"];
    if source["orderSourceType"] != "shop" && source["orderSourceType"] != "panel" {
        return None;
    }
    let currency = row["orderDetails"]["payments"]["orderCurrency"]["currencyId"].as_str()?;
    let rate = RATES.iter().find(|(code, _)| *code == currency)?.1;
    Some(Bought {
        serial: row["orderSerialNumber"].as_u64()?,
        number: row["orderId"].as_str()?.to_owned(),
        email: Some(account["clientEmail"].as_str()?.trim().to_lowercase()).filter(|email| email.contains('@'))?,
        client: account["clientId"].as_u64().filter(|id| *id != 0)?,
        status,
        total: total_of(row).unwrap_or_default() as f64 / 100.0 * rate,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_every_stage_each_order_arrives_once_and_who_opted_out_stays_so() {
    let way = Way::open().await;
    let (anna, first) = way.buyer("anna", true);
    let (silent, unsaid) = way.buyer("milczek", false);
    let (leaver, _) = way.buyer("odejdzie", true);
    way.buyer("wypisany", true);
    way.panel.change(json!({"subscribe": {"email": "czytelnik@example.com", "shop": 1}}));
    way.settle();
    let mut opted_out = BTreeSet::from(["wypisany@example.com".to_owned()]);
    // The account has met this one before, and there they have opted out, later than they agreed at the shop.
    way.account().account().unsubscribe("wypisany@example.com", true);

    // A page of the shop, what it means, an import that runs, calls of orders whose answers nobody read, the archive.
    let deaths = [
        "extract/after-store=kill@3",
        "transform/before-commit=kill",
        "load/after-job=kill",
        "archive/between-publishes=kill",
    ];
    for death in deaths {
        if death.starts_with("archive/") {
            way.dies_with_orders_in_flight().await;
        }
        let ran = way.run(death).await;
        assert_eq!(ran.signal, Some(9), "{death}: {ran:?}");
        if death.starts_with("load/") {
            assert!(way.account().account().imports.running() > 0, "the program was to die while an import runs");
        }
    }
    let decided = way.run_to_the_end().await;
    assert!(decided.contains(&true), "no answer was lost on the way to an order: {decided:?}");
    way.holds("after the first load", &opted_out).await;
    assert!(way.account().account().find_present(By::Email, "czytelnik@example.com").is_some());
    assert!(way.account().account().find_present(By::Email, "milczek@example.com").is_none());

    way.becomes(first, "packed");
    way.becomes(unsaid, "finished");
    way.order(anna);
    way.consents(silent, true);
    way.consents(leaver, false);
    way.panel.change(json!({"share": 0.1, "seed": 3}));
    way.account().account().unsubscribe("czytelnik@example.com", true);
    opted_out.insert("czytelnik@example.com".to_owned());
    way.settle();
    for death in ["extract/before-store-commit=kill@2", "load/after-job=kill", "load/before-outcome-commit=kill@2"] {
        let ran = way.run(death).await;
        assert_eq!(ran.signal, Some(9), "{death}: {ran:?}");
    }
    way.run_to_the_end().await;
    opted_out.insert("odejdzie@example.com".to_owned());
    way.holds("after things changed", &opted_out).await;
    assert!(way.account().account().find_present(By::Email, "milczek@example.com").is_some());

    let before = way.writes();
    way.run_to_the_end().await;
    assert_eq!(way.writes(), before, "nothing has changed, so nothing is said");
    assert!(way.archive().join("_latest.json").exists() && !way.archive().join("_writing").exists());
    let specifications = [Specification::idosell(), Specification::esputnik()];
    for (proxy, specification) in [&way.shop, &way.crm].into_iter().zip(specifications) {
        assert!(proxy.passed() > 0 || specification.is_none());
    }
}
