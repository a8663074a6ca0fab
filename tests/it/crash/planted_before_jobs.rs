//! Bugs planted before an account that works in jobs and deduplicates nothing: an order sent twice, an opt-out lifted, orders
//! out of order, an order before its contact, a contact in two jobs at once. The same stories without them keep everything.

use super::planted::{Plant, are_caught, keep_everything};
use crate::support::crm::Crm;
use crate::support::invariants::{Broken, Invariant, check, check_at_any_time};
use crate::support::world::{Kind, World};
use serde_json::{Value, json};
use wharf::failpoint::Bug;
use wharf::sandbox::esputnik::account::By;
use wharf::sandbox::woocommerce::Entity;
use wharf::sandbox::{Fault, FaultKind};

pub const PLANTS_BEFORE_JOBS: [Plant; 6] = [
    // It dies when orders have been taken, see below.
    Plant { bug: Bug::SkipIntent, at: 0, death: "", caught_by: Invariant::NoEventTwice },
    Plant { bug: Bug::ResendUnknown, at: 0, death: "", caught_by: Invariant::NoEventTwice },
    Plant { bug: Bug::LiftOptOut, at: 0, death: "", caught_by: Invariant::OptOutKept },
    Plant { bug: Bug::NewestFirst, at: 0, death: "", caught_by: Invariant::InOrder },
    Plant { bug: Bug::JobIsDone, at: 0, death: "", caught_by: Invariant::InOrder },
    Plant { bug: Bug::ForgetJob, at: 0, death: "load/after-job=kill", caught_by: Invariant::InOrder },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn each_bug_planted_before_an_account_that_works_in_jobs_is_caught() {
    are_caught(&PLANTS_BEFORE_JOBS, |plant| story(plant, true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_same_stories_before_such_an_account_without_their_bugs_keep_every_invariant() {
    // The others differ from these by less than that.
    let told_apart = [Bug::SkipIntent, Bug::LiftOptOut, Bug::ForgetJob];
    keep_everything(&PLANTS_BEFORE_JOBS, &told_apart, |plant| story(plant, false)).await;
}

/// A first run, what the bug needs to show, a second run; gives what is broken when all has come to rest, and what was
/// broken when the first run had ended.
async fn story(plant: &'static Plant, with_bug: bool) -> Vec<Broken> {
    let Crm::ESputnik(mut options) = Crm::esputnik_that_goes_on() else { unreachable!() };
    // Longer than a load that does not ask takes to its first orders.
    options.jobs.importing = 30;
    let pipeline = json!({"load": {"parallel": 1}, "target": {"contact_batch": 1000}});
    let mut world = World::new(Kind { pipeline, crm: Crm::ESputnik(options), ..Kind::default() }).await;
    world.expects_oldest_first = plant.bug == Bug::NewestFirst;
    if plant.bug == Bug::ResendUnknown {
        world.sandbox.fault(Fault::new(FaultKind::Lost, "/api/v1/orders").times(1));
    }
    let bug = if with_bug { plant.setting() } else { String::new() };
    if plant.bug == Bug::SkipIntent {
        dies_with_orders_in_flight(&world, &bug).await;
    } else {
        let ran = world.run(&format!("{bug};{}", plant.death)).await;
        assert!(ran.is_done() != plant.death.contains("kill"), "{ran:?}");
    }
    let mut broken = check_at_any_time(&world);
    if plant.bug == Bug::LiftOptOut {
        leave_and_come_back_and_leave_there(&mut world, &bug).await;
    }
    world.run_until_done_with(&bug).await.unwrap();
    if world.decide().await.unwrap() {
        world.run_until_done_with(&bug).await.unwrap();
    }
    broken.extend(check(&world).await);
    broken
}

/// Dies when the answer to a call of orders has come and nothing of it is written.
async fn dies_with_orders_in_flight(world: &World, bug: &str) {
    // Imports come first; how many calls those are is theirs to say.
    for landings in (6..40).step_by(4) {
        let ran = world.run(&format!("{bug};load/after-call-before-outcome=kill@{landings}")).await;
        assert_eq!(ran.signal, Some(9), "before an order was sent: {ran:?}");
        if !world.sandbox.esputnik().unwrap().account().orders.list.is_empty() {
            return;
        }
    }
    panic!("no order was ever sent");
}

/// Somebody says no at the shop and yes again, and then no at the account.
async fn leave_and_come_back_and_leave_there(world: &mut World, bug: &str) {
    let (customer, email) = {
        let account = world.sandbox.esputnik().unwrap().account();
        let users = world.shop().rows(Entity::Users).into_iter().map(|row| {
            let email = row["email"].as_str().unwrap_or_default().trim().to_lowercase();
            (row["id"].as_u64().unwrap(), email)
        });
        let is_mailed =
            |email: &str| account.find_present(By::Email, email).is_some() && !account.unsubscribed.contains_key(email);
        users.into_iter().find(|(_, email)| is_mailed(email)).unwrap()
    };
    let says = |world: &World, word: &str, ago: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(ago);
        let meta: Value = json!([{"key": "marketing_consent", "value": word},
            {"key": "marketing_consent_date", "value": at.to_string()}]);
        world.change(json!({"update": {"entity": "customers", "id": customer, "fields": {"meta_data": meta}}}));
    };
    says(world, "no", 120);
    world.run_until_done_with(bug).await.unwrap();
    says(world, "yes", 60);
    world.sandbox.esputnik().unwrap().account().unsubscribe(&email, true);
    world.opted_out.insert(email);
}
