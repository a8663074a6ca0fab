//! What a walk leaves doubtful, on a shop in memory: what a list leaves out is asked for by key before it is deleted, what
//! it holds beyond staging is fetched by key, and where nobody can be asked a second walk decides.

use crate::support;
use crate::support::fake_shop::{
    Act, FakeShop, at_shop, connection, customers, extract, extract_with, live, orders, products_with_variations,
    stored,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use wharf::Kind;
use wharf::config::pipeline::Connection;
use wharf::source::{Absence, Compared, StreamSpec};
use wharf::stage::extract::Options;

fn long_ago() -> Timestamp {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    now - SignedDuration::from_hours(1000)
}

/// Fills a stream with records 1 to `count`, changed long ago.
fn filled(shop: Arc<FakeShop>, stream: &'static str, count: u64) -> Arc<FakeShop> {
    (1..=count).for_each(|id| shop.put(stream, id, long_ago(), json!({ "total": id })));
    shop
}

fn shop_of(stream: StreamSpec, count: u64) -> Arc<FakeShop> {
    let name = stream.name;
    filled(FakeShop::new(vec![stream], 10), name, count)
}

/// A shop that cannot be asked by key.
fn mute_shop_of(stream: StreamSpec, count: u64) -> Arc<FakeShop> {
    let name = stream.name;
    filled(FakeShop::with_absence(vec![stream], 10, Absence::SecondWalk), name, count)
}

fn comparing() -> Connection {
    let mut mine = connection("shop");
    mine.compare_keys_every = "0s".parse().unwrap();
    mine
}

#[tokio::test]
async fn what_a_list_leaves_out_is_asked_for_by_key_before_it_is_deleted() {
    for stream in [customers(), orders()] {
        let db = support::database().await;
        let (shop, mine, name) = (shop_of(stream.clone(), 40), comparing(), stream.name);
        extract(&db, &mine, &shop).await.2.unwrap();
        extract(&db, &mine, &shop).await.2.unwrap();
        assert_eq!(shop.take_asked_by_key(), [], "nothing is in doubt");
        let before = stored(&db, "shop", name).await;
        shop.unlist(name, [5, 17]);
        shop.remove(name, [9]);
        let (_, report, result) = extract(&db, &mine, &shop).await;
        result.unwrap();
        let counts = report.total();
        assert_eq!((counts.kept, counts.deleted, counts.landed.changed), (2, 1, 0), "{name}");
        assert_eq!(shop.take_asked_by_key(), [(name, vec!["17".to_owned(), "5".to_owned(), "9".to_owned()])]);
        let after = stored(&db, "shop", name).await;
        assert!(after["9"].deleted && after["5"] == before["5"] && after["17"] == before["17"], "{name}");
    }
}

#[tokio::test]
async fn what_is_given_by_key_lands_as_any_record_does() {
    let db = support::database().await;
    let (shop, mine) = (shop_of(customers(), 40), connection("shop"));
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.put("customers", 5, long_ago(), json!({ "total": "changed" }));
    shop.unlist("customers", [5]);
    let (run, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!((report.total().landed.changed, report.total().deleted), (1, 0));
    let row = &stored(&db, "shop", "customers").await["5"];
    assert_eq!((&row.payload["total"], row.run_id), (&json!("changed"), run));
}

#[tokio::test]
async fn the_guard_counts_what_is_gone_and_not_what_a_list_left_out() {
    let db = support::database().await;
    let (shop, mine) = (shop_of(customers(), 60), connection("shop"));
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.unlist("customers", 1..=45);
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!((report.total().kept, report.total().deleted), (45, 0));
    // Where more is gone than may be, nobody goes on asking.
    shop.take_asked_by_key();
    shop.remove("customers", 1..=45);
    let error = extract(&db, &mine, &shop).await.2.unwrap_err();
    assert_eq!(error.kind(), Kind::Guard);
    assert!(shop.take_asked_by_key().len() < 5, "all of them were asked for");
    assert!(stored(&db, "shop", "customers").await.values().all(|row| !row.deleted));
}

#[tokio::test]
async fn asking_that_was_broken_off_goes_on_where_it_stopped() {
    let db = support::database().await;
    let (shop, mut mine) = (shop_of(customers(), 100), connection("shop"));
    mine.max_deleted_share = 0.9;
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.remove("customers", 1..=45);
    shop.fail_by_key_after(2);
    let (_, report, result) = extract(&db, &mine, &shop).await;
    assert_eq!(result.unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(report.total().deleted, 0);
    assert!(stored(&db, "shop", "customers").await.values().all(|row| !row.deleted));
    shop.take_asked();
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.total().deleted, 45);
    assert_eq!(shop.take_asked(), [], "the walk is not walked again");
    let asked: Vec<String> = shop.take_asked_by_key().into_iter().flat_map(|(_, keys)| keys).collect();
    assert_eq!(asked.len(), 45);
    assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 45, "what was asked for is not asked for again");
    assert_eq!(live(&db, "shop", "customers").await, at_shop(&shop, "customers"));
}

#[tokio::test]
async fn a_shop_that_does_not_look_at_keys_proves_nothing() {
    let db = support::database().await;
    let (shop, mine) = (shop_of(customers(), 40), connection("shop"));
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.remove("customers", [9]);
    shop.ignore_keys();
    let error = extract(&db, &mine, &shop).await.2.unwrap_err();
    assert_eq!(error.kind(), Kind::Protocol);
    assert!(error.detail().contains("asking for records of shop/customers by key (everything)"), "{error}");
    assert!(stored(&db, "shop", "customers").await.values().all(|row| !row.deleted));
}

#[tokio::test]
async fn children_that_a_list_leaves_out_are_asked_for_below_their_parent() {
    let db = support::database().await;
    let shop = FakeShop::new(products_with_variations(), 10);
    let mine = connection("shop");
    (1..=3).for_each(|id| shop.put("products", id, long_ago(), json!({ "type": "variable" })));
    for (id, parent) in [(101, 1), (102, 1), (103, 1), (201, 2), (202, 2)] {
        shop.put("variations", id, long_ago(), json!({ "parent": parent }));
    }
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.unlist("variations", [102, 202]);
    shop.remove("variations", [103]);
    for id in 1..=2 {
        shop.put("products", id, Timestamp::now(), json!({ "type": "variable", "price": 2 }));
    }
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!((report.total().kept, report.total().deleted), (2, 1));
    let asked = shop.take_asked_by_key();
    assert_eq!(
        asked,
        [("variations", vec!["102".to_owned(), "103".to_owned()]), ("variations", vec!["202".to_owned()])]
    );
    assert_eq!(live(&db, "shop", "variations").await, at_shop(&shop, "variations"));
}

#[tokio::test]
async fn where_nobody_can_be_asked_a_second_walk_must_agree() {
    let db = support::database().await;
    let (shop, mine) = (mute_shop_of(customers(), 40), connection("shop"));
    extract(&db, &mine, &shop).await.2.unwrap();
    let seen = async |deleted, in_doubt| {
        let (_, report, result) = extract(&db, &mine, &shop).await;
        result.unwrap();
        assert_eq!((report.total().deleted, report.total().in_doubt), (deleted, in_doubt));
    };
    shop.remove("customers", [9]);
    shop.unlist("customers", [5]);
    seen(0, 2).await;
    shop.list_all();
    seen(1, 0).await;
    assert_eq!(live(&db, "shop", "customers").await, at_shop(&shop, "customers"));
    // Two walks that miss it count only where none between has seen it; a walk that was given up does not count.
    shop.unlist("customers", [5]);
    seen(0, 1).await;
    shop.at_call(2, Act::Fail(Kind::Unreachable));
    extract(&db, &mine, &shop).await.2.unwrap_err();
    assert!(!stored(&db, "shop", "customers").await["5"].deleted);
    seen(1, 0).await;
    shop.list_all();
    seen(0, 0).await;
    assert_eq!(live(&db, "shop", "customers").await, at_shop(&shop, "customers"));
    // The guard holds for what both walks miss.
    shop.remove("customers", 1..=30);
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!((report.total().deleted, report.total().in_doubt), (0, 29));
    assert_eq!(extract(&db, &mine, &shop).await.2.unwrap_err().kind(), Kind::Guard);
    let options = Options { allow_deletions: true, ..Options::default() };
    let (_, report, result) = extract_with(&db, &mine, &shop, &options, CancellationToken::new()).await;
    result.unwrap();
    assert_eq!(report.total().deleted, 29);
}

#[tokio::test]
async fn what_only_a_second_walk_settles_waits_for_the_next_run_and_no_longer() {
    let db = support::database().await;
    let (shop, mut mine) = (mute_shop_of(customers(), 40), connection("shop"));
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.remove("customers", [9]);
    extract(&db, &mine, &shop).await.2.unwrap();
    mine.full_walk_every = Some("1d".parse().unwrap());
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!((report.streams[0].walks.as_slice(), report.total().deleted), (["everything"].as_slice(), 1));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.streams[0].walks, [""; 0], "nothing is in doubt any more");
}

#[tokio::test]
async fn a_key_that_is_listed_and_not_given_is_counted_and_named() {
    let db = support::database().await;
    let (shop, mine) = (shop_of(orders(), 25), comparing());
    extract(&db, &mine, &shop).await.2.unwrap();
    shop.put("orders", 99, long_ago() - SignedDuration::from_hours(1000), json!({ "total": 99 }));
    // The walk by change reads three pages, for the overlap.
    shop.at_call(3, Act::Extra(vec![r#"{"id":77}"#]));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    let counts = report.total();
    assert_eq!((counts.fetched, counts.landed.new, counts.not_landed), (1, 1, 1));
    assert_eq!(report.streams[0].not_landed, ["77"]);
    assert_eq!(live(&db, "shop", "orders").await, at_shop(&shop, "orders"));
    let client = db.client().await.unwrap();
    let told = "select concat_ws(' ', counts ->> 'fetched', counts ->> 'not_landed', counts ->> 'not_landed_keys')
        from ops.run_steps where stage = 'extract' order by run_id desc limit 1";
    let row = client.query_one(told, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "1 1 77", "status tells of it");
}

#[tokio::test]
async fn a_stream_whose_keys_are_compared_must_be_asked_by_key() {
    let db = support::database().await;
    let shop = mute_shop_of(orders(), 3);
    let error = extract(&db, &connection("shop"), &shop).await.2.unwrap_err();
    assert_eq!(error.kind(), Kind::Internal, "{error}");
}

#[tokio::test]
async fn what_a_stream_does_not_compare_is_no_change_and_reads_no_children_again() {
    let db = support::database().await;
    let compared = Compared { without: &["related"], as_sets: &["categories"] };
    let mut streams = products_with_variations();
    streams[0].compared = compared;
    let shop = FakeShop::new(streams, 10);
    let mine = connection("shop");
    let product = |related: u64, categories: [u64; 2], price: u64| {
        let fields = json!({ "type": "variable", "related": related, "categories": categories, "price": price });
        // Modified a moment ago: each walk by change gives it again.
        shop.put("products", 1, Timestamp::now(), fields);
    };
    product(1, [1, 2], 5);
    shop.put("variations", 101, long_ago(), json!({ "parent": 1 }));
    extract(&db, &mine, &shop).await.2.unwrap();
    let before = stored(&db, "shop", "products").await;
    shop.take_asked();

    let moment = before["1"].payload["updated"].as_str().unwrap().parse().unwrap();
    let fields = |related, categories: [u64; 2], price| json!({ "type": "variable", "related": related, "categories": categories, "price": price });
    shop.put("products", 1, moment, fields(2, [2, 1], 5));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!((report.total().landed.changed, report.total().landed.unchanged), (0, 1));
    assert_eq!(stored(&db, "shop", "products").await, before);
    assert!(shop.take_asked().iter().all(|asked| asked.stream == "products"), "variations were read again");

    shop.put("products", 1, moment, fields(3, [2, 1], 6));
    let (_, report, result) = extract(&db, &mine, &shop).await;
    result.unwrap();
    assert_eq!(report.streams[0].counts.landed.changed, 1);
    assert_eq!(live(&db, "shop", "products").await, at_shop(&shop, "products"), "it is stored as received");
}
