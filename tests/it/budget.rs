//! The budget of a target account: one row in Postgres, however many processes and pipelines draw from it.

use crate::support::canonical::pipeline;
use crate::support::fake_target::FakeTarget;
use crate::support::{self, TestDatabase};
use serde_json::json;
use std::time::Duration;
use wharf::http::Budget;
use wharf::http::budget::{Block, Grant, Spacing};
use wharf::store::budget::AccountBudget;

async fn budget(db: &TestDatabase, name: &str, load: serde_json::Value) -> AccountBudget {
    let target = FakeTarget::new();
    AccountBudget::open(db, &pipeline(&json!({ "name": name, "load": load })), &target).await.unwrap()
}

async fn turns(budget: &AccountBudget, wanted: u32) -> Block {
    match budget.reserve(wanted, Duration::ZERO).await.unwrap() {
        Grant::Turns(block) => block,
        other => panic!("{other:?}"),
    }
}

async fn next_turn(db: &TestDatabase) -> f64 {
    let client = db.client().await.unwrap();
    let row = client.query_one("select extract(epoch from next_turn_at)::double precision from ops.budgets", &[]);
    row.await.unwrap().get(0)
}

#[tokio::test]
async fn processes_that_reserve_at_once_never_get_the_same_turn() {
    let db = support::database().await;
    let rate = "50/s".parse().unwrap();
    let mut tasks = Vec::new();
    let first = budget(&db, "a", json!({"rate": "50/s"})).await;
    turns(&first, 1).await;
    let before = next_turn(&db).await;
    for _ in 0..8 {
        let (db, first) = (db.db.clone(), first.clone());
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                let Grant::Turns(block) = first.reserve(10, Duration::from_millis(5)).await.unwrap() else { panic!() };
                assert_eq!(block.turns, 10);
            }
            drop(db);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let spacing = Spacing::of(rate);
    let moved = next_turn(&db).await - before;
    let least = 160.0 * (10.0 * spacing.between.as_secs_f64() + 0.005);
    assert!(moved >= least - 1e-3, "{moved} of {least}");
}

#[tokio::test]
async fn blocks_follow_each_other_across_restarts_and_unused_turns_come_back() {
    let db = support::database().await;
    let first = budget(&db, "a", json!({"rate": "1/s"})).await;
    let one = turns(&first, 60).await;
    assert!(one.starts_in < Duration::from_secs(1));
    assert_eq!(one.spacing, Spacing::of("1/s".parse().unwrap()));
    // The process dies with its block in hand; the next one goes on behind it.
    let second = budget(&db, "a", json!({"rate": "1/s"})).await;
    let two = turns(&second, 60).await;
    assert!(two.starts_in > Duration::from_secs(50), "{two:?}");
    second.give_back(one.serial, 60).await.unwrap();
    let before = next_turn(&db).await;
    second.give_back(two.serial, 40).await.unwrap();
    let back = before - next_turn(&db).await;
    assert!(
        (back - 40.0 * one.spacing.between.as_secs_f64()).abs() < 0.01,
        "only the last block is taken back: {back}"
    );
}

#[tokio::test]
async fn the_lowest_rate_of_all_pipelines_holds_for_the_account() {
    let db = support::database().await;
    let fast = budget(&db, "fast", json!({"rate": "50/s"})).await;
    assert_eq!(fast.lower(), None);
    let slow = budget(&db, "slow", json!({"rate": "100/min"})).await;
    assert_eq!(slow.lower(), None);
    let spacing = turns(&fast, 1).await.spacing;
    let slower = Spacing::of("100/min".parse().unwrap());
    assert_eq!(spacing.between.as_micros(), slower.between.as_micros());
    assert!(spacing.late <= Spacing::of("50/s".parse().unwrap()).late, "a burst would break the faster one's limit");
    let fast = budget(&db, "fast", json!({})).await;
    let note = fast.lower().unwrap();
    assert!(note.contains("100/min") && note.contains("slow") && note.contains("no limit"), "{note}");

    // A pipeline that has not run for a week is gone.
    let client = db.client().await.unwrap();
    client
        .execute("update ops.budget_rates set said_at = now() - interval '8 days' where pipeline = 'slow'", &[])
        .await
        .unwrap();
    let fast = budget(&db, "fast", json!({})).await;
    assert_eq!(fast.lower(), None);
    assert!(matches!(fast.reserve(1, Duration::ZERO).await.unwrap(), Grant::Unlimited(_)));
}

#[tokio::test]
async fn what_the_platform_asked_of_one_process_all_obey() {
    let db = support::database().await;
    let (first, second) = (budget(&db, "a", json!({"rate": "50/s"})).await, budget(&db, "b", json!({})).await);
    first.hold(Duration::from_secs(600)).await.unwrap();
    first.hold(Duration::from_secs(1)).await.unwrap();
    let Grant::Quiet(wait) = second.reserve(5, Duration::ZERO).await.unwrap() else { panic!() };
    assert!(wait > Duration::from_secs(500), "{wait:?}");
}

#[tokio::test]
async fn the_calls_of_a_day_are_counted_for_all_and_a_new_day_begins_anew() {
    let db = support::database().await;
    let (first, second) =
        (budget(&db, "a", json!({"calls_per_day": 10})).await, budget(&db, "b", json!({"calls_per_day": 100})).await);
    assert_eq!(turns(&first, 8).await.turns, 8);
    let rest = turns(&second, 8).await;
    assert_eq!(rest.turns, 2);
    let Grant::Spent(wait) = first.reserve(1, Duration::ZERO).await.unwrap() else { panic!() };
    assert!(wait <= Duration::from_secs(86_400));
    second.give_back(rest.serial, 1).await.unwrap();
    assert_eq!(turns(&first, 8).await.turns, 1);
    let client = db.client().await.unwrap();
    client.execute("update ops.budgets set day = day - 1", &[]).await.unwrap();
    assert_eq!(turns(&first, 8).await.turns, 8);
}

#[tokio::test]
async fn a_clock_that_is_set_back_delays_nobody() {
    let db = support::database().await;
    let first = budget(&db, "a", json!({"rate": "1/s"})).await;
    turns(&first, 10).await;
    // To the row, this is what a clock set back by an hour looks like.
    let client = db.client().await.unwrap();
    let ahead =
        "update ops.budgets set seen_at = seen_at + interval '1 h', next_turn_at = next_turn_at + interval '1 h'";
    client.execute(ahead, &[]).await.unwrap();
    let block = turns(&first, 1).await;
    assert!(block.starts_in > Duration::from_secs(9) && block.starts_in < Duration::from_secs(60), "{block:?}");
}
