//! Layers: of a large table only what changed is written, every snapshot can be read on its own, and what lies below one
//! that is kept stays.

use super::{Folder, archive_in, archive_now, execute, run_with_changes, written};
use crate::support;
use crate::support::pipeline::WholeWay;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tokio_util::sync::CancellationToken;
use wharf::progress::Progress;
use wharf::sandbox::woocommerce;
use wharf::stage::archive::{
    self, ArchiveReport, DiffOptions, Keep, Limits, Manifest, Mode, Outcome, RowDiff, Scope, Snapshots,
};
use wharf::store::Database;

const MANY_ORDERS: &str = "insert into staging.orders (connection, source_key, payload, payload_hash, run_id)
    select 'shop', i::text, jsonb_build_object('n', i), gen_random_uuid(), {run} from generate_series(1, 1000) as i;";
/// Two orders change, one is new.
const SOME_CHANGE: &str =
    "update staging.orders set payload = '{\"n\": -1}', run_id = {run} where source_key in ('7', '8');
    insert into staging.orders (connection, source_key, payload, payload_hash, run_id)
    select 'shop', 'new ' || {run}, '{}', gen_random_uuid(), {run};";

fn layered() -> Limits {
    Limits { layered_from_rows: 10, ..Limits::default() }
}

fn outcome<'a>(report: &'a ArchiveReport, entity: &str) -> &'a Outcome {
    &report.entities.iter().find(|report| report.entity == entity).unwrap().outcome
}

fn manifest(folder: &Folder, entity: &str) -> Manifest {
    let snapshot = folder.snapshots(entity).pop().unwrap();
    serde_json::from_slice(&std::fs::read(snapshot.join("_manifest.json")).unwrap()).unwrap()
}

async fn findings(folder: &Folder, snapshots: Snapshots) -> Vec<&'static str> {
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    let scope = Scope { snapshots, ..Scope::default() };
    let report = archive::verify(folder.path().to_str().unwrap(), &scope, &progress, &stop).await.unwrap();
    report.findings.iter().map(|finding| finding.code).collect()
}

/// Hash of a table's rows.
async fn hash(db: &Database, table: &str) -> String {
    let statement =
        format!("select count(*) || ' ' || md5(string_agg(t::text, '|' order by t::text)) from {table} as t");
    db.client().await.unwrap().query_one(&statement, &[]).await.unwrap().get(0)
}

async fn restored(folder: &Folder, snapshot: Option<&str>, table: &str) -> String {
    let (empty, progress, stop) = (support::database().await, Progress::silent(), CancellationToken::new());
    let place = folder.path();
    archive::restore(&empty, place.to_str().unwrap(), snapshot, Mode::Exact, false, &progress, &stop).await.unwrap();
    hash(&empty, table).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_is_written_and_every_snapshot_comes_back_exactly() {
    let db = support::database().await;
    let folder = Folder::new();
    run_with_changes(&db, MANY_ORDERS).await;
    let mut instants = Vec::new();
    for round in 0..4 {
        let report = archive_in(&db, &folder, &layered()).await;
        instants.push((report.snapshot.clone().unwrap(), hash(&db, "staging.orders").await));
        match outcome(&report, "staging.orders") {
            Outcome::Written { rows, total, .. } if round == 0 => assert_eq!((*rows, *total), (1000, 1000)),
            Outcome::Written { rows, total, bytes, .. } => {
                assert_eq!((*rows, *total), (3, 1000 + round));
                assert!(*bytes < 10_000, "{bytes} bytes for three rows");
            }
            unchanged => panic!("{unchanged:?}"),
        }
        run_with_changes(&db, SOME_CHANGE).await;
    }
    assert_eq!(manifest(&folder, "staging.orders").older.len(), 3);
    assert_eq!(findings(&folder, Snapshots::All).await, Vec::<&str>::new());
    assert_eq!(findings(&folder, Snapshots::Latest).await, Vec::<&str>::new());
    for (snapshot, expected) in &instants {
        assert_eq!(restored(&folder, Some(snapshot), "staging.orders").await, *expected, "{snapshot}");
    }

    let mut rows: Vec<RowDiff> = Vec::new();
    let mut show = |row| {
        rows.push(row);
        Ok(())
    };
    let options = DiffOptions { entities: vec!["staging.orders".into()], limit: None };
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    let ends = (instants[0].0.as_str(), instants[3].0.as_str());
    let place = folder.path();
    let report = archive::diff(place.to_str().unwrap(), ends, &options, &progress, &stop, &mut show).await.unwrap();
    assert_eq!((report.entities[0].added, report.entities[0].removed, report.entities[0].changed), (3, 0, 2));
    assert_eq!(rows.len(), 5);
}

/// The sandbox shop by way of the whole pipeline: canonical rows come, change, move to other contacts and go.
#[tokio::test(flavor = "multi_thread")]
async fn canonical_rows_that_change_move_and_go_come_back_from_layers_exactly() {
    let folder = Folder::new();
    let options = woocommerce::Options { customers: 80, orders: 160, ..woocommerce::Options::small() };
    let way = WholeWay::open(options, "\n    auth: basic\n", "contacts: {consent: all}").await;
    way.run().await;
    archive_in(&way.test.db, &folder, &layered()).await;
    let mut have_layers = std::collections::BTreeSet::new();
    let mut note_layers = || {
        for entity in ["canonical.contacts", "canonical.orders", "staging.orders"] {
            if !manifest(&folder, entity).older.is_empty() {
                have_layers.insert(entity);
            }
        }
    };
    for round in 1..=3 {
        way.sandbox.woocommerce().unwrap().change_about(0.01, round);
        way.run().await;
        archive_in(&way.test.db, &folder, &layered()).await;
        note_layers();
    }
    // Rows go, too, as a transform lets them go.
    run_with_changes(
        &way.test.db,
        "with gone as (
             delete from canonical.orders as o
             where o.order_id = (select min(order_id::text)::uuid from canonical.orders)
             returning o.*
         )
         insert into canonical.changes (run_id, entity, key, contact_id, op, old)
         select {run}, 'orders', order_id::text, contact_id, 'delete', to_jsonb(gone) from gone;",
    )
    .await;
    archive_in(&way.test.db, &folder, &layered()).await;
    note_layers();
    assert_eq!(have_layers.len(), 3, "{have_layers:?}");
    assert_eq!(findings(&folder, Snapshots::Latest).await, Vec::<&str>::new());

    let (empty, progress, stop) = (support::database().await, Progress::silent(), CancellationToken::new());
    let place = folder.path();
    archive::restore(&empty, place.to_str().unwrap(), None, Mode::Exact, false, &progress, &stop).await.unwrap();
    for table in ["contacts", "contact_sources", "contact_tags", "orders", "order_items", "products"] {
        let table = format!("canonical.{table}");
        assert_eq!(hash(&empty, &table).await, hash(&way.test.db, &table).await, "{table}");
    }
    assert_eq!(hash(&empty, "staging.orders").await, hash(&way.test.db, "staging.orders").await);
    in_duckdb(&folder, &way.test.db).await;
}

/// The views of `wharf archive sql`, in the tool that they are for, where it is installed.
async fn in_duckdb(folder: &Folder, db: &Database) {
    let views = archive::views(folder.path().to_str().unwrap(), None).await.unwrap();
    assert!(!views.sql.contains("snapshot=*"), "{}", views.sql);
    // Without the tool: the files that a view of a whole table names have its rows, those of other snapshots are not named.
    let products =
        views.sql.split("create or replace view ").find(|view| view.starts_with("\"canonical\".\"products\""));
    let files = products.unwrap().split('\'').filter(|text| text.ends_with(".parquet"));
    let rows: i64 = files
        .map(|file| {
            let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file).unwrap()).unwrap();
            builder.metadata().file_metadata().num_rows()
        })
        .sum();
    let there = "select count(*) from canonical.products";
    assert_eq!(rows, db.client().await.unwrap().query_one(there, &[]).await.unwrap().get::<_, i64>(0));
    if Command::new("duckdb").arg("--version").output().is_err() {
        return;
    }
    let script = folder.root.path().join("views.sql");
    let count = "select (select count(*) from canonical.orders), (select count(*) from canonical.order_items), \
        (select count(*) from staging.orders), (select count(*) from canonical.changes), \
        (select sum(total)::text from canonical.orders)";
    std::fs::write(&script, format!("{}\n.mode csv\n.headers off\n{count};\n", views.sql)).unwrap();
    let output = Command::new("duckdb").arg("-c").arg(format!(".read {}", script.display())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let row = db.client().await.unwrap().query_one(count, &[]).await.unwrap();
    let expected: Vec<String> = (0..4_usize).map(|index| row.get::<_, i64>(index).to_string()).collect();
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(found.starts_with(&expected.join(",")), "{found} {expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_layers_and_a_migration_make_it_write_all_rows_again() {
    let db = support::database().await;
    let folder = Folder::new();
    run_with_changes(&db, MANY_ORDERS).await;
    let limits = Limits { layers: 3, ..layered() };
    let mut layers = Vec::new();
    for _ in 0..5 {
        archive_in(&db, &folder, &limits).await;
        layers.push(manifest(&folder, "staging.orders").older.len());
        run_with_changes(&db, SOME_CHANGE).await;
    }
    assert_eq!(layers, [0, 1, 2, 0, 1]);
    // Half of the rows change: that would be no less.
    run_with_changes(&db, "update staging.orders set run_id = {run} where length(source_key) > 2").await;
    archive_in(&db, &folder, &limits).await;
    assert_eq!(manifest(&folder, "staging.orders").older.len(), 0);
    // What is small is written whole.
    run_with_changes(&db, SOME_CHANGE).await;
    assert!(written(&archive_now(&db, &folder).await).contains("staging.orders"));
    assert_eq!(manifest(&folder, "staging.orders").older.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_keeps_the_layers_below_a_snapshot_that_is_kept() {
    let db = support::database().await;
    let folder = Folder::new();
    run_with_changes(&db, MANY_ORDERS).await;
    let limits = Limits { layers: 3, ..layered() };
    for _ in 0..3 {
        archive_in(&db, &folder, &limits).await;
        run_with_changes(&db, SOME_CHANGE).await;
    }
    let expected = restored(&folder, None, "staging.orders").await;
    let keep = Keep { last: 1, ..Keep::default() };
    let prune = async || {
        let place = folder.path();
        archive::prune(place.to_str().unwrap(), keep, false, &CancellationToken::new()).await.unwrap()
    };
    prune().await;
    assert_eq!(folder.snapshots("staging.orders").len(), 3, "the current snapshot is made of three layers");
    assert_eq!(restored(&folder, None, "staging.orders").await, expected);
    // All rows are written again: nobody needs the layers any more.
    archive_in(&db, &folder, &limits).await;
    prune().await;
    assert_eq!(folder.snapshots("staging.orders").len(), 1);
    assert_eq!(findings(&folder, Snapshots::All).await, Vec::<&str>::new());

    // A layer that somebody removed is missed, and no longer built upon.
    run_with_changes(&db, SOME_CHANGE).await;
    archive_in(&db, &folder, &limits).await;
    std::fs::remove_dir_all(&folder.snapshots("staging.orders")[0]).unwrap();
    assert!(findings(&folder, Snapshots::Latest).await.contains(&"layer-missing"));
    run_with_changes(&db, SOME_CHANGE).await;
    archive_in(&db, &folder, &limits).await;
    assert_eq!(manifest(&folder, "staging.orders").older.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mart_that_comes_out_the_same_and_a_load_without_anything_to_send_write_nothing() {
    let db = support::database().await;
    execute(&db, "create view marts.sample as select count(*) > 0 as any_category from canonical.categories").await;
    let change = |n: usize| {
        format!(
            "insert into canonical.categories (connection, source_key, path, depth) values ('shop', '{n}', '{{A}}', 1);
             insert into canonical.changes (run_id, entity, key, op) values ({{run}}, 'categories', 'shop:{n}', 'insert');
             insert into ops.run_steps (run_id, step, stage, subject, finished_at) values ({{run}}, 1, 'load', 'x', now());"
        )
    };
    run_with_changes(&db, &change(1)).await;
    let folder = Folder::new();
    archive_now(&db, &folder).await;
    run_with_changes(&db, &change(2)).await;
    let report = archive_now(&db, &folder).await;
    let written = written(&report);
    assert!(written.contains("canonical.categories"), "{written:?}");
    assert!(!written.contains("marts.sample") && !written.contains("delivery.ledger"), "{written:?}");
    assert_eq!(folder.snapshots("marts.sample").len(), 1);
}

/// Rights of every file and folder below, as octal numbers that are not what they should be.
fn open_to_others(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        if mode != if path.is_dir() { 0o700 } else { 0o600 } {
            found.push(format!("{mode:o} {}", path.display()));
        }
        if path.is_dir() {
            open_to_others(&path, found);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_to_a_disk_is_for_its_user_alone() {
    let db = support::database().await;
    let folder = Folder::new();
    run_with_changes(&db, MANY_ORDERS).await;
    archive_in(&db, &folder, &layered()).await;
    run_with_changes(&db, SOME_CHANGE).await;
    archive_in(&db, &folder, &layered()).await;
    let mut found = Vec::new();
    open_to_others(folder.root.path(), &mut found);
    assert_eq!(found, Vec::<String>::new());
}
