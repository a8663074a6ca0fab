//! The extract stage on a shop in memory: walks, positions, deletions, faults at every call.

use crate::support::fake_shop::{
    Act, FakeShop, at_shop, connection, customers, extract, extract_with, live, orders, products_with_variations, put,
    stored,
};
use crate::support::{self, TestDatabase};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use wharf::Kind;
use wharf::config::pipeline::Connection;
use wharf::source::{Incremental, StreamSpec, Walk};
use wharf::stage::extract::{Counts, Options};
use wharf::store::{Database, DatabaseLocation};

fn hours_ago(hours: i64) -> Timestamp {
    // Whole seconds, as shops give them.
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    now - SignedDuration::from_hours(hours)
}

/// A shop whose stream `name` holds records 1 to `count`, changed long ago.
fn shop_of(streams: Vec<StreamSpec>, page_size: usize, name: &'static str, count: u64) -> Arc<FakeShop> {
    let shop = FakeShop::new(streams, page_size);
    (1..=count).for_each(|id| shop.put(name, id, hours_ago(1000), json!({ "total": id })));
    shop
}

async fn cursor(db: &TestDatabase, connection: &Connection, stream: &str) -> (Option<Timestamp>, Option<Value>) {
    let statement = "select watermark, walk from ops.cursors where connection = $1 and stream = $2";
    let client = db.client().await.unwrap();
    let row = client.query_one(statement, &[&connection.connection, &stream]).await.unwrap();
    (row.get(0), row.get(1))
}

fn positions(shop: &FakeShop) -> Vec<Value> {
    shop.take_asked().into_iter().map(|asked| asked.position).collect()
}

#[tokio::test]
async fn a_back_fill_lands_everything_and_the_second_run_writes_nothing() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 35);
    let mine = connection("shop");
    let (first, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    let counts = report.total();
    assert_eq!((counts.pages, counts.calls, counts.read, counts.landed.new), (4, 4, 35, 35));
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
    let before = stored(&db, "shop", "orders").await;
    assert!(before.values().all(|row| row.run_id == first));

    shop.take_asked();
    let (watermark, walk) = cursor(&db, &mine, "orders").await;
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    let since = watermark.unwrap() - SignedDuration::from_mins(10);
    assert_eq!(walk, None);
    assert!(shop.take_asked().into_iter().all(|asked| asked.walk == Walk::ModifiedSince(since)));
    let counts = report.total();
    assert_eq!((counts.read, counts.landed.unchanged), (35, 35));
    assert_eq!(stored(&db, "shop", "orders").await, before, "an unchanged row was written");
}

#[tokio::test]
async fn only_what_changed_is_asked_for_and_remembers_the_run() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 20);
    let mine = connection("shop");
    shop.put("orders", 20, hours_ago(500), json!({}));
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.put("orders", 7, hours_ago(1), json!({ "total": "new" }));
    shop.put("orders", 21, hours_ago(1), json!({ "total": "first" }));
    let (run, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    let landed = report.total().landed;
    assert_eq!((landed.changed, landed.new, landed.unchanged), (1, 1, 1));
    let rows = stored(&db, "shop", "orders").await;
    let of_run: Vec<_> = rows.iter().filter(|(_, row)| row.run_id == run).map(|(key, _)| key.as_str()).collect();
    assert_eq!(of_run, ["21", "7"]);
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

#[tokio::test]
async fn an_unfinished_walk_continues_on_the_page_it_stopped_on() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 45);
    let mine = connection("shop");
    shop.at_call(2, Act::Fail(Kind::Unreachable));
    let (_, _, result) = extract(&db, &mine, &shop).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable);
    assert_eq!(
        error.detail(),
        "shop-crm: reading shop/orders (everything), page 3: the shop was told to fail",
        "the message names pipeline, connection, stream and page"
    );
    assert_eq!(live(&db, "shop", "orders").await.len(), 20);
    assert_eq!(positions(&shop), [Value::Null, json!(10), json!(20)]);

    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    let asked = shop.take_asked();
    let of_walk = |walk: Walk| asked.iter().filter(|a| a.walk == walk).map(|a| a.position.clone()).collect::<Vec<_>>();
    assert_eq!(of_walk(Walk::Everything), [json!(20), json!(30), json!(40)]);
    assert_eq!(report.streams[0].walks, ["everything", "modified"]);
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

#[tokio::test]
async fn a_page_that_breaks_off_is_asked_for_again() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 25);
    let mine = connection("shop");
    shop.at_call(1, Act::Cut(4, Kind::Truncated));
    shop.at_call(2, Act::Cut(7, Kind::Unreachable));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.total().retried, 2);
    assert_eq!(positions(&shop), [Value::Null, json!(10), json!(10), json!(10), json!(20)]);
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

#[tokio::test]
async fn half_a_page_lands_but_does_not_move_the_position() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 25);
    let mine = connection("shop");
    (1..=4).for_each(|call| shop.at_call(call, Act::Cut(4, Kind::Truncated)));
    let error = extract(&db, &mine, &shop).await.2.unwrap_err();
    assert_eq!(error.kind(), Kind::Truncated);
    assert!(error.detail().contains("shop/orders (everything), page 2"), "{error}");
    assert_eq!(live(&db, "shop", "orders").await.keys().copied().collect::<Vec<_>>(), (1..=14).collect::<Vec<_>>());
    shop.take_asked();
    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(positions(&shop)[..2], [json!(10), json!(20)]);
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_not_asked_for_again() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 25);
    shop.at_call(1, Act::Cut(3, Kind::NotJson));
    let error = extract(&db, &connection("shop"), &shop).await.2.unwrap_err();
    assert_eq!(error.kind(), Kind::NotJson);
    assert_eq!(positions(&shop).len(), 2);
}

#[tokio::test]
async fn a_list_that_fails_does_not_keep_the_others_from_being_read() {
    let db = support::database().await;
    let shop = shop_of(vec![customers(), orders()], 10, "orders", 5);
    shop.at_call(0, Act::Fail(Kind::Permission));
    let (_, report, result) = extract(&db, &connection("shop"), &shop).await;
    assert_eq!(result.unwrap_err().kind(), Kind::Permission);
    assert_eq!(report.streams.iter().map(|s| s.error).collect::<Vec<_>>(), [Some("WH-202"), None]);
    assert_eq!(live(&db, "shop", "orders").await.len(), 5);
    // What concerns the whole shop ends it at once.
    shop.take_asked();
    shop.at_call(0, Act::Fail(Kind::Credentials));
    let (_, report, result) = extract(&db, &connection("shop"), &shop).await;
    assert_eq!(result.unwrap_err().kind(), Kind::Credentials);
    assert_eq!(report.streams.len(), 1);
}

#[tokio::test]
async fn a_request_to_stop_ends_after_the_page_in_hand_and_the_next_run_continues() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 45);
    let mine = connection("shop");
    let stop = CancellationToken::new();
    shop.at_call(2, Act::Stop(stop.clone()));
    let error = extract_with(&db, &mine, &shop, &Options::default(), stop).await.2.unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    let landed = live(&db, "shop", "orders").await.len() as u64;
    assert!(landed < 45, "it was not stopped");
    shop.take_asked();
    extract(&db, &mine, &shop).await.2.unwrap();
    let continued_at = positions(&shop)[0].as_u64().unwrap_or(0);
    assert!((landed.saturating_sub(10)..=landed).contains(&continued_at), "{landed} landed, went on at {continued_at}");
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

#[tokio::test]
async fn records_without_a_key_and_broken_ones_are_kept_aside() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 3);
    shop.put_raw("orders", 4, r#"{"number":"without id"}"#);
    shop.put_raw("orders", 5, "<b>no json</b>");
    shop.put_raw("orders", 6, "{\"id\":6,\"name\":\"a\u{1}\\u0000\"}");
    shop.put_raw("orders", 7, "{\"id\":7,\"n\":1e999999}");
    let (_, report, result) = extract(&db, &connection("shop"), &shop).await;
    result.unwrap();
    let landed = report.total().landed;
    assert_eq!((landed.new, landed.rejected, landed.altered), (4, 3, 1));
    let statement = "select code from staging.rejects order by code";
    let rows = db.client().await.unwrap().query(statement, &[]).await.unwrap();
    let codes: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(codes, ["altered", "no-key", "not-json", "not-storable"]);
    assert_eq!(stored(&db, "shop", "orders").await["6"].payload["name"], json!("a\u{1}\u{fffd}"));
}

#[tokio::test]
async fn records_repeated_on_later_pages_end_as_the_shop_has_them() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 35);
    let stale = r#"{"id":3,"updated":"2001-01-01T00:00:00Z","total":"stale"}"#;
    let same = r#"{"id":35,"updated":"2001-01-01T00:00:00Z","total":"stale"}"#;
    shop.at_call(2, Act::Extra(vec![stale, same]));
    let (_, report, result) = extract(&db, &connection("shop"), &shop).await;
    result.unwrap();
    // Whether the two forms of record 35 land together or one after the other, the shop's wins.
    let landed = report.total().landed;
    assert_eq!((landed.new, landed.repeated + landed.changed), (35, 2));
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

/// Customers that can be sorted by registration, walked whole once a day.
fn newest_first() -> StreamSpec {
    StreamSpec { incremental: Incremental::NewestFirst, ..customers() }
}

fn walks(shop: &FakeShop) -> Vec<Walk> {
    shop.take_asked().into_iter().map(|asked| asked.walk).collect()
}

#[tokio::test]
async fn new_records_come_at_a_cost_that_does_not_depend_on_the_size_of_the_list() {
    let db = support::database().await;
    let shop = shop_of(vec![newest_first()], 10, "customers", 305);
    let mine = connection("shop");
    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(walks(&shop).len(), 31);
    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(walks(&shop), [Walk::NewestUntilKnown], "one page, and none asked for ahead");
    for id in 306..=318 {
        shop.put("customers", id, hours_ago(1), json!({}));
    }
    shop.put("customers", 3, hours_ago(1), json!({ "total": "changed" }));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.total().landed.new, 13);
    assert_eq!(walks(&shop).len(), 3);
    // Where somebody has changed on every page, it still ends at the first one that holds nobody new.
    for id in (5..=315).step_by(10) {
        shop.put("customers", id, hours_ago(1), json!({ "total": "changed too" }));
    }
    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(walks(&shop).len(), 1);
    // What changed long behind, or is gone, is for the walk through everything.
    shop.remove("customers", [7]);
    let daily = Connection { full_walk_every: Some("0s".parse().unwrap()), ..mine };
    let (_, report, result) = extract(&db, &daily, &shop).await;
    result.unwrap();
    assert_eq!((report.total().landed.changed, report.total().deleted), (32, 1));
    assert_eq!(live(&db, "shop", "customers").await, at_shop(&shop, "customers"));
}

#[tokio::test]
async fn an_empty_list_read_newest_first_ends_at_once() {
    let db = support::database().await;
    let shop = FakeShop::new(vec![newest_first()], 10);
    let mine = connection("shop");
    for _ in 0..2 {
        extract(&db, &mine, &shop).await.2.unwrap();
    }
    assert_eq!(walks(&shop), [Walk::Everything, Walk::NewestUntilKnown]);
}

#[tokio::test]
async fn a_stopped_walk_does_not_take_what_it_has_landed_itself_for_its_end() {
    let db = support::database().await;
    let mine = connection("shop");
    for calls in 0..6 {
        let shop = shop_of(vec![newest_first()], 10, "customers", 40);
        let name = Connection { connection: format!("shop{calls}"), ..mine.clone() };
        extract(&db, &name, &shop).await.2.unwrap();
        for id in 41..=85 {
            shop.put("customers", id, hours_ago(1), json!({}));
        }
        // It breaks off in the middle of a page, for good; meanwhile a page and a half register, and rows move on.
        shop.take_asked();
        (0..4).for_each(|tries| shop.at_call(calls + tries, Act::Cut(6, Kind::Truncated)));
        let _ = extract(&db, &name, &shop).await;
        shop.clear_script();
        for id in 86..=100 {
            shop.put("customers", id, hours_ago(0), json!({}));
        }
        // One run goes on where it stopped, the next finds who came meanwhile.
        extract(&db, &name, &shop).await.2.unwrap();
        extract(&db, &name, &shop).await.2.unwrap();
        let asked = walks(&shop);
        assert!(asked.iter().all(|walk| *walk == Walk::NewestUntilKnown), "{asked:?}");
        let connection = &name.connection;
        assert_eq!(live(&db, connection, "customers").await, at_shop(&shop, "customers"), "broken off at call {calls}");
    }
}

#[tokio::test]
async fn a_page_given_twice_instead_of_the_next_is_asked_for_again_and_deletes_nobody() {
    let db = support::database().await;
    let shop = shop_of(vec![customers()], 10, "customers", 35);
    let mine = connection("shop");
    shop.at_call(1, Act::PageBefore);
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.total().retried, 1);
    assert_eq!(live(&db, "shop", "customers").await, at_shop(&shop, "customers"));
    // A cache that never gives the right page must not make a page of customers vanish.
    shop.take_asked();
    (1..=3).for_each(|call| shop.at_call(call, Act::PageBefore));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    let counts = report.total();
    assert_eq!((counts.retried, counts.incomplete, counts.deleted), (2, 10, 0));
    assert_eq!(live(&db, "shop", "customers").await, at_shop(&shop, "customers"));
}

#[tokio::test]
async fn the_watermark_believes_no_stamp_from_the_future() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 3);
    let mine = connection("shop");
    shop.put("orders", 2, hours_ago(-24 * 365), json!({ "total": "from the future" }));
    shop.put("orders", 3, hours_ago(100), json!({}));
    extract(&db, &mine, &shop).await.2.unwrap();
    let watermark = cursor(&db, &mine, "orders").await.0.unwrap();
    assert!(watermark <= hours_ago(100), "{watermark}");
    shop.put("orders", 4, hours_ago(50), json!({}));
    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

#[tokio::test]
async fn a_record_changed_while_the_walk_passes_is_read_by_the_next() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 20);
    let mine = connection("shop");
    // Record 1 has been read; it changes, and a later page holds a record changed even later, by minutes more than the
    // overlap. Our clock only sees milliseconds pass, so both stamps lie ahead of it.
    let (soon, later) = (hours_ago(-1), hours_ago(-3));
    let change = move |lists: &mut _| {
        put(lists, "orders", 1, soon, json!({ "total": "changed on the way" }));
        put(lists, "orders", 20, later, json!({}));
    };
    shop.at_call(1, Act::Change(Box::new(change)));
    extract(&db, &mine, &shop).await.2.unwrap();
    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

#[tokio::test]
async fn what_a_full_walk_does_not_see_is_marked_deleted_and_restored_when_it_is_back() {
    let db = support::database().await;
    let shop = shop_of(vec![customers()], 10, "customers", 25);
    let mine = connection("shop");
    extract(&db, &mine, &shop).await.2.unwrap();
    let back = shop.lists()["customers"][&5].clone();
    shop.remove("customers", [5, 17]);
    let (run, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.total().deleted, 2);
    let rows = stored(&db, "shop", "customers").await;
    assert!(rows["5"].deleted && rows["17"].deleted && rows["5"].run_id == run);
    assert_eq!(live(&db, "shop", "customers").await, at_shop(&shop, "customers"));

    shop.lists().get_mut("customers").unwrap().insert(5, back);
    let (run, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!((report.total().deleted, report.total().landed.restored), (0, 1));
    let rows = stored(&db, "shop", "customers").await;
    assert!(!rows["5"].deleted && rows["5"].run_id == run && rows["17"].deleted);
}

#[tokio::test]
async fn a_walk_that_did_not_come_to_its_end_deletes_nobody() {
    let db = support::database().await;
    let shop = shop_of(vec![customers()], 10, "customers", 30);
    let mine = connection("shop");
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.remove("customers", [1]);
    shop.at_call(0, Act::Fail(Kind::Unreachable));
    extract(&db, &mine, &shop).await.2.unwrap_err();
    shop.at_call(2, Act::Fail(Kind::Unreachable));
    extract(&db, &mine, &shop).await.2.unwrap_err();
    assert!(stored(&db, "shop", "customers").await.values().all(|row| !row.deleted));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.total().deleted, 1);
    assert_eq!(report.streams[0].walks, ["everything"], "what was continued is not walked twice");
    assert_eq!(live(&db, "shop", "customers").await, at_shop(&shop, "customers"));
}

#[tokio::test]
async fn an_empty_or_halved_list_deletes_nobody_unless_a_person_says_so() {
    let db = support::database().await;
    let shop = shop_of(vec![customers()], 10, "customers", 30);
    let mine = connection("shop");
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.remove("customers", 11..=30);
    let error = extract(&db, &mine, &shop).await.2.unwrap_err();
    assert_eq!(error.kind(), Kind::Guard);
    assert!(error.detail().contains("shop/customers: 20 of 30 are not on the shop's list any more"), "{error}");
    assert!(error.hint_text().unwrap().contains("--allow-deletions"));
    shop.remove("customers", 1..=10);
    let error = extract(&db, &mine, &shop).await.2.unwrap_err();
    assert_eq!(error.kind(), Kind::Guard);
    assert!(stored(&db, "shop", "customers").await.values().all(|row| !row.deleted));

    // The shop has recovered: nothing is left of the walk that was not believed.
    (1..=29).for_each(|id| shop.put("customers", id, hours_ago(1000), json!({ "total": id })));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.total().deleted, 1);

    shop.remove("customers", 1..=29);
    let options = Options { allow_deletions: true, ..Options::default() };
    let (_, report, result) = extract_with(&db, &mine, &shop, &options, CancellationToken::new()).await;
    result.unwrap();
    assert_eq!(report.total().deleted, 29);
}

#[tokio::test]
async fn comparing_keys_finds_deletions_and_reads_no_records() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 25);
    let mut mine = connection("shop");
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.remove("orders", [3]);
    extract(&db, &mine, &shop).await.2.unwrap();
    assert!(!stored(&db, "shop", "orders").await["3"].deleted, "keys are not due yet");
    mine.compare_keys_every = "0s".parse().unwrap();
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!((report.total().deleted, report.total().keys), (1, 24));
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
    // What is listed again, and what was never marked as modified, is fetched by key.
    shop.put("orders", 3, hours_ago(100_000), json!({ "total": 3 }));
    shop.put("orders", 99, hours_ago(100_000), json!({ "total": 99 }));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    let counts = report.total();
    assert_eq!((counts.landed.restored, counts.landed.new, counts.fetched, counts.not_landed), (1, 1, 2, 0));
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
    // A full walk on request reads all of it and finds nothing else.
    let options = Options { full: true, ..Options::default() };
    let (_, report, result) = extract_with(&db, &mine, &shop, &options, CancellationToken::new()).await;
    result.unwrap();
    assert_eq!(report.streams[0].walks, ["everything", "keys"]);
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

#[tokio::test]
async fn a_walk_whose_keys_a_crash_has_emptied_begins_again() {
    let db = support::database().await;
    let shop = shop_of(vec![customers()], 10, "customers", 30);
    let mine = connection("shop");
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.take_asked();
    shop.at_call(2, Act::Fail(Kind::Unreachable));
    extract(&db, &mine, &shop).await.2.unwrap_err();
    db.client().await.unwrap().batch_execute("truncate ops.walk_keys").await.unwrap();
    shop.take_asked();
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(positions(&shop), [Value::Null, json!(10), json!(20)]);
    assert_eq!(report.total().deleted, 0);
}

#[tokio::test]
async fn keys_that_are_lost_while_their_walk_goes_on_delete_nobody() {
    // Pages so large that each is stored as it ends, and so many that the last are asked for after the first are stored.
    let db = support::database().await;
    let shop = shop_of(vec![customers()], 500, "customers", 4_000);
    let mine = connection("shop");
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.at_call(7, Act::Sql(db.db.clone(), "truncate ops.walk_keys".into()));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    assert_eq!(result.unwrap_err().kind(), Kind::DatabaseUnreachable);
    assert_eq!(report.total().deleted, 0);
    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(live(&db, "shop", "customers").await.len(), 4_000);
}

#[tokio::test]
async fn lists_of_parents_are_walked_where_the_parent_changed() {
    let db = support::database().await;
    let shop = FakeShop::new(products_with_variations(), 2);
    let mine = connection("shop");
    let product = |id, hours, kind: &str| shop.put("products", id, hours_ago(hours), json!({ "type": kind }));
    let variation = |id: u64, parent: u64| shop.put("variations", id, hours_ago(1000), json!({ "parent": parent }));
    for (id, kind) in [(1, "variable"), (2, "simple"), (3, "variable"), (4, "variable")] {
        product(id, 1000, kind);
    }
    for (id, parent) in [(101, 1), (102, 1), (103, 1), (301, 3)] {
        variation(id, parent);
    }
    let parents = |shop: &FakeShop| {
        let asked = shop.take_asked();
        asked.into_iter().filter(|a| a.stream == "variations").filter_map(|a| a.parent).collect::<Vec<_>>()
    };
    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(parents(&shop), ["1", "1", "3", "4"]);
    assert_eq!(live(&db, "shop", "variations").await, at_shop(&shop, "variations"));
    assert_eq!(stored(&db, "shop", "variations").await["301"].parent.as_deref(), Some("3"));

    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(parents(&shop), Vec::<String>::new(), "no product has changed");

    // A variation goes, another comes, with the product's stamp; a change without it is not seen.
    product(1, 1, "variable");
    shop.put("products", 1, hours_ago(1), json!({ "type": "variable", "price": 2 }));
    shop.remove("variations", [102, 301]);
    variation(104, 1);
    let (run, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(parents(&shop), ["1", "1"]);
    assert_eq!(report.streams[1].counts.deleted, 1);
    let rows = stored(&db, "shop", "variations").await;
    assert!(rows["102"].deleted && rows["102"].run_id == run && !rows["301"].deleted && !rows["104"].deleted);
}

#[tokio::test]
async fn what_hangs_on_a_parent_that_is_gone_goes_with_it() {
    let db = support::database().await;
    let shop = FakeShop::new(products_with_variations(), 10);
    let mut mine = connection("shop");
    (1..=9).for_each(|id| shop.put("products", id, hours_ago(1000), json!({ "type": "variable" })));
    (1..=9).for_each(|id| shop.put("variations", 100 + id, hours_ago(1000), json!({ "parent": id })));
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.remove("products", [1]);
    shop.put("products", 2, hours_ago(1), json!({ "type": "simple" }));
    mine.compare_keys_every = "0s".parse().unwrap();
    shop.take_asked();
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.streams.iter().map(|s| s.counts.deleted).collect::<Vec<_>>(), [1, 2]);
    let rows = stored(&db, "shop", "variations").await;
    let deleted: Vec<_> = rows.iter().filter(|(_, row)| row.deleted).map(|(key, _)| key.as_str()).collect();
    assert_eq!(deleted, ["101", "102"]);
    assert!(shop.take_asked().iter().all(|asked| asked.stream != "variations"), "their lists were asked for");
}

#[tokio::test]
async fn a_parent_whose_list_is_refused_is_left_out_and_a_shop_that_refuses_all_is_an_error() {
    let db = support::database().await;
    let shop = FakeShop::new(products_with_variations(), 10);
    let mine = connection("shop");
    (1..=5).for_each(|id| shop.put("products", id, hours_ago(1000), json!({ "type": "variable" })));
    (1..=5).for_each(|id| shop.put("variations", 100 + id, hours_ago(1000), json!({ "parent": id })));
    shop.at_call(2, Act::Fail(Kind::Refused));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.total().lists_refused, 1);
    assert_eq!(live(&db, "shop", "variations").await.keys().copied().collect::<Vec<_>>(), [101, 103, 104, 105]);
    (1..=5).for_each(|id| shop.put("products", id, hours_ago(1), json!({ "type": "variable" })));
    (1..=3).for_each(|call| shop.at_call(call, Act::Fail(Kind::Refused)));
    assert_eq!(extract(&db, &mine, &shop).await.2.unwrap_err().kind(), Kind::Refused);
    assert!(stored(&db, "shop", "variations").await.values().all(|row| !row.deleted));
    extract(&db, &mine, &shop).await.2.unwrap();
}

#[tokio::test]
async fn a_walk_through_lists_of_parents_continues_in_the_middle_of_a_list() {
    let db = support::database().await;
    let shop = FakeShop::new(products_with_variations(), 2);
    let mine = connection("shop");
    (1..=3).for_each(|id| shop.put("products", id, hours_ago(1000), json!({ "type": "variable" })));
    for id in 1..=5 {
        (1..=3)
            .for_each(|parent| shop.put("variations", parent * 100 + id, hours_ago(1000), json!({ "parent": parent })));
    }
    extract(&db, &mine, &shop).await.2.unwrap();
    // All products change, one variation goes, and the walk breaks in the middle of the list of product 2.
    (1..=3).for_each(|id| shop.put("products", id, hours_ago(1), json!({ "type": "variable" })));
    shop.remove("variations", [201]);
    shop.take_asked();
    shop.at_call(2 + 3 + 1, Act::Fail(Kind::Unreachable));
    extract(&db, &mine, &shop).await.2.unwrap_err();
    shop.take_asked();
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    let lists: Vec<_> = shop.take_asked().into_iter().filter_map(|a| Some((a.parent?, a.position))).collect();
    assert_eq!(lists[0], ("2".to_owned(), json!(203)));
    assert_eq!(report.total().deleted, 1);
    assert_eq!(live(&db, "shop", "variations").await, at_shop(&shop, "variations"));
}

#[tokio::test]
async fn children_that_all_vanish_at_once_are_guarded() {
    let db = support::database().await;
    let shop = FakeShop::new(products_with_variations(), 10);
    let mine = connection("shop");
    (1..=40).for_each(|id| shop.put("products", id, hours_ago(1000), json!({ "type": "variable" })));
    (1..=40).for_each(|id| shop.put("variations", 100 + id, hours_ago(1000), json!({ "parent": id })));
    extract(&db, &mine, &shop).await.2.unwrap();
    (1..=40).for_each(|id| shop.put("products", id, hours_ago(1), json!({ "type": "variable" })));
    shop.remove("variations", 101..=140);
    assert_eq!(extract(&db, &mine, &shop).await.2.unwrap_err().kind(), Kind::Guard);
    assert_eq!(live(&db, "shop", "variations").await.len(), 40);
    let options = Options { allow_deletions: true, ..Options::default() };
    extract_with(&db, &mine, &shop, &options, CancellationToken::new()).await.2.unwrap();
    assert_eq!(live(&db, "shop", "variations").await.len(), 0);
}

#[tokio::test]
async fn of_two_extracts_of_one_shop_the_second_waits_and_finds_nothing_to_write() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 5, "orders", 50);
    let mine = connection("shop");
    let (first, second) = tokio::join!(extract(&db, &mine, &shop), extract(&db, &mine, &shop));
    first.2.unwrap();
    second.2.unwrap();
    let mut new = [first.1.total().landed.new, second.1.total().landed.new];
    new.sort_unstable();
    assert_eq!(new, [0, 50]);
}

#[tokio::test]
async fn who_has_lost_the_lease_stores_nothing_any_more() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 50);
    let mine = connection("shop");
    let takeover = "update ops.leases set token = token + 1 where name = 'extract:shop'";
    shop.at_call(3, Act::Sql(db.db.clone(), takeover.into()));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    assert_eq!(result.unwrap_err().kind(), Kind::LeaseLost);
    let landed = live(&db, "shop", "orders").await.len() as u64;
    assert!(landed <= 30 && landed == report.total().landed.new, "{landed} rows landed");
    extract(&db, &mine, &shop).await.2.unwrap();
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
}

#[tokio::test]
async fn the_connection_is_registered_without_secrets_and_steps_are_counted() {
    let db = support::database().await;
    let shop = shop_of(vec![orders()], 10, "orders", 12);
    let mine = connection("shop");
    let (run, _, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    let client = db.client().await.unwrap();
    let statement = "select platform, base_url, settings, xmin::text from ops.connections where connection = 'shop'";
    let row = client.query_one(statement, &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("fake", "http://localhost/shop"));
    let expected = json!({
        "consent_keys": ["newsletter"],
        "default_country": null,
        "statuses": { "sent": "DELIVERED" },
        "tags": { "registered": "rejestracja", "newsletter": "newsletter", "categories": true, "always": [] },
    });
    assert_eq!(row.get::<_, Value>(2), expected);
    let step = client
        .query_one(
            "select stage, subject, finished_at is not null, counts from ops.run_steps where run_id = $1",
            &[&run],
        )
        .await
        .unwrap();
    assert_eq!((step.get::<_, &str>(0), step.get::<_, &str>(1)), ("extract", "shop/orders"));
    assert!(step.get::<_, bool>(2));
    let counts: Value = step.get(3);
    assert_eq!(
        (&counts["read"], &counts["new"], &counts["pages"], &counts["calls"]),
        (&json!(12), &json!(12), &json!(2), &json!(2))
    );

    extract(&db, &mine, &shop).await.2.unwrap();
    let again = client.query_one(statement, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(3), again.get::<_, &str>(3), "an unchanged connection was written");
    let mut other = connection("shop");
    other.platform = "another".into();
    assert_eq!(extract(&db, &other, &shop).await.2.unwrap_err().kind(), Kind::PipelineFile);
}

#[tokio::test]
async fn only_the_streams_asked_for_are_read() {
    let db = support::database().await;
    let shop = shop_of(vec![customers(), orders()], 10, "orders", 5);
    let options = |stream: &str| Options { streams: vec![stream.into()], ..Options::default() };
    let mine = connection("shop");
    let (_, report, result) = extract_with(&db, &mine, &shop, &options("orders"), CancellationToken::new()).await;
    result.unwrap();
    assert_eq!(report.streams.iter().map(|s| s.stream).collect::<Vec<_>>(), ["orders"]);
    let result = extract_with(&db, &mine, &shop, &options("oders"), CancellationToken::new()).await.2;
    assert_eq!(result.unwrap_err().kind(), Kind::Command);
}

/// What goes wrong in one run of the property test.
#[derive(Debug, Clone)]
enum Trouble {
    Cut(usize, bool),
    Fail,
    Stop,
    CutDatabase,
    Takeover,
    LostKeys,
    Add(u64),
    Remove(u64),
    Modify(u64),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        2 => (0..6usize, any::<bool>()).prop_map(|(records, again)| Trouble::Cut(records, again)),
        2 => Just(Trouble::Fail),
        1 => Just(Trouble::Stop),
        1 => Just(Trouble::CutDatabase),
        1 => Just(Trouble::Takeover),
        1 => Just(Trouble::LostKeys),
        2 => (1..60u64).prop_map(Trouble::Add),
        2 => (1..40u64).prop_map(Trouble::Remove),
        2 => (1..40u64).prop_map(Trouble::Modify),
    ]
}

/// Runs extracts into trouble, then in peace, and compares staging with the shop.
async fn staging_equals_the_shop_after(
    db: &TestDatabase,
    name: &str,
    page_size: usize,
    count: u64,
    troubles: Vec<Vec<(usize, Trouble)>>,
) -> Result<(), TestCaseError> {
    let shop = FakeShop::new(vec![customers(), orders()], page_size);
    for list in ["customers", "orders"] {
        (1..=count).for_each(|id| shop.put(list, id, hours_ago(1000 - id as i64), json!({ "total": id })));
    }
    let mut mine = connection(name);
    mine.max_deleted_share = 1.0;
    mine.compare_keys_every = "0s".parse().unwrap();
    for round in troubles {
        // A pool whose connections were cut is not asked again: what is to be tested is not the pool.
        let db = fresh(db).await;
        let stop = CancellationToken::new();
        for (call, trouble) in round {
            let act = match trouble {
                Trouble::Cut(records, true) => Act::Cut(records, Kind::Truncated),
                Trouble::Cut(records, false) => Act::Cut(records, Kind::NotJson),
                Trouble::Fail => Act::Fail(Kind::Unreachable),
                Trouble::Stop => Act::Stop(stop.clone()),
                Trouble::CutDatabase => Act::Sql(db.clone(), CUT_OTHERS.into()),
                Trouble::Takeover => Act::Sql(
                    db.clone(),
                    format!("update ops.leases set token = token + 1 where name = 'extract:{name}'"),
                ),
                Trouble::LostKeys => {
                    Act::Sql(db.clone(), format!("delete from ops.walk_keys where connection = '{name}'"))
                }
                Trouble::Add(id) => change(move |lists| {
                    for list in ["customers", "orders"] {
                        put(lists, list, 100 + id, Timestamp::now(), json!({ "total": id }));
                    }
                }),
                Trouble::Remove(id) => change(move |lists| {
                    for rows in lists.values_mut() {
                        rows.remove(&id);
                    }
                }),
                Trouble::Modify(id) => change(move |lists| {
                    for list in ["customers", "orders"] {
                        if lists.get(list).is_some_and(|rows| rows.contains_key(&id)) {
                            put(lists, list, id, Timestamp::now(), json!({ "total": "modified" }));
                        }
                    }
                }),
            };
            shop.at_call(call, act);
        }
        let (_, report, _) = extract_with(&db, &mine, &shop, &Options::default(), stop).await;
        prop_assert!(report.total().landed.rejected == 0);
        shop.clear_script();
    }
    let db = &fresh(db).await;
    // The first run in peace may end a walk that began before a change at the shop; the second sees all.
    for _ in 0..2 {
        let (_, _, result) = extract(db, &mine, &shop).await;
        prop_assert!(result.is_ok(), "{:?}", result);
    }
    for list in ["customers", "orders"] {
        prop_assert_eq!(live(db, name, list).await, at_shop(&shop, list), "{}", list);
    }
    let before = [stored(db, name, "customers").await, stored(db, name, "orders").await];
    let (_, report, _) = extract(db, &mine, &shop).await;
    let Counts { deleted, landed, .. } = report.total();
    prop_assert_eq!((deleted, landed.new, landed.changed, landed.restored), (0, 0, 0, 0));
    let after = [stored(db, name, "customers").await, stored(db, name, "orders").await];
    prop_assert_eq!(before, after);
    Ok(())
}

fn change(change: impl FnOnce(&mut support::fake_shop::Lists) + Send + 'static) -> Act {
    Act::Change(Box::new(change))
}

/// The same database by new connections.
async fn fresh(db: &TestDatabase) -> Database {
    Database::connect(&DatabaseLocation::Url(db.url.clone())).await.unwrap()
}

/// Cuts every connection to this database but the one that asks.
const CUT_OTHERS: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()";

#[test]
fn whatever_goes_wrong_staging_ends_as_the_shop_is() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = runtime.block_on(support::database());
    let cases = std::sync::atomic::AtomicU32::new(0);
    let rounds = proptest::collection::vec(proptest::collection::vec((0..14usize, trouble()), 0..4), 0..5);
    let config = Config { cases: 16, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    TestRunner::new(config)
        .run(&(1..12usize, 0..40u64, rounds), |(page_size, count, troubles)| {
            let case = cases.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let name = format!("shop-{case}");
            runtime.block_on(staging_equals_the_shop_after(&db, &name, page_size, count, troubles))
        })
        .unwrap();
}
