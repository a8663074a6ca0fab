//! Where a walk through a list stands, and how many rows are asked for next: pure, so that every answer can be tried.

use super::SMALL_PAGE;
use crate::http::overlap::{Slice, Walked};
use serde::{Deserialize, Serialize};

/// So many small pages are read before a full one is tried again; twice as many each time that it fails.
const SMALL_PAGES: u64 = 40;

/// Where a walk stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    /// How far the list has been walked.
    pub(super) list: Walked,
    /// So many small pages are still to be read, because the server failed on a full one.
    pub(super) small: u64,
    /// How many they were at first.
    pub(super) small_in_all: u64,
    /// Of a walk over the keys of orders: the trash, after all others.
    pub(super) trash: bool,
    /// Rows of the list before the trash.
    pub(super) before_trash: u64,
    /// The list before the trash changed too fast to be read whole.
    pub(super) torn: bool,
}

/// What a page was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) slice: Slice,
    /// Rows of the list as the headers say; those of an empty page say 0 and are left out.
    pub(super) total: Option<u64>,
}

impl Place {
    /// Rows per page.
    pub(super) fn size(&self, full: u64) -> u64 {
        if self.small > 0 { full.min(SMALL_PAGE) } else { full }
    }

    /// How often a full page is asked for: once may have been chance, but a server that is known to be weak is not tried
    /// twice.
    pub(super) fn tries(&self) -> u32 {
        if self.small_in_all > 0 { 1 } else { 2 }
    }

    /// The place behind a page of `size` rows at most, the list left as it was.
    pub(super) fn after(self, size: u64, full: u64) -> Place {
        if size >= full {
            return self;
        }
        match self.small.checked_sub(1) {
            Some(small) => Place { small, ..self },
            None => {
                let small_in_all = SMALL_PAGES.max(self.small_in_all.saturating_mul(2));
                Place { small: small_in_all - 1, small_in_all, ..self }
            }
        }
    }
}
