//! Extract from end to end: an emulated WooCommerce shop over HTTP, staging in Postgres, and the program killed in between.

use crate::support::fake_shop::{Stored, pipeline, stored};
use crate::support::home::kill_9;
use crate::support::{self, TestDatabase};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::process::{Child, Command, Output, Stdio};
use tokio_util::sync::CancellationToken;
use wharf::config::pipeline::Connection;
use wharf::progress::Progress;
use wharf::sandbox::woocommerce::{CONSUMER_KEY, CONSUMER_SECRET, Entity, Options as ShopOptions};
use wharf::sandbox::{Fault, FaultKind, Platform, Sandbox, SandboxOptions};
use wharf::source::registry;
use wharf::stage::Context;
use wharf::stage::extract::{self, ExtractReport};
use wharf::store::{Database, Outcome, Run};
use wharf::{Kind, Result};

const ORDERS: &str = "/wp-json/wc/v3/orders";

/// Which list of the shop lands in which table.
const TABLES: [(&str, Entity); 6] = [
    ("categories", Entity::Categories),
    ("products", Entity::Products),
    ("variations", Entity::Variations),
    ("customers", Entity::Users),
    ("orders", Entity::Orders),
    ("refunds", Entity::Refunds),
];

async fn sandbox() -> Sandbox {
    let options = ShopOptions { customers: 120, orders: 400, ..ShopOptions::small() };
    Sandbox::start(SandboxOptions::default().with(options)).await.unwrap()
}

fn connection(sandbox: &Sandbox) -> Connection {
    serde_json::from_value(json!({
        "connection": "shop", "platform": "woocommerce", "base_url": sandbox.woocommerce_url(),
        "consumer_key": CONSUMER_KEY, "consumer_secret": CONSUMER_SECRET, "per_page": 50, "compare_keys_every": "0s", "full_walk_every": "0s",
    }))
    .unwrap()
}

async fn extract(db: &Database, sandbox: &Sandbox) -> (i64, ExtractReport, Result<()>) {
    extract_with(db, sandbox, &extract::Options::default()).await
}

async fn extract_with(
    db: &Database,
    sandbox: &Sandbox,
    options: &extract::Options,
) -> (i64, ExtractReport, Result<()>) {
    let mine = connection(sandbox);
    let run = Run::begin(db, "shop-crm", "extract").await.unwrap();
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    let context = Context { db: db.clone(), run: run.clone(), progress, stop };
    let source = registry::build(&mine).unwrap();
    let (report, result) = extract::run_with(&context, &pipeline(), &mine, source, options).await;
    run.finish(Outcome::Done, None).await.unwrap();
    (run.id, report, result)
}

async fn all_stored(db: &Database) -> BTreeMap<&'static str, BTreeMap<String, Stored>> {
    let mut tables = BTreeMap::new();
    for (table, _) in TABLES {
        tables.insert(table, stored(db, "shop", table).await);
    }
    tables
}

fn change(sandbox: &Sandbox, request: &Value) -> Value {
    sandbox.woocommerce().unwrap().change(request).unwrap()
}

/// Every row of the shop is in staging, and staging holds nothing else as live.
async fn assert_staging_is_the_shop(db: &Database, sandbox: &Sandbox) {
    let shop = sandbox.woocommerce().unwrap();
    for (table, entity) in TABLES {
        let rows = stored(db, "shop", table).await;
        let live: Vec<_> = rows.iter().filter(|(_, row)| !row.deleted).collect();
        let at_shop: usize = shop.counts(entity).values().sum();
        assert_eq!(live.len(), at_shop, "{table}: {:?}", shop.counts(entity));
        for (key, row) in live {
            let there = shop.row(entity, key.parse().unwrap());
            let there = there.unwrap_or_else(|| panic!("{table} {key} is not at the shop"));
            for field in ["status", "name", "email", "billing", "date_modified_gmt", "meta_data", "type", "parent"] {
                assert_eq!(row.payload.get(field), there.get(field), "{table} {key} {field}");
            }
        }
    }
}

#[tokio::test]
async fn a_shop_is_read_whole_and_the_second_run_writes_nothing() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    let (_, report, result) = extract(&db, &sandbox).await;
    result.unwrap();
    assert_staging_is_the_shop(&db, &sandbox).await;
    assert_eq!(report.total().calls + 2, sandbox.requests().total(), "but for `prepare` and for who the shop is");
    let before = all_stored(&db).await;
    let (_, report, result) = extract(&db, &sandbox).await;
    result.unwrap();
    let counts = report.total();
    assert_eq!((counts.landed.new, counts.landed.changed, counts.deleted, counts.not_landed), (0, 0, 0, 0));
    assert!(all_stored(&db).await == before, "an unchanged row was written");
}

#[tokio::test]
async fn what_changes_at_the_shop_is_found_and_remembers_the_run() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    extract(&db, &sandbox).await.2.unwrap();
    let before = all_stored(&db).await;
    change(&sandbox, &json!({"advance_seconds": 3600}));
    let changes = sandbox.woocommerce().unwrap().change_about(0.05, 7);
    change(&sandbox, &json!({"vanish": {"entity": "orders", "id": first_key(&before["orders"])}}));
    let (run, report, result) = extract(&db, &sandbox).await;
    result.unwrap();
    assert_staging_is_the_shop(&db, &sandbox).await;
    assert!(!changes.is_empty() && report.total().deleted >= 2, "{:?}", report.total());
    let after = all_stored(&db).await;
    let (mut of_run, mut unchanged) = (0, 0);
    for (table, rows) in &after {
        for (key, row) in rows {
            match before[table].get(key) {
                Some(old) if old == row => unchanged += 1,
                _ => {
                    of_run += 1;
                    assert_eq!(row.run_id, run, "{table} {key}");
                }
            }
        }
    }
    assert!(of_run > 0 && unchanged > of_run, "{of_run} rows written, {unchanged} left alone");
}

fn first_key(rows: &BTreeMap<String, Stored>) -> u64 {
    rows.keys().map(|key| key.parse().unwrap()).min().unwrap()
}

#[tokio::test]
async fn odd_records_of_a_shop_lose_nothing() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    let shop = sandbox.woocommerce().unwrap();
    let raw = |id: u64, text: &str| {
        change(&sandbox, &json!({"raw": {"entity": "orders", "id": id, "text": text}}));
    };
    let order = |id: u64, name: &str| {
        let mut order = shop.row(Entity::Orders, id).unwrap();
        order["billing"]["first_name"] = json!("NAME");
        order.to_string().replace("NAME", name)
    };
    extract(&db, &sandbox).await.2.unwrap();
    let first = first_key(&stored(&db, "shop", "orders").await);
    drop(db);

    let db = support::database().await;
    raw(first, &order(first, r"nul \u0000 and half \ud83d a pair"));
    raw(first + 1, r#"{"number":"no id","billing":{}}"#);
    raw(first + 2, &order(first + 2, "x").replacen('{', r#"{"huge":1e999999,"#, 1));
    let (_, report, result) = extract(&db, &sandbox).await;
    result.unwrap();
    let landed = report.total().landed;
    assert_eq!((landed.altered, landed.rejected), (1, 2), "{landed:?}");
    let rows = stored(&db, "shop", "orders").await;
    let name = &rows[&first.to_string()].payload["billing"]["first_name"];
    assert_eq!(name, &json!("nul \u{fffd} and half \u{fffd} a pair"));
    assert_eq!(rows.len(), shop.counts(Entity::Orders).values().sum::<usize>() - 2);
    let client = db.client().await.unwrap();
    let statement = "select code, source_key, raw from staging.rejects order by code";
    let rejects = client.query(statement, &[]).await.unwrap();
    let codes: Vec<&str> = rejects.iter().map(|row| row.get(0)).collect();
    assert_eq!(codes, ["altered", "no-key", "not-storable"]);
    assert_eq!(rejects[1].get::<_, &[u8]>(2), br#"{"number":"no id","billing":{}}"#);
    assert_eq!(rejects[2].get::<_, &str>(1), (first + 2).to_string());
}

#[tokio::test]
async fn a_shop_that_stumbles_is_read_whole_all_the_same() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    sandbox.fault(Fault::new(FaultKind::Cut, ORDERS).after(1));
    sandbox.fault(Fault::new(FaultKind::TruncatedJson, ORDERS).after(3));
    sandbox.fault(Fault::new(FaultKind::Error, ORDERS).after(4));
    sandbox.fault(Fault::new(FaultKind::Throttle, "/wp-json/wc/v3/products").retry_after("0"));
    sandbox.fault(Fault::new(FaultKind::Notices, "/wp-json/wc/v3/products/categories"));
    sandbox.fault(Fault::new(FaultKind::Drop, "/wp-json/wc/v3/customers").after(1));
    sandbox.fault(Fault::new(FaultKind::DuplicatePage, ORDERS).after(7));
    extract(&db, &sandbox).await.2.unwrap();
    sandbox.clear_faults();
    extract(&db, &sandbox).await.2.unwrap();
    assert_staging_is_the_shop(&db, &sandbox).await;
}

#[tokio::test]
async fn a_shop_that_answers_html_is_named_and_what_has_landed_stays() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    sandbox.fault(Fault::new(FaultKind::Html, ORDERS).after(3).times(0));
    let (_, report, result) = extract(&db, &sandbox).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::NotJson);
    assert!(error.detail().starts_with("shop-crm: reading shop/orders (everything), page 4: "), "{error}");
    // Each page begins with the last order of the page before it.
    assert_eq!(stored(&db, "shop", "orders").await.len(), 50 + 49 + 49);
    assert!(!stored(&db, "shop", "refunds").await.is_empty(), "the streams after it: {report:?}");
    sandbox.clear_faults();
    extract(&db, &sandbox).await.2.unwrap();
    assert_staging_is_the_shop(&db, &sandbox).await;
}

#[tokio::test]
async fn an_empty_answer_deletes_nobody() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    extract(&db, &sandbox).await.2.unwrap();
    // Once with headers that count everybody all the same, once without.
    for (kind, expected) in [(FaultKind::EmptyPage, Kind::Truncated), (FaultKind::Status, Kind::Guard)] {
        sandbox.fault(Fault::new(kind, "/wp-json/wc/v3/customers").status(200, "[]").times(0));
        let error = extract(&db, &sandbox).await.2.unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
        sandbox.clear_faults();
        assert_staging_is_the_shop(&db, &sandbox).await;
    }
}

/// The program with a pipeline file for the shop.
struct Program {
    db: TestDatabase,
    folder: tempfile::TempDir,
}

impl Program {
    async fn new(sandbox: &Sandbox) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = format!(
            "name: shop-crm\n\
             sources:\n\
             \x20 - connection: shop\n\
             \x20   platform: woocommerce\n\
             \x20   base_url: {}\n\
             \x20   auth: basic\n\
             \x20   consumer_key: {CONSUMER_KEY}\n\
             \x20   consumer_secret: {CONSUMER_SECRET}\n\
             \x20   per_page: 20\n\
             target:\n\
             \x20 account: crm\n\
             \x20 platform: salesmanago\n\
             \x20 base_url: http://127.0.0.1:9\n\
             \x20 client_id: a\n\
             \x20 api_key: b\n\
             \x20 api_secret: c\n\
             \x20 owner: owner@shop.example\n",
            sandbox.woocommerce_url()
        );
        std::fs::write(folder.path().join("shop.yaml"), file).unwrap();
        Self { db: support::database().await, folder }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.start_with(arguments, "")
    }

    fn start_with(&self, arguments: &[&str], failpoints: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_wharf"))
            .args(["extract", "shop.yaml"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("DATABASE_URL", &self.db.url)
            .env("WHARF_FAILPOINTS", failpoints)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    async fn finish(&self, arguments: &[&str]) -> Output {
        let child = self.start(arguments);
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
    }

    /// Waits until the program, which must not end before, has landed so many rows in staging.orders.
    async fn wait_for_orders(&self, child: &mut Child, wanted: i64) {
        let client = self.db.client().await.unwrap();
        let statement = "select count(*) from staging.orders";
        for _ in 0..6_000 {
            if client.query_one(statement, &[]).await.unwrap().get::<_, i64>(0) >= wanted {
                return;
            }
            assert!(child.try_wait().unwrap().is_none(), "the program ended before it was killed");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let _ = child.kill();
        panic!("{wanted} orders have not landed in two minutes");
    }
}

/// How often each page of a walk was asked for.
fn pages_asked(sandbox: &Sandbox) -> HashMap<String, usize> {
    let mut pages = HashMap::new();
    for call in sandbox.requests().calls("woocommerce", ORDERS) {
        if !call.query.contains("_fields") && !call.query.contains("modified_after") && !call.query.contains("trash") {
            *pages.entry(call.query).or_default() += 1;
        }
    }
    pages
}

#[tokio::test]
async fn a_back_fill_killed_in_the_middle_continues_and_loses_nothing() {
    let sandbox = sandbox().await;
    let program = Program::new(&sandbox).await;
    // The kill finds the program waiting for a page, once early and once late.
    for pages in [2, 10] {
        let seen = pages_asked(&sandbox).len() as u64;
        let wanted = pages - seen.min(pages);
        // Each page but the first begins with the last order of the page before it.
        let landed = 20 + 19 * (pages - 1);
        sandbox.fault(Fault { delay_ms: 3_600_000, ..Fault::new(FaultKind::Slow, ORDERS).after(wanted) });
        let mut child = program.start(&[]);
        program.wait_for_orders(&mut child, landed as i64).await;
        kill_9(child.id() as i32);
        child.wait().unwrap();
        sandbox.clear_faults();
    }
    let output = program.finish(&["--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let pages = pages_asked(&sandbox);
    let asked_again = pages.values().filter(|&&times| times > 1).count();
    assert!(pages.len() >= 19, "{pages:?}");
    assert!(asked_again <= 2, "more than the page in hand was read again: {pages:?}");
    assert_staging_is_the_shop(&program.db, &sandbox).await;
    let client = program.db.client().await.unwrap();
    let rows = client.query("select outcome from ops.runs order by run_id", &[]).await.unwrap();
    let outcomes: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(outcomes, ["died", "died", "done"]);

    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["connections"][0]["connection"], json!("shop"));
    assert_eq!(report["total"]["rejected"], json!(0));
    assert!(report["total"]["new"].as_u64() > Some(100), "{report}");
}

#[tokio::test]
async fn the_command_tells_what_it_did_and_ends_with_the_right_code() {
    let sandbox = sandbox().await;
    let program = Program::new(&sandbox).await;
    let output = program.finish(&[]).await;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let line = stdout.lines().find(|line| line.starts_with("shop/orders ")).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert!(
        cells[1].parse::<u64>().unwrap() > 300 && cells[1] == cells[2] && cells.last() == Some(&"everything"),
        "{line}"
    );

    // A reject is exit code 3.
    change(&sandbox, &json!({"raw": {"entity": "categories", "id": 999_999, "text": "{\"name\":\"no id\"}"}}));
    let output = program.finish(&["--stream", "categories"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));

    // It has been told of: exit code 0, unless all are to be counted.
    let output = program.finish(&["--stream", "categories"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("rejected by earlier runs and still so: 1"));
    assert_eq!(program.finish(&["--stream", "categories", "--strict"]).await.status.code(), Some(3));

    // A shop that is down is exit code 4, with the place named.
    sandbox.fault(Fault::new(FaultKind::Html, "/wp-json/wc/v3/customers").times(0));
    let output = program.finish(&["--stream", "customers"]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("error[WH-304]: shop-crm: reading shop/customers (newest), page 1: "), "{stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("newest [WH-304]"));

    let output = program.finish(&["--connection", "other"]).await;
    assert_eq!(output.status.code(), Some(2));
    let output = program.finish(&["--stream", "oders"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("it has: categories"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_registers_comes_at_once_though_the_shop_cannot_be_asked_for_changes() {
    let db = support::database().await;
    let sandbox = sandbox().await;
    let mine = Connection { full_walk_every: None, ..connection(&sandbox) };
    let extract = async || {
        let run = Run::begin(&db, "shop-crm", "extract").await.unwrap();
        let (progress, stop) = (Progress::silent(), CancellationToken::new());
        let context = Context { db: db.db.clone(), run: run.clone(), progress, stop };
        let source = registry::build(&mine).unwrap();
        let report = extract::run(&context, &pipeline(), &mine, source).await.unwrap();
        run.finish(Outcome::Done, None).await.unwrap();
        report.streams.into_iter().find(|stream| stream.stream == "customers").unwrap()
    };
    assert_eq!(extract().await.walks, ["everything"]);
    let before = stored(&db, "shop", "customers").await.len();
    let text =
        json!({"id": 99_999, "email": "new@shop.example", "date_created_gmt": "2026-01-01T00:00:00"}).to_string();
    let created = change(&sandbox, &json!({ "raw": { "entity": "customers", "id": 99_999, "text": text } }));
    let report = extract().await;
    assert_eq!((report.walks.as_slice(), report.counts.landed.new), (["newest"].as_slice(), 1), "{created}");
    assert_eq!(stored(&db, "shop", "customers").await.len(), before + 1);
    let report = extract().await;
    assert_eq!((report.counts.calls, report.counts.landed.new), (1, 0), "one page is enough");
}

#[tokio::test]
async fn a_shop_that_gives_half_a_list_stops_the_walk_and_nothing_is_marked_as_deleted() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    // The first walk: two good pages, then empty ones, whose headers still count all orders.
    sandbox.fault(Fault::new(FaultKind::EmptyPage, ORDERS).after(2).times(0));
    let error = extract(&db, &sandbox).await.2.unwrap_err();
    assert_eq!(error.kind(), Kind::Truncated, "{error}");
    assert!(error.detail().contains("shop/orders (everything)"), "{error}");
    assert!(error.detail().contains("gives no records from 0 on of a list of which it says that it has"), "{error}");
    assert_eq!(stored(&db, "shop", "orders").await.len(), 99);
    sandbox.clear_faults();
    extract(&db, &sandbox).await.2.unwrap();
    assert_staging_is_the_shop(&db, &sandbox).await;

    // Later walks: through everything, over the keys alone, whatever stands where the next page should.
    let before = all_stored(&db).await;
    for kind in [FaultKind::EmptyPage, FaultKind::Html, FaultKind::TruncatedJson, FaultKind::Cut] {
        for (path, query) in [("/wp-json/wc/v3/customers", "orderby"), (ORDERS, "_fields=id")] {
            sandbox.fault(Fault::new(kind, path).query(query).after(1).times(0));
            let (_, report, result) = extract(&db, &sandbox).await;
            let error = result.unwrap_err();
            let stream = path.rsplit('/').next().unwrap();
            assert!(error.detail().contains(&format!("shop/{stream}")), "{kind:?}: {error}");
            assert_eq!(report.total().deleted, 0, "{kind:?} {stream}");
            assert!(all_stored(&db).await == before, "{kind:?} {stream}");
            sandbox.clear_faults();
        }
    }
    let (_, report, result) = extract(&db, &sandbox).await;
    result.unwrap();
    assert_eq!(report.total().deleted, 0);
    assert!(all_stored(&db).await == before);
}

#[tokio::test]
async fn changes_on_a_list_that_is_given_by_half_come_with_the_next_run() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    extract(&db, &sandbox).await.2.unwrap();
    change(&sandbox, &json!({"advance_seconds": 3600}));
    sandbox.woocommerce().unwrap().change_about(0.6, 7);
    sandbox.fault(Fault::new(FaultKind::EmptyPage, ORDERS).query("modified_after").after(1).times(0));
    let error = extract(&db, &sandbox).await.2.unwrap_err();
    assert!(error.detail().contains("shop/orders (modified)"), "{error}");
    sandbox.clear_faults();
    extract(&db, &sandbox).await.2.unwrap();
    assert_staging_is_the_shop(&db, &sandbox).await;
}

/// Extracts, and changes the shop while a call to `path` with `query` waits for its answer, the `after`-th of them.
async fn extract_while(
    db: &Database,
    sandbox: &Sandbox,
    (path, query): (&str, &str),
    after: usize,
    change: impl FnOnce(),
) -> ExtractReport {
    sandbox.requests().clear();
    sandbox.fault(Fault::new(FaultKind::Slow, path).query(query).after(after as u64).delay_ms(1_500));
    let made =
        || sandbox.requests().calls("woocommerce", path).iter().filter(|call| call.query.contains(query)).count();
    let changing = async {
        for _ in 0..6_000 {
            if made() >= after {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(made(), after, "the shop is changed before the next page");
        change();
    };
    let ((_, report, result), ()) = tokio::join!(extract(db, sandbox), changing);
    result.unwrap();
    sandbox.clear_faults();
    report
}

/// The ids that a list shows, in its order.
fn listed(sandbox: &Sandbox, entity: Entity) -> Vec<u64> {
    let rows = sandbox.woocommerce().unwrap().rows(entity);
    rows.iter().filter(|row| row["status"] != "trash").map(|row| row["id"].as_u64().unwrap()).collect()
}

/// One row leaves at the beginning of a list and another comes at its end: the total stays, all between move up.
fn swap(sandbox: &Sandbox, entity: Entity, leaves: u64) {
    let fields = match entity {
        Entity::Users => json!({"email": "new@walk-in.example", "username": "new-here"}),
        _ => json!({"status": "processing", "billing": {"email": "new@walk-in.example"}}),
    };
    change(sandbox, &json!({"delete": {"entity": entity.name(), "id": leaves, "force": true}}));
    change(sandbox, &json!({"create": {"entity": entity.name(), "fields": fields}}));
}

#[tokio::test]
async fn rows_that_move_between_pages_are_not_deleted() {
    let cases = [
        // A comparison of keys, and the walk through all users that the shop cannot filter.
        (Entity::Orders, ORDERS, "_fields=id"),
        (Entity::Users, "/wp-json/wc/v3/customers", "orderby=id"),
    ];
    for (entity, path, query) in cases {
        let (db, sandbox) = (support::database().await, sandbox().await);
        extract(&db, &sandbox).await.2.unwrap();
        change(&sandbox, &json!({"advance_seconds": 3600}));
        let ids = listed(&sandbox, entity);
        let pages = 2;
        let report = extract_while(&db, &sandbox, (path, query), pages, || swap(&sandbox, entity, ids[0])).await;
        let rows = stored(&db, "shop", entity.name()).await;
        for id in &ids[1..] {
            assert!(!rows[&id.to_string()].deleted, "{} {id} lives: {report:#?}", entity.name());
        }
        extract(&db, &sandbox).await.2.unwrap();
        assert_staging_is_the_shop(&db, &sandbox).await;
    }
}

#[tokio::test]
async fn an_order_whose_time_of_change_is_old_comes_with_the_next_comparison_of_keys() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    // Orders that an import has written with times of long ago: no walk by change ever gives them.
    sandbox.fault(Fault::new(FaultKind::MissingRow, ORDERS).query("status=any").after(1));
    sandbox.fault(Fault::new(FaultKind::MissingRow, ORDERS).query("status=trash"));
    extract(&db, &sandbox).await.2.unwrap();
    sandbox.clear_faults();
    let at_shop: usize = sandbox.woocommerce().unwrap().counts(Entity::Orders).values().sum();
    assert_eq!(stored(&db, "shop", "orders").await.len(), at_shop - 2);
    let (_, report, result) = extract(&db, &sandbox).await;
    result.unwrap();
    let counts = report.total();
    assert_eq!((counts.fetched, counts.landed.new, counts.not_landed, counts.deleted), (2, 2, 0, 0));
    assert_staging_is_the_shop(&db, &sandbox).await;
}

#[tokio::test]
async fn a_product_of_which_only_what_the_shop_shuffles_differs_is_as_it_was() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    extract(&db, &sandbox).await.2.unwrap();
    let before = all_stored(&db).await;
    let options = extract::Options { full: true, streams: vec!["products".into()], ..extract::Options::default() };
    let (_, report, result) = extract_with(&db, &sandbox, &options).await;
    result.unwrap();
    let landed = report.total().landed;
    assert_eq!((landed.changed, landed.new), (0, 0), "{landed:?}");
    let shown = before["products"].values().filter(|row| row.payload["related_ids"].as_array().unwrap().len() > 1);
    assert!(shown.count() > 10, "products without related ones prove nothing");
    let (_, report, result) = extract(&db, &sandbox).await;
    result.unwrap();
    let variations = report.streams.iter().find(|stream| stream.stream == "variations").unwrap();
    assert_eq!((variations.counts.calls, variations.walks.len()), (0, 0), "their lists are not read again");
    assert!(all_stored(&db).await == before, "an unchanged row was written");
    // What counts still counts.
    change(&sandbox, &json!({"advance_seconds": 3600}));
    let product = first_key(&before["products"]);
    change(&sandbox, &json!({"update": {"entity": "products", "id": product, "fields": {"regular_price": "1.23"}}}));
    let (_, report, result) = extract(&db, &sandbox).await;
    result.unwrap();
    assert_eq!(report.total().landed.changed, 1);
}

#[tokio::test]
async fn a_run_killed_while_it_asks_by_key_marks_nothing_and_the_next_goes_on() {
    let sandbox = sandbox().await;
    let program = Program::new(&sandbox).await;
    assert_eq!(program.finish(&[]).await.status.code(), Some(0));
    let gone: Vec<u64> = listed(&sandbox, Entity::Orders).into_iter().take(30).collect();
    for id in &gone {
        change(&sandbox, &json!({"vanish": {"entity": "orders", "id": id}}));
    }
    let deleted = async || {
        let client = program.db.client().await.unwrap();
        let statement = "select count(*) from staging.orders where deleted_at is not null";
        client.query_one(statement, &[]).await.unwrap().get::<_, i64>(0)
    };
    // Of two questions the first is answered and committed.
    let killed = program.start_with(&["--full"], "extract/after-asked=kill@1");
    let killed = tokio::task::spawn_blocking(move || killed.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(killed.status.code(), None, "{}", String::from_utf8_lossy(&killed.stderr));
    assert_eq!(deleted().await, 0);
    sandbox.requests().clear();
    let output = program.finish(&["--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = sandbox.requests().calls("woocommerce", ORDERS);
    assert!(asked.iter().all(|call| !call.query.contains("_fields")), "the walk is not walked again");
    let by_key = asked.iter().filter(|call| call.query.contains("include=") && call.query.contains("status=any"));
    assert_eq!(by_key.count(), 1, "what was asked for is not asked for again");
    assert_eq!(deleted().await, 30);
}

#[tokio::test]
async fn a_weak_server_is_asked_for_few_rows_by_key_at_a_time() {
    let (db, sandbox) = (support::database().await, sandbox().await);
    extract(&db, &sandbox).await.2.unwrap();
    let gone: Vec<u64> = listed(&sandbox, Entity::Users).into_iter().take(40).collect();
    for id in &gone {
        change(&sandbox, &json!({"vanish": {"entity": "customers", "id": id}}));
    }
    sandbox.fault(Fault::new(FaultKind::Error, "/wp-json/wc/v3/customers").query("per_page=40").times(0));
    let (_, report, result) = extract(&db, &sandbox).await;
    result.unwrap();
    assert_eq!(report.total().deleted, 40);
    assert_staging_is_the_shop(&db, &sandbox).await;
}
