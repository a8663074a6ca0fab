//! The invariants are seen to catch bugs: each is planted in the program on purpose, and the invariant that must notice
//! it is named. The same story without the bug keeps every invariant.

use super::planted_at_panel::PLANTS_AT_PANEL;
use super::planted_before_jobs::PLANTS_BEFORE_JOBS;
use crate::support::invariants::{Broken, Invariant, check, check_at_any_time, names, told};
use crate::support::world::{Dice, Happening, Kind, World};
use serde_json::json;
use std::collections::BTreeSet;
use wharf::failpoint::Bug;
use wharf::sandbox::{Fault, FaultKind};

/// A bug, what else has to go wrong for it to show, and what must notice it.
pub struct Plant {
    pub bug: Bug,
    /// At which occasion it is made; 0 is each.
    pub at: u64,
    /// A failpoint that ends the first run.
    pub death: &'static str,
    pub caught_by: Invariant,
}

impl Plant {
    /// As the program is told.
    pub fn setting(&self) -> String {
        match self.at {
            0 => format!("{}=plant", self.bug.name()),
            at => format!("{}=plant@{at}", self.bug.name()),
        }
    }
}

const PLANTS: [Plant; 10] = [
    // The fifth page that is stored is the first of the products.
    Plant { bug: Bug::CursorBeforePage, at: 5, death: "", caught_by: Invariant::StagingIsShop },
    Plant { bug: Bug::ForgetDelete, at: 0, death: "", caught_by: Invariant::StagingIsShop },
    Plant { bug: Bug::DropBeforeMap, at: 1, death: "", caught_by: Invariant::CanonicalIsNaive },
    // The contacts take the first calls, the events those from the seventh on.
    Plant {
        bug: Bug::SkipIntent,
        at: 0,
        death: "load/after-call-before-outcome=kill@7",
        caught_by: Invariant::NoEventTwice,
    },
    Plant {
        bug: Bug::AcknowledgeBeforeCall,
        at: 0,
        death: "load/after-intent=kill@7",
        caught_by: Invariant::TargetHolds,
    },
    Plant { bug: Bug::ResendUnknown, at: 0, death: "", caught_by: Invariant::NoEventTwice },
    Plant { bug: Bug::LiftOptOut, at: 0, death: "", caught_by: Invariant::OptOutKept },
    Plant { bug: Bug::NewestFirst, at: 0, death: "", caught_by: Invariant::InOrder },
    Plant { bug: Bug::IgnoreLimit, at: 0, death: "", caught_by: Invariant::WithinLimit },
    Plant {
        bug: Bug::LatestBeforePublish,
        at: 0,
        death: "archive/between-publishes=kill@1",
        caught_by: Invariant::ArchiveWhole,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn each_planted_bug_is_caught_by_the_invariant_that_is_there_for_it() {
    let planted: BTreeSet<Bug> = PLANTS.iter().map(|plant| plant.bug).collect();
    let all: BTreeSet<Bug> = Bug::ALL.iter().copied().collect();
    let of_jobs: BTreeSet<Bug> = PLANTS_BEFORE_JOBS.iter().map(|plant| plant.bug).collect();
    let at_panel: BTreeSet<Bug> = PLANTS_AT_PANEL.iter().map(|plant| plant.bug).collect();
    assert_eq!(&(&planted | &of_jobs) | &at_panel, all, "every bug that can be planted is planted");
    are_caught(&PLANTS, |plant| story(plant, true)).await;
}

/// Tells the story of each plant, several side by side, and sees that it ends with what the plant is there to break.
pub async fn are_caught<S>(plants: &'static [Plant], story: impl Fn(&'static Plant) -> S)
where
    S: Future<Output = Vec<Broken>> + Send + 'static,
{
    let mut failures = Vec::new();
    for chunk in plants.chunks(3) {
        let stories: Vec<_> = chunk.iter().map(|plant| tokio::spawn(story(plant))).collect();
        for (story, plant) in stories.into_iter().zip(chunk) {
            let broken = story.await.unwrap();
            if !names(&broken).contains(&plant.caught_by) {
                failures.push(format!("{:?} was not caught by {:?}: {}", plant.bug, plant.caught_by, told(&broken)));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_same_stories_without_their_bugs_keep_every_invariant() {
    // Those whose story differs from that of the others.
    let told_apart = [Bug::SkipIntent, Bug::ResendUnknown, Bug::NewestFirst, Bug::IgnoreLimit];
    keep_everything(&PLANTS, &told_apart, |plant| story(plant, false)).await;
}

/// Tells the stories of the plants of these bugs, side by side, and sees that they end with nothing broken.
pub async fn keep_everything<S>(plants: &'static [Plant], told_apart: &[Bug], story: impl Fn(&'static Plant) -> S)
where
    S: Future<Output = Vec<Broken>> + Send + 'static,
{
    let stories: Vec<_> = plants
        .iter()
        .filter(|plant| told_apart.contains(&plant.bug))
        .map(|plant| (plant.bug, tokio::spawn(story(plant))))
        .collect();
    assert_eq!(stories.len(), told_apart.len());
    for (bug, story) in stories {
        let broken = story.await.unwrap();
        assert!(broken.is_empty(), "{bug:?}: {}", told(&broken));
    }
}

/// A first run, things that happen, a second run; gives what is broken when all has come to rest, and what was broken when
/// the first run had died.
async fn story(plant: &'static Plant, with_bug: bool) -> Vec<Broken> {
    let has_limit = plant.bug == Bug::IgnoreLimit;
    // One call at a time, so that the n-th is the n-th.
    let load = if has_limit { json!({"rate": "4/s", "parallel": 1}) } else { json!({"parallel": 1}) };
    let pipeline = json!({"load": load});
    let mut world = World::new(Kind { pipeline, ..Kind::default() }).await;
    if has_limit {
        // A call may be seen a little later than it was sent.
        world.limit = Some((4, 700_000));
    }
    world.expects_oldest_first = plant.bug == Bug::NewestFirst;
    if plant.bug == Bug::ResendUnknown {
        world.sandbox.fault(Fault::new(FaultKind::Lost, "/api/v2/contact/addBatchContactExtEvent").times(1));
    }
    let bug = if with_bug { plant.setting() } else { String::new() };
    let ran = world.run(&format!("{bug};{}", plant.death)).await;
    assert!(ran.is_done() != plant.death.contains("kill"), "{ran:?}");
    let mut broken = check_at_any_time(&world);
    if plant.bug == Bug::ForgetDelete {
        let mut dice = Dice::new(1);
        world.advance(600);
        world.happen(Happening::CustomerLeaves, &mut dice);
        world.happen(Happening::OrderVanishes, &mut dice);
    }
    world.run_until_done_with(&bug).await.unwrap();
    broken.extend(check(&world).await);
    broken
}
