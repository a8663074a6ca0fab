//! The program fails, panics and is killed at every change of state it has a name for, and comes to rest all the same.

mod planted;

use crate::support::invariants::{check, told};
use crate::support::world::{Dice, Kind, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_that_nothing_disturbs_keeps_every_invariant() {
    let mut world = World::new(Kind::default()).await;
    let mut dice = Dice::new(7);
    world.run_until_done().await.unwrap();
    let broken = check(&world).await;
    assert!(broken.is_empty(), "after the first run: {}", told(&broken));
    for round in 1..=4 {
        world.burst(&mut dice);
        world.run_until_done().await.unwrap();
        let broken = check(&world).await;
        assert!(broken.is_empty(), "round {round}: {}\n{}", told(&broken), world.steps.join("\n"));
    }
}
