//! The change feed: no reader skips a change that commits late, and each key's changes come in the order they were made.

use crate::support::staged::{StagedShop, customer};
use proptest::prelude::Rng;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wharf::progress::Progress;
use wharf::stage::{Context, transform};
use wharf::store::{Database, Outcome, Run};

async fn begin(db: &Database, command: &str) -> Run {
    Run::begin(db, "test", command).await.unwrap()
}

/// Transforms `shop` as part of a run.
async fn transform_in(db: &Database, run: &Run) -> wharf::Result<()> {
    let ctx = Context { db: db.clone(), run: run.clone(), progress: Progress::silent(), stop: Default::default() };
    transform::run(&ctx, &["shop".to_owned()], false).await.map(drop)
}

/// Lands a customer as a run in the middle of its extract does.
async fn land(db: &Database, run: &Run, id: u32, name: &str) {
    let mut record = customer(id, &format!("c{id}@shop.example"));
    record["first_name"] = json!(name);
    db.client()
        .await
        .unwrap()
        .execute(
            "insert into staging.customers (connection, source_key, payload, payload_hash, run_id)
             values ('shop', $1, $2, gen_random_uuid(), $3)
             on conflict (connection, source_key) do update set payload = excluded.payload, run_id = excluded.run_id",
            &[&id.to_string(), &record, &run.id],
        )
        .await
        .unwrap();
}

async fn complete_run(db: &Database) -> i64 {
    db.client().await.unwrap().query_one("select canonical.complete_run()", &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_an_older_run_lands_after_a_transform_are_mapped_by_the_next() {
    let shop = StagedShop::new(json!({})).await;
    let db = &shop.test.db;
    let back_fill = begin(db, "extract").await;
    land(db, &back_fill, 1, "Anna").await;
    let quick = begin(db, "run").await;
    land(db, &quick, 2, "Ewa").await;
    transform_in(db, &quick).await.unwrap();
    quick.finish(Outcome::Done, None).await.unwrap();
    land(db, &back_fill, 3, "Ola").await;
    back_fill.finish(Outcome::Done, None).await.unwrap();
    let run = shop.transform().await;
    assert_eq!(shop.column("select first_name from canonical.contacts").await, ["Anna", "Ewa", "Ola"]);
    assert_eq!(shop.value("select mapped_run from ops.connections").await, run.to_string(), "and nobody is waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_no_run_that_cannot_write_its_shop() {
    let shop = StagedShop::new(json!({})).await;
    let db = &shop.test.db;
    let other_shop = begin(db, "run").await;
    other_shop.will_extract(&["other"]).await.unwrap();
    let past_extract = begin(db, "run").await;
    past_extract.step("transform", "shop").await.unwrap();
    let load = begin(db, "load").await;
    let own = begin(db, "run").await;
    land(db, &own, 1, "Anna").await;
    transform_in(db, &own).await.unwrap();
    assert_eq!(shop.value("select mapped_run from ops.connections").await, own.id.to_string());
    drop((other_shop, past_extract, load));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_transforms_after_a_later_one_writes_with_a_new_number() {
    let shop = StagedShop::new(json!({})).await;
    let db = &shop.test.db;
    let (slow, quick) = (begin(db, "run").await, begin(db, "run").await);
    land(db, &quick, 1, "first").await;
    transform_in(db, &quick).await.unwrap();
    assert!(complete_run(db).await >= quick.id, "the slow run holds nobody up: it cannot write below the quick one");
    land(db, &slow, 1, "second").await;
    transform_in(db, &slow).await.unwrap();
    let changes = shop
        .column(&format!(
            "select op || ' ' || (run_id > {}) || ' ' || coalesce(old ->> 'first_name', '') from canonical.changes
             where entity = 'contacts'",
            quick.id
        ))
        .await;
    assert_eq!(changes, ["insert false ", "update true first"]);
    assert_eq!(
        shop.value("select string_agg(command || ' ' || outcome, ', ') from ops.runs where finished_at is not null")
            .await,
        "transform done",
        "the number's run is finished, those at work are not"
    );
    let lease = shop.value("select holder || run_id from ops.leases where name = 'transform'").await;
    assert_eq!(lease, "0", "the lease was given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watermark_is_refused_to_a_transaction_that_sees_one_instant() {
    let shop = StagedShop::new(json!({})).await;
    let mut client = shop.client().await;
    let transaction = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .start()
        .await
        .unwrap();
    let error = transaction.query_one("select canonical.complete_run()", &[]).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("read committed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_the_watermark_inside_a_long_transaction_keeps_nobody_from_beginning_a_run() {
    let shop = StagedShop::new(json!({})).await;
    let mut client = shop.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.query_one("select canonical.complete_run(), ops.staged_run('shop', 0)", &[]).await.unwrap();
    let locks: i64 = transaction
        .query_one(
            "select count(*) from pg_locks where relation = 'ops.runs'::regclass and mode = 'ShareLock' and pid = pg_backend_pid()",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(locks, 0);
}

/// What a reader has seen: its place, and per key the numbers of the changes in the order they came.
#[derive(Default)]
struct Reader {
    after: i64,
    seen: HashMap<(String, String), Vec<i64>>,
    reads: u64,
}

impl Reader {
    async fn poll(&mut self, db: &Database) {
        let client = db.client().await.unwrap();
        let through: i64 = client.query_one("select canonical.complete_run()", &[]).await.unwrap().get(0);
        let rows = client
            .query(
                "select seq, entity, key from canonical.changes where run_id > $1 and run_id <= $2 order by run_id, seq",
                &[&self.after, &through],
            )
            .await
            .unwrap();
        for row in rows {
            self.seen.entry((row.get(1), row.get(2))).or_default().push(row.get(0));
        }
        self.after = self.after.max(through);
        self.reads += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_polls_all_the_time_sees_each_change_once_and_each_key_in_order() {
    const WRITERS: u32 = 4;
    const ROUNDS: u32 = 5;
    let shop = StagedShop::new(json!({})).await;
    let db = &shop.test.db;
    let done = Arc::new(AtomicBool::new(false));
    let reading = tokio::spawn({
        let (db, done) = (db.clone(), done.clone());
        async move {
            let mut reader = Reader::default();
            while !done.load(Ordering::Acquire) {
                reader.poll(&db).await;
                tokio::task::yield_now().await;
            }
            reader.poll(&db).await;
            reader
        }
    });
    let writers = (0..WRITERS).map(|writer| {
        let db = db.clone();
        tokio::spawn(async move {
            let mut random =
                proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
            for _ in 0..writer {
                random.next_u64();
            }
            for round in 0..ROUNDS {
                // Begun before others, transformed after them or not, as it comes; all of them change the same people.
                let run = begin(&db, "run").await;
                for _ in 0..random.next_u32() % 3 {
                    let other = begin(&db, "run").await;
                    other.finish(Outcome::Done, None).await.unwrap();
                }
                land(&db, &run, random.next_u32() % 3, &format!("{writer} in {round}")).await;
                transform_in(&db, &run).await.unwrap();
                run.finish(Outcome::Done, None).await.unwrap();
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.unwrap();
    }
    // One that commits late: its last step waits for a row that somebody holds, while other runs begin and end.
    let late = begin(db, "run").await;
    land(db, &late, 1, "late").await;
    let mut client = shop.client().await;
    let holding = client.transaction().await.unwrap();
    holding.execute("select from ops.connections for update", &[]).await.unwrap();
    let pid: i32 = holding.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let transforming = tokio::spawn({
        let (db, late) = (db.clone(), late.clone());
        async move { transform_in(&db, &late).await }
    });
    let watching = shop.client().await;
    while watching
        .query_one("select count(*) from pg_stat_activity where $1 = any (pg_blocking_pids(pid))", &[&pid])
        .await
        .unwrap()
        .get::<_, i64>(0)
        == 0
    {
        tokio::task::yield_now().await;
    }
    for _ in 0..5 {
        begin(db, "run").await.finish(Outcome::Done, None).await.unwrap();
    }
    assert!(complete_run(db).await < late.id, "what has not committed must be waited for");
    holding.rollback().await.unwrap();
    transforming.await.unwrap().unwrap();
    late.finish(Outcome::Done, None).await.unwrap();
    done.store(true, Ordering::Release);
    let reader = reading.await.unwrap();

    let mut expected: HashMap<(String, String), Vec<i64>> = HashMap::new();
    for row in
        shop.client().await.query("select seq, entity, key from canonical.changes order by seq", &[]).await.unwrap()
    {
        expected.entry((row.get(1), row.get(2))).or_default().push(row.get(0));
    }
    assert!(expected.values().map(Vec::len).sum::<usize>() > 20, "too little has happened");
    assert_eq!(reader.seen, expected, "after {} reads", reader.reads);
}
