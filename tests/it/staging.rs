//! Landing batches: what is new, changed, unchanged, repeated, broken, and what becomes of each.

use crate::support::{self, TestDatabase, fake_shop::stored};
use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering};
use wharf::store::staging::{Batch, Landed, Landing, MAX_KEY, Record, Reject, RejectCode};
use wharf::store::storable::storable;

const SHOP: &str = "shop";

fn record(key: &str, raw: impl Into<Bytes>) -> Record {
    Record::new(key.into(), None, None, raw.into())
}

fn at(second: i64) -> Option<Timestamp> {
    Some(Timestamp::from_second(second).unwrap())
}

fn batch(records: impl IntoIterator<Item = Record>) -> Batch {
    let mut batch = Batch::default();
    records.into_iter().for_each(|record| batch.push(record));
    batch
}

async fn land(db: &TestDatabase, run: i64, batch: Batch) -> Landed {
    let mut client = db.dedicated().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let landed = Landing::new(SHOP, "orders", "orders", run).unwrap().land(&tx, batch).await.unwrap();
    tx.commit().await.unwrap();
    landed
}

#[derive(Debug, PartialEq)]
struct Rejected {
    key: String,
    code: String,
    raw: Vec<u8>,
    times: i32,
    run_id: i64,
}

async fn rejects(db: &TestDatabase) -> Vec<Rejected> {
    let statement = "select source_key, code, raw, times, run_id from staging.rejects order by source_key, code";
    let rows = db.client().await.unwrap().query(statement, &[]).await.unwrap();
    rows.iter()
        .map(|row| Rejected {
            key: row.get(0),
            code: row.get(1),
            raw: row.get(2),
            times: row.get(3),
            run_id: row.get(4),
        })
        .collect()
}

#[tokio::test]
async fn new_records_land_as_received() {
    let db = support::database().await;
    let parent = Some("7".into());
    let raw = r#"{"id": 1, "name": "Zażółć \u0000e\\u0000", "total": "12.50", "price": 0.10, "big": 123456789012345678901234567890.5}"#;
    let raw = raw.replace(r"\u0000e", "");
    let landed = land(&db, 3, batch([Record::new("1".into(), at(60), parent, raw.clone().into())])).await;
    assert_eq!(landed, Landed { new: 1, ..Landed::default() });
    let client = db.client().await.unwrap();
    let row = client
        .query_one(
            "select payload = $1::text::jsonb, parent_key, source_updated_at, deleted_at is null, run_id, payload_hash
             from staging.orders where connection = 'shop' and source_key = '1'",
            &[&raw],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0), "the payload differs");
    assert_eq!(row.get::<_, Option<String>>(1).as_deref(), Some("7"));
    assert_eq!(row.get::<_, Option<Timestamp>>(2), at(60));
    assert!(row.get::<_, bool>(3));
    assert_eq!(row.get::<_, i64>(4), 3);
    assert_eq!(row.get::<_, uuid::Uuid>(5), wharf::store::staging::payload_hash(raw.as_bytes()));
}

#[tokio::test]
async fn unchanged_records_write_nothing_and_changed_ones_remember_the_run() {
    let db = support::database().await;
    let records = |third: &'static str| [record("1", "{\"a\":1}"), record("2", "{\"a\":2}"), record("3", third)];
    assert_eq!(land(&db, 1, batch(records("{\"a\":3}"))).await.new, 3);
    let before = stored(&db, SHOP, "orders").await;
    let landed = land(&db, 2, batch(records("{\"a\":30}"))).await;
    assert_eq!(landed, Landed { unchanged: 2, changed: 1, ..Landed::default() });
    let after = stored(&db, SHOP, "orders").await;
    assert_eq!((&after["1"], &after["2"]), (&before["1"], &before["2"]));
    assert_eq!((after["3"].run_id, &after["3"].payload), (2, &json!({"a": 30})));
}

#[tokio::test]
async fn the_same_record_in_another_list_or_shop_is_another_record() {
    let db = support::database().await;
    land(&db, 1, batch([record("1", "{}")])).await;
    let mut client = db.dedicated().await.unwrap();
    let tx = client.transaction().await.unwrap();
    for (connection, table) in [("other", "orders"), (SHOP, "customers")] {
        let landing = Landing::new(connection, table, table, 1).unwrap();
        assert_eq!(landing.land(&tx, batch([record("1", "{}")])).await.unwrap().new, 1);
    }
}

#[tokio::test]
async fn a_row_marked_deleted_comes_back_when_it_is_listed_again() {
    let db = support::database().await;
    land(&db, 1, batch([record("1", "{\"a\":1}"), record("2", "{\"a\":2}")])).await;
    db.client().await.unwrap().batch_execute("update staging.orders set deleted_at = now()").await.unwrap();
    let landed = land(&db, 2, batch([record("1", "{\"a\":1}"), record("2", "{\"a\":20}")])).await;
    assert_eq!(landed, Landed { restored: 2, ..Landed::default() });
    let rows = stored(&db, SHOP, "orders").await;
    assert!(rows.values().all(|row| !row.deleted && row.run_id == 2));
    assert_eq!(rows["2"].payload, json!({"a": 20}));
}

#[tokio::test]
async fn of_duplicate_keys_the_newest_wins_and_then_the_last() {
    let db = support::database().await;
    let dated = |key: &str, second, raw: &'static str| Record::new(key.into(), at(second), None, raw.into());
    let records = [
        dated("1", 9, "{\"v\":\"new\"}"),
        dated("1", 5, "{\"v\":\"old\"}"),
        dated("2", 5, "{\"v\":\"first\"}"),
        dated("2", 5, "{\"v\":\"last\"}"),
    ];
    let landed = land(&db, 1, batch(records)).await;
    assert_eq!(landed, Landed { new: 2, repeated: 2, ..Landed::default() });
    // The same across batches of one run: what was cached somewhere does not undo what was seen newer.
    let landed = land(&db, 1, batch([dated("1", 5, "{\"v\":\"old\"}"), dated("2", 6, "{\"v\":\"newer\"}")])).await;
    assert_eq!(landed, Landed { changed: 1, repeated: 1, ..Landed::default() });
    let rows = stored(&db, SHOP, "orders").await;
    assert_eq!((&rows["1"].payload["v"], &rows["2"].payload["v"]), (&json!("new"), &json!("newer")));
    // A later run believes the shop: it may have been restored from a backup.
    land(&db, 2, batch([dated("1", 5, "{\"v\":\"old\"}")])).await;
    assert_eq!(stored(&db, SHOP, "orders").await["1"].payload["v"], json!("old"));
}

#[tokio::test]
async fn a_nul_character_costs_the_character_and_not_the_record() {
    let db = support::database().await;
    let raw = r#"{"id":1,"name":"a\u0000b"}"#;
    let landed = land(&db, 1, batch([record("1", raw), record("2", "{\"id\":2}")])).await;
    assert_eq!(landed, Landed { new: 2, altered: 1, ..Landed::default() });
    assert_eq!(stored(&db, SHOP, "orders").await["1"].payload["name"], json!("a\u{fffd}b"));
    let expected = |times, run_id| Rejected {
        key: "1".into(),
        code: "altered".into(),
        raw: raw.as_bytes().to_vec(),
        times,
        run_id,
    };
    assert_eq!(rejects(&db).await, [expected(1, 1)]);
    // Unchanged, it writes nothing; mended at the shop, the reject goes.
    assert_eq!(land(&db, 2, batch([record("1", raw)])).await.unchanged, 1);
    assert_eq!(rejects(&db).await, [expected(1, 1)]);
    land(&db, 3, batch([record("1", r#"{"id":1,"name":"ab"}"#)])).await;
    assert_eq!(rejects(&db).await, []);
}

#[tokio::test]
async fn what_postgres_cannot_hold_is_kept_aside_and_the_rest_of_the_batch_lands() {
    let db = support::database().await;
    let deep = format!("{{\"deep\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let mut records: Vec<Record> = (0..300).map(|n| record(&n.to_string(), format!("{{\"n\":{n}}}"))).collect();
    land(&db, 1, batch(records[150..200].to_vec())).await;
    for n in (150..200).step_by(7) {
        records[n] = record(&n.to_string(), format!("{{\"n\":\"changed {n}\"}}"));
    }
    records[3] = record("3", "{\"n\":1e999999}");
    records[160] = record("160", "{\"n\":-1e999999}");
    records[161] = record("161", deep.clone());
    records[299] = record("299", "{\"n\":");
    let landed = land(&db, 2, batch(records)).await;
    assert_eq!(landed.rejected, 4);
    assert_eq!((landed.new, landed.changed), (248, 8));
    let kept = rejects(&db).await;
    let codes: Vec<_> = kept.iter().map(|reject| (reject.key.as_str(), reject.code.as_str())).collect();
    let not_storable = |key| (key, "not-storable");
    assert_eq!(codes, [not_storable("160"), not_storable("161"), not_storable("299"), not_storable("3")]);
    assert_eq!(kept[1].raw, deep.as_bytes());
    let rows = stored(&db, SHOP, "orders").await;
    assert_eq!(rows.len(), 298);
    assert_eq!(rows["160"].payload, json!({"n": 160}), "the last storable version stays");
    // Seen again it counts up; mended, it lands and is forgotten.
    land(&db, 3, batch([record("3", "{\"n\":1e999999}")])).await;
    assert_eq!(rejects(&db).await.last().map(|reject| (reject.times, reject.run_id)), Some((2, 3)));
    land(&db, 4, batch([record("3", "{\"n\":1}")])).await;
    assert_eq!(rejects(&db).await.len(), 3);
    // Back to what is stored, it is sound as well.
    land(&db, 5, batch([record("160", "{\"n\":160}")])).await;
    let left: Vec<String> = rejects(&db).await.into_iter().map(|reject| reject.key).collect();
    assert_eq!(left, ["161", "299"]);
    // With its NUL replaced it has landed: what kept it from landing is over, and stays over when it comes again.
    for run in [6, 7] {
        land(&db, run, batch([record("161", "{\"n\":\"a\\u0000b\"}")])).await;
        let codes: Vec<_> = rejects(&db).await.into_iter().map(|reject| (reject.key, reject.code)).collect();
        let expected = [("161", "altered"), ("299", "not-storable")].map(|(key, code)| (key.into(), code.into()));
        assert_eq!(codes, expected, "run {run}");
    }
}

#[tokio::test]
async fn records_without_a_key_and_keys_beyond_reason_are_kept_aside() {
    let db = support::database().await;
    let mut batch = batch([record(&"k".repeat(MAX_KEY + 1), "{\"long\":1}"), record("", "{}"), record("1", "{}")]);
    let no_key = |raw: &'static [u8]| Reject {
        key: None,
        code: RejectCode::NoKey,
        reason: "the record has no id".into(),
        raw: Bytes::from_static(raw),
    };
    batch.push_reject(no_key(b"{\"name\":1}"));
    batch.push_reject(no_key(b"{\"name\":1}"));
    batch.push_reject(no_key(b"{\"name\":2}"));
    let landed = land(&db, 1, batch).await;
    assert_eq!(landed, Landed { new: 1, rejected: 5, ..Landed::default() });
    let kept = rejects(&db).await;
    let mut codes: Vec<_> = kept.iter().map(|reject| reject.code.as_str()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["no-key", "no-key", "no-key", "not-storable"]);
    assert!(kept.iter().all(|reject| reject.key.starts_with("hash:")));
}

#[tokio::test]
async fn an_order_of_a_million_lines_lands() {
    let db = support::database().await;
    let mut raw = String::with_capacity(40 << 20);
    raw.push_str("{\"id\":1,\"lines\":[");
    (0..1_000_000).for_each(|n| raw.push_str(&format!("{{\"sku\":\"A-{n}\",\"quantity\":2}},")));
    raw.push_str("{}]}");
    let landed = land(&db, 1, batch([record("1", raw), record("2", "{}")])).await;
    assert_eq!(landed.new, 2);
    let statement = "select jsonb_array_length(payload -> 'lines') from staging.orders where source_key = '1'";
    let lines: i32 = db.client().await.unwrap().query_one(statement, &[]).await.unwrap().get(0);
    assert_eq!(lines, 1_000_001);
}

/// Pieces of JSON strings, most of which Postgres refuses in some neighbourhood.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop_oneof![
        Just(&br"\u0000"[..]),
        Just(&br"\\"[..]),
        Just(&br#"\""#[..]),
        Just(&br"\n"[..]),
        Just(&br"u0000"[..]),
        Just(&br"\uD83D"[..]),
        Just(&br"\ude00"[..]),
        Just(&br"\udc00"[..]),
        Just(&br"\uDFFF"[..]),
        Just(&br"\ud800"[..]),
        Just(&br"\udbff"[..]),
        Just(&br"\ud7ff\ue000"[..]),
        Just(&br"\ud83d\ude00"[..]),
        Just(&br"\u017c"[..]),
        Just(&b"\0"[..]),
        Just(&b"\x07\n"[..]),
        Just(&b"\xff"[..]),
        Just(&b"\xc5"[..]),
        Just("ż😀".as_bytes()),
    ];
    prop_oneof![4 => fixed.prop_map(<[u8]>::to_vec), 1 => "[a-zA-Z0-9 {}:,\\[\\]]{0,6}".prop_map(String::into_bytes)]
}

#[test]
fn what_was_made_storable_is_taken_by_postgres_and_the_rest_is_left_as_it_was() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = runtime.block_on(support::database());
    let client = runtime.block_on(db.dedicated()).unwrap();
    let is_taken = |text: &str| {
        // A text with NUL bytes cannot even be sent.
        !text.contains('\0')
            && runtime.block_on(client.query_one("select $1::text::jsonb is not null", &[&text])).is_ok()
    };
    let string = proptest::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat());
    let record = proptest::collection::vec(string, 1..4).prop_map(|strings| {
        let quoted = strings.iter().map(|text| [b"\"", text.as_slice(), b"\""].concat());
        [b"[ ".to_vec(), quoted.collect::<Vec<_>>().join(&b" ,\n\t"[..]), b"]".to_vec()].concat()
    });
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&record, |raw| {
            let (text, replaced) = storable(&raw);
            let taken_as_it_was = std::str::from_utf8(&raw).is_ok_and(is_taken);
            let text_taken = std::str::from_utf8(&text).is_ok_and(is_taken);
            prop_assert!(text_taken, "refused: {}", String::from_utf8_lossy(&text));
            prop_assert_eq!(taken_as_it_was, matches!(text, Cow::Borrowed(_)));
            prop_assert_eq!(taken_as_it_was, !replaced.any());
            let again: Value = serde_json::from_slice(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert!(again.is_array());
            Ok(())
        })
        .unwrap();
}

/// Payloads of all kinds: sound, with a character that has to be replaced, no JSON, refused by Postgres alone.
const PAYLOADS: [&str; 6] =
    [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":"\u0000"}"#, r#"{"a":"#, r#"{"a":1e999999}"#, r#"{"a":3,"b":[]}"#];

/// What has landed and what was kept aside of a shop, without what differs from one landing to the next.
async fn outcome(db: &TestDatabase, shop: &str) -> Vec<String> {
    let statement = "
        select concat_ws(' ', source_key, payload, payload_hash, source_updated_at, parent_key, run_id, deleted_at)
        from staging.orders where connection = $1
        union all
        select concat_ws(' ', source_key, code, reason, raw, times)
        from staging.rejects where connection = $1
        order by 1";
    let rows = db.client().await.unwrap().query(statement, &[&shop]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_first_walk_that_looks_nothing_up_lands_the_same_as_one_that_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = runtime.block_on(support::database());
    let record = (0..8_u8, 0..PAYLOADS.len(), proptest::option::of(-2_000_000_000..2_000_000_000_i64), any::<bool>());
    let page = (proptest::collection::vec(record, 0..6), 0..12_u8);
    let shops = AtomicU32::new(0);
    let land_all = |pages: &[(Vec<_>, u8)], looks: bool| {
        let number = shops.fetch_add(1, Ordering::Relaxed);
        let shop = format!("shop-{number}");
        let landed = runtime.block_on(async {
            let mut client = db.dedicated().await.unwrap();
            let landing = Landing::new(&shop, "orders", "orders", 1).unwrap();
            if !looks {
                landing.expect(&client).await.unwrap();
            }
            let mut all = Landed::default();
            for (records, keyless) in pages {
                let records: &Vec<(u8, usize, Option<i64>, bool)> = records;
                let mut batch = batch(records.iter().map(|(key, payload, second, hangs)| {
                    let second = second.map(|second| Timestamp::from_second(second).unwrap());
                    Record::new(format!("k{key}"), second, hangs.then(|| "7".into()), PAYLOADS[*payload].into())
                }));
                if *keyless == 0 {
                    let (code, raw) = (RejectCode::NoKey, Bytes::from_static(b"{}"));
                    batch.push_reject(Reject { key: None, code, reason: "no key".into(), raw });
                }
                let tx = client.transaction().await.unwrap();
                all += landing.land(&tx, batch).await.unwrap();
                tx.commit().await.unwrap();
            }
            all
        });
        (landed, runtime.block_on(outcome(&db, &shop)))
    };
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&proptest::collection::vec(page, 1..5), |pages| {
            prop_assert_eq!(land_all(&pages, false), land_all(&pages, true));
            Ok(())
        })
        .unwrap();
}
