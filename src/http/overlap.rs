//! Lists cut by position that change while they are walked. Pure: an answer in, the next records to ask for out; a source
//! keeps a [`Walked`] in its position, so a walk that was stopped goes on by the same rule, however much later.
//!
//! The problem: a record that leaves moves all behind it one place to the front, so the first record of the next page is
//! never read. The wrong answers:
//! - to go by the total: another record that arrives meanwhile keeps it the same;
//! - to go by the time that passed: one moment is enough;
//! - to read everything again until two walks agree: a busy list never agrees with itself.
//!
//! The rule: **pages overlap**, and each must join what was read before. A page joins if it begins the list, if it holds a
//! record that is known, or, in a list sorted by key, if it begins at or before the last known key. What stands behind a
//! known record on its page stands behind it in the list, with nothing between them that was not read. Where a page does
//! not join, the walk goes back, a few records at first and then further and further; the beginning of the list joins
//! always. So every record that is in the list all the time is read, in any list whose order does not change.
//!
//! What it costs: one record a page while nothing changes; a page or two for each time that records left. Where pages are
//! numbered, a page can overlap the one before only if it is of another size: on average that makes one page in seven more.
//!
//! What ends it: a walk goes back as long as it has asked for no more than three times the pages of the list, and a few.
//! A list that changes faster, or that comes in another order each time, is then read on without a look back, and the walk
//! says that it is [torn](Step::End): it proves nothing of what it has not seen.
//!
//! A list that nothing can enter, such as the changes of a closed window of time, needs no overlap: a record that leaves it
//! shows in the total.

use crate::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// So many pages may be asked for in vain, besides two for each page of the list.
const PATIENCE: u64 = 20;
/// Known records of the last page that are kept to recognise them by. Any of them may have left meanwhile.
const MARKS: usize = 16;
/// So often a page may come empty where a record was just seen, and where none left by the word of the page before. Once
/// or twice many records may have left in that moment.
const MOST_EMPTY: u32 = 2;
/// An empty page is held against the shop for so long, in seconds.
const DOUBTED: i64 = 120;
/// Marks from here on are hashes of keys that are no numbers.
const HASHED: u64 = 1 << 63;

/// What stands for a key: the number itself where it is one, so that marks of such keys are in the order of the keys; else
/// a hash.
pub fn mark(key: &str) -> u64 {
    match key.parse::<u64>() {
        Ok(number) if number < HASHED => number,
        _ => xxh3_64(key.as_bytes()) | HASHED,
    }
}

/// How a page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// By the number of records before it.
    Offset,
    /// By its number: a page begins at a multiple of its size.
    Numbered,
}

/// By what a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sorted {
    /// By key, the lowest first.
    Ascending,
    /// By key, the highest first.
    Descending,
    /// By something else, or by something that nobody says. The order must not change by itself.
    Otherwise,
}

/// A list as its platform gives it.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// How pages are asked for.
    pub cut: Cut,
    /// By what it is sorted.
    pub sorted: Sorted,
    /// Nothing can enter it any more, and every answer says how many records it has.
    pub closed: bool,
    /// Records per page, at most. A list that is not closed is asked for two at least, and where pages are numbered fewer
    /// than 20 may leave a page without an overlap.
    pub size: u64,
}

/// The records that a page asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Records before it.
    pub start: u64,
    /// Records in it, at most.
    pub size: u64,
}

impl Slice {
    /// Its number among pages of its size, counted from 0.
    pub fn page(self) -> u64 {
        self.start / self.size.max(1)
    }

    fn end(self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// A page that was read to its end.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// What was asked for.
    pub slice: Slice,
    /// Records received. Fewer than asked for may come in the middle of a list: some shops hide records after counting them.
    pub records: u64,
    /// The [marks](mark) of their keys in the order of arrival; records without a key have none.
    pub keys: &'a [u64],
    /// How many records the list has, where the answer says so.
    pub total: Option<u64>,
}

/// What follows a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Another page.
    Next(Walked),
    /// The list has been read to its end.
    End {
        /// It changed too fast: it may hold records that were there all the time and were not read.
        torn: bool,
    },
}

/// How far a list has been walked. The default is its beginning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Walked {
    /// Records of the list before the next one that is not known.
    offset: u64,
    /// How many known records the next page is to begin with.
    overlap: u64,
    /// Some of the last page that joined, its last record first.
    marks: Vec<u64>,
    /// How many records the last answer that said so spoke of.
    total: Option<u64>,
    /// The furthest that was reached.
    reached: u64,
    /// Pages that brought the walk no further.
    vain: u64,
    /// How often a page came empty although a record was known to be there, or was counted; the last time (Unix seconds),
    /// and where.
    empty: u32,
    empty_at: i64,
    empty_from: u64,
    /// The next page is taken as it is: no page can overlap the one before.
    blind: bool,
    /// The walk is going back.
    back: bool,
    torn: bool,
}

impl Walked {
    /// The records to ask for next.
    pub fn slice(&self, list: &List) -> Slice {
        if list.closed {
            let size = list.size.max(1);
            return Slice { start: self.offset / size * size, size };
        }
        let size = list.size.max(2);
        let overlap = if self.blind { 0 } else { self.overlap.max(1) };
        let from = self.offset.saturating_sub(overlap);
        match list.cut {
            Cut::Offset => Slice { start: from, size },
            Cut::Numbered => {
                // Of all pages that hold `from` the one that reaches furthest.
                let pages = (2..=size).map(|size| Slice { start: from / size * size, size });
                pages.max_by_key(|page| (page.end(), page.size)).unwrap_or_default()
            }
        }
    }

    /// Whether the next page must hold a record that the one before did not hold. Not at the beginning, and not where the
    /// walk goes back.
    pub fn follows(&self) -> bool {
        self.offset > 0 && !self.back
    }

    /// How many records the list has, as the last answer that said so spoke of them.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// What follows a page that was read at `now` (Unix seconds).
    ///
    /// # Errors
    /// [`Kind::Truncated`] where the list ends before the shop says that it does.
    pub fn after(&self, list: &List, page: &Answered<'_>, now: i64) -> Result<Step> {
        let Slice { start, size } = page.slice;
        let mut next = Self { total: page.total.or(self.total), blind: false, ..self.clone() };
        let joins = self.joins(list, page);
        if page.records == 0 && (joins || !list.closed) {
            return self.after_empty(list, page, next, now);
        }
        if !joins {
            if self.may_go_back(size) {
                next.go_back(list, page, self.total);
                return Ok(Step::Next(next));
            }
            tracing::warn!(
                "the list changes faster than it can be read: it is read on without looking back, and nothing is concluded \
                 from what was not seen"
            );
            next.torn = true;
        }
        let more = page.total.map_or(page.records >= size, |total| page.slice.end() < total);
        if !more {
            return Ok(Step::End { torn: next.torn });
        }
        next.back = false;
        // Hidden records make a page shorter: its last one may stand anywhere behind this place, and not before it.
        next.offset = if list.closed { page.slice.end() } else { start.saturating_add(page.records) };
        next.overlap = self.overlap.min(few(size)).min(page.records / 2).max(1);
        if !page.keys.is_empty() {
            let apart = page.keys.len().div_ceil(MARKS);
            next.marks = page.keys.iter().rev().step_by(apart).copied().collect();
        }
        // What has been passed with records is doubted no more.
        next.empty = if start < self.empty_from { self.empty } else { 0 };
        let ahead = next.slice(list);
        if ahead.start <= start && ahead.end() <= page.slice.end() {
            next.offset = page.slice.end();
            next.blind = true;
        }
        next.vain += u64::from(next.offset <= self.reached);
        next.reached = next.reached.max(next.offset);
        Ok(Step::Next(next))
    }

    /// Whether nothing unread can stand between what is known and this page.
    fn joins(&self, list: &List, page: &Answered<'_>) -> bool {
        if page.slice.start == 0 || self.blind || self.torn {
            return true;
        }
        if list.closed {
            return page.total.zip(self.total).is_none_or(|(now, before)| now >= before);
        }
        // Records without keys can be told from no others.
        let (Some(first), Some(last)) = (page.keys.first(), self.marks.first()) else { return true };
        let is_behind = match list.sorted {
            Sorted::Ascending => first <= last && page.keys.is_sorted(),
            Sorted::Descending => first >= last && page.keys.is_sorted_by(|one, other| one >= other),
            Sorted::Otherwise => false,
        };
        is_behind || page.keys.iter().any(|key| self.marks.contains(key))
    }

    fn may_go_back(&self, size: u64) -> bool {
        let length = self.reached.max(self.total.unwrap_or(0));
        self.vain < PATIENCE + 2 * (length / size.max(1))
    }

    /// Takes the walk back: by what left a closed list, else a few records, a page, and ever further.
    fn go_back(&mut self, list: &List, page: &Answered<'_>, before: Option<u64>) {
        let size = page.slice.size;
        self.back = true;
        self.vain += 1;
        if list.closed {
            let left = before.unwrap_or(0).saturating_sub(page.total.unwrap_or(0));
            self.offset = page.slice.start.saturating_sub(left);
            return;
        }
        self.overlap = match self.overlap.max(1) {
            overlap if overlap < few(size) => few(size),
            overlap if overlap < size => size,
            overlap => overlap.saturating_mul(2),
        };
    }

    /// What follows a page without records. Where a record was known or counted, the walk goes back until a page joins, which
    /// says anew how long the list is; where it comes empty again and again, the list is given by half.
    fn after_empty(&self, list: &List, page: &Answered<'_>, mut next: Self, now: i64) -> Result<Step> {
        let start = page.slice.start;
        let is_counted = match page.total {
            // Hidden after they were counted may be some, but hardly a page of them.
            Some(total) => total >= page.slice.end(),
            None => start > 0 && self.total.is_some_and(|total| total > start),
        };
        let was_known = start > 0 && !list.closed && !self.blind;
        if !is_counted && !was_known {
            return Ok(Step::End { torn: self.torn });
        }
        // An empty page of long ago says nothing: the list may have become shorter since.
        if !(0..=DOUBTED).contains(&(now - self.empty_at)) {
            (next.empty, next.vain) = (0, 0);
        }
        // On the way back it is one and the same doubt.
        next.empty += u32::from(!self.back || start == 0);
        if next.empty > MOST_EMPTY {
            let of = match page.total.or(self.total) {
                Some(total) => format!("a list of which it says that it has {total}"),
                None => "a list that had more a moment ago".to_owned(),
            };
            return Err(Error::new(Kind::Truncated, format!("the shop gives no records from {start} on of {of}"))
                .hint("nothing is marked as deleted; the next run goes on here. Does the list open in the shop's administration?"));
        }
        if !next.may_go_back(page.slice.size) {
            return Ok(Step::End { torn: true });
        }
        (next.empty_at, next.empty_from) = (now, start);
        if list.closed {
            next.offset = start.saturating_sub(page.slice.size);
            next.back = true;
            next.vain += 1;
        } else {
            next.go_back(list, page, self.total);
        }
        Ok(Step::Next(next))
    }
}

/// How many records a list that is seen to change overlaps by from then on.
fn few(size: u64) -> u64 {
    (size / 8).max(1)
}

#[cfg(test)]
#[path = "overlap_tests.rs"]
mod tests;
