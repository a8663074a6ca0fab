//! Prune: what no kept instant needs goes, and nothing else.

use super::{Folder, archive_now, run_with_changes};
use crate::support;
use tokio_util::sync::CancellationToken;
use wharf::Kind;
use wharf::config::pipeline::{Archive, ArchiveKeep};
use wharf::progress::Progress;
use wharf::stage::archive::{self, Keep, PruneReport, Scope, When};
use wharf::store::Outcome;

async fn prune(folder: &Folder, last: usize, dry_run: bool) -> wharf::Result<PruneReport> {
    let keep = Keep { last, ..Keep::default() };
    archive::prune(folder.path().to_str().unwrap(), keep, dry_run, &CancellationToken::new()).await
}

async fn findings(folder: &Folder) -> usize {
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    archive::verify(folder.path().to_str().unwrap(), &Scope::default(), &progress, &stop).await.unwrap().findings.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_kept_instant_needs_goes_and_nothing_else() {
    let db = support::database().await;
    let folder = Folder::new();
    let mut names = Vec::new();
    for _ in 0..5 {
        run_with_changes(&db, super::LAND_ORDER).await;
        names.push(archive_now(&db, &folder).await.snapshot.unwrap());
    }
    assert_eq!(folder.snapshots("staging.orders").len(), 5);
    let products = folder.snapshots("staging.products");
    assert_eq!(products.len(), 1, "written once, and the current one ever since");

    assert_eq!(prune(&folder, 0, false).await.unwrap_err().kind(), Kind::Command);
    let dry = prune(&folder, 2, true).await.unwrap();
    assert_eq!((dry.kept.as_slice(), dry.dropped.as_slice()), (&names[3..], &names[..3]));
    assert_eq!(folder.snapshots("staging.orders").len(), 5);

    let report = prune(&folder, 2, false).await.unwrap();
    assert_eq!(report.removed, dry.removed);
    assert_eq!(folder.snapshots("staging.orders").len(), 2);
    assert_eq!(folder.snapshots("staging.products"), products);
    assert!(!folder.path().join("_writing").exists());
    assert_eq!(findings(&folder).await, 0);
    let empty = support::database().await;
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    let place = folder.path();
    let restore = |name: String| {
        let (place, empty, progress, stop) = (place.to_str().unwrap().to_owned(), &empty, &progress, &stop);
        async move { archive::restore(empty, &place, Some(&name), archive::Mode::Exact, false, progress, stop).await }
    };
    assert_eq!(restore(names[1].clone()).await.unwrap_err().kind(), Kind::Command, "before all there is");
    assert_eq!(restore(names[3].clone()).await.unwrap().snapshot, names[3]);

    assert!(prune(&folder, 2, false).await.unwrap().removed.is_empty());
    run_with_changes(&db, super::LAND_ORDER).await;
    let report = archive_now(&db, &folder).await;
    assert!(
        super::written(&report).contains("staging.orders") && !super::written(&report).contains("staging.products")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_change_feed_is_kept_and_a_page_that_cannot_be_read_stops_everything() {
    let db = support::database().await;
    let folder = Folder::new();
    let change = "insert into canonical.changes (run_id, entity, key, op) values ({run}, 'orders', 'a', 'insert');
        insert into canonical.orders (contact_id, order_id, connection, source_key, utm, extra)
        values (gen_random_uuid(), gen_random_uuid(), 'shop', {run}::text, '{}', '{}');";
    let mut names = Vec::new();
    for _ in 0..3 {
        run_with_changes(&db, change).await;
        names.push(archive_now(&db, &folder).await.snapshot.unwrap());
    }
    let page = folder.path().join(format!("_snapshots/{}.json", names[1]));
    let whole = std::fs::read(&page).unwrap();
    std::fs::write(&page, "{").unwrap();
    assert_eq!(prune(&folder, 1, false).await.unwrap_err().kind(), Kind::Io);
    assert_eq!(folder.snapshots("canonical.orders").len(), 3);
    std::fs::write(&page, whole).unwrap();
    prune(&folder, 1, false).await.unwrap();
    assert_eq!(folder.snapshots("canonical.orders").len(), 1);
    assert_eq!(folder.snapshots("canonical.changes").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_says_what_to_keep_forgets_the_rest_after_each_run_that_wrote() {
    let (db, other) = (support::database().await, support::database().await);
    // Databases of tests are copies of one: this one is told apart as a restored one is.
    super::execute(&other, "insert into ops.settings (name, value) values ('restored', 'other')").await;
    let folder = Folder::new();
    archive_now(&other, &folder).await;
    let keep = ArchiveKeep { last: 2, ..ArchiveKeep::default() };
    let settings = Archive { keep: Some(keep), ..folder.settings() };
    let change = format!(
        "{} insert into canonical.changes (run_id, entity, key, op) values ({{run}}, 'orders', 'a', 'insert')",
        super::LAND_ORDER
    );
    for round in 1..=4_usize {
        run_with_changes(&db, &change).await;
        let ctx = super::context(&db).await;
        let report = archive::run(&ctx, &settings, When::IfDue).await.unwrap();
        ctx.run.finish(Outcome::Done, None).await.unwrap();
        let pruned = report.pruned.unwrap();
        // The other database's instant counts for nothing and stays.
        assert_eq!((pruned.dropped.len(), pruned.kept.len()), (usize::from(round > 2), round.min(2) + 1), "{round}");
        assert_eq!(folder.snapshots("staging.orders").len(), round.min(2) + 1);
        assert_eq!(findings(&folder).await, 0);
    }
    assert_eq!(folder.snapshots("canonical.changes").len(), 5, "history is kept whole");
    let ctx = super::context(&db).await;
    assert_eq!(archive::run(&ctx, &settings, When::IfDue).await.unwrap().pruned, None, "nothing was written");
}
