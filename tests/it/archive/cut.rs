//! Restore and prune that fail, panic or are killed at every change of state: what was begun is begun again, or refused
//! with a word of what is there; an archive stays readable all the while.

use super::{Folder, archive_now, run_with_changes};
use crate::support::{self, TestDatabase};
use std::path::Path;
use std::process::{Command, Output};
use tokio_util::sync::CancellationToken;
use wharf::failpoint::Point;
use wharf::progress::Progress;
use wharf::stage::archive::{self, Scope};

const ACTIONS: [&str; 3] = ["error", "panic", "kill"];

fn wharf(arguments: &[&str], failpoints: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(arguments)
        .env("WHARF_FAILPOINTS", failpoints)
        .env_remove("DATABASE_URL")
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn count(db: &TestDatabase, what: &str) -> i64 {
    db.client().await.unwrap().query_one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
}

/// An archive of three orders at three instants.
async fn archive_of_three() -> (Folder, Vec<String>) {
    let (db, folder) = (support::database().await, Folder::new());
    let mut instants = Vec::new();
    for _ in 0..3 {
        run_with_changes(&db, super::LAND_ORDER).await;
        instants.push(archive_now(&db, &folder).await.snapshot.unwrap());
    }
    (folder, instants)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_cut_at_any_point_is_begun_again_or_known_to_be_complete() {
    let (folder, _) = archive_of_three().await;
    let place = folder.path().to_str().unwrap().to_owned();
    let begun_again =
        [Point::RestoreAfterLease, Point::RestoreAfterClear, Point::RestoreTableCopied, Point::RestoreBeforeCommit];
    // All in the same database: each has to leave it as empty as before.
    let db = support::database().await;
    let restore = |db: &TestDatabase, failpoints: &str| {
        wharf(&["archive", "restore", &place, "--database-url", &db.url], failpoints)
    };
    for point in begun_again {
        for action in ACTIONS {
            let cut = restore(&db, &format!("{}={action}", point.name()));
            assert!(!cut.status.success(), "{} was not reached", point.name());
            assert_eq!(count(&db, "staging.orders").await, 0, "{} {action}", point.name());
            assert!(count(&db, "ops.settings where name = 'identity_salt'").await == 1, "{} {action}", point.name());
        }
    }
    let done = restore(&db, "");
    assert!(done.status.success(), "{}", told(&done));
    assert_eq!(count(&db, "staging.orders").await, 3);
    let clash = "staging.orders where run_id >= (select min(run_id) from ops.runs)";
    assert_eq!(count(&db, clash).await, 0, "runs go on after those that the rows know");

    for action in ACTIONS {
        let db = support::database().await;
        let cut = restore(&db, &format!("{}={action}", Point::RestoreAfterCommit.name()));
        assert!(!cut.status.success());
        assert_eq!(count(&db, "staging.orders").await, 3, "{action}");
        let again = restore(&db, "");
        assert_eq!(again.status.code(), Some(5), "{}", told(&again));
        assert!(told(&again).contains("restored already") && told(&again).contains("wharf plan"), "{}", told(&again));
        // Nothing of it is left at work.
        wharf::store::Run::begin(&db, "test", "extract").await.unwrap();
        assert_eq!(count(&db, "ops.runs where command = 'restore' and finished_at is null").await, 0, "{action}");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_cut_at_any_point_leaves_a_readable_archive_and_is_finished_by_the_next() {
    let (whole, instants) = archive_of_three().await;
    for point in [Point::PrunePageGone, Point::PruneSnapshotHidden, Point::PruneSnapshotGone] {
        for action in ACTIONS {
            let folder = Folder::new();
            copy(&whole.path(), &folder.path());
            let place = folder.path().to_str().unwrap().to_owned();
            let prune = |failpoints: &str| wharf(&["archive", "prune", "--at", &place, "--last", "1"], failpoints);
            let cut = prune(&format!("{}={action}", point.name()));
            assert!(!cut.status.success(), "{} was not reached", point.name());
            for again in [false, true] {
                if again {
                    let done = prune("");
                    assert!(done.status.success(), "{}", told(&done));
                    assert_eq!(folder.snapshots("staging.orders").len(), 1, "{} {action}", point.name());
                    assert!(!folder.path().join("_writing").exists(), "{} {action}", point.name());
                }
                let (scope, progress, stop) = (Scope::default(), Progress::silent(), CancellationToken::new());
                let found = archive::verify(&place, &scope, &progress, &stop).await.unwrap();
                assert_eq!(found.broken(), 0, "{} {action}: {found:?}", point.name());
                let latest = std::fs::read_to_string(folder.path().join("_latest.json")).unwrap();
                assert!(latest.contains(&instants[2]), "{} {action}", point.name());
            }
        }
    }
}
