//! Walks through lists that change between their pages: real sources over HTTP, staging in Postgres, both platforms.
//!
//! What leaves and arrives is drawn at random, at any call of any list. What is proven: nothing that is at the shop all the
//! time is ever missing or marked as deleted, and at the end of the next quiet run staging is the shop.

use crate::support::fake_shop::{pipeline, stored};
use crate::support::{self, TestDatabase};
use futures::StreamExt;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_util::sync::CancellationToken;
use wharf::Result;
use wharf::config::pipeline::Connection;
use wharf::progress::Progress;
use wharf::sandbox::woocommerce::{CONSUMER_KEY, CONSUMER_SECRET, Entity, Options as ShopOptions};
use wharf::sandbox::{Fault, Sandbox, SandboxOptions, idosell};
use wharf::source::{Deletions, Next, PageRequest, Seen, Source, Walk, registry};
use wharf::stage::Context;
use wharf::stage::extract::{self, ExtractReport, Options};
use wharf::store::{Outcome, Run};

const ORDERS: &str = "/wp-json/wc/v3/orders";
const CUSTOMERS: &str = "/wp-json/wc/v3/customers";

/// A shop and the connection that reads it.
struct Shop {
    sandbox: Sandbox,
    connection: Connection,
}

async fn woocommerce(name: &str) -> Shop {
    let options = ShopOptions { customers: 60, orders: 90, ..ShopOptions::small() };
    let sandbox = Sandbox::start(SandboxOptions::default().with(options)).await.unwrap();
    let connection = json!({
        "connection": name, "platform": "woocommerce", "base_url": sandbox.woocommerce_url(), "per_page": 10,
        "consumer_key": CONSUMER_KEY, "consumer_secret": CONSUMER_SECRET, "auth": "basic", "wp_user": "admin",
        "wp_app_password": "abcd EFGH 1234 ijkl MNOP 5678", "compare_keys_every": "0s", "full_walk_every": "0s",
        "max_deleted_share": 1.0,
    });
    Shop { sandbox, connection: serde_json::from_value(connection).unwrap() }
}

async fn panel(name: &str) -> Shop {
    let options = idosell::Options { customers: 60, orders: 90, products: 40, ..idosell::Options::small() };
    let sandbox = Sandbox::start(SandboxOptions::default().with(options)).await.unwrap();
    let connection = json!({
        "connection": name, "platform": "idosell", "base_url": sandbox.idosell_url(), "api_key": idosell::API_KEY,
        "per_page": 20, "rate": "10000/s", "load_check_every": 0, "compare_keys_every": "0s", "full_walk_every": "0s",
        "max_deleted_share": 1.0,
    });
    Shop { sandbox, connection: serde_json::from_value(connection).unwrap() }
}

impl Shop {
    async fn extract(&self, test: &TestDatabase) -> (ExtractReport, Result<()>) {
        let run = Run::begin(&test.db, "shop-crm", "extract").await.unwrap();
        let (progress, stop) = (Progress::silent(), CancellationToken::new());
        let context = Context { db: test.db.clone(), run: run.clone(), progress, stop };
        let source = registry::build(&self.connection).unwrap();
        // Whole lists vanish here.
        let options = Options { allow_deletions: true, ..Options::default() };
        let (report, result) = extract::run_with(&context, &pipeline(), &self.connection, source, &options).await;
        run.finish(Outcome::Done, None).await.unwrap();
        (report, result)
    }

    /// The keys of everything that hangs on nothing else, by table: those of streams whose deletions are found, and those of
    /// all. Read while nothing happens.
    async fn keys(&self) -> BTreeMap<&'static str, (bool, BTreeSet<String>)> {
        let source = registry::build(&self.connection).unwrap();
        source.prepare().await.unwrap();
        let mut tables: BTreeMap<_, (bool, BTreeSet<String>)> = BTreeMap::new();
        for stream in source.streams().into_iter().filter(|stream| stream.parent.is_none()) {
            let (finds_deletions, keys) = tables.entry(stream.table).or_default();
            *finds_deletions |= stream.deletions != Deletions::None;
            keys.extend(all_keys(&source, stream.name).await);
        }
        tables
    }

    fn change(&self, change: &Value) {
        self.sandbox.platforms().next().unwrap().0.change(change).unwrap();
    }
}

async fn all_keys(source: &Arc<dyn Source>, name: &str) -> BTreeSet<String> {
    let stream = source.streams().into_iter().find(|stream| stream.name == name).unwrap();
    let (mut position, mut keys) = (Value::Null, BTreeSet::new());
    loop {
        let walk = &Walk::Everything;
        let request = PageRequest { stream: &stream, walk, parent: None, position: &position, bookmark: &Value::Null };
        let mut page = source.page(&request).await.unwrap();
        let mut seen = Seen::default();
        while let Some(record) = page.records.next().await {
            let key = source.identify(&stream, &record.unwrap()).ok().map(|identity| identity.key);
            seen.note(key.as_deref());
            keys.extend(key);
        }
        match source.next(&request, &page.meta, &seen).unwrap() {
            Next::Page(next) => position = next,
            Next::End | Next::EndAt { .. } => return keys,
        }
    }
}

/// A place in a run (which call), and which change.
type Disturbance = (u64, u8, Index, u16);

fn disturbances() -> impl Strategy<Value = Vec<Disturbance>> {
    proptest::collection::vec((0u64..90, any::<u8>(), any::<Index>(), any::<u16>()), 0..60)
}

/// What happens at a WooCommerce shop all day; `number` makes what comes distinct.
fn happening_at_shop(ids: &BTreeMap<&'static str, Vec<u64>>, (_, what, which, number): &Disturbance) -> Value {
    let one = |name: &str| ids[name].get(which.index(ids[name].len().max(1))).copied().unwrap_or(1);
    let vanish = |name: &str, id: u64| json!({"vanish": {"entity": name, "id": id}});
    let create = |name: &str, fields: Value| json!({"create": {"entity": name, "fields": fields}});
    let draft = || create("orders", json!({"status": "checkout-draft"}));
    let newest = ids["orders"].iter().max().copied().unwrap_or(1) + 1 + u64::from(number % 12);
    let email = format!("walk{number}@example.com");
    match what % 12 {
        0 => json!([vanish("orders", one("orders")), draft()]),
        1 => json!([vanish("customers", one("customers")), create("customers", json!({"email": email}))]),
        2 => json!([vanish("products", one("products")), create("products", json!({"name": email}))]),
        3 => json!([vanish("categories", one("categories")), create("categories", json!({"name": email}))]),
        4 => draft(),
        // A draft that came during the walk, if so many came, or an order of before.
        5 => vanish("orders", newest),
        6 => vanish("refunds", one("refunds")),
        7 => {
            json!({"edit": {"entity": "orders", "id": one("orders"), "fields": {"status": "completed"}, "touch": true}})
        }
        8 => json!({"delete": {"entity": "orders", "id": one("orders"), "force": false}}),
        9 => json!({"edit": {"entity": "orders", "id": one("orders"), "touch": true,
            "fields": {"date_created": "2011-01-01T10:00:00", "date_created_gmt": "2011-01-01T08:00:00"}}}),
        10 => {
            json!({"edit": {"entity": "customers", "id": one("customers"), "fields": {"first_name": email}, "touch": true}})
        }
        _ => json!({"advance_seconds": u64::from(number % 200)}),
    }
}

/// And at a panel of IdoSell.
fn happening_at_panel(ids: &BTreeMap<&'static str, Vec<u64>>, (_, what, which, number): &Disturbance) -> Value {
    let one = |name: &str| ids[name].get(which.index(ids[name].len().max(1))).copied().unwrap_or(1);
    let login = format!("walk{number}");
    let client = json!({"create_client": {"login": login, "email": format!("{login}@example.com")}});
    let product = one("products");
    match what % 9 {
        0 | 1 => json!([{"delete_client": one("customers")}, client]),
        2 => client,
        3 => json!({"edit_client": {"id": one("customers"), "email": format!("{login}@example.com")}}),
        4 => json!({"consent": {"client": one("customers"), "shop": 1, "agreed": number % 2 == 0}}),
        5 => json!({"order_status": {"id": one("orders"), "status": "finished"}}),
        6 => json!({"place_order": {"client": one("customers"), "shop": 1, "status": "new",
            "items": [{"product": product, "quantity": 1, "price": 19.5}]}}),
        7 => json!({"edit_product": {"id": product, "price": u64::from(*number) + 1}}),
        _ => json!({"advance_seconds": u64::from(number % 200)}),
    }
}

type Happening = fn(&BTreeMap<&'static str, Vec<u64>>, &Disturbance) -> Value;

/// Two runs in trouble, one in peace, in which all that is at the shop has landed; and one more, in which what nobody can be
/// asked for by key is missed for the second time, and gone.
async fn staging_is_the_shop(
    test: &TestDatabase,
    shop: &Shop,
    happening: Happening,
    rounds: &[Vec<Disturbance>],
) -> std::result::Result<(), TestCaseError> {
    let name = &shop.connection.connection;
    for disturbances in rounds {
        // What is of this minute is left to the next walk.
        shop.change(&json!({"advance_seconds": 3600}));
        let before = shop.keys().await;
        let numbers = |keys: &BTreeSet<String>| keys.iter().filter_map(|key| key.parse().ok()).collect::<Vec<u64>>();
        let ids = before.iter().map(|(table, (_, keys))| (*table, numbers(keys))).collect();
        for disturbance in disturbances {
            shop.sandbox.fault(Fault::change("", happening(&ids, disturbance)).after(disturbance.0));
        }
        let (report, result) = shop.extract(test).await;
        shop.sandbox.clear_faults();
        prop_assert!(result.is_ok(), "{:?}", result);
        prop_assert_eq!(report.total().incomplete, 0, "{:#?}", report);
        for (table, (_, keys)) in shop.keys().await {
            let rows = stored(&test.db, name, table).await;
            // What was there before and after was there all the time: drafts come and go, keys are used once.
            let stayed: Vec<&String> = keys.intersection(&before[table].1).collect();
            let missing: Vec<_> = stayed.iter().filter(|key| rows.get(**key).is_none_or(|row| row.deleted)).collect();
            prop_assert!(
                missing.is_empty(),
                "{}: {:?} are at the shop, and missing or marked as deleted",
                table,
                missing
            );
        }
    }
    for is_last in [false, true] {
        shop.change(&json!({"advance_seconds": 3600}));
        let (report, result) = shop.extract(test).await;
        prop_assert!(result.is_ok(), "{:?}", result);
        prop_assert_eq!(report.total().not_landed, 0, "{:#?}", report);
        for (table, (finds_deletions, keys)) in shop.keys().await {
            let rows = stored(&test.db, name, table).await;
            let live: BTreeSet<String> = rows.into_iter().filter(|(_, row)| !row.deleted).map(|(key, _)| key).collect();
            let missing: Vec<_> = keys.difference(&live).collect();
            let left: Vec<_> = live.difference(&keys).filter(|_| finds_deletions && is_last).collect();
            // Orders of IdoSell share a table with those that were never placed, and are never deleted.
            prop_assert!(missing.is_empty(), "{}: {:?} are missing", table, missing);
            prop_assert!(left.is_empty(), "{}: {:?} are gone at the shop", table, left);
        }
    }
    Ok(())
}

fn whatever_happens(name: &str, start: fn(String) -> futures::future::BoxFuture<'static, Shop>, happening: Happening) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let test = runtime.block_on(support::database());
    let cases = AtomicU32::new(0);
    let config = Config { cases: 6, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    TestRunner::new(config)
        .run(&proptest::collection::vec(disturbances(), 2), |rounds| {
            let case = cases.fetch_add(1, Ordering::Relaxed);
            runtime.block_on(async {
                let shop = start(format!("{name}-{case}")).await;
                let outcome = staging_is_the_shop(&test, &shop, happening, &rounds).await;
                shop.sandbox.stop().await;
                outcome
            })
        })
        .unwrap();
}

#[test]
fn whatever_happens_at_a_woocommerce_shop_between_two_pages_staging_ends_as_the_shop_is() {
    whatever_happens("woo", |name| Box::pin(async move { woocommerce(&name).await }), happening_at_shop);
}

#[test]
fn whatever_happens_at_an_idosell_panel_between_two_pages_staging_ends_as_the_panel_is() {
    whatever_happens("ido", |name| Box::pin(async move { panel(&name).await }), happening_at_panel);
}

/// The keys of a table that are live in staging.
async fn live(test: &TestDatabase, table: &str) -> BTreeSet<u64> {
    let rows = stored(&test.db, "shop", table).await;
    rows.into_iter().filter(|(_, row)| !row.deleted).map(|(key, _)| key.parse().unwrap()).collect()
}

fn at_shop(shop: &Shop, entity: Entity) -> BTreeSet<u64> {
    let rows = shop.sandbox.woocommerce().unwrap().rows(entity);
    rows.iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

/// One leaves and one arrives.
fn swap(entity: &str, id: u64, fields: Value) -> Value {
    json!([{"vanish": {"entity": entity, "id": id}}, {"create": {"entity": entity, "fields": fields}}])
}

/// What was seen at a shop: after page 3 the first order was deleted and a new one placed; the first order of page 4 never
/// arrived.
#[tokio::test]
async fn an_order_that_leaves_and_one_that_arrives_cost_no_third_one() {
    let (test, shop) = (support::database().await, woocommerce("shop").await);
    let first = *at_shop(&shop, Entity::Orders).first().unwrap();
    shop.sandbox.fault(Fault::change(ORDERS, swap("orders", first, json!({"status": "checkout-draft"}))).after(2));
    shop.extract(&test).await.1.unwrap();
    let (here, there) = (live(&test, "orders").await, at_shop(&shop, Entity::Orders));
    assert_eq!(there.difference(&here).collect::<Vec<_>>(), Vec::<&u64>::new());
    // The walk over keys: nothing living is taken for deleted, and nothing has not landed.
    let first = *there.first().unwrap();
    let change = swap("orders", first, json!({"status": "checkout-draft"}));
    shop.sandbox.fault(Fault::change(ORDERS, change).query("_fields").after(2));
    let (report, result) = shop.extract(&test).await;
    result.unwrap();
    assert_eq!(report.total().deleted, 1, "the one that left in the first walk");
    let (here, there) = (live(&test, "orders").await, at_shop(&shop, Entity::Orders));
    let missing: Vec<&u64> = there.difference(&here).collect();
    assert!(missing.is_empty(), "what came after the walk by change is fetched by its key: {missing:?}");
    shop.extract(&test).await.1.unwrap();
    assert_eq!(live(&test, "orders").await, at_shop(&shop, Entity::Orders));
    shop.sandbox.stop().await;
}

#[tokio::test]
async fn a_customer_who_leaves_and_one_who_arrives_mark_no_third_one_as_deleted() {
    let (test, shop) = (support::database().await, woocommerce("shop").await);
    shop.extract(&test).await.1.unwrap();
    let before = at_shop(&shop, Entity::Users);
    for (call, id) in (1..).zip(before.iter().take(3)) {
        let fields = json!({"email": format!("in.place.of.{id}@example.com")});
        shop.sandbox.fault(Fault::change(CUSTOMERS, swap("customers", *id, fields)).after(call));
    }
    let (report, result) = shop.extract(&test).await;
    result.unwrap();
    let counts = report.total();
    assert_eq!((counts.incomplete, counts.retried), (0, 0), "{report:#?}");
    let (here, there) = (live(&test, "customers").await, at_shop(&shop, Entity::Users));
    assert_eq!(there.len(), before.len());
    assert_eq!(there.difference(&here).collect::<Vec<_>>(), Vec::<&u64>::new(), "living customers");
    shop.extract(&test).await.1.unwrap();
    assert_eq!(live(&test, "customers").await, at_shop(&shop, Entity::Users));
    shop.sandbox.stop().await;
}

/// Between two daily walks the newest are read until all are known; what leaves meanwhile must not hide a new one.
#[tokio::test]
async fn the_newest_customers_are_read_whole_though_others_leave_meanwhile() {
    let (test, mut shop) = (support::database().await, woocommerce("shop").await);
    shop.connection.full_walk_every = Some("1d".parse().unwrap());
    shop.extract(&test).await.1.unwrap();
    let known = at_shop(&shop, Entity::Users);
    for number in 0..25 {
        let fields = json!({"email": format!("new{number}@example.com")});
        shop.change(&json!({"create": {"entity": "customers", "fields": fields}}));
    }
    // The five newest leave again after the first page: all behind them move to the front.
    let there = at_shop(&shop, Entity::Users);
    let leave: Vec<Value> =
        there.iter().rev().take(5).map(|id| json!({"vanish": {"entity": "customers", "id": id}})).collect();
    shop.sandbox.fault(Fault::change(CUSTOMERS, json!(leave)));
    shop.extract(&test).await.1.unwrap();
    let (here, there) = (live(&test, "customers").await, at_shop(&shop, Entity::Users));
    assert_eq!(there.len(), known.len() + 20);
    assert_eq!(there.difference(&here).collect::<Vec<_>>(), Vec::<&u64>::new());
    shop.sandbox.stop().await;
}
