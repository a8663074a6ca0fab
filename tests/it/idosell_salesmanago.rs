//! IdoSell to SALESmanago from end to end, by the example pipeline: every request to the shop is held against the platform's
//! own specification on the way.

use crate::support::openapi::Specification;
use crate::support::openapi::proxy::Proxy;
use crate::support::pipeline::WholeWay;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use wharf::progress::Progress;
use wharf::sandbox::idosell::{IdoSell, Options};
use wharf::sandbox::salesmanago::account::tag_spelling;
use wharf::sandbox::salesmanago::show;
use wharf::sandbox::{Platform as _, Sandbox, SandboxOptions, idosell, salesmanago};
use wharf::source;
use wharf::stage::extract;
use wharf::stage::{Context, transform};
use wharf::store::{Outcome, Run};

/// What changed is asked for up to a minute before the present.
const SETTLED: u64 = 120;

struct Way {
    way: WholeWay,
    proxy: Proxy,
}

impl Way {
    /// The example pipeline with a line of it changed, between an emulated panel and an emulated account.
    async fn open(instead: (&str, &str)) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let panel = Options { customers: 60, orders: 150, ..Options::small() };
        let options = SandboxOptions::default().with(panel).with(salesmanago::Options::default());
        let sandbox = Sandbox::start(options).await.unwrap();
        let proxy = Proxy::start(Specification::idosell(), &sandbox.idosell_url()).await;
        let file = std::fs::read_to_string("pipelines/idosell-salesmanago.yaml").unwrap();
        assert!(file.contains(instead.0), "the example has no `{}`", instead.0);
        let file = file.replace(instead.0, instead.1);
        let mut way = WholeWay::begin(sandbox, &file, &[("IDOSELL_URL", &proxy.origin)]).await;
        for source in &mut way.pipeline.sources {
            source.rate = Some("10000/s".parse().unwrap());
            source.compare_keys_every = "0s".parse().unwrap();
        }
        Self { way, proxy }
    }

    fn panel(&self) -> &Arc<IdoSell> {
        self.way.sandbox.idosell().unwrap()
    }

    fn change(&self, request: Value) -> Value {
        self.panel().change(&request).unwrap()
    }

    fn client(&self, name: &str, more: Value) -> u64 {
        let mut wanted = json!({"login": name, "email": format!("{name}@example.com"), "first": "Anna", "last": "Żak",
            "street": "Długa 1", "zip": "00-001", "city": "Łódź", "phone": "601000101"});
        wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.change(json!({"create_client": wanted}))["id"].as_u64().unwrap()
    }

    /// An order of two of a product, and its number.
    fn order(&self, client: u64, status: &str, product: u64) -> u64 {
        let items = json!([{"product": product, "quantity": 2, "price": 50.25}]);
        let wanted = json!({"client": client, "status": status, "items": items, "delivery": 12.99});
        self.change(json!({"place_order": wanted}))["orderSerialNumber"].as_u64().unwrap()
    }

    /// A product three levels deep in the menu, and its path.
    fn product(&self) -> (u64, Vec<String>) {
        let shop = self.panel().read();
        let found = (0..500).map(|index| shop.panel.goods(index)).find(|goods| {
            goods.is_offered() && goods.categories.len() == 1 && shop.tree.path(goods.categories[0]).len() == 3
        });
        let goods = found.unwrap();
        let path = shop.tree.path(goods.categories[0]).into_iter().map(str::to_owned).collect();
        (goods.id, path)
    }

    fn card(&self, email: &str) -> Option<Value> {
        let account = self.way.account().account();
        account.find(email).map(|number| show::full(&account, number))
    }

    fn tags(&self, email: &str) -> BTreeSet<String> {
        let card = self.card(email).unwrap_or_else(|| panic!("{email} was not sent"));
        let tags = card["contactTags"].as_array().unwrap();
        tags.iter().map(|tag| tag["tag"].as_str().unwrap().to_owned()).collect()
    }

    /// Events of somebody that name an order.
    fn events(&self, email: &str, order: u64) -> Vec<Value> {
        let card = self.card(email).unwrap_or_else(|| panic!("{email} was not sent"));
        let events = card["contactExtEvents"].as_array().unwrap().clone();
        let names = |event: &Value| event["externalId"].as_str().is_some_and(|id| id.ends_with(&order.to_string()));
        events.into_iter().filter(names).collect()
    }

    fn violations(&self) -> Value {
        self.way.account().state()["violations"].clone()
    }
}

fn spelt<'a>(tags: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    tags.into_iter().map(tag_spelling).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_agreed_arrives_with_tags_and_orders_and_a_second_run_sends_nothing() {
    let this = Way::open(("consent: opt_in_only", "consent: opt_in_only")).await;
    let (product, path) = this.product();
    let anna = this.client("anna", json!({"email_news": true, "birthday": "1985-06-07", "company": "ACME"}));
    let silent = this.client("milczek", json!({}));
    this.change(json!({"subscribe": {"email": "czytelnik@example.com", "shop": 1}}));
    this.change(json!({"subscribe": {"email": "sasiad@example.com", "shop": 2}}));
    let bought = this.order(anna, "finished", product);
    let merged = this.order(anna, "joined", product);
    let unsaid = this.order(silent, "finished", product);
    this.change(json!({"advance_seconds": SETTLED}));
    this.way.run().await;

    let mut expected: Vec<&str> = path.iter().map(String::as_str).collect();
    expected.push("rejestracja");
    assert_eq!(this.tags("anna@example.com"), spelt(expected));
    assert_eq!(this.tags("czytelnik@example.com"), spelt(["newsletter"]));
    assert!(this.card("milczek@example.com").is_none(), "whoever never agreed is not sent");
    assert!(this.card("sasiad@example.com").is_none(), "another shop's reader is not sent");
    let card = this.card("anna@example.com").unwrap();
    assert_eq!(
        (&card["optedOut"], &card["company"], &card["birthdayYear"]),
        (&json!(false), &json!("ACME"), &json!("1985"))
    );
    assert_eq!(card["address"]["city"], "Łódź");
    let events = this.events("anna@example.com", bought);
    assert!(!events.is_empty());
    assert!(events.iter().all(|event| event["value"] == json!(113.49)), "{events:?}");
    assert_eq!(this.events("anna@example.com", merged), Vec::<Value>::new(), "a merged order is no purchase");

    let again = this.way.run().await.1;
    assert_eq!(again.tally.all_sent(), 0, "{:?}", again.tally.sent);

    // Minds change, either way.
    this.change(json!({"consent": {"client": anna, "shop": 1, "agreed": false}}));
    this.change(json!({"consent": {"client": silent, "shop": 1, "agreed": true}}));
    this.change(json!({"advance_seconds": SETTLED}));
    this.way.run().await;
    assert_eq!(this.card("anna@example.com").unwrap()["optedOut"], true);
    assert_eq!(this.card("milczek@example.com").unwrap()["optedOut"], false);
    assert!(!this.events("milczek@example.com", unsaid).is_empty(), "what was bought before comes after");
    assert_eq!(this.violations(), json!({}));
    assert!(this.proxy.passed() > 0 || Specification::idosell().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_all_everybody_arrives_and_nobody_is_asked_or_opted_in() {
    let this = Way::open(("consent: opt_in_only", "consent: all")).await;
    let silent = this.client("milczek", json!({}));
    let (product, _) = this.product();
    let order = this.order(silent, "finished", product);
    this.change(json!({"advance_seconds": SETTLED}));
    this.way.run().await;
    assert!(!this.events("milczek@example.com", order).is_empty());
    let state = this.way.account().state();
    assert_eq!((&state["letters"], &state["violations"]), (&json!(0), &json!({})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_total_is_the_sum_that_the_order_itself_gives() {
    let this = Way::open(("consent: opt_in_only", "consent: all")).await;
    read(&this.way).await.unwrap();
    let rows = this.way.rows("select source_key, total from canonical.orders").await;
    let mut compared = 0;
    for row in rows {
        let (key, total) = row.split_once(' ').unwrap();
        let digits: String = key.chars().filter(char::is_ascii_digit).collect();
        let order = this.panel().read().order(digits.parse().unwrap()).unwrap();
        let expected = idosell::orders::total_of(&order).unwrap();
        let found = (total.parse::<f64>().unwrap() * 100.0).round() as i64;
        assert_eq!(found, expected, "{key}");
        compared += 1;
    }
    assert_eq!(compared, 150);
}

/// Extracts what changed and says what it means; sends nothing.
async fn read(way: &WholeWay) -> wharf::Result<()> {
    let run = Run::begin(&way.test.db, &way.pipeline.name, "transform").await.unwrap();
    let (progress, stop) = (Progress::silent(), Default::default());
    let context = Context { db: way.test.db.clone(), run: run.clone(), progress, stop };
    let connection = &way.pipeline.sources[0];
    let source = source::registry::build(connection).unwrap();
    let options = extract::Options::default();
    let read = extract::run_with(&context, &way.pipeline, connection, source, &options).await.1;
    transform::run(&context, std::slice::from_ref(&connection.connection), false).await.unwrap();
    run.finish(Outcome::Done, None).await.unwrap();
    read
}
