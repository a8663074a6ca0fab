//! A world that goes on while the program is killed, PostgreSQL is killed, lines are cut, answers are lost, garbled, late
//! or refused, and the clocks of the shop and of the program jump; after each round the program may finish, and every
//! invariant is checked.
//!
//! Everything is drawn from `WHARF_SOAK_SEED`, and the moment of each blow is counted in events (the n-th failpoint, call
//! or piece of traffic), so a round that failed can be run again: the seed and the steps are printed.
//! `WHARF_SOAK_SECONDS` says how long; `WHARF_SOAK_ROUND` runs that round alone, after the first load. Rounds take turns
//! between a world that feeds SALESmanago and one that feeds eSputnik, by a way that the seed chooses. One of the two reads
//! a WooCommerce, the other an IdoSell panel: which, the seed chooses, too.

use crate::support::crm::Crm;
use crate::support::cutter::Cutter;
use crate::support::invariants::{check, check_at_any_time, told};
use crate::support::seller::Seller;
use crate::support::world::{Dice, Happening, Kind, Ran, World, ended};
use serde_json::json;
use std::time::{Duration, Instant};
use wharf::sandbox::{Fault, FaultKind};

/// A blow that a round deals.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// The program dies at the n-th failpoint: killed, with a panic, or with an error.
    AtFailpoint(&'static str, u64),
    /// The program is killed when the n-th call of the run has been made.
    KilledAtCall(u64),
    /// The whole server is killed at the n-th call, and started again.
    ServerKilled(u64),
    /// A process of the server is killed at the n-th call; the server then throws everybody out by itself.
    BackendKilled(u64),
    /// Every line to the database is cut after so much traffic.
    LinesCut(u32),
    /// Calls go wrong, from the n-th on.
    Calls(FaultKind, u64),
    /// The shop's clock jumps ahead by so many hours.
    ClockJumps(u32),
    /// The program's own clock is wrong by so many hours while it runs.
    OwnClock(i64),
}

fn draw(dice: &mut Dice) -> Blow {
    const FAULTS: [FaultKind; 9] = [
        FaultKind::Lost,
        FaultKind::Lost,
        FaultKind::Cut,
        FaultKind::Drop,
        FaultKind::Slow,
        FaultKind::Error,
        FaultKind::Throttle,
        FaultKind::TruncatedJson,
        FaultKind::Html,
    ];
    let mut from = |bound: usize| 1 + u64::try_from(dice.below(bound)).unwrap();
    match from(10) {
        1 | 2 => Blow::AtFailpoint("kill", from(90)),
        3 => Blow::AtFailpoint(if from(2) == 1 { "panic" } else { "error" }, from(90)),
        4 => Blow::KilledAtCall(from(25)),
        5 => Blow::ServerKilled(from(25)),
        6 => Blow::BackendKilled(from(25)),
        7 => Blow::LinesCut(u32::try_from(from(400)).unwrap()),
        8 => Blow::ClockJumps(u32::try_from(from(50)).unwrap()),
        9 => Blow::OwnClock(i64::try_from(from(60)).unwrap() - 30),
        _ => {
            let after = from(20);
            let kind = FAULTS[usize::try_from(from(FAULTS.len()) - 1).unwrap()];
            Blow::Calls(kind, after)
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_befalls_it_the_program_comes_to_rest_with_every_invariant_kept() {
    let seed = setting("WHARF_SOAK_SEED", 20_261_122);
    let seconds = setting("WHARF_SOAK_SECONDS", 60).min(600);
    let only = std::env::var("WHARF_SOAK_ROUND").ok().and_then(|text| text.parse::<u64>().ok());
    let mut places = Vec::new();
    for turn in 0..2 {
        let is_needed = only.is_none_or(|round| round % 2 == turn);
        places.push(if is_needed { Some(Place::open(seed, turn).await) } else { None });
    }

    let began = Instant::now();
    let mut rounds = 0;
    while began.elapsed() < Duration::from_secs(seconds) || rounds < 2 {
        rounds += 1;
        let round = only.unwrap_or(rounds);
        let place = places[usize::try_from(round % 2).unwrap()].as_mut().unwrap();
        let (world, cutter) = (&mut place.world, &place.cutter);
        world.steps.clear();
        let mut dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(round));
        let result = deal(world, cutter, &mut dice).await;
        let again = format!("seed {seed}, round {round}, {:?}:\n{}", world.seller, world.steps.join("\n"));
        if let Err(failure) = result {
            panic!("{failure}\nthe last calls as noted:\n{}\nto repeat: {again}", last_calls(world).await);
        }
        if only.is_some() {
            break;
        }
    }
    eprintln!("soak: {rounds} rounds");
}

/// A world on a server whose lines can be cut, after its first load.
struct Place {
    world: World,
    cutter: Cutter,
}

impl Place {
    /// The world of even or of odd rounds.
    async fn open(seed: u64, turn: u64) -> Self {
        let way = ["orders", "events", "both"][usize::try_from(seed % 3).unwrap()];
        let (crm, pipeline) = match turn {
            1 => (Crm::SalesManago, json!({})),
            _ => (Crm::esputnik_that_goes_on(), json!({"target": {"orders_via": way}})),
        };
        // Ways by threes, sellers by twos: in any six seeds in a row every way meets every seller.
        let seller = if seed % 2 == turn { Seller::IdoSell } else { Seller::WooCommerce };
        let kind = Kind { seed: seed % 97 + 1, seller, crm, pipeline, ..Kind::default() };
        let mut world = World::on_a_server_of_its_own(kind).await;
        let cutter = Cutter::before(&world.home().postgres().join("run"));
        let sockets = world.home().postgres().join("run").display().to_string();
        world.database_url = through(&world.url, &sockets, &cutter.folder().display().to_string());
        world.run_until_settled().await.unwrap();
        Self { world, cutter }
    }
}

/// What the database knows of the last calls, and of the events in them.
async fn last_calls(world: &World) -> String {
    let Ok((client, connection)) = tokio_postgres::connect(&world.url, tokio_postgres::NoTls).await else {
        return "the database does not answer".to_owned();
    };
    tokio::spawn(connection);
    let statement = "
        select concat_ws(' ', batch_id, run_id, operation, items, state, started_at, finished_at, detail)
            || coalesce((
                select string_agg(concat_ws(' ', ' ', ledger.object, ledger.state, ledger.payload ->> 'externalId'), ',')
                from delivery.ledger where ledger.key = any (batches.keys) and ledger.object <> 'contact'
            ), '')
        from delivery.batches order by batch_id desc limit 15";
    let rows = client.query(statement, &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join("\n")
}

/// The address of the database by way of other sockets.
fn through(url: &str, from: &str, to: &str) -> String {
    let encoded = |text: &str| text.replace('/', "%2F");
    let changed = url.replace(&encoded(from), &encoded(to)).replace(from, to);
    assert_ne!(changed, url, "the address does not name its sockets");
    changed
}

/// One round: things happen, blows fall, the program finishes, everything is looked at.
async fn deal(world: &mut World, cutter: &Cutter, dice: &mut Dice) -> Result<(), String> {
    world.advance(600);
    for _ in 0..3 + dice.below(6) {
        happen(world, dice);
    }
    world.settle();
    for _ in 0..1 + dice.below(3) {
        let blow = draw(dice);
        world.steps.push(format!("{blow:?}"));
        let ran = strike(world, cutter, blow, dice).await;
        world.steps.push(format!("  ended with code {:?}, signal {:?}", ran.code, ran.signal));
        if ran.code.is_none() && ran.signal != Some(9) {
            return Err(format!("{blow:?} ended the program strangely: {ran:?}"));
        }
        let broken = check_at_any_time(world);
        if !broken.is_empty() {
            return Err(format!("after {blow:?}: {}", told(&broken)));
        }
    }
    world.sandbox.clear_faults();
    cutter.mend();
    world.home().run(&["db", "start"]).await;
    world.run_until_settled().await?;
    let broken = check(world).await;
    if broken.is_empty() { Ok(()) } else { Err(told(&broken)) }
}

fn happen(world: &mut World, dice: &mut Dice) {
    let what = *dice.pick(Happening::ALL).unwrap();
    world.happen(what, dice);
}

/// Something happens while the program is at work. An opt-in that is older than our own next writing of the card could not
/// be told from one that the person has withdrawn there since.
fn happen_meanwhile(world: &mut World, dice: &mut Dice) {
    let what = *dice.pick(Happening::ALL).unwrap();
    if what != Happening::ConsentFlips {
        world.happen(what, dice);
    }
}

/// Runs the program once under a blow, while things happen at the shop.
async fn strike(world: &mut World, cutter: &Cutter, blow: Blow, dice: &mut Dice) -> Ran {
    let failpoints = match blow {
        Blow::AtFailpoint(action, at) => format!("*={action}@{at}"),
        _ => String::new(),
    };
    match blow {
        Blow::LinesCut(pieces) => cutter.cut_after(pieces),
        Blow::ClockJumps(hours) => drop(world.advance(hours * 3600)),
        Blow::Calls(kind, after) => {
            let fault = Fault::new(kind, "").after(after).times(2).delay_ms(300);
            world.sandbox.fault(if kind == FaultKind::Throttle { fault.retry_after("1") } else { fault });
        }
        _ => {}
    }
    let before = world.sandbox.requests().total();
    let mut command = world.wharf(&["-q", "run", "world.yaml"], &failpoints);
    if let Blow::OwnClock(hours) = blow {
        command.env("WHARF_CLOCK_AHEAD", (hours * 3600).to_string());
    }
    let child = command.spawn().unwrap();
    let id = i32::try_from(child.id().unwrap()).unwrap();
    let ending = tokio::spawn(ended(child));
    let at = match blow {
        Blow::KilledAtCall(at) | Blow::ServerKilled(at) | Blow::BackendKilled(at) => at,
        _ => 1 + u64::try_from(dice.below(20)).unwrap(),
    };
    while world.sandbox.requests().total() < before + at && !ending.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if !ending.is_finished() {
        match blow {
            Blow::KilledAtCall(_) => kill_if_there(id),
            Blow::ServerKilled(_) => kill_if_there(world.home().postmaster()),
            Blow::BackendKilled(_) => world.kill_a_backend().await,
            // The shop goes on while it is being read.
            _ => happen_meanwhile(world, dice),
        }
    }
    let ran = ending.await.unwrap();
    if matches!(blow, Blow::ServerKilled(_) | Blow::BackendKilled(_)) {
        world.home().run(&["db", "start"]).await;
    }
    cutter.mend();
    ran
}

/// Kills a process that may have ended by itself a moment ago.
fn kill_if_there(id: i32) {
    let _ = std::process::Command::new("kill").args(["-9", &id.to_string()]).output();
}
