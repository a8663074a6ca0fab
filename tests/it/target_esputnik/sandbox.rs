//! The target against the emulated account, which other hands have written: what it would ignore or never forgive.

use super::{Value, json};
use crate::support::canonical::Shop;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;
use wharf::config::pipeline::{Account, Load, PlatformSettings};
use wharf::sandbox::esputnik::{JobOrder, Jobs, Limits, Options};
use wharf::sandbox::{Sandbox, SandboxOptions};
use wharf::stage::load;
use wharf::store::Outcome;
use wharf::target::{Item, Outcome as Sent, Target, registry};

struct Pair {
    shop: Shop,
    sandbox: Sandbox,
    settings: Value,
}

impl Pair {
    async fn new(settings: Value) -> Self {
        let jobs = Jobs { order: JobOrder::NewestFirst, ..Jobs::default() };
        let options = Options { jobs, ..Options::default() };
        let key = options.api_key.clone();
        let sandbox = Sandbox::start(SandboxOptions::default().with(options)).await.unwrap();
        let mut all = json!({"api_key": key, "job_poll": "PT0.002S", "job_poll_max": "PT0.01S", "job_grace": "PT0.05S",
            "read_opt_outs_back": "1d", "item_url": "https://shop.example/", "convert_to": "UAH", "rates": {"PLN": 10},
            "item_image_url": "https://shop.example/logo.png", "contact_batch": 7, "order_batch": 9});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let shop = Shop::new(json!({"contacts": {"consent": "all"}})).await;
        Self { shop, sandbox, settings: all }
    }

    fn account(&self, sandbox: &Sandbox) -> Account {
        Account {
            account: "crm".into(),
            platform: "esputnik".into(),
            base_url: sandbox.esputnik_url(),
            allow_http: false,
            settings: PlatformSettings(self.settings.as_object().unwrap().clone().into_iter().collect()),
        }
    }

    fn target(&self, sandbox: &Sandbox) -> Arc<dyn Target> {
        registry::build(&self.account(sandbox), &Load::default()).unwrap()
    }

    async fn load(&self) -> load::Summary {
        let mut pipeline = self.shop.pipeline.clone();
        pipeline.target = self.account(&self.sandbox);
        let target = self.target(&self.sandbox);
        let context = self.shop.context().await;
        let summary = load::load_with(&context, &pipeline, target, self.shop.patience).await.unwrap();
        context.run.finish(Outcome::Done, None).await.unwrap();
        summary
    }

    async fn inspect(&self, path: &str) -> Value {
        inspect(&self.sandbox, path).await
    }
}

async fn inspect(sandbox: &Sandbox, path: &str) -> Value {
    // Whoever comes first installs it; later tests find it there.
    wharf::http::install_crypto_provider();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/_sandbox/esputnik{path}", sandbox.url("esputnik").unwrap());
    serde_json::from_str(&http.get(url).send().await.unwrap().text().await.unwrap()).unwrap()
}

/// The life of a shop: contacts that come, change and leave the newsletter, orders that go back and forth.
async fn live(settings: Value, seed: u64) {
    let pair = Pair::new(settings.clone()).await;
    let mut chance = StdRng::seed_from_u64(seed);
    let statuses = ["INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED"];
    let mut orders: BTreeMap<String, (&str, u32)> = BTreeMap::new();
    for day in 1..7 {
        for n in 0..25 {
            if chance.random_range(0..3) == 0 {
                let state = *["opt_in", "opt_in", "opt_out", "unknown"].choose(&mut chance).unwrap();
                let more = json!({"email_consent": state, "email_consent_at": format!("2024-06-{day:02}T00:00:00Z"),
                    "first_name": *["Анна", "ТОВ <1>", "Jan Maria"].choose(&mut chance).unwrap(),
                    "phone": format!("+3805011122{n:02}"), "city": "Київ"});
                pair.shop.contact(&format!("c{n}@shop.example"), more).await;
            }
        }
        for n in 0..25 {
            if chance.random_range(0..3) == 0 {
                let status = *statuses.choose(&mut chance).unwrap();
                let key = format!("o{n}");
                let total = match orders.get(&key) {
                    Some((_, total)) if chance.random_range(0..2) == 0 => *total,
                    _ => chance.random_range(100..90_000),
                };
                let items = json!([{"sku": "A", "name": "A", "quantity": 3, "line_total": 10},
                    {"sku": "B", "name": "B", "quantity": 1, "line_total": 5}]);
                let order = json!({"status": status, "source_status": status, "currency": "UAH", "shipping": "0.5",
                    "total": f64::from(total) / 100.0, "items": items});
                pair.shop.order(&format!("c{n}@shop.example"), &key, order).await;
                orders.insert(key, (status, total));
            }
        }
        pair.load().await;
        let again = pair.load().await.tally;
        assert_eq!(again.all_sent(), 0, "{settings} day {day}: {again:?}");
        let violations = pair.inspect("/violations").await;
        let mut counts = violations["counts"].as_object().unwrap().clone();
        if settings["orders_via"] == "both" {
            // Add orders has made the order, and the event of its creation follows: that is what both ways means.
            counts.remove("order-created-twice");
        }
        assert!(counts.is_empty(), "{settings} day {day}: {violations:#}");
        assert_eq!(pair.inspect("/ignored").await["counts"], json!({}), "{settings} day {day}");
    }
    let shown = pair.inspect("/orders?limit=1000").await;
    let is_known = |key: &str| shown["orders"].as_array().unwrap().iter().find(|order| order["id"] == key).cloned();
    let held = pair
        .shop
        .value(
            "select json_agg(distinct orders.source_key) from canonical.orders
             join delivery.ledger on ledger.key = orders.order_id where ledger.object <> 'contact'",
        )
        .await;
    let held: Vec<String> = serde_json::from_str(&held).unwrap();
    assert!(held.len() > 10, "{held:?}");
    for key in held {
        // Past events tell of orders of which the account then has none until they change.
        let Some(order) = is_known(&key) else { continue };
        let (status, total) = orders[&key];
        assert_eq!(order["status"], status, "{settings} {key}");
        assert!((order["total"].as_f64().unwrap() * 100.0 - f64::from(total)).abs() < 0.5, "{settings} {key}: {order}");
    }
    if settings["orders_via"] != "both" {
        let repeated = pair.inspect("/workflows?repeated=true&limit=1000").await;
        let mere = repeated["workflows"].as_array().unwrap().iter().filter(|one| one["unchanged"] != 0);
        assert_eq!(mere.count(), 0, "{settings}: {repeated:#}");
    }
    let told = pair.inspect("/workflows?limit=1000").await;
    for one in told["workflows"].as_array().unwrap() {
        if ["orderDelivered", "orderCancelled"].contains(&one["type"].as_str().unwrap()) {
            assert_eq!(one["starts"], 1, "{settings}: a status event came twice: {one}");
        }
    }
}

#[tokio::test]
async fn a_shops_life_arrives_by_add_orders() {
    live(json!({"orders_via": "orders"}), 1).await;
}

#[tokio::test]
async fn a_shops_life_arrives_by_events_of_the_first_version() {
    live(json!({"orders_via": "events", "event_version": "v1"}), 2).await;
}

#[tokio::test]
async fn a_shops_life_arrives_both_ways() {
    live(json!({"orders_via": "both", "event_version": "v3"}), 3).await;
}

#[tokio::test]
async fn events_have_a_limit_of_their_own_and_all_arrive_though_some_are_throttled() {
    let pair = Pair::new(json!({})).await;
    // Narrower than the platform's, so that throttling is sure to come.
    let limits = Limits { events: 300, ..Limits::default() };
    let limited = Options { limits: Some(limits), ..Options::default() };
    let sandbox = Sandbox::start(SandboxOptions::default().with(limited)).await.unwrap();
    let target = pair.target(&sandbox);
    let send = target.operations().into_iter().find(|operation| operation.name == "send events").unwrap();
    let item = |n: u128| Item {
        key: Uuid::from_u128(n),
        contact_id: Uuid::from_u128(n),
        address: format!("c{n}@shop.example"),
        envelope: Value::Null.into(),
        request: json!({"eventTypeKey": "hello", "params": [{"name": "email", "value": format!("c{n}@shop.example")}]})
            .into(),
    };
    let bundles: Vec<Vec<Item>> = (0..14).map(|bundle| (0..50).map(|n| item(bundle * 50 + n)).collect()).collect();
    let events = futures::future::join_all(bundles.iter().map(|bundle| target.send(&send, bundle, false)));
    let addresses: Vec<String> = (0..100).map(|n| format!("c{n}@shop.example")).collect();
    let (sent, read) = tokio::join!(events, target.contacts(&addresses));
    assert_eq!(read.unwrap().len(), 100);
    for outcome in sent {
        assert!(outcome.unwrap().outcomes.iter().all(|one| matches!(one, Sent::Acknowledged(None))));
    }
    let limits = inspect(&sandbox, "/limits").await;
    let taken = |bucket: &str| limits[bucket]["taken"].clone();
    assert_eq!([taken("events"), taken("contact_search"), taken("all")], [json!(700), json!(100), json!(100)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_never_ends_keeps_neither_other_contacts_nor_orders_waiting() {
    let pair = Pair::new(json!({"job_timeout": "PT1S", "job_lost_after": "PT3S", "contact_batch": 2})).await;
    let order = json!({"currency": "UAH", "items": [{"sku": "A", "name": "A", "quantity": 1, "line_total": 5}]});
    pair.shop.contact("known@shop.example", json!({})).await;
    pair.load().await;
    pair.sandbox.esputnik().unwrap().account().imports.sticking = 1;
    let emails: Vec<String> = (0..6).map(|n| format!("c{n}@shop.example")).collect();
    let all: Vec<(&str, Value)> = emails.iter().map(|email| (email.as_str(), json!({}))).collect();
    pair.shop.contacts(&all).await;
    pair.shop.order("known@shop.example", "1", order).await;
    let began = std::time::Instant::now();
    let summary = pair.load().await;
    assert_eq!((summary.tally.sent["contacts new"], summary.tally.sent["order"]), (4, 1), "{summary:?}");
    assert_eq!(summary.left_jobs.iter().map(|job| job.contacts).sum::<usize>(), 2);
    // Until it counts as lost, which each load asks.
    let mut sent = 0;
    while sent == 0 {
        sent = pair.load().await.tally.all_sent();
        assert!(sent == 0 || began.elapsed().as_secs() >= 3, "too early");
    }
    assert_eq!(sent, 2);
    assert_eq!(pair.inspect("/violations").await["counts"], json!({}));
    assert_eq!(pair.inspect("").await["contacts"], 7);
}
