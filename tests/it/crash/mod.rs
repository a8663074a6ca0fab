//! The program fails, panics and is killed at every change of state it has a name for, and comes to rest all the same.

mod careless_server;
mod matrix;
mod planted;
mod planted_at_panel;
mod planted_before_jobs;

use crate::support::crm::Crm;
use crate::support::invariants::{check, told};
use crate::support::seller::Seller;
use crate::support::world::{Dice, Kind, World, ended};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_nothing_disturbs_keeps_every_invariant() {
    undisturbed(Kind::default(), 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_between_a_panel_and_an_account_that_works_in_jobs_keeps_every_invariant_undisturbed() {
    let crm = Crm::esputnik_that_goes_on();
    undisturbed(Kind { seller: Seller::IdoSell, crm, ..Kind::default() }, 2).await;
}

async fn undisturbed(kind: Kind, rounds: u32) {
    let mut world = World::new(kind).await;
    let mut dice = Dice::new(7);
    world.run_until_done().await.unwrap();
    let broken = check(&world).await;
    assert!(broken.is_empty(), "after the first run: {}", told(&broken));
    for round in 1..=rounds {
        world.burst(&mut dice);
        world.run_until_done().await.unwrap();
        let broken = check(&world).await;
        assert!(broken.is_empty(), "round {round}: {}\n{}", told(&broken), world.steps.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_whose_own_clock_is_wrong_goes_by_that_of_the_database() {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let hour = |ahead: i64| (now.clone() + jiff::SignedDuration::from_hours(ahead)).strftime("%H:00").to_string();
    let window = format!("{}-{} UTC", hour(-1), hour(2));
    let mut world = World::new(Kind { pipeline: json!({"load": {"window": window}}), ..Kind::default() }).await;
    let mut dice = Dice::new(3);
    for hours in [0, 7, -9] {
        world.burst(&mut dice);
        let mut command = world.wharf(&["-q", "run", "world.yaml"], "");
        let ran = ended(command.env("WHARF_CLOCK_AHEAD", (hours * 3600).to_string()).spawn().unwrap()).await;
        assert!(ran.is_done(), "{hours} h ahead: {ran:?}");
        let broken = check(&world).await;
        assert!(broken.is_empty(), "{hours} h ahead: {}\n{}", told(&broken), world.steps.join("\n"));
    }
}
