//! Where a walk stands: which pass, which window of time, which page. Pure: answers in, the next place out.
//!
//! The problem: lists are cut into numbered pages, mostly unsorted, while rows come and go. The way out has three parts:
//! - a list that can be filtered by time is asked for in a **closed window**: nothing can enter it any more, rows can only
//!   leave it (because they are changed again, and are then found in a later walk). The total tells, and the walk goes back
//!   by as many rows;
//! - pages of any other list **overlap** ([`overlap`]). Nobody says by what such a list is sorted, and the rule needs no more
//!   than that the order stays; where it does not, the walk says so and proves nothing;
//! - deep paging is slow and loses most: a window with more than a page is halved until it is no longer than a year, and
//!   then cut into months. An empty half costs one call, however long it is.
//!
//! Windows overlap by a second, because nobody says whether their ends belong to them.

use super::local_time;
use crate::Result;
use crate::http::overlap::{self, Answered, Slice, Step, Walked};
use jiff::ToSpan;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// A window that is longer is halved.
const LONG: i64 = 366 * 24 * 60 * 60;
/// One that is longer than this is cut into months.
const MONTH: i64 = 32 * 24 * 60 * 60;

/// A span of local time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Its beginning.
    pub from: DateTime,
    /// Its end.
    pub to: DateTime,
}

/// A window that was cut, and is not yet read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Cut {
    end: DateTime,
    months: bool,
}

/// Where a walk stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The pass.
    pub pass: usize,
    /// How far the list of the window has been walked.
    list: Walked,
    /// The window, where the pass asks for one.
    pub window: Option<Window>,
    /// The windows that this one was cut out of, outermost first.
    cuts: Vec<Cut>,
    /// The end of all windows: fixed when the walk begins.
    pub until: Option<DateTime>,
    /// Rows of what was read to its end before this window.
    before: u64,
    /// Of those: rows of earlier passes.
    earlier: u64,
    /// Rows of the pass as its first page spoke of them.
    overall: Option<u64>,
    /// A list before this one changed too fast to be read whole.
    torn: bool,
}

/// A list as it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Its windows are exact to the second, so that nothing can enter one that ends in the past.
    pub by_second: bool,
    /// Rows per page.
    pub per_page: u64,
}

/// The end of a pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Rows read so far.
    pub read: u64,
    /// A list changed too fast to be read whole.
    pub torn: bool,
}

/// What a page said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Rows in all; none where nothing was found.
    pub total: Option<u64>,
    /// Pages in all.
    pub pages: Option<u64>,
    /// Rows on this page.
    pub rows: u64,
    /// The list has no pages: this was all of it.
    pub single: bool,
}

impl Place {
    /// The beginning of a pass. `from`: where its window begins; none if it asks for no window. `before`: how the pass before
    /// has ended.
    pub fn begin(pass: usize, from: Option<DateTime>, until: DateTime, before: Ended) -> Self {
        let window = from.map(|from| Window { from, to: until });
        let Ended { read, torn } = before;
        Self { pass, window, until: Some(until), before: read, earlier: read, torn, ..Self::default() }
    }

    /// Whether the page must hold other rows than the one before.
    pub fn follows(&self) -> bool {
        self.list.follows()
    }

    /// The rows to ask for.
    pub fn slice(&self, asked: Asked) -> Slice {
        self.list.slice(&self.list_of(asked))
    }

    fn list_of(&self, asked: Asked) -> overlap::List {
        overlap::List {
            cut: overlap::Cut::Numbered,
            sorted: overlap::Sorted::Otherwise,
            closed: self.window.is_some() && asked.by_second,
            size: asked.per_page,
        }
    }

    /// Whether nothing can be in the window.
    pub fn is_hollow(&self) -> bool {
        self.window.is_some_and(|window| window.from > window.to)
    }

    /// How many rows of the walk stand before a slice. A window that was halved is read again from its beginning.
    pub fn stands_behind(&self, slice: Slice) -> u64 {
        self.before.saturating_add(slice.start)
    }

    /// How many rows the walk has in all, as far as is known.
    pub fn size(&self, said: &Said) -> u64 {
        let so_far = self.before.saturating_add(said.total.unwrap_or(0));
        // Only the last window of a pass knows better than the first page.
        if self.cuts.is_empty() { so_far } else { so_far.max(self.overall.unwrap_or(0)) }
    }

    /// The place after a page that was read at `now` (Unix seconds), or how the pass has ended. `keys`: the marks of its keys.
    ///
    /// # Errors
    /// [`Kind::Truncated`](crate::Kind::Truncated) where the list ends before the shop says that it does.
    pub fn after(
        &self,
        asked: Asked,
        slice: Slice,
        said: &Said,
        keys: &[u64],
        now: i64,
    ) -> Result<std::result::Result<Place, Ended>> {
        let ended = |read| Ended { read, torn: self.torn };
        if said.single {
            return Ok(Err(ended(self.before.saturating_add(said.rows))));
        }
        if slice.start == 0 && self.is_unfiltered(said) {
            return Ok(Err(ended(self.before)));
        }
        // Some answers leave one of the two figures.
        let total = said.total.or_else(|| said.pages.map(|pages| pages.saturating_mul(slice.size)));
        let page = Answered { slice, records: said.rows, keys, total };
        match self.list.after(&self.list_of(asked), &page, now)? {
            Step::Next(list) => match self.cut(said).filter(|_| slice.start == 0 && said.rows > 0) {
                Some(cut) => Ok(Ok(cut)),
                None => Ok(Ok(Self { list, ..self.clone() })),
            },
            Step::End { torn } => Ok(Self { torn: self.torn || torn, ..self.clone() }.next_window(said)),
        }
    }

    /// Whether the window holds as many rows as all windows together, after as many were read: whoever answers does not look
    /// at windows, and would give the same rows for each of them.
    fn is_unfiltered(&self, said: &Said) -> bool {
        let read = self.before.saturating_sub(self.earlier);
        self.overall.is_some_and(|overall| overall > 0 && read >= overall && said.total >= Some(overall))
    }

    /// The first part of a window that is too long for its rows.
    fn cut(&self, said: &Said) -> Option<Place> {
        let window = self.window?;
        let length = seconds(window);
        let months = length <= LONG;
        let to = if months { next_month(window.from)? } else { middle(window)? };
        if length <= MONTH || to >= window.to {
            return None;
        }
        let mut cuts = self.cuts.clone();
        cuts.push(Cut { end: window.to, months });
        let overall = self.overall.or(said.total);
        let window = Some(Window { to, ..window });
        Some(Self { cuts, overall, window, ..self.begun_behind(self.before) })
    }

    /// The window behind this one; the end of the pass if it was the last.
    fn next_window(&self, said: &Said) -> std::result::Result<Place, Ended> {
        let before = self.before.saturating_add(said.total.or(self.list.total()).unwrap_or(0));
        let ended = Ended { read: before, torn: self.torn };
        let Some(window) = self.window else { return Err(ended) };
        let mut cuts = self.cuts.clone();
        while let Some(cut) = cuts.last().copied() {
            if window.to >= cut.end {
                cuts.pop();
                continue;
            }
            let to = if cut.months { next_month(window.to).unwrap_or(cut.end).min(cut.end) } else { cut.end };
            // The last part of a cut is no part of it any more: it is what is left.
            if to == cut.end {
                cuts.pop();
            }
            let from = window.to.checked_sub(1.second()).unwrap_or(window.to);
            return Ok(Self { cuts, window: Some(Window { from, to }), ..self.begun_behind(before) });
        }
        Err(ended)
    }

    fn begun_behind(&self, before: u64) -> Self {
        let Self { pass, until, overall, earlier, torn, .. } = *self;
        Self { pass, until, overall, before, earlier, torn, ..Self::default() }
    }
}

impl Window {
    /// Both ends, as the shop is asked.
    pub fn written(&self) -> (String, String) {
        (local_time::written(self.from), local_time::written(self.to))
    }

    /// Both days.
    pub fn written_days(&self) -> (String, String) {
        (local_time::written_day(self.from), local_time::written_day(self.to))
    }
}

fn seconds(window: Window) -> i64 {
    window.to.duration_since(window.from).as_secs()
}

fn middle(window: Window) -> Option<DateTime> {
    let middle = window.from.checked_add((seconds(window) / 2).seconds()).ok()?;
    Some(middle.date().to_datetime(jiff::civil::Time::midnight()))
}

fn next_month(moment: DateTime) -> Option<DateTime> {
    let month = moment.date().first_of_month().checked_add(1.month()).ok()?;
    Some(month.to_datetime(jiff::civil::Time::midnight()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PER_PAGE: u64 = 10;

    const ASKED: Asked = Asked { by_second: true, per_page: PER_PAGE };

    /// A list of rows by time of change, cut into pages as the shop does.
    struct List {
        rows: Vec<(DateTime, u32)>,
    }

    impl List {
        fn page(&self, place: &Place) -> (Slice, Said, Vec<u64>) {
            let slice = place.slice(ASKED);
            let inside: Vec<u64> = self
                .rows
                .iter()
                .filter(|(at, _)| place.window.is_none_or(|window| (window.from..=window.to).contains(at)))
                .map(|(_, id)| u64::from(*id))
                .collect();
            let total = inside.len() as u64;
            let rows: Vec<u64> = inside.into_iter().skip(slice.start as usize).take(slice.size as usize).collect();
            // Nothing found comes as a fault, without numbers.
            let counts = (!rows.is_empty()).then_some(total);
            let pages = counts.map(|total| total.div_ceil(slice.size));
            (slice, Said { total: counts, pages, rows: rows.len() as u64, single: false }, rows)
        }

        /// Walks; `change` happens before each call.
        fn walk(
            &mut self,
            from: Option<DateTime>,
            mut change: impl FnMut(usize, &mut Vec<(DateTime, u32)>),
        ) -> (BTreeSet<u32>, usize) {
            let mut place = Place::begin(0, from, date(2026, 3, 1).at(12, 0, 0, 0), Ended::default());
            let (mut seen, mut calls) = (BTreeSet::new(), 0);
            loop {
                change(calls, &mut self.rows);
                let (slice, said, rows) = self.page(&place);
                seen.extend(rows.iter().map(|id| *id as u32));
                calls += 1;
                assert!(calls < 5_000, "it never ends");
                match place.after(ASKED, slice, &said, &rows, calls as i64).unwrap() {
                    Ok(next) => place = next,
                    Err(_) => return (seen, calls),
                }
            }
        }
    }

    fn moments() -> impl Strategy<Value = DateTime> {
        (0i64..9_500).prop_flat_map(|days| (Just(days), 0i64..86_400)).prop_map(|(days, seconds)| {
            date(2000, 1, 1).at(0, 0, 0, 0).checked_add(days.days()).unwrap().checked_add(seconds.seconds()).unwrap()
        })
    }

    fn start() -> DateTime {
        date(2000, 1, 1).at(0, 0, 0, 0)
    }

    #[test]
    fn a_list_of_one_page_is_one_call_however_long_its_time() {
        let rows = (0..10).map(|id| (date(2020, 1, 1).at(0, 0, 0, 0), id)).collect();
        let (seen, calls) = List { rows }.walk(Some(start()), |_, _| {});
        assert_eq!((seen.len(), calls), (10, 1));
    }

    #[test]
    fn years_before_the_first_row_cost_a_few_calls() {
        let rows = (0..300u32)
            .map(|id| (date(2025, 1, 1).at(0, 0, 0, 0).checked_add(i64::from(id).days()).unwrap(), id))
            .collect();
        let (seen, calls) = List { rows }.walk(Some(start()), |_, _| {});
        assert_eq!(seen.len(), 300);
        assert!(calls < 70, "{calls} calls for 30 pages");
    }

    #[test]
    fn what_has_been_read_never_passes_what_there_is_and_ends_with_it() {
        let rows = (0..300u32)
            .map(|id| (date(2025, 1, 1).at(0, 0, 0, 0).checked_add(i64::from(id).days()).unwrap(), id))
            .collect();
        let list = List { rows };
        let forty = Ended { read: 40, torn: false };
        let mut place = Place::begin(0, Some(start()), date(2026, 3, 1).at(12, 0, 0, 0), forty);
        let (mut received, mut most) = (0, 0);
        loop {
            let (slice, said, rows) = list.page(&place);
            received += rows.len() as u64;
            let read = place.stands_behind(slice) + rows.len() as u64;
            assert!(read <= place.size(&said), "{read} of {} at {place:?}", place.size(&said));
            most = read.max(most);
            match place.after(ASKED, slice, &said, &rows, 0).unwrap() {
                Ok(next) => place = next,
                Err(ended) => break assert_eq!(most, ended.read),
            }
        }
        assert!(received > most - 40, "a window that is halved is read again");
    }

    #[test]
    fn a_shop_that_does_not_look_at_windows_is_read_once() {
        let seven = Ended { read: 7, torn: false };
        let mut place = Place::begin(0, Some(start()), date(2026, 3, 1).at(12, 0, 0, 0), seven);
        let mut calls = 0;
        loop {
            calls += 1;
            let slice = place.slice(ASKED);
            let said = Said { total: Some(95), pages: Some(10), rows: PER_PAGE.min(95 - slice.start), single: false };
            match place.after(ASKED, slice, &said, &[], 0).unwrap() {
                Ok(next) => place = next,
                Err(ended) => break assert_eq!(ended.read, 102),
            }
        }
        assert!(calls < 30, "{calls}");
    }

    #[test]
    fn windows_by_the_day_overlap_because_rows_may_still_enter_the_last_one() {
        let place = Place::begin(0, Some(start()), date(2026, 3, 1).at(12, 0, 0, 0), Ended::default());
        let by_day = Asked { by_second: false, ..ASKED };
        let first = place.slice(by_day);
        let rows: Vec<u64> = (1..=10).collect();
        // A window of a day is cut no further.
        let place = Place { window: Some(Window { from: start(), to: start() }), ..place };
        let said = Said { total: Some(15), pages: Some(2), rows: 10, single: false };
        let next = place.after(by_day, first, &said, &rows, 0).unwrap().unwrap();
        assert_eq!(next.slice(by_day), Slice { start: 9, size: 9 });
        assert_eq!(place.after(ASKED, first, &said, &rows, 0).unwrap().unwrap().slice(ASKED).start, 10);
    }

    #[test]
    fn a_place_survives_being_stored() {
        let before = Ended { read: 7, torn: true };
        let place = Place::begin(1, Some(start()), date(2026, 3, 1).at(12, 0, 0, 0), before);
        let said = Said { total: Some(500), pages: Some(5), rows: 10, single: false };
        let cut = place.after(ASKED, place.slice(ASKED), &said, &[], 3).unwrap().unwrap();
        assert_eq!(serde_json::from_value::<Place>(serde_json::to_value(&cut).unwrap()).unwrap(), cut);
    }

    proptest! {
        #[test]
        fn every_row_of_a_window_is_seen(times in prop::collection::vec(moments(), 0..200)) {
            let rows: Vec<(DateTime, u32)> = times.into_iter().zip(0..).collect();
            let all: BTreeSet<u32> = rows.iter().map(|(_, id)| *id).collect();
            let (seen, calls) = List { rows }.walk(Some(start()), |_, _| {});
            prop_assert_eq!(&seen, &all);
            prop_assert!(calls <= 20 + all.len() * 8, "{} calls for {} rows", calls, all.len());
        }

        /// Rows leave a closed window while it is walked: those that stay are all seen.
        #[test]
        fn a_row_that_stays_is_never_lost(
            mut times in prop::collection::vec(moments(), 20..200),
            leaving in prop::collection::vec((0usize..60, any::<prop::sample::Index>()), 0..30),
            windowed in any::<bool>(),
        ) {
            times.sort();
            let mut rows: Vec<(DateTime, u32)> = times.into_iter().zip(0..).collect();
            rows.sort_by_key(|(_, id)| id.wrapping_mul(2_654_435_761) % 1_009);
            let all: BTreeSet<u32> = rows.iter().map(|(_, id)| *id).collect();
            let mut gone = BTreeSet::new();
            let (seen, _) = List { rows }.walk(windowed.then(start), |call, rows| {
                for (at, which) in &leaving {
                    if *at == call && !rows.is_empty() {
                        gone.insert(rows.remove(which.index(rows.len())).1);
                    }
                }
            });
            let lost: Vec<&u32> = all.difference(&seen).filter(|id| !gone.contains(id)).collect();
            prop_assert!(lost.is_empty(), "lost {:?}", lost);
        }
    }
}
