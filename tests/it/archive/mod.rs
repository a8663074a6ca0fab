//! Parquet snapshots: types and values, manifests, what is written again and what is not, and runs that end early.

mod cut;
mod diff;
mod feed;
mod layers;
mod prune;
mod restore;
mod s3;
mod verify;

use crate::support;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wharf::Kind;
use wharf::config::pipeline::{Archive, ArchiveEvery};
use wharf::progress::Progress;
use wharf::stage::Context;
use wharf::stage::archive::{self, ArchiveReport, Limits, Manifest, Outcome, When};
use wharf::store::{Database, Run, run};

/// Key of the advisory lock by which a test holds an archive run in its middle.
const GATE: i64 = 4_711;

struct Folder {
    root: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("archive")
    }

    fn settings(&self) -> Archive {
        Archive { to: self.path().to_str().unwrap().to_owned(), every: ArchiveEvery::Run, keep: None }
    }

    /// What a reader's glob `<entity>/snapshot=*` finds, oldest first.
    fn snapshots(&self, entity: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.path().join(entity)) else { return Vec::new() };
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(found.iter().all(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snapshot=")));
        found.sort();
        found
    }

    /// Every file that a reader's glob `*/snapshot=*/*` finds.
    fn visible(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.path()) else { return Vec::new() };
        let entities = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        let snapshots =
            entities.flat_map(|entity| std::fs::read_dir(entity).unwrap()).map(|entry| entry.unwrap().path());
        let published = snapshots.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snapshot="));
        published.flat_map(|snapshot| std::fs::read_dir(snapshot).unwrap()).map(|entry| entry.unwrap().path()).collect()
    }

    fn latest(&self, entity: &str) -> (Manifest, RecordBatch) {
        let snapshot = self.snapshots(entity).pop().unwrap_or_else(|| panic!("no snapshot of {entity}"));
        read(&snapshot)
    }
}

fn read(snapshot: &Path) -> (Manifest, RecordBatch) {
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(snapshot.join("_manifest.json")).unwrap()).unwrap();
    let mut batches = Vec::new();
    let mut schema = None;
    for part in &manifest.parts {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(snapshot.join(&part.file)).unwrap()).unwrap();
        schema.get_or_insert_with(|| builder.schema().clone());
        batches.extend(builder.build().unwrap().map(Result::unwrap));
    }
    (manifest, concat_batches(&schema.unwrap(), &batches).unwrap())
}

async fn context(db: &Database) -> Context {
    Context {
        db: db.clone(),
        run: Run::begin(db, "test", "archive").await.unwrap(),
        progress: Progress::silent(),
        stop: CancellationToken::new(),
    }
}

async fn archive_now(db: &Database, folder: &Folder) -> ArchiveReport {
    archive_in(db, folder, &Limits::default()).await
}

async fn archive_in(db: &Database, folder: &Folder, limits: &Limits) -> ArchiveReport {
    let ctx = context(db).await;
    let report = archive::run_with(&ctx, &folder.settings(), When::Now, limits).await.unwrap();
    ctx.run.finish(run::Outcome::Done, None).await.unwrap();
    report
}

async fn execute(db: &Database, statements: &str) {
    db.client().await.unwrap().batch_execute(statements).await.unwrap();
}

/// Does `changes` as a run of its own; `{run}` stands for its number.
async fn run_with_changes(db: &Database, changes: &str) {
    let run = Run::begin(db, "test", "extract").await.unwrap();
    execute(db, &changes.replace("{run}", &run.id.to_string())).await;
    run.finish(run::Outcome::Done, None).await.unwrap();
}

fn written(report: &ArchiveReport) -> BTreeSet<&str> {
    let is_written = |outcome: &Outcome| matches!(outcome, Outcome::Written { .. });
    report.entities.iter().filter(|e| is_written(&e.outcome)).map(|e| e.entity.as_str()).collect()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn Array {
    batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}")).as_ref()
}

const LAND_ORDER: &str = "insert into staging.orders (connection, source_key, payload, payload_hash, run_id) \
    values ('shop', gen_random_uuid()::text, '{}', gen_random_uuid(), {run});";

#[tokio::test(flavor = "multi_thread")]
async fn every_type_keeps_its_values() {
    let db = support::database().await;
    execute(
        &db,
        r#"
        create type marts.colour as enum ('red', 'green');
        create domain marts.money as numeric(18, 4);
        create table marts.odd (
            id int4,
            words text,
            colour marts.colour,
            document jsonb,
            number uuid,
            price marts.money,
            wide numeric(38, 10),
            loose numeric,
            at timestamptz,
            local_at timestamp,
            day date,
            flag boolean,
            small int2,
            large int8,
            ratio float8,
            bytes bytea,
            path text[],
            numbers int4[],
            length interval
        );
        insert into marts.odd values
        (
            1, 'Zażółć 🦆 ' || chr(10), 'green', '{"a": [1, "ü", null]}', '00112233-4455-6677-8899-aabbccddeeff',
            -12345678901234.5678, -9999999999999999999999999999.0123456789, 33.3333333333333333,
            '2024-02-29 23:59:59.999999+02', '1999-12-31 23:59:59', '0044-03-15 BC', true, -32768, -9223372036854775808,
            1.5, '\x00ff', array['A', null, '', 'Ł🦆'], array[1, null], '1 day 02:00'
        ),
        (
            2, '', 'red', 'null', null,
            'NaN', 0, 'NaN',
            'infinity', '-infinity', 'infinity', false, 0, 0,
            'NaN', '', '{}', '{}', null
        ),
        (3, null, null, null, null, null, null, 0.1234567890123456789, '-infinity', null, '-infinity', null, null, null, null, null, null, null, null),
        (4, null, null, null, null, 0.0001, 0.0000000001, 1e30, '0001-01-01 00:00:00+00 BC', null, '5874897-12-31', null, null, null, null, null, '{{a,b},{c,d}}', null, null);
        "#,
    )
    .await;
    let folder = Folder::new();
    let report = archive_now(&db, &folder).await;
    let (manifest, batch) = folder.latest("marts.odd");
    assert_eq!(batch.num_rows(), 4);

    let types: Vec<String> = batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(
        types,
        [
            "Int32",
            "Utf8",
            "Utf8",
            "Utf8",
            "FixedSizeBinary(16)",
            "Decimal128(18, 4)",
            "Decimal128(38, 10)",
            "Decimal128(38, 18)",
            "Timestamp(µs, \"UTC\")",
            "Timestamp(µs)",
            "Date32",
            "Boolean",
            "Int16",
            "Int64",
            "Float64",
            "Binary",
            "List(Utf8, field: 'element')",
            "List(Int32, field: 'element')",
            "Utf8"
        ]
    );
    assert_eq!(types, manifest.columns.iter().map(|column| column.arrow_type.clone()).collect::<Vec<_>>());
    assert_eq!(manifest.columns[5].postgres_type, "marts.money");

    let text = |name: &str| -> Vec<Option<String>> {
        column(&batch, name).as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect()
    };
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(text("words"), [some("Zażółć 🦆 \n"), some(""), None, None]);
    assert_eq!(text("colour"), [some("green"), some("red"), None, None]);
    assert_eq!(text("document"), [some(r#"{"a": [1, "ü", null]}"#), some("null"), None, None]);
    assert_eq!(text("length"), [some("1 day 02:00:00"), None, None, None]);
    let number = column(&batch, "number").as_fixed_size_binary();
    assert_eq!(hex::encode(number.value(0)), "00112233445566778899aabbccddeeff");
    assert!(number.is_null(1));

    let decimals =
        |name: &str| -> Vec<Option<i128>> { column(&batch, name).as_primitive::<Decimal128Type>().iter().collect() };
    assert_eq!(decimals("price"), [Some(-123_456_789_012_345_678), None, None, Some(1)]);
    assert_eq!(decimals("wide"), [Some(-99_999_999_999_999_999_999_999_999_990_123_456_789), Some(0), None, Some(1)]);
    assert_eq!(decimals("loose"), [Some(33_333_333_333_333_333_300), None, Some(123_456_789_012_345_679), None]);
    let at: Vec<Option<i64>> = column(&batch, "at").as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(at, [Some(1_709_243_999_999_999), None, None, Some(-62_167_219_200_000_000)]);
    let local_at: Vec<Option<i64>> =
        column(&batch, "local_at").as_primitive::<TimestampMicrosecondType>().iter().collect();
    assert_eq!(local_at, [Some(946_684_799_000_000), None, None, None]);
    let day: Vec<Option<i32>> = column(&batch, "day").as_primitive::<Date32Type>().iter().collect();
    assert_eq!(day, [Some(-735_160), None, None, Some(2_145_042_905)]);
    let flag: Vec<Option<bool>> = column(&batch, "flag").as_boolean().iter().collect();
    assert_eq!(flag, [Some(true), Some(false), None, None]);
    assert_eq!(column(&batch, "large").as_primitive::<Int64Type>().value(0), i64::MIN);
    assert!(column(&batch, "ratio").as_primitive::<arrow::datatypes::Float64Type>().value(1).is_nan());
    assert_eq!(column(&batch, "bytes").as_binary::<i32>().value(0), [0, 255]);

    let path = column(&batch, "path").as_list::<i32>();
    let first: Vec<Option<&str>> = path.values().as_string::<i32>().iter().collect();
    assert_eq!(first, [Some("A"), None, Some(""), Some("Ł🦆")]);
    assert_eq!(path.value_length(0), 4);
    assert!(path.is_valid(1) && path.value_length(1) == 0, "an empty list is not null");
    assert!(path.is_null(2) && path.is_null(3));
    let numbers = column(&batch, "numbers").as_list::<i32>().value(0);
    assert_eq!(numbers.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(1), None]);

    // What the types have no place for stands beside the data, exactly.
    let snapshot = folder.snapshots("marts.odd").pop().unwrap();
    let lines = std::fs::read_to_string(snapshot.join("_odd-values.jsonl")).unwrap();
    let mut odd: Vec<(u64, String, String)> = lines
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["part"], "part-00000.parquet");
            let word = |key: &str| line[key].as_str().unwrap().to_owned();
            (line["row"].as_u64().unwrap(), word("column"), word("value"))
        })
        .collect();
    odd.sort();
    let shown: Vec<String> = odd.iter().map(|(row, column, value)| format!("{row} {column} {value:.40}")).collect();
    assert_eq!(
        shown,
        [
            "1 at infinity",
            "1 day infinity",
            "1 local_at -infinity",
            "1 loose NaN",
            "1 price NaN",
            "2 at -infinity",
            "2 day -infinity",
            "2 loose 0.1234567890123456789",
            "3 loose 1000000000000000000000000000000",
            "3 path an array of 2 dimensions, as sent: 00000"
        ]
    );
    assert_eq!(manifest.odd_values.values().sum::<u64>(), 10);
    let outcome = &report.entities.iter().find(|entity| entity.entity == "marts.odd").unwrap().outcome;
    assert!(matches!(outcome, Outcome::Written { odd_values: 10, rows: 4, .. }), "{outcome:?}");
}

/// The same values by another route: PostgreSQL's own text and epoch beside each value.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_numbers_and_times_agree_with_what_postgresql_says_of_them() {
    let db = support::database().await;
    execute(
        &db,
        r"
        create table marts.twins as
        select
            n::numeric(38, 12) as decimal,
            (n::numeric(38, 12) * 1000000000000)::numeric(38, 0)::text as decimal_text,
            at,
            (extract(epoch from at) * 1000000)::int8 as at_epoch,
            at::date as day,
            (at::date - '1970-01-01'::date) as day_epoch
        from (
            select
                (case when i % 2 = 0 then 1 else -1 end) * random()::numeric * 10::numeric ^ (i % 30 - 8) as n,
                '1970-01-01+00'::timestamptz + random() * (i % 5000 - 2500) * interval '300 days' as at
            from generate_series(1, 20000) as i
        ) as made;
        ",
    )
    .await;
    let folder = Folder::new();
    archive_now(&db, &folder).await;
    let (_, batch) = folder.latest("marts.twins");
    assert_eq!(batch.num_rows(), 20_000);
    let decimals = column(&batch, "decimal").as_primitive::<Decimal128Type>();
    let texts = column(&batch, "decimal_text").as_string::<i32>();
    let times = column(&batch, "at").as_primitive::<TimestampMicrosecondType>();
    let epochs = column(&batch, "at_epoch").as_primitive::<Int64Type>();
    let days = column(&batch, "day").as_primitive::<Date32Type>();
    let day_epochs = column(&batch, "day_epoch").as_primitive::<Int32Type>();
    for row in 0..batch.num_rows() {
        assert_eq!(decimals.value(row), texts.value(row).parse::<i128>().unwrap(), "row {row}");
        assert_eq!(times.value(row), epochs.value(row), "row {row}");
        assert_eq!(days.value(row), day_epochs.value(row), "row {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_has_a_snapshot_with_all_its_columns() {
    let db = support::database().await;
    let folder = Folder::new();
    archive_now(&db, &folder).await;
    let (manifest, batch) = folder.latest("canonical.orders");
    assert_eq!((manifest.rows, manifest.parts.len(), batch.num_rows()), (0, 1, 0));
    assert_eq!(column(&batch, "total").data_type(), &DataType::Decimal128(18, 4));
    assert_eq!(column(&batch, "contact_id").data_type(), &DataType::FixedSizeBinary(16));
    let latest_migration = wharf::store::migrate::known().last().unwrap().version();
    assert_eq!(manifest.schema_version, Some(i64::from(latest_migration)));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_analysts_and_a_restore_need_is_there_and_nothing_else() {
    let db = support::database().await;
    let folder = Folder::new();
    archive_now(&db, &folder).await;
    let entities: BTreeSet<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('_'))
        .collect();
    for expected in [
        "canonical.categories",
        "canonical.changes",
        "canonical.consent_statements",
        "canonical.contact_sources",
        "canonical.contact_tags",
        "canonical.contacts",
        "canonical.order_items",
        "canonical.orders",
        "canonical.product_categories",
        "canonical.products",
        "delivery.batches",
        "delivery.consumers",
        "delivery.ledger",
        "delivery.pending",
        "delivery.rejects",
        "marts.rfm",
        "ops.connections",
        "ops.consumers",
        "ops.cursors",
        "ops.settings",
        "staging.categories",
        "staging.customers",
        "staging.orders",
        "staging.products",
        "staging.refunds",
        "staging.rejects",
        "staging.subscribers",
        "staging.variations",
    ] {
        assert!(entities.contains(expected), "{expected} is missing among {entities:?}");
    }
    for not_expected in ["ops.leases", "ops.runs", "ops.walk_keys", "canonical.phones"] {
        assert!(!entities.contains(not_expected), "{not_expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_tells_the_truth_of_every_part() {
    let db = support::database().await;
    execute(
        &db,
        "create table marts.numbers as select i as n, md5(i::text) as word from generate_series(1, 1050) as i",
    )
    .await;
    let folder = Folder::new();
    let limits = Limits { batch_rows: 64, part_rows: 250, row_group_rows: 100, ..Limits::default() };
    archive_in(&db, &folder, &limits).await;
    let snapshot = folder.snapshots("marts.numbers").pop().unwrap();
    let (manifest, batch) = read(&snapshot);
    assert_eq!(manifest.parts.iter().map(|part| part.rows).collect::<Vec<_>>(), [250, 250, 250, 250, 50]);
    assert_eq!((manifest.rows, batch.num_rows()), (1050, 1050));
    let total: i64 = column(&batch, "n").as_primitive::<Int32Type>().values().iter().map(|n| i64::from(*n)).sum();
    assert_eq!(total, 1050 * 1051 / 2);
    for part in &manifest.parts {
        let bytes = std::fs::read(snapshot.join(&part.file)).unwrap();
        assert_eq!(part.sha256, hex::encode(Sha256::digest(&bytes)), "{}", part.file);
        assert_eq!(part.bytes, bytes.len() as u64, "{}", part.file);
    }
    let files: BTreeSet<String> =
        std::fs::read_dir(&snapshot).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut expected: BTreeSet<String> = manifest.parts.iter().map(|part| part.file.clone()).collect();
    expected.insert("_manifest.json".into());
    assert_eq!(files, expected);
    assert!(snapshot.ends_with(format!("snapshot={}", manifest.snapshot)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_ten_megabytes_goes_through_batches_of_four() {
    let db = support::database().await;
    run_with_changes(
        &db,
        "insert into staging.products (connection, source_key, payload, payload_hash, run_id)
         select 'shop', i::text, jsonb_build_object('text', repeat(i::text, 10000000)), gen_random_uuid(), {run}
         from generate_series(1, 3) as i",
    )
    .await;
    let folder = Folder::new();
    archive_now(&db, &folder).await;
    let (_, batch) = folder.latest("staging.products");
    let payloads = column(&batch, "payload").as_string::<i32>();
    for payload in payloads.iter().flatten() {
        let value: serde_json::Value = serde_json::from_str(payload).unwrap();
        assert_eq!(value["text"].as_str().unwrap().len(), 10_000_000);
    }
    assert_eq!(payloads.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_not_written_again() {
    let db = support::database().await;
    run_with_changes(&db, LAND_ORDER).await;
    let folder = Folder::new();
    let first = archive_now(&db, &folder).await;
    assert_eq!(written(&first).len(), first.entities.len());

    let second = archive_now(&db, &folder).await;
    assert_eq!(written(&second), BTreeSet::new());
    let since = first.snapshot.clone().unwrap();
    assert!(second.entities.iter().all(|entity| entity.outcome == Outcome::Unchanged { since: since.clone() }));
    assert_eq!(folder.snapshots("staging.orders").len(), 1);

    run_with_changes(&db, LAND_ORDER).await;
    let third = archive_now(&db, &folder).await;
    assert_eq!(written(&third), BTreeSet::from(["staging.orders"]));
    assert_eq!(folder.latest("staging.orders").0.rows, 2);
    assert_eq!(archive_now(&db, &folder).await.written(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_the_feed_rewrites_its_table_and_no_mart_that_comes_out_the_same() {
    let db = support::database().await;
    let folder = Folder::new();
    archive_now(&db, &folder).await;
    run_with_changes(
        &db,
        "insert into canonical.categories (connection, source_key, path, depth) values ('shop', '1', '{A}', 1);
         insert into canonical.changes (run_id, entity, key, op) values ({run}, 'categories', 'shop:1', 'insert');",
    )
    .await;
    let report = archive_now(&db, &folder).await;
    let written = written(&report);
    assert!(written.contains("canonical.categories"), "{written:?}");
    for same in ["marts.category_sales", "canonical.orders", "marts.rfm"] {
        assert!(!written.contains(same), "{same} has not changed: {written:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_run_that_commits_late_are_not_missed() {
    let db = support::database().await;
    let folder = Folder::new();
    let late = Run::begin(&db, "test", "extract").await.unwrap();
    archive_now(&db, &folder).await;
    // The snapshot belongs to a later run than the rows that come now.
    execute(&db, &LAND_ORDER.replace("{run}", &late.id.to_string())).await;
    late.finish(run::Outcome::Done, None).await.unwrap();
    assert_eq!(written(&archive_now(&db, &folder).await), BTreeSet::from(["staging.orders"]));
    assert_eq!(archive_now(&db, &folder).await.written(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_reject_and_a_new_column_count_as_changes() {
    let db = support::database().await;
    run_with_changes(
        &db,
        "insert into staging.rejects (connection, stream, source_key, code, reason, raw, run_id)
         values ('shop', 'orders', '1', 'no-key', 'it has no key', '{}', {run})",
    )
    .await;
    let folder = Folder::new();
    archive_now(&db, &folder).await;
    execute(&db, "delete from staging.rejects; alter table canonical.products add column colour text").await;
    let report = archive_now(&db, &folder).await;
    assert_eq!(written(&report), BTreeSet::from(["canonical.products", "staging.rejects"]));
    assert!(folder.latest("canonical.products").1.column_by_name("colour").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_folder_was_removed_is_written_again() {
    let db = support::database().await;
    let folder = Folder::new();
    archive_now(&db, &folder).await;
    std::fs::remove_dir_all(folder.path().join("staging.orders")).unwrap();
    assert_eq!(written(&archive_now(&db, &folder).await), BTreeSet::from(["staging.orders"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_day_writes_once_a_day_unless_told_to() {
    let db = support::database().await;
    let folder = Folder::new();
    let settings = Archive { every: ArchiveEvery::Day, ..folder.settings() };
    let ctx = context(&db).await;
    let first = archive::run(&ctx, &settings, When::IfDue).await.unwrap();
    assert!(first.not_due.is_none() && first.written() > 0);
    run_with_changes(&db, LAND_ORDER).await;
    let second = archive::run(&ctx, &settings, When::IfDue).await.unwrap();
    assert!(second.not_due.is_some() && second.entities.is_empty(), "{second:?}");
    let told = archive::run(&ctx, &settings, When::Now).await.unwrap();
    assert_eq!(written(&told), BTreeSet::from(["staging.orders"]));
    // Yesterday's snapshot is no reason to wait.
    let page = folder.path().join("_latest.json");
    let mut latest: serde_json::Value = serde_json::from_slice(&std::fs::read(&page).unwrap()).unwrap();
    latest["taken_at"] = "2020-01-01T00:00:00Z".into();
    std::fs::write(&page, latest.to_string()).unwrap();
    assert!(archive::run(&ctx, &settings, When::IfDue).await.unwrap().not_due.is_none());
}

/// A mart that waits for a lock, between the canonical tables and those of staging.
async fn gate(db: &Database) -> tokio_postgres::Client {
    execute(db, &format!("create view marts.gate as select 1 as one from pg_advisory_xact_lock_shared({GATE})")).await;
    let holder = db.dedicated().await.unwrap();
    holder.execute("select pg_advisory_lock($1)", &[&GATE]).await.unwrap();
    holder
}

async fn waits_at_the_gate<T>(task: &tokio::task::JoinHandle<T>, holder: &tokio_postgres::Client) {
    let waiting =
        "select count(*) > 0 from pg_locks where locktype = 'advisory' and objid = $1::int8::oid and not granted";
    while !holder.query_one(waiting, &[&GATE]).await.unwrap().get::<_, bool>(0) {
        assert!(!task.is_finished(), "the run ended before the gate");
        tokio::task::yield_now().await;
    }
}

async fn open(holder: tokio_postgres::Client) {
    holder.execute("select pg_advisory_unlock($1)", &[&GATE]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_in_the_middle_leaves_no_snapshot_and_the_next_one_publishes() {
    let db = support::database().await;
    let folder = Folder::new();
    let holder = gate(&db).await;
    let ctx = context(&db).await;
    let settings = folder.settings();
    let task = tokio::spawn(async move { archive::run(&ctx, &settings, When::Now).await });
    waits_at_the_gate(&task, &holder).await;
    // An aborted task runs no clean-up, as a killed process.
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(folder.visible(), Vec::<PathBuf>::new());
    let leftovers = folder.path().join("_writing");
    assert!(leftovers.is_dir(), "the run had not begun to write");

    open(holder).await;
    let report = archive_now(&db, &folder).await;
    assert_eq!(written(&report).len(), report.entities.len());
    assert!(!leftovers.exists(), "leftovers are still there");
    assert_eq!(folder.latest("canonical.orders").0.rows, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_asked_to_stop_cleans_up_and_says_so() {
    let db = support::database().await;
    let folder = Folder::new();
    let holder = gate(&db).await;
    let ctx = context(&db).await;
    let (task_ctx, settings) = (ctx.clone(), folder.settings());
    let task = tokio::spawn(async move { archive::run(&task_ctx, &settings, When::Now).await });
    waits_at_the_gate(&task, &holder).await;
    ctx.stop.cancel();
    let error = task.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(folder.visible(), Vec::<PathBuf>::new());
    assert!(!folder.path().join("_writing").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_entities_show_one_instant() {
    let db = support::database().await;
    let folder = Folder::new();
    let holder = gate(&db).await;
    let ctx = context(&db).await;
    let settings = folder.settings();
    let task = tokio::spawn(async move { archive::run(&ctx, &settings, When::Now).await });
    waits_at_the_gate(&task, &holder).await;
    // Some is written, some is not; what lands now belongs to neither.
    run_with_changes(&db, LAND_ORDER).await;
    open(holder).await;
    task.await.unwrap().unwrap();
    assert_eq!(folder.latest("staging.orders").0.rows, 0);
    assert!(written(&archive_now(&db, &folder).await).contains("staging.orders"));
    assert_eq!(folder.latest("staging.orders").0.rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_written_is_named() {
    let db = support::database().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let to = file.path().join("archive").to_str().unwrap().to_owned();
    let ctx = context(&db).await;
    let error = archive::run(&ctx, &Archive { to: to.clone(), every: ArchiveEvery::Run, keep: None }, When::Now)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.detail().contains(&to) && error.hint_text().is_some(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_a_run_count_what_was_written() {
    let db = support::database().await;
    run_with_changes(&db, LAND_ORDER).await;
    let folder = Folder::new();
    archive_now(&db, &folder).await;
    let rows: i64 = db
        .client()
        .await
        .unwrap()
        .query_one(
            "select (counts->>'rows')::int8 from ops.run_steps
             where stage = 'archive' and subject = 'staging.orders' and finished_at is not null",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(rows, 1);
}
