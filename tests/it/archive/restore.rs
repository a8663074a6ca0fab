//! Restore: everything comes back exactly, the database goes on where it was, and what is not whole or not empty is
//! refused.

use super::{Folder, archive_in, archive_now, context, execute, run_with_changes};
use crate::support::pipeline::WholeWay;
use crate::support::{self, TestDatabase};
use std::process::Command;
use tokio_util::sync::CancellationToken;
use wharf::Kind;
use wharf::progress::Progress;
use wharf::sandbox::woocommerce;
use wharf::stage::archive::{self, Limits, Mode, RestoreReport};
use wharf::stage::transform;
use wharf::store::{Database, Outcome, Run};

/// Besides what every shop has.
const SHOP: &str = "
    auth: basic
    # No date: when a consent was seen to change is known to this database alone.
    consent_meta_keys: [{key: marketing_consent}]
";

const REST: &str = "contacts: {consent: all}";

async fn restore(db: &Database, folder: &Folder, snapshot: Option<&str>, mode: Mode) -> wharf::Result<RestoreReport> {
    let place = folder.path();
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    archive::restore(db, place.to_str().unwrap(), snapshot, mode, false, &progress, &stop).await
}

/// A hash of every table's rows, in any order; `besides` are left out.
async fn hashes(db: &Database, schemas: &str, besides: &[&str]) -> Vec<String> {
    let client = db.client().await.unwrap();
    let tables = client
        .query(
            "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = relnamespace
             where n.nspname = any (string_to_array($1, ' ')) and relkind = 'r' order by 1",
            &[&schemas],
        )
        .await
        .unwrap();
    let mut hashes = Vec::new();
    for table in tables.iter().map(|row| row.get::<_, String>(0)).filter(|table| !besides.contains(&table.as_str())) {
        let statement = format!(
            "select count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {table} t"
        );
        let hash: String = client.query_one(&statement, &[]).await.unwrap().get(0);
        hashes.push(format!("{table} {hash}"));
    }
    hashes
}

/// What is not archived, because it is worked out again or belongs to processes at work.
const NOT_RESTORED: &[&str] = &[
    "canonical.decoded_texts",
    "canonical.phones",
    "delivery.fingerprints",
    "delivery.guarded",
    "ops.archives",
    "ops.budget_rates",
    "ops.budgets",
    "ops.connection_settings",
    "ops.doubtful_keys",
    "ops.feed",
    "ops.leases",
    "ops.readings",
    "ops.run_steps",
    "ops.runs",
    "ops.walk_keys",
];

async fn transform_all(db: &Database) -> Vec<transform::EntityCounts> {
    let ctx = context(db).await;
    let report = transform::run(&ctx, &["shop".to_owned()], true).await.unwrap().remove(0);
    ctx.run.finish(Outcome::Done, None).await.unwrap();
    report.entities
}

async fn number(db: &Database, query: &str) -> i64 {
    db.client().await.unwrap().query_one(query, &[]).await.unwrap().get(0)
}

/// A shop that has been read and sent, has changed in every way, and was read and sent again.
async fn shop_with_history() -> WholeWay {
    let options = woocommerce::Options { customers: 60, orders: 120, ..woocommerce::Options::small() };
    let way = WholeWay::open(options, SHOP, REST).await;
    way.run().await;
    way.sandbox.woocommerce().unwrap().change_about(0.2, 1);
    let (_, second) = way.run().await;
    assert!(second.tally.all_sent() > 0);
    // A tag, a statement and a move that staging knows nothing of any more.
    assert!(number(&way.test.db, "select count(*) from canonical.contact_moves").await > 0);
    assert!(number(&way.test.db, "select count(*) from canonical.consent_statements").await > 0);
    way
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_is_the_same_sends_nothing_and_then_exactly_what_changes() {
    let folder = Folder::new();
    let mut way = shop_with_history().await;
    archive_now(&way.test.db, &folder).await;
    let restored = support::database().await;
    let report = restore(&restored.db, &folder, None, Mode::Exact).await.unwrap();
    assert!(report.entities.iter().any(|entity| entity.entity == "delivery.ledger" && entity.rows > 0), "{report}");

    // The settings of a restored database name it as one.
    execute(&restored.db, "delete from ops.settings where name like 'restored%'").await;
    let schemas = "staging canonical delivery ops";
    assert_eq!(hashes(&restored.db, schemas, NOT_RESTORED).await, hashes(&way.test.db, schemas, NOT_RESTORED).await);
    // Every canonical row is what staging and what cannot be told again give.
    let before = hashes(&restored.db, "canonical", NOT_RESTORED).await;
    assert_eq!(transform_all(&restored.db).await, []);
    assert_eq!(hashes(&restored.db, "canonical", NOT_RESTORED).await, before);
    let clash = "select count(*) from staging.orders where run_id >= (select min(run_id) from ops.runs)";
    assert_eq!(number(&restored.db, clash).await, 0, "runs go on after those that the rows know");

    let original = std::mem::replace(&mut way.test, restored);
    let (extracted, nothing) = way.run().await;
    assert_eq!((nothing.tally.all_sent(), nothing.tally.all_calls()), (0, 0), "{:?}", nothing.tally);
    assert_eq!(nothing.baseline, None);
    assert!(extracted.streams.iter().all(|stream| stream.counts.landed.new == 0), "{extracted:?}");

    way.sandbox.woocommerce().unwrap().change_about(0.1, 2);
    let (_, here) = way.run().await;
    let restored = std::mem::replace(&mut way.test, original);
    let (_, there) = way.run().await;
    assert!(here.tally.all_sent() > 0);
    assert_eq!(here.tally.sent, there.tally.sent);
    let facts = ["canonical.changes", "canonical.consent_statements", "canonical.contact_moves"];
    let besides: Vec<&str> = NOT_RESTORED.iter().chain(&facts).copied().collect();
    let without_times = |hashes: Vec<String>| -> Vec<String> {
        // Statements without a date were seen at two times by two databases.
        hashes.into_iter().filter(|hash| !hash.starts_with("canonical.contact") && !hash.contains("rejects")).collect()
    };
    assert_eq!(
        without_times(hashes(&restored.db, "canonical", &besides).await),
        without_times(hashes(&way.test.db, "canonical", &besides).await)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_after_the_snapshot_is_not_sent_again_by_the_restored_database() {
    let folder = Folder::new();
    let mut way = shop_with_history().await;
    archive_now(&way.test.db, &folder).await;
    way.sandbox.woocommerce().unwrap().change_about(0.3, 3);
    let (_, after) = way.run().await;
    assert!(after.tally.sent.get("purchase").is_some_and(|sent| *sent > 0), "{:?}", after.tally);
    let events = events_at(&way);

    let restored = support::database().await;
    restore(&restored.db, &folder, None, Mode::Exact).await.unwrap();
    way.test = restored;
    let (_, again) = way.run().await;
    assert_eq!(again.tally.sent.get("purchase"), None, "{:?}", again.tally);
    assert_eq!(events_at(&way), events);
    let open = "select count(*) from delivery.ledger where state <> 'acknowledged'";
    assert_eq!(number(&way.test.db, open).await, 0);
    assert_eq!(number(&way.test.db, "select count(*) from delivery.pending where object = 'order'").await, 0);

    // What the target has not seen goes, old orders and new ones alike, each once.
    way.sandbox.woocommerce().unwrap().change_about(0.3, 4);
    let (_, new) = way.run().await;
    assert!(new.tally.sent.get("purchase").is_some_and(|sent| *sent > 0), "{:?}", new.tally);
    let now = events_at(&way);
    assert!(now.len() > events.len());
    assert!(now.windows(2).all(|pair| pair[0] != pair[1]), "an event arrived twice");
}

/// Order and kind of every event that the account holds.
fn events_at(way: &WholeWay) -> Vec<(String, &'static str)> {
    let account = way.sandbox.salesmanago().unwrap().account();
    let cards = 0..u32::try_from(account.all_cards().len()).unwrap();
    let mut events: Vec<_> = cards
        .flat_map(|card| account.events_of(card))
        .map(|number| account.event(number))
        .map(|event| (event.fields()["externalId"].as_str().unwrap().to_owned(), event.kind()))
        .collect();
    events.sort_unstable();
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn canonical_rows_worked_out_again_are_those_that_were() {
    let folder = Folder::new();
    let way = shop_with_history().await;
    archive_now(&way.test.db, &folder).await;
    let rebuilt = support::database().await;
    restore(&rebuilt.db, &folder, None, Mode::Rebuild).await.unwrap();
    assert_eq!(number(&rebuilt.db, "select count(*) from canonical.contacts").await, 0);
    assert!(!transform_all(&rebuilt.db).await.is_empty());
    let besides: Vec<&str> = NOT_RESTORED.iter().chain(&["canonical.changes", "canonical.rejects"]).copied().collect();
    assert_eq!(hashes(&rebuilt.db, "canonical", &besides).await, hashes(&way.test.db, "canonical", &besides).await);
    let problems = "select count(*) from canonical.rejects";
    assert_eq!(number(&rebuilt.db, problems).await, number(&way.test.db, problems).await);
}

const ODD: &str = r#"
    create type staging.colour as enum ('red', 'green');
    create table staging.odd (
        connection text, run_id bigint, id int4 primary key, words text, colour staging.colour, document jsonb, plain json,
        number uuid, price numeric(18, 4), wide numeric(38, 10), loose numeric, at timestamptz, local_at timestamp,
        day date, flag boolean, small int2, large int8, ratio float8, half float4, bytes bytea, path text[],
        numbers int4[], prices numeric(18, 4)[], times timestamptz[], ids uuid[]
    );
"#;
const ODD_ROWS: &str = r#"
    insert into staging.odd values
    ('s', 1, 1, 'Zażółć 🦆 ' || chr(10), 'green', '{"a": [1, "ü", null]}', '{"b" : 1 }',
        '00112233-4455-6677-8899-aabbccddeeff', -12345678901234.5678, -9999999999999999999999999999.0123456789, 33.3333,
        '2024-02-29 23:59:59.999999+02', '1999-12-31 23:59:59', '0044-03-15 BC', true, -32768, -9223372036854775808,
        1.5, 0.1, '\x00ff', array['A', null, '', 'Ł🦆'], array[1, null], array[1.5, 'NaN', null, -0.0001],
        array['infinity', '2024-01-01 00:00:00+00']::timestamptz[], array['00112233-4455-6677-8899-aabbccddeeff']::uuid[]),
    ('s', 1, 2, '', 'red', 'null', 'null', null, 'NaN', 0, 'NaN', 'infinity', '-infinity', 'infinity', false, 0, 0,
        'NaN', '-infinity', '', '{}', '{}', '{}', '{}', '{}'),
    ('s', 1, 3, null, null, null, null, null, null, null, 0.1234567890123456789, '-infinity', null, '-infinity', null,
        null, null, null, null, null, null, null, null, null, null),
    ('s', 1, 4, null, null, null, null, null, 0.0001, 0.0000000001, 1e30, '294276-12-31 23:59:59.999999+00', null,
        '5874897-12-31', null, null, null, null, null, null, '{{a,b},{c,d}}', null, null, null, null);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_type_and_every_odd_value_comes_back_as_it_was() {
    let (db, empty) = (support::database().await, support::database().await);
    for db in [&db, &empty] {
        execute(db, ODD).await;
    }
    execute(&db, ODD_ROWS).await;
    execute(
        &db,
        "insert into staging.odd (connection, run_id, id, words, price, path) select 's', 1, i, repeat('x', i % 50),
         case when i % 7 = 0 then 'NaN' else i / 3.0 end, array_fill(i::text, array[i % 4])
         from generate_series(10, 3000) i",
    )
    .await;
    let folder = Folder::new();
    archive_in(&db, &folder, &Limits { batch_rows: 100, part_rows: 700, ..Limits::default() }).await;
    let report = restore(&empty, &folder, None, Mode::Exact).await.unwrap();
    assert!(report.entities.iter().any(|entity| entity.entity == "staging.odd" && entity.rows == 2_995));
    assert_eq!(hashes(&empty, "staging", &[]).await, hashes(&db, "staging", &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_instant_is_restored_whole_with_the_feed_up_to_it() {
    let db = support::database().await;
    let folder = Folder::new();
    let order_and_change = format!(
        "{} insert into canonical.changes (run_id, entity, key, op) values ({{run}}, 'orders', 'a', 'insert');",
        super::LAND_ORDER
    );
    let mut snapshots = Vec::new();
    for _ in 0..3 {
        run_with_changes(&db, &order_and_change).await;
        snapshots.push(archive_now(&db, &folder).await.snapshot.unwrap());
    }
    // Each snapshot of the feed holds what came since the one before.
    let (manifest, _) = folder.latest("canonical.changes");
    assert_eq!((manifest.rows, folder.snapshots("canonical.changes").len()), (1, 3));

    let second = support::database().await;
    let report = restore(&second, &folder, Some(&snapshots[1]), Mode::Exact).await.unwrap();
    assert_eq!(report.snapshot, snapshots[1]);
    assert_eq!(number(&second, "select count(*) from staging.orders").await, 2);
    assert_eq!(number(&second, "select count(*) from canonical.changes").await, 2);
    // A restored database goes its own way: its first archive run shows everything anew, under another identity.
    let report = archive_now(&second, &folder).await;
    assert_eq!(report.written(), report.entities.len());
    run_with_changes(&second, &order_and_change).await;
    let place = folder.path();
    let (scope, progress, stop) = (archive::Scope::default(), Progress::silent(), CancellationToken::new());
    let found = archive::verify(place.to_str().unwrap(), &scope, &progress, &stop).await.unwrap();
    assert_eq!(found.findings, []);
    // What had been pruned in the database is still in its archive, and is not brought back.
    execute(&db, "update ops.feed set pruned_run = (select min(run_id) from canonical.changes)").await;
    execute(&db, "delete from canonical.changes where run_id = (select min(run_id) from canonical.changes)").await;
    let (pruned, elsewhere) = (support::database().await, Folder::new());
    archive_now(&db, &elsewhere).await;
    restore(&pruned, &elsewhere, None, Mode::Exact).await.unwrap();
    assert_eq!(number(&pruned, "select count(*) from canonical.changes").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_holds_anything_is_refused_and_left_alone() {
    let db = support::database().await;
    let folder = Folder::new();
    run_with_changes(&db, super::LAND_ORDER).await;
    archive_now(&db, &folder).await;
    let before = hashes(&db, "staging ops", &[]).await;
    let error = restore(&db, &folder, None, Mode::Exact).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Guard);
    assert!(error.detail().contains("staging.\"orders\" (1 rows)") || error.detail().contains("orders"), "{error}");
    assert_eq!(hashes(&db, "staging ops", &[]).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_part_stops_the_restore_and_leaves_the_database_empty() {
    let db = support::database().await;
    let folder = Folder::new();
    run_with_changes(&db, super::LAND_ORDER).await;
    archive_now(&db, &folder).await;
    let part = folder.snapshots("staging.orders").pop().unwrap().join("part-00000.parquet");
    let mut bytes = std::fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let empty = support::database().await;
    let before = hashes(&empty, "staging canonical delivery ops", NOT_RESTORED).await;
    let error = restore(&empty, &folder, None, Mode::Exact).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.detail().contains("checksum") && error.hint_text().is_some(), "{error:?}");
    assert_eq!(hashes(&empty, "staging canonical delivery ops", NOT_RESTORED).await, before);
}

async fn restoring(place: &str, db: &TestDatabase, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.args(["archive", "restore", place, "--database-url", &db.url]).args(more);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_the_database_empty_and_is_begun_again() {
    let db = support::database().await;
    let folder = Folder::new();
    run_with_changes(&db, super::LAND_ORDER).await;
    archive_now(&db, &folder).await;
    let place = folder.path().to_str().unwrap().to_owned();
    let empty = support::database().await;

    let dry = restoring(&place, &empty, &["--dry-run"]).await.output().unwrap();
    assert!(dry.status.success(), "{}", String::from_utf8_lossy(&dry.stderr));
    assert!(String::from_utf8_lossy(&dry.stdout).contains("can be restored into it"));
    assert_eq!(number(&empty, "select count(*) from staging.orders").await, 0);

    // The first row of a table waits behind a trigger.
    let holder = empty.db.dedicated().await.unwrap();
    execute(
        &empty,
        "create function staging.wait() returns trigger language plpgsql as $$
         begin perform pg_advisory_xact_lock(4712); return new; end $$;
         create trigger wait before insert on staging.orders for each row execute function staging.wait()",
    )
    .await;
    holder.query_one("select pg_advisory_lock(4712)", &[]).await.unwrap();
    let mut killed = restoring(&place, &empty, &[]).await.spawn().unwrap();
    let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 4712";
    while number(&db, waits).await == 0 {
        assert!(killed.try_wait().unwrap().is_none(), "ended before it was killed");
        tokio::task::yield_now().await;
    }
    // Everybody can see it at work, and nobody begins to work beside it.
    let shown =
        Command::new(env!("CARGO_BIN_EXE_wharf")).args(["status", "--database-url", &empty.url]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("restore archive") && shown.contains("working now: restore by"), "{shown}");
    assert!(shown.contains("restore of staging.orders"), "{shown}");
    let error = Run::begin(&empty, "test", "extract").await.unwrap_err();
    assert_eq!(error.kind(), Kind::LeaseHeld, "{error}");
    let beside = restoring(&place, &empty, &[]).await.output().unwrap();
    assert_eq!(beside.status.code(), Some(4), "{}", String::from_utf8_lossy(&beside.stderr));
    killed.kill().unwrap();
    killed.wait().unwrap();
    holder.query_one("select pg_advisory_unlock(4712)", &[]).await.unwrap();
    drop(holder);

    let again = restoring(&place, &empty, &[]).await.output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(number(&empty, "select count(*) from staging.orders").await, 1);
    let refused = restoring(&place, &empty, &[]).await.output().unwrap();
    assert_eq!(refused.status.code(), Some(5), "{}", String::from_utf8_lossy(&refused.stderr));
}
