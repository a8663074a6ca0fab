//! Diff: what was added, removed and changed between two snapshots, against what was really done.

use super::{Folder, archive_in, execute};
use crate::support;
use std::collections::BTreeMap;
use std::process::Command;
use tokio_util::sync::CancellationToken;
use wharf::progress::Progress;
use wharf::stage::archive::{self, DiffOptions, DiffReport, EntityDiff, Limits, Op, RowDiff};

async fn diff(folder: &Folder, instants: (&str, &str), limit: Option<u64>) -> (DiffReport, Vec<RowDiff>) {
    let options = DiffOptions { entities: vec!["marts.t".into(), "marts.loose".into()], limit };
    let mut rows = Vec::new();
    let mut show = |row| {
        rows.push(row);
        Ok(())
    };
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    let place = folder.path();
    let report = archive::diff(place.to_str().unwrap(), instants, &options, &progress, &stop, &mut show).await.unwrap();
    (report, rows)
}

fn of<'a>(report: &'a DiffReport, entity: &str) -> &'a EntityDiff {
    report.entities.iter().find(|diff| diff.entity == entity).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_added_removed_and_changed_are_told_apart_whatever_their_order() {
    let db = support::database().await;
    execute(
        &db,
        "create table marts.t (a text, b int8, price numeric(18, 4), at timestamptz, tags text[], primary key (a, b));
         insert into marts.t select 'k' || i % 100, i, i / 4.0, timestamptz '2024-01-01 00:00:00+00' + i * interval '1 s',
            array[i::text, null] from generate_series(1, 6000) i;
         create table marts.loose as select i % 10 as n from generate_series(1, 100) i",
    )
    .await;
    let folder = Folder::new();
    let limits = Limits { batch_rows: 500, part_rows: 2_000, ..Limits::default() };
    let first = archive_in(&db, &folder, &limits).await.snapshot.unwrap();
    execute(
        &db,
        "delete from marts.t where b % 600 = 0;
         insert into marts.t select 'new', i, null, null, null from generate_series(1, 7) i;
         update marts.t set price = price + 1, tags = '{}' where b between 101 and 105;
         update marts.t set at = at where b between 3000 and 4000;
         cluster marts.t using t_pkey;
         delete from marts.loose where ctid in (select ctid from marts.loose where n = 3 limit 4);
         insert into marts.loose values (77)",
    )
    .await;
    let second = archive_in(&db, &folder, &limits).await.snapshot.unwrap();

    let (report, rows) = diff(&folder, (&first, &second), None).await;
    let t = of(&report, "marts.t");
    assert_eq!((t.added, t.removed, t.changed), (7, 10, 5));
    let loose = of(&report, "marts.loose");
    assert_eq!((loose.added, loose.removed, loose.changed), (1, 4, 0));
    let count = |op: Op| rows.iter().filter(|row| row.entity == "marts.t" && row.op == op).count();
    assert_eq!((count(Op::Added), count(Op::Removed), count(Op::Changed)), (7, 10, 5));
    assert_eq!(rows.iter().filter(|row| row.entity == "marts.loose").count(), 5);
    let some = |text: &str| Some(text.to_owned());
    let changed = rows.iter().find(|row| row.key.get("b") == Some(&some("101"))).unwrap();
    assert_eq!(changed.key, BTreeMap::from([("a".into(), some("k1")), ("b".into(), some("101"))]));
    assert_eq!(
        changed.fields,
        BTreeMap::from([
            ("price".into(), (some("25.2500"), some("26.2500"))),
            ("tags".into(), (some("[101, null]"), some("[]"))),
        ])
    );

    // The other way round, and not at all.
    let (report, rows) = diff(&folder, (&second, &first), Some(3)).await;
    let t = of(&report, "marts.t");
    assert_eq!((t.added, t.removed, t.changed), (10, 7, 5));
    assert_eq!(rows.iter().filter(|row| row.entity == "marts.t").count(), 3);
    let (report, rows) = diff(&folder, (&first, &first), None).await;
    assert!(
        rows.is_empty() && report.entities.iter().all(|diff| (diff.added, diff.removed, diff.changed) == (0, 0, 0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_only_one_snapshot_has_is_named_and_not_compared() {
    let db = support::database().await;
    execute(&db, "create table marts.t (id int primary key, n int); insert into marts.t values (1, 1), (2, 2)").await;
    execute(&db, "create table marts.loose (n int)").await;
    let folder = Folder::new();
    let first = archive_in(&db, &folder, &Limits::default()).await.snapshot.unwrap();
    execute(&db, "alter table marts.t add column more int default 7; update marts.t set n = 3 where id = 2").await;
    let second = archive_in(&db, &folder, &Limits::default()).await.snapshot.unwrap();
    let (report, _) = diff(&folder, (&first, &second), None).await;
    let t = of(&report, "marts.t");
    assert_eq!((t.added, t.removed, t.changed, t.not_compared.as_slice()), (0, 0, 1, &["more".to_owned()][..]));

    let place = folder.path();
    let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["--json", "archive", "diff", place.to_str().unwrap(), &first, &second, "--entity", "marts.t"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["row"]["fields"]["n"], serde_json::json!(["2", "3"]));
    assert_eq!(lines[1]["report"]["entities"][0]["changed"], 1);
}
