//! Pruning the change feed: nothing is deleted that somebody has not read or that the archive does not hold.

use super::{Folder, archive_now, column, context, execute, read, run_with_changes, written};
use crate::support::{self, TestDatabase};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use std::collections::BTreeSet;
use std::process::{Command, Output};
use wharf::Kind;
use wharf::stage::changes::{self, PruneOptions, PruneReport};
use wharf::store::{Database, run};

/// An order without a trace in the change feed.
const ORDER: &str = "insert into canonical.orders (contact_id, order_id, connection, source_key, utm, extra)
    values (gen_random_uuid(), gen_random_uuid(), 'shop', {run}::text, '{}', '{}');";
/// Five changes of a run, long ago.
const OLD: &str = "insert into canonical.changes (run_id, entity, key, op, at)
    select {run}, 'orders', n::text, 'insert', now() - interval '100 days' from generate_series(1, 5) as n;";
/// Five changes of a run, now.
const NEW: &str = "insert into canonical.changes (run_id, entity, key, op)
    select {run}, 'orders', n::text, 'insert' from generate_series(1, 5) as n;";

fn options(folder: Option<&Folder>) -> PruneOptions {
    PruneOptions {
        keep: jiff::SignedDuration::from_hours(90 * 24),
        archive: folder.map(|folder| folder.settings().to),
        dry_run: false,
        batch: Some(2),
    }
}

async fn prune(db: &Database, options: &PruneOptions) -> wharf::Result<PruneReport> {
    let ctx = context(db).await;
    let result = changes::prune(&ctx, options).await;
    ctx.run.finish(run::Outcome::Done, None).await.unwrap();
    result
}

async fn wharf(db: &TestDatabase, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.args(arguments).env("DATABASE_URL", &db.url).env_remove("WHARF_LOG");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// `seq` of every change in the database, in order.
async fn seqs(db: &Database) -> Vec<i64> {
    let rows = db.client().await.unwrap().query("select seq from canonical.changes order by seq", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// `seq` of every change in the archive, in order.
fn archived(folder: &Folder) -> Vec<i64> {
    let mut seqs = Vec::new();
    for snapshot in folder.snapshots("canonical.changes") {
        let (_, batch) = read(&snapshot);
        seqs.extend(column(&batch, "seq").as_primitive::<Int64Type>().values());
    }
    seqs.sort_unstable();
    seqs
}

async fn pruned_run(db: &Database) -> i64 {
    db.client().await.unwrap().query_one("select pruned_run from ops.feed", &[]).await.unwrap().get(0)
}

/// Runs of the feed, in order.
async fn runs(db: &Database) -> Vec<i64> {
    let statement = "select distinct run_id from canonical.changes order by run_id";
    db.client().await.unwrap().query(statement, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_in_the_archive_and_what_is_young_stays() {
    let db = support::database().await;
    for changes in [OLD, OLD, OLD, NEW, NEW] {
        run_with_changes(&db, changes).await;
    }
    let (all, folder) = (seqs(&db).await, Folder::new());
    let dry = prune(&db, &PruneOptions { dry_run: true, ..options(Some(&folder)) }).await.unwrap();
    assert_eq!((dry.changes, dry.archived_first), (15, true));
    assert!(seqs(&db).await == all && !folder.path().exists() && pruned_run(&db).await == 0);

    let last_old = runs(&db).await[2];
    let report = prune(&db, &options(Some(&folder))).await.unwrap();
    assert_eq!((report.changes, report.through_run, report.archived_first), (15, Some(last_old), true));
    assert_eq!(seqs(&db).await, all[15..]);
    assert_eq!(archived(&folder), all, "the deleted and, as ever, what came since");
    assert_eq!(pruned_run(&db).await, last_old);
    // Nothing is left to do, and the archive goes on behind what it has.
    assert_eq!(prune(&db, &options(Some(&folder))).await.unwrap().through_run, None);
    execute(&db, "update canonical.changes set at = now() - interval '91 days'").await;
    run_with_changes(&db, NEW).await;
    let report = prune(&db, &options(Some(&folder))).await.unwrap();
    assert_eq!((report.changes, report.archived_first), (10, false), "the archive had them already");
    assert_eq!(archived(&folder), all);
    archive_now(&db, &folder).await;
    assert_eq!(archived(&folder).len(), 30, "every change once");
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_a_prune_dies_after_publishing_the_next_one_ends_it_and_no_change_is_lost() {
    for deleted_before in [0, 4, 9] {
        let db = support::database().await;
        for changes in [OLD, OLD, NEW] {
            run_with_changes(&db, changes).await;
        }
        let (all, folder) = (seqs(&db).await, Folder::new());
        // The server refuses to delete the change that comes next: what was committed before stays so, as in a kill.
        let refuse = format!(
            "create function public.refuse() returns trigger language plpgsql as
                 $$ begin if old.seq = {} then raise 'killed'; end if; return old; end $$;
             create trigger refuse before delete on canonical.changes for each row execute function public.refuse()",
            all[deleted_before]
        );
        execute(&db, &refuse).await;
        prune(&db, &options(Some(&folder))).await.unwrap_err();
        let left = seqs(&db).await;
        let held: BTreeSet<i64> = archived(&folder).into_iter().collect();
        assert_eq!(left.len(), all.len() - deleted_before / 2 * 2);
        assert!(all.iter().all(|seq| left.contains(seq) || held.contains(seq)));
        assert!(pruned_run(&db).await > 0, "readers are told that some may be gone");

        execute(&db, "drop trigger refuse on canonical.changes").await;
        let report = prune(&db, &options(Some(&folder))).await.unwrap();
        assert!(!report.archived_first, "the archive holds them since the prune that died");
        assert_eq!(seqs(&db).await, all[10..]);
        assert_eq!(archived(&folder), all, "every change once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_read_the_old_changes_keeps_them_and_is_named() {
    let db = support::database().await;
    for changes in [OLD, OLD, OLD, NEW] {
        run_with_changes(&db, changes).await;
    }
    let runs = runs(&db).await;
    let half = format!(
        "insert into ops.consumers (name, run_id, seq) values ('bill', {}, (select min(seq) from canonical.changes));
         insert into ops.consumers (name, run_id, seq) values ('idle', {}, null);
         insert into delivery.consumers (target, pipeline, run_id) values ('crm', 'shop', {})",
        runs[0], runs[2], runs[1]
    );
    execute(&db, &half).await;
    let folder = Folder::new();
    let to = folder.settings().to;
    let command = ["changes", "prune", "--keep", "90d", "--to", &to];
    let output = wharf(&db, &command).await;
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stdout.contains("no changes to prune"), "{stdout}");
    assert!(stderr.contains("consumer bill has read up to run") && stderr.contains("`wharf changes forget bill`"));
    assert!(stderr.contains("consumer crm/shop") && stderr.contains("wharf load"), "{stderr}");
    assert!(!stderr.contains("idle"), "who has read all the old ones is in nobody's way: {stderr}");
    assert_eq!(seqs(&db).await.len(), 20);

    // Whoever is furthest behind decides.
    execute(&db, &format!("update ops.consumers set run_id = {}, seq = null where name = 'bill'", runs[0])).await;
    assert_eq!(prune(&db, &options(Some(&folder))).await.unwrap().through_run, Some(runs[0]));
    assert_eq!(wharf(&db, &["changes", "forget", "bill"]).await.status.code(), Some(0));
    assert_eq!(prune(&db, &options(Some(&folder))).await.unwrap().through_run, Some(runs[1]));
    assert_eq!(wharf(&db, &["changes", "forget", "crm/shop"]).await.status.code(), Some(0));
    let output = wharf(&db, &[&command[..], &["--json"]].concat()).await;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["changes"], &report["blocked_by"]), (&5.into(), &serde_json::json!([])), "{report}");
    assert_eq!(self::runs(&db).await, runs[3..]);
    assert_eq!(wharf(&db, &["changes", "prune", "--keep", "90d"]).await.status.code(), Some(2), "where to?");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_has_lost_a_part_of_the_feed_is_not_believed() {
    let db = support::database().await;
    let folder = Folder::new();
    for _ in 0..2 {
        run_with_changes(&db, OLD).await;
        archive_now(&db, &folder).await;
    }
    let first = folder.snapshots("canonical.changes").remove(0);
    let part = first.join("part-00000.parquet");
    let whole = std::fs::read(&part).unwrap();
    std::fs::write(&part, &whole[..whole.len() - 1]).unwrap();
    for _ in 0..2 {
        let error = prune(&db, &options(Some(&folder))).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Guard);
        assert!(error.detail().contains("lacks changes of runs"), "{error}");
        // The same without the snapshot.
        let _ = std::fs::remove_dir_all(&first);
    }
    assert_eq!((seqs(&db).await.len(), pruned_run(&db).await), (10, 0));
    let elsewhere = Folder::new();
    assert_eq!(prune(&db, &options(Some(&elsewhere))).await.unwrap().changes, 10);
    assert_eq!(archived(&elsewhere).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_was_behind_when_changes_were_pruned_writes_the_tables_again() {
    let db = support::database().await;
    let folder = Folder::new();
    run_with_changes(&db, OLD).await;
    archive_now(&db, &folder).await;
    assert!(!written(&archive_now(&db, &folder).await).contains("canonical.orders"), "it had not changed");
    run_with_changes(&db, &format!("{OLD}\n{ORDER}")).await;
    let report = prune(&db, &options(None)).await.unwrap();
    assert_eq!((report.changes, report.behind.len()), (10, 1), "{report:?}");
    let report = archive_now(&db, &folder).await;
    assert!(written(&report).contains("canonical.orders"), "the feed can no longer tell that it changed");
    assert!(!written(&archive_now(&db, &folder).await).contains("canonical.orders"), "and again it has not changed");
}
