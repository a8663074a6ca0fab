//! Every failpoint × kill -9, error or panic. A chain is: things happen at the shop and the account, then one run after the
//! other ends at a point, each a stage further than the one before, then a run that may finish, then every invariant.
//! Several worlds work off the chains side by side, each with a shop, an account and a database of its own.
//!
//! Every point is met with kill -9, and with an error or a panic by turns. What feeds the account is gone through once more
//! for an account that works in jobs: its points with kill -9, the one that only jobs reach with all three. What reads the
//! shop is gone through once more for a panel that answers searches in windows of time: its points with kill -9, where a
//! page and its position are written and where an order is mapped with all three.
//! `WHARF_CRASH_ALL=1` meets every point of all with all three.

use crate::support::crm::Crm;
use crate::support::invariants::{check, check_at_any_time, told};
use crate::support::seller::Seller;
use crate::support::world::{Dice, Happening, Kind, Ran, World};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use wharf::failpoint::Point;
use wharf::sandbox::{Fault, FaultKind};

const ACTIONS: [&str; 3] = ["kill", "error", "panic"];
const WORLDS: usize = 3;

/// Points that only a first load reaches: the first chain of each world.
const FIRST: [Point; 2] = [Point::LoadBeforeFirstLoadEnd, Point::LoadAfterFirstLoadEnd];

/// Points on the way of a call whose answer was lost.
const LOST: [Point; 3] = [Point::LoadAfterLookUp, Point::LoadBeforeResolveCommit, Point::LoadAfterResolve];

#[derive(Debug, Clone, Copy)]
struct Cell {
    point: Point,
    action: &'static str,
    /// The time of being reached at which it strikes.
    at: u64,
}

type Chain = Vec<Cell>;

/// What is gone through: a platform to be fed, or one to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tour {
    SalesManago,
    ESputnik,
    IdoSell,
}

impl Tour {
    fn kind(self, n: usize) -> Kind {
        let crm = match self {
            Self::SalesManago | Self::IdoSell => Crm::SalesManago,
            Self::ESputnik => Crm::esputnik_that_goes_on(),
        };
        let seller = if self == Self::IdoSell { Seller::IdoSell } else { Seller::WooCommerce };
        // Large enough that no list is ever empty: that would be a matter of the guard.
        Kind { seed: n as u64 + 1, customers: 30, orders: 90, products: 25, seller, crm, ..Kind::default() }
    }

    /// The calls that the platform does not deduplicate.
    fn unsafe_calls(self) -> &'static str {
        match self {
            Self::SalesManago | Self::IdoSell => "/api/v2/contact/addBatchContactExtEvent",
            Self::ESputnik => "/api/v1/orders",
        }
    }

    /// The points that a run passes. Those of a restore and of a pruning stand where these are tested.
    fn points(self) -> impl Iterator<Item = &'static Point> {
        let points = Point::ALL.iter().filter(move |point| match (self, point) {
            // No jobs.
            (Self::SalesManago | Self::IdoSell, Point::LoadAfterJob) => false,
            // A finished job is as good as a look.
            (Self::ESputnik, Point::LoadAfterConfirm) => false,
            // No other stage knows what is fed.
            (Self::ESputnik, point) => is_all() || point.name().starts_with("load/"),
            // No stage behind the transform knows what was read.
            (Self::IdoSell, point) => {
                is_all() || ["extract/", "transform/"].iter().any(|stage| point.name().starts_with(stage))
            }
            _ => true,
        });
        points.filter(|point| !["restore", "prune"].iter().any(|stage| point.name().starts_with(stage)))
    }

    /// How a point is met, the n-th of all.
    fn actions(self, point: Point, n: usize) -> Vec<&'static str> {
        match self {
            _ if is_all() || point == Point::LoadAfterJob => ACTIONS.to_vec(),
            Self::SalesManago => vec!["kill", ACTIONS[1 + n % 2]],
            Self::IdoSell if matches!(point, Point::ExtractPageLandedBeforeCursor | Point::TransformAfterStep) => {
                ACTIONS.to_vec()
            }
            Self::ESputnik | Self::IdoSell => vec!["kill"],
        }
    }

    /// A point's place in a chain: what stands further back is untouched by a death before it. Where nothing but the load is
    /// gone through, the places are those within the load, and whatever had no work left is struck alone.
    fn place(self, point: Point) -> usize {
        let name = point.name();
        if self == Self::ESputnik && name.starts_with("load/") {
            return match point {
                Point::LoadAfterLease
                | Point::LoadAfterRecovery
                | Point::LoadBeforeTakeoverCommit
                | Point::LoadAfterTakeover
                | Point::LoadAfterGuard => 3,
                Point::LoadAfterIntent | Point::LoadAfterCallBeforeOutcome | Point::LoadAfterJob => 4,
                _ => 5,
            };
        }
        let stages =
            [&["run/begun"][..], &["extract/"], &["transform/"], &["load/"], &[], &[], &["archive/"], &["run/"]];
        stages.iter().position(|stage| stage.iter().any(|stage| name.starts_with(stage))).unwrap()
    }

    /// The first chain of the n-th world; none of its points is gone through where the load is not.
    fn first(self, n: usize) -> Chain {
        let listed: Vec<&Point> = self.points().collect();
        let first = FIRST.iter().filter(|point| listed.contains(point));
        first.map(|point| Cell { point: *point, action: ACTIONS[n % ACTIONS.len()], at: 1 }).collect()
    }

    /// All cells in as few chains as their places allow.
    fn chains(self) -> VecDeque<Chain> {
        let mut places: [VecDeque<Cell>; 8] = Default::default();
        for (n, point) in self.points().enumerate().filter(|(_, point)| !FIRST.contains(point)) {
            for action in self.actions(*point, n) {
                // Where a point is reached again and again, now its first and now a later time is struck.
                let at = match point {
                    Point::ExtractPageReceived
                    | Point::ExtractPageLandedBeforeCursor
                    | Point::ExtractBeforeStoreCommit
                    | Point::ExtractAfterStore => 6,
                    Point::TransformAfterStep => 12,
                    Point::ArchivePartWritten | Point::ArchiveManifestWritten | Point::ArchiveBetweenPublishes => 4,
                    Point::LoadAfterIntent | Point::LoadAfterCallBeforeOutcome => 2,
                    _ => 1,
                };
                let cell = Cell { point: *point, action, at: if action == "kill" { at } else { 1 } };
                places[self.place(*point)].push_back(cell);
            }
        }
        let longest = places.iter().map(VecDeque::len).max().unwrap();
        (0..longest).map(|_| places.iter_mut().filter_map(VecDeque::pop_front).collect()).collect()
    }
}

/// Whether every point is to be met with everything.
fn is_all() -> bool {
    std::env::var_os("WHARF_CRASH_ALL").is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn wherever_the_program_ends_the_next_run_puts_everything_right() {
    go(Tour::SalesManago).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn wherever_it_ends_while_it_feeds_an_account_that_works_in_jobs_the_next_run_puts_everything_right() {
    go(Tour::ESputnik).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn wherever_it_ends_while_it_reads_a_panel_in_windows_of_time_the_next_run_puts_everything_right() {
    go(Tour::IdoSell).await;
}

async fn go(tour: Tour) {
    let queue = Arc::new(Mutex::new(tour.chains()));
    let worlds: Vec<_> = (0..WORLDS).map(|n| tokio::spawn(work(tour, n, queue.clone()))).collect();
    let (mut struck, mut failures) = (BTreeSet::new(), Vec::new());
    for world in worlds {
        let (points, found) = world.await.unwrap();
        struck.extend(points);
        failures.extend(found);
    }
    assert!(failures.is_empty(), "{} chains failed:\n{}", failures.len(), failures.join("\n\n"));
    let listed: BTreeSet<Point> = tour.points().copied().collect();
    assert_eq!(struck, listed, "a point that no scenario reaches proves nothing");
}

/// One world works off chains until none is left. Gives the points at which it was ended and what went wrong.
async fn work(tour: Tour, n: usize, queue: Arc<Mutex<VecDeque<Chain>>>) -> (BTreeSet<Point>, Vec<String>) {
    let mut world = World::new(tour.kind(n)).await;
    let mut dice = Dice::new(n as u64);
    let (mut struck, mut failures) = (BTreeSet::new(), Vec::new());
    let mut next = Some(tour.first(n));
    while let Some(chain) = next.take().or_else(|| queue.lock().unwrap().pop_front()) {
        world.steps.clear();
        if chain.first().is_some_and(|cell| !FIRST.contains(&cell.point)) {
            world.burst(&mut dice);
            // A contact that is new and has bought, or no event would wait for its card.
            for _ in 0..3 {
                world.happen(Happening::GuestOrder, &mut dice);
            }
            world.settle();
        }
        match work_chain(tour, &mut world, &chain, &mut struck).await {
            Ok(missed) => {
                // What an earlier death of the chain had left no work for is struck alone.
                queue.lock().unwrap().extend(missed.into_iter().map(|cell| vec![Cell { at: 1, ..cell }]));
            }
            Err(failure) => {
                failures.push(format!("world {n}, {chain:?}: {failure}\n{}", world.steps.join("\n")));
                // What is wrong once stays wrong: a fresh world for the chains that are left.
                world = World::new(tour.kind(n)).await;
                if let Err(failure) = world.run_until_settled().await {
                    failures.push(format!("world {n}, begun anew: {failure}"));
                    break;
                }
            }
        }
    }
    (struck, failures)
}

/// Gives the cells whose point was not reached in a chain of several.
async fn work_chain(
    tour: Tour,
    world: &mut World,
    chain: &Chain,
    struck: &mut BTreeSet<Point>,
) -> Result<Vec<Cell>, String> {
    let mut missed = Vec::new();
    for cell in chain {
        if LOST.contains(&cell.point) {
            world.sandbox.fault(Fault::new(FaultKind::Lost, tour.unsafe_calls()).times(1));
        }
        let ran = world.run(&format!("{}={}@{}", cell.point.name(), cell.action, cell.at)).await;
        world.sandbox.clear_faults();
        if ended_as_asked(&ran, *cell) {
            struck.insert(cell.point);
        } else if ran.is_done() && (chain.len() > 1 || cell.at > 1) {
            missed.push(*cell);
        } else {
            return Err(format!("the run did not end at {cell:?} as asked: {ran:?}"));
        }
        let broken = check_at_any_time(world);
        if !broken.is_empty() {
            return Err(format!("when it had ended at {cell:?}: {}", told(&broken)));
        }
    }
    world.run_until_settled().await?;
    let broken = check(world).await;
    if broken.is_empty() { Ok(missed) } else { Err(told(&broken)) }
}

fn ended_as_asked(ran: &Ran, cell: Cell) -> bool {
    match cell.action {
        "kill" => ran.signal == Some(9),
        "panic" => ran.code == Some(1) && ran.stderr.contains("a defect of wharf, at src/failpoint.rs"),
        _ => ran.code == Some(1) && ran.stderr.contains(&format!("a test asked for an error at {}", cell.point.name())),
    }
}
