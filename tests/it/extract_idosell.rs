//! Extract and transform from end to end: an emulated IdoSell panel over HTTP, staging and canonical rows in Postgres.

use crate::support::fake_shop::{pipeline, stored};
use crate::support::{self, TestDatabase};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wharf::config::pipeline::Connection;
use wharf::progress::Progress;
use wharf::sandbox::idosell::goods::{is_hidden, is_in_menu, menu_item};
use wharf::sandbox::idosell::{API_KEY, Options as PanelOptions};
use wharf::sandbox::{Fault, FaultKind, Platform, Sandbox, SandboxOptions};
use wharf::source::registry;
use wharf::stage::Context;
use wharf::stage::extract::{self, ExtractReport};
use wharf::stage::transform;
use wharf::store::{Outcome, Run};
use wharf::{Kind, Result};

async fn sandbox() -> Sandbox {
    let options = PanelOptions { customers: 80, orders: 330, products: 40, ..PanelOptions::small() };
    Sandbox::start(SandboxOptions::default().with(options)).await.unwrap()
}

fn connection(sandbox: &Sandbox, further: Value) -> Connection {
    let panel = sandbox.idosell().unwrap();
    let mut keys = json!({
        "connection": "shop", "platform": "idosell", "base_url": sandbox.idosell_url(), "api_key": API_KEY, "per_page": 50,
        "rate": "10000/s", "iof_url": panel.offer_url(1), "default_country": "PL", "compare_keys_every": "0s",
    });
    keys.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    serde_json::from_value(keys).unwrap()
}

async fn extract(test: &TestDatabase, mine: &Connection) -> (ExtractReport, Result<()>) {
    let run = Run::begin(&test.db, "shop-crm", "extract").await.unwrap();
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    let context = Context { db: test.db.clone(), run: run.clone(), progress, stop };
    let source = registry::build(mine).unwrap();
    let (report, result) = extract::run_with(&context, &pipeline(), mine, source, &extract::Options::default()).await;
    run.finish(Outcome::Done, None).await.unwrap();
    (report, result)
}

async fn transformed(test: &TestDatabase) {
    let run = Run::begin(&test.db, "shop-crm", "transform").await.unwrap();
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    let context = Context { db: test.db.clone(), run: run.clone(), progress, stop };
    transform::run(&context, &["shop".to_owned()], false).await.unwrap();
    run.finish(Outcome::Done, None).await.unwrap();
}

async fn live(test: &TestDatabase, table: &str, begins: &str) -> usize {
    stored(&test.db, "shop", table).await.iter().filter(|(key, row)| !row.deleted && key.starts_with(begins)).count()
}

async fn value(test: &TestDatabase, query: &str) -> String {
    let client = test.db.client().await.unwrap();
    let row = client.query_one(&format!("select ({query})::text"), &[]).await.unwrap();
    row.get::<_, Option<String>>(0).unwrap_or_default()
}

fn number(state: &Value, name: &str) -> usize {
    usize::try_from(state[name]["total"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn a_panel_is_read_whole_and_the_second_run_writes_nothing() {
    let (test, sandbox) = (support::database().await, sandbox().await);
    let mine = connection(&sandbox, json!({}));
    let (report, result) = extract(&test, &mine).await;
    result.unwrap();
    assert_eq!(report.total().incomplete, 0, "{report:#?}");
    let state = sandbox.idosell().unwrap().state();
    let people = number(&state, "customers") + number(&state, "buyers_without_account");
    assert_eq!(live(&test, "customers", "").await, people, "{state}");
    assert_eq!(live(&test, "orders", "unfinished-").await, number(&state, "unfinished"), "{state}");
    let orders = number(&state, "orders");
    assert_eq!(live(&test, "orders", "").await - number(&state, "unfinished"), orders, "{state}");
    assert!(live(&test, "refunds", "").await > 0, "{state}");
    assert!(live(&test, "categories", "menu-").await > 0 && live(&test, "categories", "panel-").await > 0);
    assert!(live(&test, "offers", "").await > 0 && live(&test, "offer_prices", "").await > 0);
    assert!(live(&test, "subscribers", "email-").await > number(&state, "subscribers_without_account") / 2);
    let (report, result) = extract(&test, &mine).await;
    result.unwrap();
    let counts = report.total();
    assert_eq!(
        (counts.landed.new, counts.landed.changed, counts.deleted, counts.not_landed),
        (0, 0, 0, 0),
        "{report:#?}"
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn a_panel_comes_to_contacts_orders_and_tags() {
    let (test, sandbox) = (support::database().await, sandbox().await);
    let mine = connection(&sandbox, json!({}));
    extract(&test, &mine).await.1.unwrap();
    transformed(&test).await;
    let state = sandbox.idosell().unwrap().state();
    let count = |query: &'static str| value(&test, query);
    let accounts = number(&state, "customers").to_string();
    assert_eq!(count("select count(*) from canonical.contact_sources where registered").await, accounts);
    let placed = count("select count(*) from canonical.orders where status <> 'ABANDONED_SHOPPING_CART'").await;
    assert_eq!(placed, number(&state, "orders").to_string());
    assert_eq!(count("select count(*) from canonical.orders where total is null or contact_id is null").await, "0");
    let rejects = count("select string_agg(distinct concat_ws(' ', entity, field, code, left(value, 30)), '; ') from canonical.rejects where code in ('bad-number', 'bad-date', 'no-currency', 'missing-parent')").await;
    assert_eq!(rejects, "");
    assert_ne!(count("select count(*) from canonical.contact_tags where origin = 'category'").await, "0");
    assert_ne!(count("select count(*) from canonical.contact_tags where tag = 'newsletter'").await, "0");
    assert_ne!(count("select count(*) from canonical.contacts where email_consent = 'opt_in'").await, "0");
    assert_ne!(count("select count(*) from canonical.products where url is not null and price > 0").await, "0");
    let lines = |page: &str| {
        format!(
            "select count(*) from canonical.order_items i join staging.offers o on o.source_key = i.product_key where {page}"
        )
    };
    let without = value(&test, &lines("i.url is null")).await;
    assert_eq!(without, "0", "every line of a product in the offer finds its page");
    assert_ne!(value(&test, &lines("i.url is not null")).await, "0");
    sandbox.stop().await;
}

#[tokio::test]
async fn consent_that_changes_and_customers_who_vanish_are_found() {
    let (test, sandbox) = (support::database().await, sandbox().await);
    let mine = connection(&sandbox, json!({"full_walk_every": "0s"}));
    let panel = sandbox.idosell().unwrap().clone();
    let change = |request: Value| panel.change(&request).unwrap();
    let joined = change(json!({"subscribe": {"email": "zofia@example.com", "shop": 1}}));
    let id = joined["id"].as_u64().or_else(|| joined["client_number"].as_u64()).unwrap();
    extract(&test, &mine).await.1.unwrap();
    transformed(&test).await;
    let consent = "select email_consent from canonical.contacts where email = 'zofia@example.com'";
    assert_eq!(value(&test, consent).await, "opt_in");
    change(json!({"advance_seconds": 3600}));
    change(json!({"consent": {"client": id, "shop": 1, "agreed": false}}));
    extract(&test, &mine).await.1.unwrap();
    transformed(&test).await;
    assert_eq!(value(&test, consent).await, "opt_out", "the date of joining stays, and it counts all the same");
    change(json!({"advance_seconds": 3600}));
    change(json!({"consent": {"client": id, "shop": 1, "agreed": true}}));
    extract(&test, &mine).await.1.unwrap();
    transformed(&test).await;
    assert_eq!(value(&test, consent).await, "opt_in");

    let account: u64 = value(&test, "select min(source_key::int) from staging.customers").await.parse().unwrap();
    change(json!({"delete_client": account}));
    extract(&test, &mine).await.1.unwrap();
    assert_eq!(
        value(&test, &format!("select deleted_at is not null from staging.customers where source_key = '{account}'"))
            .await,
        "true"
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn a_product_leaves_a_category_that_an_older_offer_still_names() {
    let (test, sandbox) = (support::database().await, sandbox().await);
    let mine = connection(&sandbox, json!({}));
    let panel = sandbox.idosell().unwrap().clone();
    let (product, to) = {
        let shop = panel.read();
        let all = (0..40).map(|index| shop.panel.goods(index));
        let goods = all.into_iter().find(|goods| goods.is_offered() && goods.categories.len() == 1).unwrap();
        let is_other = |id: &u64| *id != goods.categories[0] && is_in_menu(*id) && !is_hidden(*id);
        (goods.id, shop.tree.0.iter().map(|category| category.id).find(is_other).unwrap())
    };
    let categories = format!(
        "select string_agg(category_key, ' ') from canonical.product_categories where product_key = '{product}'"
    );
    extract(&test, &mine).await.1.unwrap();
    transformed(&test).await;
    assert_ne!(value(&test, &categories).await, format!("menu-{}", menu_item(to, 1)));
    panel.change(&json!({"edit_product": {"id": product, "categories": [to]}})).unwrap();
    panel.change(&json!({"advance_seconds": 3600})).unwrap();
    extract(&test, &mine).await.1.unwrap();
    transformed(&test).await;
    assert_eq!(value(&test, &categories).await, format!("menu-{}", menu_item(to, 1)));
    sandbox.stop().await;
}

#[tokio::test]
async fn a_missing_right_stops_its_stream_and_no_other_and_an_overloaded_server_is_waited_for() {
    let (test, sandbox) = (support::database().await, sandbox().await);
    let panel = sandbox.idosell().unwrap().clone();
    panel.change(&json!({"rights": {"crm": "none"}})).unwrap();
    panel.change(&json!({"overloaded": 2})).unwrap();
    let (report, result) = extract(&test, &connection(&sandbox, json!({"load_pause": "1ms"}))).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Permission);
    assert!(error.hint_text().unwrap().contains("Scope: crm, level: r"), "{error} {:?}", error.hint_text());
    let failed: Vec<&str> =
        report.streams.iter().filter(|stream| stream.error.is_some()).map(|stream| stream.stream).collect();
    assert_eq!(failed, ["customers", "subscribers"]);
    assert!(live(&test, "orders", "").await > 0);
    panel.change(&json!({"rights": {"crm": "r"}})).unwrap();
    panel.change(&json!({"blocked": true})).unwrap();
    let error = extract(&test, &connection(&sandbox, json!({}))).await.1.unwrap_err();
    assert!(error.to_string().contains("overdue invoices"), "{error}");
    sandbox.stop().await;
}

const CLIENTS: &str = "/api/admin/v6/clients/clients";
const PRODUCTS: &str = "/api/admin/v6/products/products/search";

#[tokio::test]
async fn what_a_panel_lists_and_has_not_landed_is_fetched_by_number() {
    let (test, sandbox) = (support::database().await, sandbox().await);
    let mine = connection(&sandbox, json!({"per_page": 20}));
    // Records with a time of change of long ago: no walk by change ever gives them.
    for path in [CLIENTS, PRODUCTS] {
        sandbox.fault(Fault::new(FaultKind::MissingRow, path).after(1));
    }
    extract(&test, &mine).await.1.unwrap();
    sandbox.clear_faults();
    let (report, result) = extract(&test, &mine).await;
    result.unwrap();
    let counts = report.total();
    assert_eq!((counts.fetched, counts.landed.new, counts.not_landed, counts.deleted), (2, 2, 0, 0), "{report:#?}");
    let state = sandbox.idosell().unwrap().state();
    let people = number(&state, "customers") + number(&state, "buyers_without_account");
    assert_eq!(live(&test, "customers", "").await, people, "{state}");
    let (report, result) = extract(&test, &mine).await;
    result.unwrap();
    assert_eq!((report.total().fetched, report.total().landed.changed), (0, 0), "fetched as the list gives it");
}

#[tokio::test]
async fn what_a_panels_list_leaves_out_is_asked_for_by_number() {
    let (test, sandbox) = (support::database().await, sandbox().await);
    let mine = connection(&sandbox, json!({"per_page": 20}));
    extract(&test, &mine).await.1.unwrap();
    let before = stored(&test.db, "shop", "customers").await;
    let leaves: u64 = before.keys().map(|key| key.parse().unwrap()).max().unwrap();
    sandbox.idosell().unwrap().change(&json!({"delete_client": leaves})).unwrap();
    // The comparison of keys misses one who lives, and one who has left.
    sandbox.fault(Fault::new(FaultKind::MissingRow, CLIENTS).query("returnElements=clientId").after(1));
    let (report, result) = extract(&test, &mine).await;
    result.unwrap();
    let customers = report.streams.iter().find(|stream| stream.stream == "customers").unwrap();
    assert_eq!((customers.counts.kept, customers.counts.deleted), (1, 1), "{report:#?}");
    let after = stored(&test.db, "shop", "customers").await;
    let deleted: Vec<&String> = after.iter().filter(|(_, row)| row.deleted).map(|(key, _)| key).collect();
    assert_eq!(deleted, [&leaves.to_string()]);
}

#[tokio::test]
async fn the_template_of_products_is_no_product_and_no_reject() {
    let (test, sandbox) = (support::database().await, sandbox().await);
    sandbox.idosell().unwrap().change(&json!({"template": true})).unwrap();
    let mine = connection(&sandbox, json!({"per_page": 20}));
    for _ in 0..2 {
        let (report, result) = extract(&test, &mine).await;
        result.unwrap();
        let counts = report.total();
        assert_eq!((counts.landed.rejected, counts.incomplete, counts.deleted), (0, 0, 0), "{report:#?}");
    }
    assert_eq!(value(&test, "select count(*) from staging.rejects").await, "0");
    assert_eq!(live(&test, "products", "").await, 40);
}
