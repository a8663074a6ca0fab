//! Bugs planted where an IdoSell panel is read: a page that never lands, a search that is never made. The story without
//! them is that of a panel that nothing disturbs.

use super::planted::{Plant, are_caught};
use crate::support::invariants::{Broken, Invariant, check, check_at_any_time};
use crate::support::seller::Seller;
use crate::support::world::{Dice, Kind, World};
use wharf::failpoint::Bug;

pub const PLANTS_AT_PANEL: [Plant; 2] = [
    Plant { bug: Bug::CursorBeforePage, at: 4, death: "", caught_by: Invariant::StagingIsShop },
    Plant { bug: Bug::FirstPassAlone, at: 0, death: "", caught_by: Invariant::StagingIsShop },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn each_bug_planted_where_a_panel_is_read_is_caught() {
    are_caught(&PLANTS_AT_PANEL, story).await;
}

/// A first run, everything that may happen, a second run.
async fn story(plant: &'static Plant) -> Vec<Broken> {
    let mut world = World::new(Kind { seller: Seller::IdoSell, ..Kind::default() }).await;
    let bug = plant.setting();
    world.run_until_done_with(&bug).await.unwrap();
    let mut broken = check_at_any_time(&world);
    world.burst(&mut Dice::new(1));
    world.run_until_done_with(&bug).await.unwrap();
    broken.extend(check(&world).await);
    broken
}
