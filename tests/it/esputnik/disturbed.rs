//! Jobs that outlive the program, answers that are lost, jobs that fail or are worked on in another order, limits.

use super::{Way, target};
use crate::support::invariants::{Invariant, check, check_at_any_time, told};
use crate::support::world::{Dice, ended};
use serde_json::json;
use std::time::Duration;
use wharf::sandbox::esputnik::{Counted, JobOrder, Limits};
use wharf::sandbox::{Fault, FaultKind};

/// How long the program may take to its first import.
const HANGS: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_an_import_runs_the_next_run_waits_for_it_and_sends_no_contact_twice_at_once() {
    let way = Way::open(|options| options.jobs.counted = Counted::Nothing, json!({"load": {"parallel": 1}})).await;
    let platform = way.world.sandbox.esputnik().unwrap().clone();
    let child = way.world.wharf(&["-q", "run", "world.yaml"], "").spawn().unwrap();
    let id = child.id().unwrap();
    // Whoever asks for the job knows of it; what is not known of is the matter of a lost answer.
    let is_asked_for = || platform.account().calls.keys().any(|call| call.contains("importstatus"));
    let asks = async {
        while !is_asked_for() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANGS, asks).await.expect("no import was ever begun");
    std::process::Command::new("kill").args(["-9", &id.to_string()]).status().unwrap();
    assert_eq!(ended(child).await.signal, Some(9));
    assert!(platform.account().imports.running() > 0);
    assert_eq!(platform.account().cards.len(), 0, "the import has not been worked on");

    platform.account().options.jobs.counted = Counted::Polls;
    way.world.run_until_done().await.unwrap();
    // A contact in two jobs would be a complaint of the account.
    way.holds("after the run that followed").await;
    way.is_at_rest("after the run that followed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_whose_answer_was_lost_is_not_sent_again_while_it_may_run() {
    let way = Way::open(|options| options.jobs.counted = Counted::Requests, json!({})).await;
    way.world.sandbox.fault(Fault::new(FaultKind::Lost, "/api/v1/contacts").method("POST"));
    way.world.run_until_done().await.unwrap();
    way.holds("after the answer was lost").await;
    way.is_at_rest("after the answer was lost").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_whose_answer_was_lost_are_held_and_never_sent_again_by_themselves() {
    let way = Way::open(|_| {}, target(json!({"orders_via": "both"}))).await;
    way.world.sandbox.fault(Fault::new(FaultKind::Lost, "/api/v1/orders"));
    way.world.sandbox.fault(Fault::new(FaultKind::Cut, "/api/v2/event"));
    way.world.run_until_done().await.unwrap();
    let mut broken = check(&way.world).await;
    // What is held waits for a person, so it is open; and whether it arrived, nobody is to guess.
    broken.retain(|one| !matches!(one.invariant, Invariant::NothingOpen | Invariant::TargetHolds));
    assert!(broken.is_empty(), "{}", told(&broken));
    way.is_at_rest("after the answers were lost").await;
    let rejects = way.world.wharf(&["rejects", "--json"], "").output().await.unwrap();
    let rejects = String::from_utf8_lossy(&rejects.stdout).into_owned();
    assert!(rejects.contains("outcome-unknown"), "{rejects}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_fail_half_done_and_jobs_in_another_order_lead_to_the_same_end() {
    for order in [JobOrder::NewestFirst, JobOrder::Together] {
        let mut way = Way::open(|options| options.jobs.order = order, json!({})).await;
        way.world.sandbox.esputnik().unwrap().account().imports.failing = 2;
        let mut dice = Dice::new(5);
        let ran = way.world.run("").await;
        assert!(ran.code.is_some(), "{ran:?}");
        let broken = check_at_any_time(&way.world);
        assert!(broken.is_empty(), "{}", told(&broken));
        way.world.burst(&mut dice);
        way.world.run_until_done().await.unwrap();
        way.holds(&format!("{order:?}")).await;
        way.is_at_rest(&format!("{order:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_limit_is_exceeded() {
    let target = json!({"orders_via": "both", "old_orders": "past_events"});
    let pipeline = json!({"load": {"rate": "40/s"}, "target": target});
    let mut way = Way::open(|options| options.limits = Some(Limits::default()), pipeline).await;
    // A call may be seen a little later than it was sent.
    way.world.limit = Some((40, 700_000));
    way.world.run_until_done().await.unwrap();
    way.world.burst(&mut Dice::new(3));
    way.world.run_until_done().await.unwrap();
    way.holds("after runs with limits").await;
    let used = {
        let account = way.world.sandbox.esputnik().unwrap().account();
        account.meters.report(account.options.limits.as_ref())
    };
    for (name, one) in used.as_object().unwrap() {
        assert_eq!(one["refused"], 0, "{name}: {used}");
    }
    for name in ["all", "events", "past_events"] {
        assert!(used[name]["taken"].as_u64() > Some(0), "{used}");
    }
}
