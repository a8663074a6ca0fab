use super::*;
use crate::http::budget::Spacing;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// The keeper's row and its clock: what `ops.reserve_turns` does.
struct Keeper {
    rate: Rate,
    spacing: Spacing,
    next: Duration,
    quiet_until: Duration,
    serial: i64,
}

impl Keeper {
    fn reserve(&mut self, now: Duration, wanted: u32, pad: Duration) -> Grant {
        if self.quiet_until > now {
            return Grant::Quiet(self.quiet_until - now);
        }
        let start = self.next.max(now);
        self.next = start + self.spacing.between * wanted + pad;
        self.serial += 1;
        Grant::Turns(Block {
            starts_in: start - now,
            spacing: self.spacing,
            turns: wanted,
            rate: Some(self.rate),
            serial: self.serial,
        })
    }

    fn give_back(&mut self, serial: i64, unused: u32) {
        if serial == self.serial {
            self.next -= self.spacing.between * unused;
        }
    }
}

/// One process of a simulation: it has work from `born` to `dies` (true time), and its clock began `skew` ago.
#[derive(Debug, Clone)]
struct Process {
    born: u64,
    dies: u64,
    skew: u64,
    gives_back: bool,
}

/// What a process wakes for; times of its own clock in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wakes {
    /// To look for a turn.
    Idle,
    /// For a turn: from, until.
    Turn(u64, u64),
    /// For the answer to what it asked at a (true) time.
    Answer(u64),
    /// For the platform's answer to the call of this number.
    Answered(u64),
}

/// How the world treats the processes, in microseconds.
#[derive(Debug, Clone)]
struct World {
    rate: Rate,
    processes: Vec<Process>,
    /// From a process to the keeper, and back.
    way: Vec<u64>,
    /// How late timers fire.
    timers: Vec<u64>,
    /// From a process to the platform; answers come back as fast as the first of them.
    delays: Vec<u64>,
    until: u64,
}

/// The true times at which all calls arrive.
fn simulate(world: &World) -> Vec<Duration> {
    let micros = Duration::from_micros;
    let mut keeper = Keeper {
        rate: world.rate,
        spacing: Spacing::of(world.rate),
        next: Duration::ZERO,
        quiet_until: Duration::ZERO,
        serial: 0,
    };
    let mut hands: Vec<Hand> = world.processes.iter().map(|_| Hand::default()).collect();
    let mut calls = Vec::new();
    let mut rolls = 0usize;
    let mut roll = |of: &[u64]| {
        rolls += 1;
        of[rolls % of.len()]
    };
    // (true time, process, what it wakes for)
    let mut events: BinaryHeap<Reverse<(u64, usize, Wakes)>> = BinaryHeap::new();
    let mut answers: BTreeMap<(usize, u64), (u64, Duration, Block)> = BTreeMap::new();
    for (n, process) in world.processes.iter().enumerate() {
        events.push(Reverse((process.born, n, Wakes::Idle)));
    }
    while let Some(Reverse((now, n, wakes))) = events.pop() {
        let process = &world.processes[n];
        let hand = &mut hands[n];
        if now >= process.dies.min(world.until) {
            if process.gives_back
                && let Some((serial, unused)) = hand.put_down()
            {
                keeper.give_back(serial, unused);
            }
            continue;
        }
        let own = |time: u64| micros(time + process.skew);
        let turn = match wakes {
            Wakes::Idle => None,
            Wakes::Turn(from, until) => Some(Turn { from: micros(from), until: micros(until) }),
            // The block that was asked for ahead.
            Wakes::Answer(asked) => {
                let (there_and_back, pad, block) = answers.remove(&(n, asked)).unwrap();
                hand.add(own(asked), own(asked + there_and_back), pad, block);
                continue;
            }
            Wakes::Answered(number) => {
                hand.answered(number, own(now));
                continue;
            }
        };
        if let Some(turn) = turn {
            let is_asking = answers.keys().any(|(asking, _)| *asking == n);
            if hand.is_low(own(now)) && !is_asking {
                let (wanted, pad) = hand.wanted(own(now), 0);
                let (there, back) = (roll(&world.way), roll(&world.way));
                let Grant::Turns(block) = keeper.reserve(micros(now + there), wanted, pad) else { unreachable!() };
                answers.insert((n, now), (there + back, pad, block));
                events.push(Reverse((now + there + back, n, Wakes::Answer(now))));
            }
            match hand.may_go(turn, own(now)) {
                May::Go(number) => {
                    let arrives = now + world.delays[calls.len() % world.delays.len()];
                    calls.push(micros(arrives));
                    events.push(Reverse((arrives + world.delays[0], n, Wakes::Answered(number))));
                }
                May::Wait(until) => {
                    let due = until.as_micros() as u64 + 1 - process.skew;
                    events.push(Reverse((due + roll(&world.timers), n, wakes)));
                    continue;
                }
                May::Not => {}
            }
        }
        match hand.take(own(now)) {
            Some(turn) => {
                let due = (turn.from.as_micros() as u64 + 1).saturating_sub(process.skew);
                // Who need not wait needs no timer.
                let at = if due <= now { now } else { due + roll(&world.timers) };
                let wakes = Wakes::Turn(turn.from.as_micros() as u64, turn.until.as_micros() as u64);
                events.push(Reverse((at, n, wakes)));
            }
            None if answers.keys().any(|(asking, _)| *asking == n) => {
                // One question at a time: that answer is waited for.
                events.push(Reverse((now + 50, n, Wakes::Idle)));
            }
            None => {
                let (wanted, pad) = hand.wanted(own(now), 0);
                let (there, back) = (roll(&world.way), roll(&world.way));
                let Grant::Turns(block) = keeper.reserve(micros(now + there), wanted, pad) else { unreachable!() };
                hand.add(own(now), own(now + there + back), pad, block);
                events.push(Reverse((now + there + back, n, Wakes::Idle)));
            }
        }
    }
    calls.sort();
    calls
}

fn stretch_is_kept(rate: Rate, calls: &[Duration]) -> Result<(), String> {
    for stretch in calls.windows(rate.calls as usize + 1) {
        let length = stretch[rate.calls as usize] - stretch[0];
        if length < rate.per {
            return Err(format!("{} calls within {length:?}", rate.calls + 1));
        }
    }
    Ok(())
}

fn processes(until: u64) -> impl Strategy<Value = Vec<Process>> {
    let process = (0..until, 0..until * 2, 0u64..1 << 40, any::<bool>())
        .prop_map(|(born, dies, skew, gives_back)| Process { born, dies, skew, gives_back });
    prop::collection::vec(process, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_stretch_of_the_rates_length_ever_holds_more_calls_than_allowed(
        calls in 1u32..400,
        seconds in prop::sample::select(vec![1u64, 60, 3600]),
        processes in processes(20_000_000),
        way in prop::collection::vec(0u64..200_000, 1..9),
        timers in prop::collection::vec(0u64..40_000, 1..9),
    ) {
        let until = 20_000_000.max(seconds * 3_000_000);
        let rate = Rate { calls, per: Duration::from_secs(seconds) };
        let world = World { rate, processes, way, timers, delays: vec![0], until };
        prop_assert_eq!(stretch_is_kept(rate, &simulate(&world)), Ok(()));
    }

    #[test]
    fn while_work_remains_97_percent_of_the_allowance_are_used(
        (calls, seconds) in prop::sample::select(vec![(50u32, 1u64), (10, 1), (200, 1), (1000, 1), (600, 60), (5000, 3600)]),
        skews in prop::collection::vec(0u64..1 << 40, 1..4),
        way in prop::collection::vec(100u64..2_000, 1..9),
        timers in prop::collection::vec(100u64..2_500, 1..9),
    ) {
        let until = 60_000_000.max(seconds * 2_000_000);
        let process = |skew: &u64| Process { born: 0, dies: u64::MAX, skew: *skew, gives_back: false };
        let rate = Rate { calls, per: Duration::from_secs(seconds) };
        let world = World { rate, processes: skews.iter().map(process).collect(), way, timers, delays: vec![0], until };
        let made = simulate(&world);
        prop_assert_eq!(stretch_is_kept(rate, &made), Ok(()));
        let reached = made.len() as f64 / (until as f64 / 1e6);
        let allowed = f64::from(calls) / seconds as f64;
        prop_assert!(reached >= 0.97 * allowed, "{} of {}", reached, allowed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_process_alone_makes_up_for_what_its_machine_stalls(
        way in prop::collection::vec(100u64..2_000, 1..9),
        timers in prop::collection::vec(100u64..2_500, 20..40),
        stalls in prop::collection::vec(15_000u64..180_000, 1..3),
    ) {
        let rate = Rate { calls: 50, per: Duration::from_secs(1) };
        let process = Process { born: 0, dies: u64::MAX, skew: 11, gives_back: false };
        let in_a_row = Duration::from_micros(stalls.iter().sum());
        // A stall, or two, every twenty to forty calls.
        let timers = timers.into_iter().chain(stalls).collect();
        let world = World { rate, processes: vec![process], way, timers, delays: vec![0], until: 60_000_000 };
        let made = simulate(&world);
        prop_assert_eq!(stretch_is_kept(rate, &made), Ok(()));
        // Without making up, each stall would cost several turns: a tenth of all, and of two in a row a fifth.
        let bar = if in_a_row <= MAKE_UP { 0.95 } else { 0.9 };
        prop_assert!(made.len() as f64 >= bar * 50.0 * 60.0, "{}", made.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_process_alone_keeps_the_limit_also_where_its_calls_arrive_late(
        calls in prop::sample::select(vec![50u32, 200, 350]),
        way in prop::collection::vec(100u64..2_000, 1..9),
        delays in prop::collection::vec(300u64..1_500, 60..90),
        stalls in prop::collection::vec(15_000u64..230_000, 1..3),
    ) {
        let rate = Rate { calls, per: Duration::from_secs(1) };
        let process = Process { born: 0, dies: u64::MAX, skew: 11, gives_back: false };
        let delays = delays.into_iter().chain(stalls).collect();
        let world = World { rate, processes: vec![process], way, timers: vec![800], delays, until: 30_000_000 };
        let made = simulate(&world);
        prop_assert_eq!(stretch_is_kept(rate, &made), Ok(()));
        prop_assert!(made.len() as f64 >= 0.8 * f64::from(calls) * 30.0, "{}", made.len());
    }
}

#[test]
fn a_keeper_far_away_costs_padding_and_not_the_turns() {
    let rate = Rate { calls: 50, per: Duration::from_secs(1) };
    let process = Process { born: 0, dies: u64::MAX, skew: 0, gives_back: false };
    let world = World {
        rate,
        processes: vec![process],
        way: vec![20_000, 25_000],
        timers: vec![1000],
        delays: vec![0],
        until: 60_000_000,
    };
    let made = simulate(&world);
    assert_eq!(stretch_is_kept(rate, &made), Ok(()));
    assert!(made.len() > 60 * 47, "{}", made.len());
}

#[test]
fn a_keeper_that_is_slow_now_and_then_costs_a_process_alone_no_turns() {
    for calls in [50, 200] {
        let rate = Rate { calls, per: Duration::from_secs(1) };
        let process = Process { born: 0, dies: u64::MAX, skew: 0, gives_back: false };
        // Every fifth question takes far longer than a call may be late.
        let way = vec![300, 400, 300, 500, 300, 400, 300, 400, 60_000, 300];
        let world =
            World { rate, processes: vec![process], way, timers: vec![1000], delays: vec![0], until: 60_000_000 };
        let made = simulate(&world);
        assert_eq!(stretch_is_kept(rate, &made), Ok(()));
        assert!(made.len() as f64 >= 0.97 * f64::from(calls) * 60.0, "{}", made.len());
    }
}

#[test]
fn a_process_that_starts_where_another_ended_keeps_the_distance() {
    let rate = Rate { calls: 50, per: Duration::from_secs(1) };
    let process = |born, dies| Process { born, dies, skew: 7, gives_back: true };
    let processes = vec![process(0, 5_000_000), process(5_030_000, 10_000_000), process(10_030_000, u64::MAX)];
    let world = World { rate, processes, way: vec![300], timers: vec![800], delays: vec![0], until: 20_000_000 };
    let made = simulate(&world);
    assert_eq!(stretch_is_kept(rate, &made), Ok(()));
    assert!(made.len() as f64 >= 0.97 * 50.0 * 20.0, "{}", made.len());
}

#[tokio::test]
async fn quiet_is_kept_and_a_shorter_wish_does_not_end_it() {
    let pacer = Pacer::new(None);
    pacer.hold(Duration::from_secs(1000)).await;
    pacer.hold(Duration::from_secs(1)).await;
    let left = pacer.quiet().unwrap();
    assert!(left > Duration::from_secs(900), "{left:?}");
    assert!(matches!(pacer.ready(Duration::from_secs(2)).await, Err(Denied::Quiet(_))));
}

#[tokio::test]
async fn without_a_rate_calls_go_at_once() {
    let pacer = Pacer::new(None);
    for _ in 0..1000 {
        assert!(pacer.ready(Duration::ZERO).await.is_ok());
    }
}
