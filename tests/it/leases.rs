//! Leases and runs: one holder at a time, the dead are found and closed, and who was cut off cannot commit.

use crate::support::{self, TestDatabase};
use std::time::Duration;
use wharf::store::{Lease, Outcome, Run};
use wharf::{Error, Kind};

async fn begin(db: &TestDatabase) -> Run {
    Run::begin(db, "pipeline", "run").await.unwrap()
}

async fn outcome(db: &TestDatabase, run: i64) -> Option<String> {
    let client = db.client().await.unwrap();
    client.query_one("select outcome from ops.runs where run_id = $1", &[&run]).await.unwrap().get(0)
}

/// Ends the server's side of every connection that holds a lock of a run: what a killed process looks like.
async fn cut_off(db: &TestDatabase, run: i64) {
    let client = db.client().await.unwrap();
    let cut = client
        .execute(
            "select pg_terminate_backend(pid, 10000) from pg_locks
             where locktype = 'advisory' and objsubid = 1
                 and database = (select oid from pg_database where datname = current_database())
                 and ((classid::bigint << 32) | objid::bigint) = hashtextextended('wharf run ' || $1::bigint, 0)",
            &[&run],
        )
        .await
        .unwrap();
    assert_eq!(cut, 1, "run {run} holds no lock");
}

#[tokio::test]
async fn a_lease_has_one_holder_at_a_time() {
    let db = support::database().await;
    let (first, second) = (begin(&db).await, begin(&db).await);
    let lease = Lease::take(&db, &first, "extract:shop").await.unwrap();
    let error = Lease::take_within(&db, &second, "extract:shop", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), Kind::DoneElsewhere, "another run of the pipeline does all that this one would");
    let other = Run::begin(&db, "another", "run").await.unwrap();
    let error = Lease::take_within(&db, &other, "extract:shop", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), Kind::LeaseHeld);
    assert!(error.detail().contains(wharf::store::run::holder()), "{error}");
    let error = Lease::take_within(&db, &first, "extract:shop", Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), Kind::LeaseHeld);
    Lease::take_within(&db, &second, "extract:other", Duration::ZERO).await.unwrap();
    let token = lease.token();
    lease.release().await.unwrap();
    let lease = Lease::take_within(&db, &second, "extract:shop", Duration::ZERO).await.unwrap();
    assert_eq!(lease.token(), token + 1);
}

#[tokio::test]
async fn who_waits_for_a_lease_gets_it_when_it_is_given_back() {
    let db = support::database().await;
    let (first, second) = (begin(&db).await, begin(&db).await);
    let lease = Lease::take(&db, &first, "transform").await.unwrap();
    let (waited, released) =
        tokio::join!(Lease::take_within(&db, &second, "transform", Duration::from_secs(60)), lease.release());
    released.unwrap();
    waited.unwrap();
}

#[tokio::test]
async fn a_lease_given_back_by_a_run_that_goes_on_does_not_close_the_run() {
    let db = support::database().await;
    let (first, second) = (begin(&db).await, begin(&db).await);
    Lease::take(&db, &first, "transform").await.unwrap().release().await.unwrap();
    Lease::take(&db, &second, "transform").await.unwrap();
    assert_eq!(outcome(&db, first.id).await, None);
}

#[tokio::test]
async fn a_lease_that_is_dropped_is_given_back() {
    let db = support::database().await;
    let (first, second) = (begin(&db).await, begin(&db).await);
    drop(Lease::take(&db, &first, "transform").await.unwrap());
    Lease::take(&db, &second, "transform").await.unwrap();
}

#[tokio::test]
async fn the_run_of_a_dead_holder_is_closed_as_died_and_its_lease_taken_over() {
    let db = support::database().await;
    let dead = begin(&db).await;
    let lease = Lease::take(&db, &dead, "target:crm").await.unwrap();
    cut_off(&db, dead.id).await;
    let heir = begin(&db).await;
    assert_eq!(outcome(&db, dead.id).await.as_deref(), Some("died"));
    let inherited = Lease::take_within(&db, &heir, "target:crm", Duration::ZERO).await.unwrap();
    assert!(inherited.token() > lease.token());
    dead.finish(Outcome::Done, None).await.unwrap();
    assert_eq!(outcome(&db, dead.id).await.as_deref(), Some("died"));
    assert_eq!(outcome(&db, heir.id).await, None);
}

#[tokio::test]
async fn a_holder_that_was_cut_off_cannot_commit_after_the_next_took_over() {
    let db = support::database().await;
    let old = begin(&db).await;
    let lease = Lease::take(&db, &old, "extract:shop").await.unwrap();
    cut_off(&db, old.id).await;
    let new = begin(&db).await;
    let _inherited = Lease::take(&db, &new, "extract:shop").await.unwrap();
    let mut client = db.client().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    assert_eq!(lease.assert(&transaction).await.unwrap_err().kind(), Kind::LeaseLost);
}

#[tokio::test]
async fn closing_a_dead_run_alone_is_enough_to_fence_it() {
    let db = support::database().await;
    let old = begin(&db).await;
    let lease = Lease::take(&db, &old, "extract:shop").await.unwrap();
    cut_off(&db, old.id).await;
    let _another = begin(&db).await;
    let mut client = db.client().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    assert_eq!(lease.assert(&transaction).await.unwrap_err().kind(), Kind::LeaseLost);
}

#[tokio::test]
async fn a_takeover_waits_for_the_transaction_in_which_the_old_holder_is_committing() {
    let db = support::database().await;
    let old = begin(&db).await;
    let lease = Lease::take(&db, &old, "extract:shop").await.unwrap();
    let mut client = db.client().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    lease.assert(&transaction).await.unwrap();
    cut_off(&db, old.id).await;
    let closing = begin(&db);
    tokio::pin!(closing);
    let watcher = db.client().await.unwrap();
    let blocked = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    loop {
        tokio::select! {
            _ = &mut closing => panic!("the run was closed under an open transaction"),
            row = watcher.query_one(blocked, &[]) => {
                if row.unwrap().get::<_, i64>(0) > 0 { break; }
            }
        }
    }
    transaction.commit().await.unwrap();
    closing.await;
    assert_eq!(outcome(&db, old.id).await.as_deref(), Some("died"));
}

#[tokio::test]
async fn steps_and_outcome_of_a_run_can_be_read_by_analysts() {
    let db = support::database().await;
    let run = begin(&db).await;
    let step = run.step("extract", "shop/orders").await.unwrap();
    let other = run.step("extract", "shop/customers").await.unwrap();
    step.finish(serde_json::json!({ "read": 10, "new": 2 })).await.unwrap();
    drop(other);
    run.finish(Outcome::Failed, Some(&Error::new(Kind::Throttled, "slow down"))).await.unwrap();
    let client = db.client().await.unwrap();
    let rows = client
        .query(
            "select r.outcome, r.error, s.step, s.subject, s.counts->>'new', s.finished_at is not null
             from ops.runs r join ops.run_steps s using (run_id) where run_id = $1 order by step",
            &[&run.id],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].get::<_, String>(0), "failed");
    assert_eq!(rows[0].get::<_, String>(1), "WH-302: slow down");
    assert_eq!((rows[0].get::<_, i32>(2), rows[0].get::<_, String>(3)), (1, "shop/orders".to_owned()));
    assert_eq!(rows[0].get::<_, Option<String>>(4).as_deref(), Some("2"));
    assert_eq!((rows[0].get::<_, bool>(5), rows[1].get::<_, bool>(5)), (true, false));
}
