//! Where a walk through a list stands, and which rows are asked for next: pure, so that every answer can be tried.

use super::SMALL_PAGE;
use crate::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

/// A walk that stood still for longer may have lost rows before its place without the total telling.
const STOOD_STILL: i64 = 120;

/// Where a walk stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    /// Rows before the page.
    pub(super) offset: u64,
    /// Rows per page, where fewer than usual.
    pub(super) per_page: Option<u64>,
    /// How many rows the last page that said it spoke of.
    pub(super) total: Option<u64>,
    /// When the page before was read (Unix seconds).
    pub(super) at: i64,
    /// The page before was itself read because the walk had stood still.
    pub(super) caught_up: bool,
    /// The page that came empty although one before promised rows on it.
    pub(super) empty_at: Option<u64>,
    /// Of a walk over the keys of orders: the trash, after all others.
    pub(super) trash: bool,
    /// Rows of the list before the trash.
    pub(super) before_trash: u64,
}

/// What a page was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// Rows before it.
    pub(super) start: u64,
    pub(super) per_page: u64,
    /// Rows and pages of the walk as the headers say; those of an empty page say 0 and are left out.
    pub(super) total: Option<u64>,
    pub(super) pages: Option<u64>,
    /// Whether the headers name a next page.
    pub(super) more: bool,
    /// Read because the walk had stood still.
    pub(super) catches_up: bool,
}

impl Place {
    /// The first row to ask for now.
    pub(super) fn start(&self, full: u64, now: i64) -> (u64, bool) {
        // A clock that was set back does not tell how long it was.
        let stood_still = self.offset > 0 && !(0..=STOOD_STILL).contains(&(now - self.at)) && !self.caught_up;
        (if stood_still { self.offset.saturating_sub(full) } else { self.offset }, stood_still)
    }

    /// The place after a page with `rows` rows, `None` at the end of the list.
    ///
    /// # Errors
    /// [`Kind::Truncated`] where the list ends before the shop says that it does.
    pub(super) fn after(&self, meta: &Meta, rows: u64, full: u64, now: i64) -> Result<Option<Place>> {
        let next = if rows == 0 { self.offset_after_empty(meta)? } else { self.offset_after(meta, rows) };
        let Some((offset, empty_at)) = next else { return Ok(None) };
        // Small pages go on to the next border of a full one.
        let small = meta.per_page < full && offset % full >= meta.per_page.min(SMALL_PAGE);
        Ok(Some(Place {
            offset,
            per_page: small.then_some(meta.per_page),
            // An empty page says nothing of the list: what left before it must show on the next page still.
            total: meta.total.or(self.total),
            at: now,
            caught_up: meta.catches_up,
            empty_at,
            trash: self.trash,
            before_trash: self.before_trash,
        }))
    }

    /// The next row after a page without any. Where rows were promised, a page before is read again, further back each
    /// time that it is empty too: rows may have gone meanwhile, and then that page speaks of fewer. A shop that promises
    /// the same page again and gives no rows on it is half read.
    pub(super) fn offset_after_empty(&self, meta: &Meta) -> Result<Option<(u64, Option<u64>)>> {
        let (promised, doubted) = match meta.total {
            // A plug-in may hide rows after they were counted, but hardly a page of them.
            Some(total) if total < meta.start.saturating_add(meta.per_page) => return Ok(self.offset_after(meta, 0)),
            Some(total) => (total, self.empty_at.is_some()),
            None => match self.total.filter(|total| *total > meta.start && meta.start > 0) {
                Some(total) => (total, self.empty_at.is_some_and(|at| at <= meta.start)),
                None => return Ok(self.offset_after(meta, 0)),
            },
        };
        if doubted {
            let given = meta.start.max(self.empty_at.unwrap_or(0));
            return Err(Error::new(
                Kind::Truncated,
                format!("the shop gives {given} rows of a list of which it says that it has {promised}"),
            )
            .hint("nothing is marked as deleted; the next run goes on here. Does the list open in the shop's administration?"));
        }
        let back = self.empty_at.map_or(meta.per_page, |at| (at - meta.start).saturating_mul(2));
        Ok(Some((meta.start.saturating_sub(back), Some(meta.start))))
    }

    /// The next row to ask for, and the empty page that is remembered.
    pub(super) fn offset_after(&self, meta: &Meta, rows: u64) -> Option<(u64, Option<u64>)> {
        let behind = meta.start.saturating_add(meta.per_page);
        if let (Some(before), Some(now)) = (self.total, meta.total)
            && now < before
            && meta.start > 0
        {
            // Rows left the list; those behind them moved to pages that were read already.
            return Some((meta.start.saturating_sub((before - now).max(meta.per_page)), self.empty_at));
        }
        let more = match (meta.total, meta.pages) {
            (Some(total), _) => behind < total,
            (None, Some(pages)) => behind / meta.per_page.max(1) < pages,
            // Some hosts strip the headers.
            (None, None) if rows > 0 => meta.more || rows >= meta.per_page,
            (None, None) => false,
        };
        // What has been passed with rows is doubted no more.
        more.then_some((behind, self.empty_at.filter(|at| *at >= behind)))
    }
}
