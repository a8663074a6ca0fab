//! Two pipelines at once in one database: two shops with the same customers and the same order numbers feed one account,
//! one shop feeds two accounts, and two files describe one shop.

use crate::support::{TestDatabase, database};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use tokio::process::Command;
use wharf::sandbox::woocommerce::{self, CONSUMER_KEY, CONSUMER_SECRET};
use wharf::sandbox::{Platform as _, Sandbox, SandboxOptions, esputnik, salesmanago};

struct Place {
    database: TestDatabase,
    folder: tempfile::TempDir,
    shops: [Sandbox; 2],
    account: Sandbox,
}

impl Place {
    /// The shops have the same people, who bought other things there under the same numbers.
    async fn new() -> Self {
        let shop = || async {
            let options = woocommerce::Options { customers: 40, orders: 90, ..woocommerce::Options::small() };
            Sandbox::start(SandboxOptions::default().with(options)).await.unwrap()
        };
        let shops = [shop().await, shop().await];
        let later: Value = json!({"advance_seconds": 5000});
        shops[1].woocommerce().unwrap().change(&later).unwrap();
        let account = SandboxOptions::default().with(salesmanago::Options::default());
        let account = Sandbox::start(account).await.unwrap();
        Self { database: database().await, folder: tempfile::tempdir().unwrap(), shops, account }
    }

    /// A pipeline from one of the shops to the account.
    fn write(&self, name: &str, shop: usize, more: &[(&str, Value)]) {
        let mut target =
            json!({"account": "crm", "platform": "salesmanago", "base_url": self.account.salesmanago_url()});
        for (variable, value) in self.account.salesmanago().unwrap().credentials() {
            target[variable.trim_start_matches("SM_").to_lowercase()] = json!(value);
        }
        let mut pipeline = json!({
            "name": name,
            "sources": [{
                "connection": format!("shop-{shop}"), "platform": "woocommerce",
                "base_url": self.shops[shop].woocommerce_url(), "auth": "basic",
                "consumer_key": CONSUMER_KEY, "consumer_secret": CONSUMER_SECRET,
            }],
            "target": target,
            "contacts": {"consent": "all"},
        });
        for (key, value) in more {
            pipeline[*key] = value.clone();
        }
        std::fs::write(self.folder.path().join(format!("{name}.yaml")), pipeline.to_string()).unwrap();
    }

    async fn run(&self, name: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        let file = format!("{name}.yaml");
        command.current_dir(self.folder.path()).args(["--json", "run", &file]).env("DATABASE_URL", self.database.url());
        command.stdin(Stdio::null()).output().await.unwrap()
    }

    /// How often each event is at the account: order number, kind and time.
    fn events(&self) -> BTreeMap<(String, &'static str, i64), u32> {
        let account = self.account.salesmanago().unwrap().account();
        let cards = 0..u32::try_from(account.all_cards().len()).unwrap();
        let mut events = BTreeMap::new();
        for event in cards.flat_map(|card| account.events_of(card)).map(|number| account.event(number)) {
            let number = event.fields()["externalId"].as_str().unwrap().to_owned();
            *events.entry((number, event.kind(), event.date)).or_default() += 1;
        }
        events
    }

    async fn number(&self, query: &str) -> i64 {
        self.database.db.client().await.unwrap().query_one(query, &[]).await.unwrap().get(0)
    }
}

fn assert_done(output: &Output) {
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_shops_with_the_same_customers_and_numbers_feed_one_account_at_the_same_time() {
    let place = Place::new().await;
    place.write("first", 0, &[]);
    place.write("second", 1, &[]);
    let (first, second) = tokio::join!(place.run("first"), place.run("second"));
    assert_done(&first);
    assert_done(&second);
    // Whichever came second may have seen contacts change under it; it says so by what is pending.
    let (first, second) = (place.run("first").await, place.run("second").await);
    assert_done(&first);
    assert_done(&second);

    let events = place.events();
    let purchases = place.number("select count(*) from delivery.ledger where object = 'purchase'").await;
    let held = place.number("select count(distinct connection) from canonical.orders o join delivery.ledger l on l.key = o.order_id where object = 'purchase'").await;
    assert!(purchases > 60 && held == 2, "{purchases} purchases of {held} shops");
    // Equal shops: each purchase of the one stands beside that of the other, of the same number and time.
    let bought: u32 = events.iter().filter(|((_, kind, _), _)| *kind == "PURCHASE").map(|(_, times)| times).sum();
    assert_eq!(i64::from(bought), purchases);
    assert!(events.values().all(|times| *times == 2), "{events:?}");
    let twice = "select count(*) from (select email from canonical.contacts group by email having count(*) > 1) t";
    assert_eq!(place.number(twice).await, 0, "one person is one contact");
    let pending = "select count(*) from delivery.pending where object = 'contact'";
    assert_eq!(place.number(pending).await, 0);

    let calls = |place: &Place| place.account.requests().total();
    let before = calls(&place);
    assert_done(&place.run("first").await);
    assert_done(&place.run("second").await);
    assert_eq!(place.events(), events);
    assert_eq!(calls(&place), before, "nothing has changed, so nothing is said");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shop_feeds_two_accounts_at_the_same_time_from_one_truth() {
    let place = Place::new().await;
    let mut other = esputnik::Options::default();
    other.currencies.push("PLN".into());
    let served = SandboxOptions::default().with(other.clone());
    let other_account = Sandbox::start(served).await.unwrap();
    let target = json!({
        "account": "cdp", "platform": "esputnik", "base_url": other_account.esputnik_url(), "api_key": other.api_key,
        "currencies": other.currencies, "time_zone": other.zone, "unknown_consent": "subscribe",
        "item_url": "https://shop.example/", "item_image_url": "https://shop.example/logo.png",
        "job_poll": "10ms", "job_poll_max": "50ms",
    });
    place.write("first", 0, &[]);
    place.write("second", 0, &[("target", target)]);
    let (first, second) = tokio::join!(place.run("first"), place.run("second"));
    assert_done(&first);
    assert_done(&second);
    assert_done(&place.run("first").await);
    assert_done(&place.run("second").await);

    let events = place.events();
    assert!(events.len() > 30 && events.values().all(|times| *times == 1), "{events:?}");
    let orders_there = || other_account.esputnik().unwrap().account().orders.list.len();
    let acknowledged = "select count(*) from delivery.ledger
         where target = 'cdp' and object in ('order', 'past event') and state = 'acknowledged'";
    let orders = orders_there();
    assert_eq!(i64::try_from(orders).unwrap(), place.number(acknowledged).await);
    assert!(orders > 30, "{orders} orders");
    // Whoever extracted first has written each row; the other found nothing to do.
    assert_eq!(place.number("select count(distinct connection) from canonical.contact_sources").await, 1);

    let calls = || place.account.requests().total() + other_account.requests().total();
    let before = calls();
    assert_done(&place.run("first").await);
    assert_done(&place.run("second").await);
    assert_eq!((place.events(), orders_there()), (events, orders));
    assert!(calls() <= before + 3, "{} calls although nothing has changed", calls() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_file_that_describes_a_shop_otherwise_is_refused_until_both_agree() {
    let place = Place::new().await;
    let tags = |name: &str| [("contacts", json!({"consent": "all", "tags": {"registered": name}}))];
    place.write("first", 0, &tags("konto"));
    place.write("second", 0, &tags("account"));
    assert_done(&place.run("first").await);
    let refused = place.run("second").await;
    let said = String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("pipeline first") && said.contains("tags.registered"), "{said}");
    // Whoever was there first goes on, and changes what it likes once the other has agreed.
    assert_done(&place.run("first").await);
    place.write("first", 0, &tags("account"));
    assert_done(&place.run("first").await);
    assert_done(&place.run("second").await);
    assert_eq!(place.number("select count(*) from canonical.contact_tags where tag = 'konto'").await, 0);
}
