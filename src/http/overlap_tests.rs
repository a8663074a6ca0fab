//! The position logic against a model of a list: every case that can be drawn, without a shop.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;

/// A list of keys in its order, some of which are never shown although they are counted.
#[derive(Debug, Clone)]
struct Model {
    list: List,
    keys: Vec<u64>,
    hidden: BTreeSet<u64>,
    counted: bool,
    /// Totals on pages without records, too.
    counted_when_empty: bool,
    next_key: u64,
}

impl Model {
    fn new(list: List, length: u64) -> Self {
        let mut keys: Vec<u64> = (1..=length).collect();
        match list.sorted {
            Sorted::Ascending => {}
            Sorted::Descending => keys.reverse(),
            Sorted::Otherwise => keys.sort_by_key(|key| scattered(*key)),
        }
        let next_key = length + 1;
        Self { list, keys, hidden: BTreeSet::new(), counted: true, counted_when_empty: false, next_key }
    }

    fn answer(&self, slice: Slice) -> (u64, Vec<u64>, Option<u64>) {
        assert!(self.list.cut == Cut::Offset || slice.start.is_multiple_of(slice.size), "{slice:?} is no page");
        assert!(slice.size <= self.list.size.max(2), "{slice:?}");
        let (start, size) = (slice.start as usize, slice.size as usize);
        let page = self.keys.iter().skip(start).take(size).copied();
        let shown: Vec<u64> = page.filter(|key| !self.hidden.contains(key)).collect();
        let told = self.counted && (!shown.is_empty() || self.counted_when_empty);
        (shown.len() as u64, shown, told.then_some(self.keys.len() as u64))
    }

    fn arrive(&mut self) {
        if self.list.closed {
            return;
        }
        let key = self.next_key;
        self.next_key += 1;
        let at = match self.list.sorted {
            Sorted::Ascending => self.keys.len(),
            Sorted::Descending => 0,
            Sorted::Otherwise => self.keys.partition_point(|other| scattered(*other) < scattered(key)),
        };
        self.keys.insert(at, key);
    }

    /// Walks to the end; `change` happens before each call. What was seen, the calls, and whether it is torn. A list that
    /// shrinks in every other moment may look like one that is given by half: the next run goes on.
    fn walk(&mut self, mut change: impl FnMut(usize, &mut Self)) -> Result<(BTreeSet<u64>, Vec<Slice>, bool)> {
        let (mut walked, mut seen, mut calls, mut now) = (Walked::default(), BTreeSet::new(), Vec::new(), 0);
        loop {
            change(calls.len(), self);
            let slice = walked.slice(&self.list);
            let (records, keys, total) = self.answer(slice);
            seen.extend(keys.iter().copied());
            calls.push(slice);
            assert!(calls.len() < 20_000, "it never ends");
            match walked.after(&self.list, &Answered { slice, records, keys: &keys, total }, now) {
                Ok(Step::Next(next)) => walked = next,
                Ok(Step::End { torn }) => return Ok((seen, calls, torn)),
                Err(error) if now > 10_000 => return Err(error),
                Err(_) => now += 1_000,
            }
        }
    }
}

/// An order that has nothing to do with the keys.
fn scattered(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

fn list(cut: Cut, sorted: Sorted, size: u64) -> List {
    List { cut, sorted, closed: false, size }
}

fn lists() -> impl Strategy<Value = List> {
    let sorted = prop_oneof![Just(Sorted::Ascending), Just(Sorted::Descending), Just(Sorted::Otherwise)];
    let offset = (sorted.clone(), 2u64..40).prop_map(|(sorted, size)| list(Cut::Offset, sorted, size));
    let numbered = (sorted, 20u64..40).prop_map(|(sorted, size)| list(Cut::Numbered, sorted, size));
    let closed = (1u64..40, any::<bool>()).prop_map(|(size, numbered)| List {
        closed: true,
        ..list(if numbered { Cut::Numbered } else { Cut::Offset }, Sorted::Otherwise, size)
    });
    prop_oneof![3 => offset, 3 => numbered, 1 => closed]
}

/// What happens between two calls.
#[derive(Debug, Clone)]
enum Event {
    Leaves(Index),
    Arrives,
    /// One leaves and one arrives: the total stays the same.
    Swaps(Index),
    /// Many of the first records leave at once.
    ManyLeave(u8),
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let event = prop_oneof![
        4 => any::<Index>().prop_map(Event::Leaves),
        3 => Just(Event::Arrives),
        6 => any::<Index>().prop_map(Event::Swaps),
        1 => any::<u8>().prop_map(Event::ManyLeave),
    ];
    prop::collection::vec((0usize..40, event), 0..60)
}

fn happen(model: &mut Model, event: &Event) {
    match event {
        Event::Leaves(at) | Event::Swaps(at) if !model.keys.is_empty() => {
            model.keys.remove(at.index(model.keys.len()));
            if matches!(event, Event::Swaps(_)) {
                model.arrive();
            }
        }
        Event::Arrives => model.arrive(),
        Event::ManyLeave(many) => drop(model.keys.drain(..usize::from(*many).min(model.keys.len() / 2))),
        Event::Leaves(_) | Event::Swaps(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// The rule itself: whatever leaves and arrives between any two pages, what is there all the time is read.
    #[test]
    fn every_record_that_stays_is_read_whatever_leaves_and_arrives(
        list in lists(), length in 0u64..400, events in events(), counted in prop::bool::weighted(0.8),
        counted_when_empty: bool,
    ) {
        let mut model = Model { counted: counted || list.closed, counted_when_empty, ..Model::new(list, length) };
        let before: BTreeSet<u64> = model.keys.iter().copied().collect();
        let (seen, calls, torn) = model
            .walk(|call, model| {
                for (_, event) in events.iter().filter(|(at, _)| *at == call) {
                    happen(model, event);
                }
            })
            .unwrap();
        let lost: Vec<&u64> = model.keys.iter().filter(|key| before.contains(key) && !seen.contains(key)).collect();
        prop_assert!(lost.is_empty() || torn, "lost {:?} after {:?}", lost, calls);
        let disturbed: BTreeSet<usize> = events.iter().map(|(call, _)| *call).collect();
        prop_assert!(!torn || disturbed.len() > 10, "{} disturbed calls are not too many: {:?}", disturbed.len(), calls);
    }

    /// Pages of other sizes than before, as a weak server is asked for them, join like any others.
    #[test]
    fn the_size_of_pages_may_change_at_any_page(
        length in 0u64..300, sizes in prop::collection::vec(2u64..50, 1..20), events in events(),
    ) {
        let mut model = Model::new(list(Cut::Offset, Sorted::Ascending, 50), length);
        let before: BTreeSet<u64> = model.keys.iter().copied().collect();
        let mut index = 0;
        let (seen, _, torn) = model
            .walk(|call, model| {
                model.list.size = sizes[index % sizes.len()];
                index += 1;
                let few = |event: &&(usize, Event)| event.0 == call && !matches!(event.1, Event::ManyLeave(_));
                events.iter().filter(few).for_each(|(_, event)| happen(model, event));
            })
            .unwrap();
        prop_assert!(!torn);
        prop_assert!(model.keys.iter().all(|key| !before.contains(key) || seen.contains(key)));
    }

    /// A plug-in hides records after the shop counted them: the others are all read, and the walk ends.
    #[test]
    fn hidden_records_hide_no_others(
        length in 0u64..300, size in 2u64..40, hidden in prop::collection::btree_set(1u64..300, 0..150),
    ) {
        let mut model = Model { hidden, counted_when_empty: true, ..Model::new(list(Cut::Offset, Sorted::Ascending, size), length) };
        let shown: BTreeSet<u64> = model.keys.iter().copied().filter(|key| !model.hidden.contains(key)).collect();
        // A whole page of hidden records is half a list, and an error.
        if let Ok((seen, _, torn)) = model.walk(|_, _| {}) {
            prop_assert!(!torn);
            prop_assert_eq!(seen, shown);
        }
    }

    #[test]
    fn a_quiet_list_costs_one_record_a_page_and_is_never_gone_back_on(
        list in lists(), length in 0u64..3_000, counted in any::<bool>(),
    ) {
        let mut model = Model { counted: counted || list.closed, ..Model::new(list, length) };
        let (seen, calls, torn) = model.walk(|_, _| {}).unwrap();
        prop_assert_eq!(seen.len() as u64, length);
        prop_assert!(!torn && calls.is_sorted_by(|one, next| one.start <= next.start));
        let pages = match (list.closed, list.cut) {
            (true, _) => length.div_ceil(list.size).max(1),
            (false, Cut::Offset) => length.saturating_sub(1).div_ceil(list.size - 1).max(1),
            (false, Cut::Numbered) => length * 16 / 10 / list.size + 2,
        };
        prop_assert!(calls.len() as u64 <= pages + u64::from(!counted), "{} calls, {} pages", calls.len(), pages);
    }
}

#[test]
fn numbered_pages_of_a_hundred_cost_one_in_seven_more() {
    for length in [1_000, 10_000, 100_000] {
        let mut model = Model::new(list(Cut::Numbered, Sorted::Otherwise, 100), length);
        let (seen, calls, _) = model.walk(|_, _| {}).unwrap();
        assert_eq!(seen.len() as u64, length);
        assert!(calls.len() as u64 <= length * 115 / 10_000, "{} calls for {length}", calls.len());
    }
}

/// What was seen at a shop: after page 3 the first record left and a new one arrived.
#[test]
fn a_swap_that_leaves_the_total_as_it_was_costs_one_page_more_and_no_record() {
    for cut in [Cut::Offset, Cut::Numbered] {
        let mut model = Model::new(list(cut, Sorted::Ascending, 100), 600);
        let quiet = model.clone().walk(|_, _| {}).unwrap().1.len();
        let (seen, calls, torn) = model
            .walk(|call, model| {
                if call == 3 {
                    model.keys.remove(0);
                    model.arrive();
                }
            })
            .unwrap();
        assert!(model.keys.iter().all(|key| seen.contains(key)) && !torn);
        assert!(calls.len() <= quiet + 2, "{cut:?}: {calls:?}");
    }
}

#[test]
fn one_leaves_and_one_arrives_at_every_page_and_the_walk_ends_all_the_same() {
    for sorted in [Sorted::Ascending, Sorted::Descending, Sorted::Otherwise] {
        let mut model = Model::new(list(Cut::Offset, sorted, 100), 5_000);
        let before: BTreeSet<u64> = model.keys.iter().copied().collect();
        let (seen, calls, torn) = model
            .walk(|call, model| {
                for _ in 0..8 {
                    model.keys.remove(call % 7);
                    model.arrive();
                }
            })
            .unwrap();
        assert!(model.keys.iter().all(|key| !before.contains(key) || seen.contains(key)));
        assert!(!torn && calls.len() < 130, "{sorted:?}: {} calls", calls.len());
    }
}

#[test]
fn a_list_in_another_order_at_each_call_ends_and_proves_nothing() {
    let mut model = Model::new(list(Cut::Offset, Sorted::Otherwise, 10), 1_000);
    let (_, calls, torn) =
        model.walk(|call, model| model.keys.sort_by_key(|key| scattered(key + call as u64))).unwrap();
    assert!(torn);
    assert!(calls.len() < 3 * 1_000 / 9 + 40, "{} calls", calls.len());
}

#[test]
fn an_answer_given_twice_in_place_of_the_next_is_made_good() {
    let list = list(Cut::Offset, Sorted::Ascending, 10);
    let model = Model::new(list, 95);
    let (mut walked, mut seen, mut before, mut calls) = (Walked::default(), BTreeSet::new(), None, 0);
    loop {
        let slice = walked.slice(&list);
        let answer = model.answer(slice);
        let (records, keys, total) = before.take().filter(|_| calls == 4).unwrap_or_else(|| answer.clone());
        seen.extend(keys.iter().copied());
        before = Some(answer);
        calls += 1;
        match walked.after(&list, &Answered { slice, records, keys: &keys, total }, 0).unwrap() {
            Step::Next(next) => walked = next,
            Step::End { .. } => break,
        }
    }
    assert_eq!(seen.len(), 95);
}

#[test]
fn a_list_that_is_given_by_half_is_an_error_and_not_for_ever() {
    for (list, counted_when_empty) in [
        (list(Cut::Offset, Sorted::Ascending, 10), true),
        (list(Cut::Offset, Sorted::Otherwise, 10), false),
        (list(Cut::Numbered, Sorted::Otherwise, 20), false),
        (List { closed: true, ..list(Cut::Numbered, Sorted::Otherwise, 10) }, false),
    ] {
        let model = Model { counted_when_empty, ..Model::new(list, 95) };
        let half = |slice: Slice| match model.answer(slice) {
            answer if slice.start < 35 => answer,
            (_, _, total) => (0, Vec::new(), total.filter(|_| counted_when_empty)),
        };
        let (mut walked, mut calls) = (Walked::default(), 0);
        let error = loop {
            let slice = walked.slice(&list);
            let (records, keys, total) = half(slice);
            calls += 1;
            match walked.after(&list, &Answered { slice, records, keys: &keys, total }, 1_000) {
                Ok(Step::Next(next)) => walked = next,
                Ok(end) => panic!("{list:?}: {end:?} is not the end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), Kind::Truncated);
        assert!(calls < 20, "{list:?}: {calls} calls");
        // The next run asks there again: the list may be whole now, or may have become shorter.
        for length in [95, 20] {
            let model = Model::new(list, length);
            let (mut walked, mut seen) = (walked.clone(), BTreeSet::new());
            loop {
                let slice = walked.slice(&list);
                let (records, keys, total) = model.answer(slice);
                seen.extend(keys.iter().copied());
                match walked.after(&list, &Answered { slice, records, keys: &keys, total }, 90_000).unwrap() {
                    Step::Next(next) => walked = next,
                    Step::End { torn } => break assert!(!torn),
                }
            }
            let unread: Vec<u64> = model.keys.iter().copied().filter(|key| !seen.contains(key)).collect();
            let known_before: BTreeSet<u64> = model.keys.iter().take(40).copied().collect();
            assert!(unread.iter().all(|key| known_before.contains(key)), "{list:?}: {unread:?}");
        }
    }
}

#[test]
fn a_few_hidden_at_the_end_are_believed_and_an_empty_list_is_empty() {
    let list = list(Cut::Offset, Sorted::Ascending, 100);
    let empty = |total| Answered { slice: Slice { start: 0, size: 100 }, records: 0, keys: &[], total };
    let start = Walked::default();
    assert_eq!(start.after(&list, &empty(None), 0).unwrap(), Step::End { torn: false });
    assert_eq!(start.after(&list, &empty(Some(30)), 0).unwrap(), Step::End { torn: false });
    let Step::Next(doubted) = start.after(&list, &empty(Some(150)), 0).unwrap() else { panic!("150 are counted") };
    assert!(!doubted.follows());
    let stored: Walked = serde_json::from_value(serde_json::to_value(&doubted).unwrap()).unwrap();
    assert_eq!(stored, doubted);
    let Step::Next(doubted) = stored.after(&list, &empty(Some(150)), 0).unwrap() else { panic!("150 are counted") };
    assert_eq!(doubted.after(&list, &empty(Some(150)), 1).unwrap_err().kind(), Kind::Truncated);
}

#[test]
fn keys_that_are_numbers_keep_their_order_and_no_other_key_meets_them() {
    assert!(mark("9") < mark("10") && mark("18446744073709551615") >= HASHED);
    assert!(mark("panel-7") >= HASHED && mark("panel-7") != mark("menu-7"));
}
