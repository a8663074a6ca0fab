//! Where a walk stands: which pass, which window of time, which page. Pure: answers and times in, the next place out.
//!
//! The problem: lists are cut into pages by offset, mostly unsorted, while rows come and go. The way out has three parts:
//! - a list that can be filtered by time is asked for in a **closed window**: nothing can enter it any more, rows can only
//!   leave it (because they are changed again, and are then found in a later walk);
//! - a row that leaves moves all behind it towards the front. The total tells; then the walk goes back by as many rows;
//! - deep paging is slow and loses most: a window with more than a page is halved until it is no longer than a year, and
//!   then cut into months. An empty half costs one call, however long it is.
//!
//! Windows overlap by a second, because nobody says whether their ends belong to them.

use super::local_time;
use crate::{Error, Kind, Result};
use jiff::ToSpan;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// A window that is longer is halved.
const LONG: i64 = 366 * 24 * 60 * 60;
/// One that is longer than this is cut into months.
const MONTH: i64 = 32 * 24 * 60 * 60;
/// A walk through a list that is no closed window, and stood still for longer, may have lost rows without the total telling.
const STOOD_STILL: i64 = 120;

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
    /// The page, counted from 0.
    pub page: u64,
    /// The window, where the pass asks for one.
    pub window: Option<Window>,
    /// The windows that this one was cut out of, outermost first.
    cuts: Vec<Cut>,
    /// The end of all windows: fixed when the walk begins.
    pub until: Option<DateTime>,
    /// How many rows the page before spoke of.
    total: Option<u64>,
    /// Rows of what was read to its end before this window.
    before: u64,
    /// Of those: rows of earlier passes.
    earlier: u64,
    /// Rows of the pass as its first page spoke of them.
    overall: Option<u64>,
    /// When the page before was read (Unix seconds).
    at: i64,
    /// The page before was itself read because the walk had stood still.
    caught_up: bool,
    /// The page that came empty although the one before promised rows on it.
    empty_at: Option<u64>,
    /// The walk has gone back to it.
    back: bool,
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
    /// The beginning of a pass. `from`: where its window begins; none if it asks for no window.
    pub fn begin(pass: usize, from: Option<DateTime>, until: DateTime, before: u64) -> Self {
        let window = from.map(|from| Window { from, to: until });
        Self { pass, window, until: Some(until), before, earlier: before, ..Self::default() }
    }

    /// Whether the page must hold other rows than the one before.
    pub fn follows(&self) -> bool {
        self.page > 0 && !self.back
    }

    /// Whether nothing can be in the window.
    pub fn is_hollow(&self) -> bool {
        self.window.is_some_and(|window| window.from > window.to)
    }

    /// As it is to be read now: a page earlier where the walk stood still and the list may have moved without telling.
    pub fn now(mut self, now: i64) -> Self {
        // A clock that was set back does not tell how long it was.
        let stood_still = !(0..=STOOD_STILL).contains(&(now - self.at));
        let again = self.window.is_none() && self.page > 0 && stood_still && !self.caught_up;
        if again {
            self.page -= 1;
        }
        self.caught_up = again;
        self
    }

    /// How many rows of the walk stand before this page. A window that was halved is read again from its beginning.
    pub fn stands_behind(&self, per_page: u64) -> u64 {
        self.before.saturating_add(self.page.saturating_mul(per_page))
    }

    /// How many rows the walk has in all, as far as is known.
    pub fn size(&self, said: &Said) -> u64 {
        let so_far = self.before.saturating_add(said.total.unwrap_or(0));
        // Only the last window of a pass knows better than the first page.
        if self.cuts.is_empty() { so_far } else { so_far.max(self.overall.unwrap_or(0)) }
    }

    /// The place after a page; none at the end of the pass, with the rows read so far.
    ///
    /// # Errors
    /// [`Kind::Truncated`] where the list ends before the shop says that it does.
    pub fn after(&self, said: &Said, per_page: u64, now: i64) -> Result<std::result::Result<Place, u64>> {
        let mut next = Self { total: said.total.or(self.total), at: now, back: false, ..self.clone() };
        let start = self.page.saturating_mul(per_page);
        if said.single {
            return Ok(Err(self.before.saturating_add(said.rows)));
        }
        if let (Some(before), Some(left)) = (self.total, said.total)
            && left < before
            && self.page > 0
        {
            // Rows left the list; those behind them stand on pages that were read already.
            next.page = start.saturating_sub(before - left) / per_page;
            next.back = true;
            return Ok(Ok(next));
        }
        if self.page == 0 && self.is_unfiltered(said) {
            return Ok(Err(self.before));
        }
        if said.rows == 0 {
            let promised = match said.total {
                // A shop may hide rows after it counted them, but hardly a page of them.
                Some(total) => total >= start.saturating_add(per_page),
                None => self.page > 0 && self.total.is_some_and(|total| total > start),
            };
            if promised {
                if self.empty_at.is_some() {
                    let total = said.total.or(self.total).unwrap_or(0);
                    return Err(Error::new(
                        Kind::Truncated,
                        format!(
                            "the shop gives no rows from {start} on of a list of which it says that it has {total}"
                        ),
                    )
                    .hint("nothing is marked as deleted; the next run goes on here"));
                }
                next.page = self.page.saturating_sub(1);
                next.empty_at = Some(self.page);
                next.back = true;
                return Ok(Ok(next));
            }
            return Ok(self.next_window(said));
        }
        let pages = said.pages.or_else(|| said.total.map(|total| total.div_ceil(per_page)));
        let more = pages.map_or(said.rows >= per_page, |pages| self.page + 1 < pages);
        if !more {
            return Ok(self.next_window(said));
        }
        if self.page == 0
            && let Some(cut) = self.cut(said)
        {
            return Ok(Ok(cut));
        }
        next.page = self.page + 1;
        // What has been passed with rows is doubted no more.
        next.empty_at = self.empty_at.filter(|at| *at > self.page);
        Ok(Ok(next))
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

    /// The window behind this one; the rows read so far if it was the last.
    fn next_window(&self, said: &Said) -> std::result::Result<Place, u64> {
        let before = self.before.saturating_add(said.total.or(self.total).unwrap_or(0));
        let Some(window) = self.window else { return Err(before) };
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
        Err(before)
    }

    fn begun_behind(&self, before: u64) -> Self {
        let Self { pass, until, overall, earlier, .. } = *self;
        Self { pass, until, overall, before, earlier, ..Self::default() }
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

    /// A list of rows by time of change, cut into pages as the shop does.
    struct List {
        rows: Vec<(DateTime, u32)>,
    }

    impl List {
        fn page(&self, place: &Place) -> (Said, Vec<u32>) {
            let inside: Vec<u32> = self
                .rows
                .iter()
                .filter(|(at, _)| place.window.is_none_or(|window| (window.from..=window.to).contains(at)))
                .map(|(_, id)| *id)
                .collect();
            let total = inside.len() as u64;
            let rows: Vec<u32> =
                inside.into_iter().skip((place.page * PER_PAGE) as usize).take(PER_PAGE as usize).collect();
            // Nothing found comes as a fault, without numbers.
            let counts = (!rows.is_empty()).then_some(total);
            let pages = counts.map(|total| total.div_ceil(PER_PAGE));
            (Said { total: counts, pages, rows: rows.len() as u64, single: false }, rows)
        }

        /// Walks; `change` happens before each call.
        fn walk(
            &mut self,
            from: Option<DateTime>,
            mut change: impl FnMut(usize, &mut Vec<(DateTime, u32)>),
        ) -> (BTreeSet<u32>, usize) {
            let mut place = Place::begin(0, from, date(2026, 3, 1).at(12, 0, 0, 0), 0);
            let (mut seen, mut calls) = (BTreeSet::new(), 0);
            loop {
                change(calls, &mut self.rows);
                let (said, rows) = self.page(&place);
                seen.extend(rows);
                calls += 1;
                assert!(calls < 5_000, "it never ends");
                match place.after(&said, PER_PAGE, calls as i64).unwrap() {
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
        let mut place = Place::begin(0, Some(start()), date(2026, 3, 1).at(12, 0, 0, 0), 40);
        let (mut received, mut most) = (0, 0);
        loop {
            let (said, rows) = list.page(&place);
            received += rows.len() as u64;
            let read = place.stands_behind(PER_PAGE) + rows.len() as u64;
            assert!(read <= place.size(&said), "{read} of {} at {place:?}", place.size(&said));
            most = read.max(most);
            match place.after(&said, PER_PAGE, 0).unwrap() {
                Ok(next) => place = next,
                Err(all) => break assert_eq!(most, all),
            }
        }
        assert!(received > most - 40, "a window that is halved is read again");
    }

    #[test]
    fn a_shop_that_does_not_look_at_windows_is_read_once() {
        let mut place = Place::begin(0, Some(start()), date(2026, 3, 1).at(12, 0, 0, 0), 7);
        let mut calls = 0;
        loop {
            calls += 1;
            let said = Said {
                total: Some(95),
                pages: Some(10),
                rows: PER_PAGE.min(95 - place.page * PER_PAGE),
                single: false,
            };
            match place.after(&said, PER_PAGE, 0).unwrap() {
                Ok(next) => place = next,
                Err(read) => break assert_eq!(read, 102),
            }
        }
        assert!(calls < 30, "{calls}");
    }

    #[test]
    fn a_page_that_was_promised_and_is_empty_is_doubted_once() {
        let place = Place { page: 2, total: Some(35), ..Place::begin(0, None, start(), 0) };
        let empty = Said::default();
        let again = place.after(&empty, PER_PAGE, 0).unwrap().unwrap();
        assert_eq!((again.page, again.empty_at), (1, Some(2)));
        let full = Said { total: Some(35), pages: Some(4), rows: 10, single: false };
        let there = again.after(&full, PER_PAGE, 0).unwrap().unwrap();
        assert_eq!((there.page, there.empty_at), (2, Some(2)));
        assert_eq!(there.after(&empty, PER_PAGE, 0).unwrap_err().kind(), Kind::Truncated);
        // The page before speaks of fewer rows: they went meanwhile.
        let fewer = Said { total: Some(20), pages: Some(2), rows: 10, single: false };
        assert!(again.after(&fewer, PER_PAGE, 0).unwrap().is_ok_and(|back| back.page == 0));
    }

    #[test]
    fn a_list_without_window_that_stood_still_goes_on_a_page_earlier_and_only_once() {
        let place = Place { page: 3, at: 1_000, ..Place::begin(0, None, start(), 0) };
        let later = place.clone().now(2_000);
        assert_eq!((later.page, later.caught_up), (2, true));
        assert_eq!(later.now(5_000).page, 2);
        assert_eq!(place.clone().now(1_060).page, 3);
        let closed = Place { page: 3, at: 1_000, ..Place::begin(0, Some(start()), date(2001, 1, 1).at(0, 0, 0, 0), 0) };
        assert_eq!(closed.now(9_000).page, 3);
    }

    #[test]
    fn a_place_survives_being_stored() {
        let place = Place::begin(1, Some(start()), date(2026, 3, 1).at(12, 0, 0, 0), 7);
        let said = Said { total: Some(500), pages: Some(5), rows: 100, single: false };
        let cut = place.after(&said, 100, 3).unwrap().unwrap();
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
