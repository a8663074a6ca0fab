//! Platform reads: one file per platform, each declaring its streams and how a page of them is asked for.
//!
//! The model: a **stream** is one list at a platform (orders, customers). A **walk** is one pass through it: everything,
//! what was modified since a moment, what was created since a moment, or only the keys. A walk moves from **position** to
//! position; a position is opaque JSON that is stored in the transaction that stores the page before it, so a killed walk
//! goes on where it stopped. A source knows nothing of Postgres: it may touch `http` and nothing else.

pub mod idosell;
pub mod registry;
pub mod woocommerce;

use crate::http::{RecordStream, overlap};
use crate::tenant::Tenant;
use crate::{Error, Kind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// One list at a platform.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// Its name, unique within the platform: `orders`.
    pub name: &'static str,
    /// The staging table its records land in: `orders`.
    pub table: &'static str,
    /// What it holds, for people.
    pub doc: &'static str,
    /// Where this list hangs on the records of another stream, which.
    pub parent: Option<ParentSpec>,
    /// How changes are found.
    pub incremental: Incremental,
    /// Whether recent records are read again every day by their creation time, because the platform does not mark every
    /// change. The number of days is the connection's setting.
    pub reread: bool,
    /// How deletions are found.
    pub deletions: Deletions,
    /// What of a record counts as change.
    pub compared: Compared,
}

/// What of a record counts as change. One that differs in nothing else is as it was: nothing is written, no list of its
/// children is read again, no snapshot is made. When it has changed, it is stored as received, all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compared {
    /// Members that are not looked at: the platform draws them anew for each answer, or counts in them what no map reads.
    pub without: &'static [&'static str],
    /// Members that are lists whose order means nothing: they are compared as sets.
    pub as_sets: &'static [&'static str],
}

impl Compared {
    /// Every byte counts.
    pub const WHOLE: Compared = Compared { without: &[], as_sets: &[] };
}

/// A list that exists once per record of another stream, such as the variations of a product.
#[derive(Debug, Clone)]
pub struct ParentSpec {
    /// The staging table of the parents.
    pub table: &'static str,
    /// An SQL condition over the parent's staging row that says which have such a list.
    pub condition: &'static str,
}

/// How changes of a stream are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incremental {
    /// The platform cannot filter: the whole list is walked.
    FullWalk,
    /// The platform cannot filter, but gives the newest records first: between two walks through the whole list, it is
    /// read from the newest on until a whole page holds nothing new.
    NewestFirst,
    /// The platform filters by modification time; the walk asks from the watermark less the overlap.
    ModifiedSince {
        /// How far back the next walk reaches behind the newest change seen.
        overlap: SignedDuration,
    },
    /// The platform filters by modification time, but does not mark every change: besides the walks from the watermark,
    /// the list is walked whole from time to time.
    ModifiedAndWhole {
        /// How far back the next walk reaches behind the newest change seen.
        overlap: SignedDuration,
        /// How often the list is walked whole, unless the connection says otherwise.
        every: SignedDuration,
    },
    /// Only the lists of parents that changed are walked.
    ChangedParents,
}

/// How deletions in a stream are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletions {
    /// They cannot be found, or another stream tells of them.
    None,
    /// What a complete full walk has not seen is gone; of a list with a parent, what a walk through the parent's list has
    /// not seen, and what hangs on a parent that is gone.
    FullWalk,
    /// A walk over the keys alone, made from time to time, is compared with staging. The platform must give records by
    /// key ([`Absence::AskedByKey`]): what is on its list and has not landed is fetched so.
    CompareKeys,
}

/// What shows that a record is gone which a complete walk has not seen. Absence from a list proves nothing by itself: while
/// pages are read one after the other, rows move between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// The platform gives records by key, so many in one call; what it does not give is gone.
    AskedByKey(usize),
    /// The platform cannot be asked: the next complete walk must miss the record as well.
    SecondWalk,
    /// The list is one document, which cannot change while it is read: what it does not hold is gone.
    OneDocument,
}

/// One pass through a stream.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Walk {
    /// Every record.
    Everything,
    /// Records modified at or after a moment (the source turns it into the platform's own bound).
    ModifiedSince(Timestamp),
    /// Records created at or after a moment.
    CreatedSince(Timestamp),
    /// The keys of every record and nothing else.
    Keys,
    /// Records by creation, the newest first. Whoever walks ends it, at the first page that holds nothing new.
    NewestUntilKnown,
}

/// Where a walk stands; opaque to all but the source that made it. `Value::Null` is the beginning.
pub type Position = Value;

/// One page to ask for.
#[derive(Debug, Clone)]
pub struct PageRequest<'a> {
    /// The stream.
    pub stream: &'a StreamSpec,
    /// The pass.
    pub walk: &'a Walk,
    /// The parent's key, where the stream has a parent.
    pub parent: Option<&'a str>,
    /// Where the pass stands.
    pub position: &'a Position,
    /// What the last complete walk through this stream left behind with [`Next::EndAt`]; null where there is none, or
    /// everything is asked for anew.
    pub bookmark: &'a Value,
}

/// One page being received.
pub struct Page {
    /// The records as they arrive, one raw JSON text each. Ends with an error if the body is cut or is not JSON.
    pub records: RecordStream,
    /// What the platform's headers say, kept until the page has been read to its end; opaque to all but the source.
    pub meta: Value,
    /// How many records the whole walk has, where the platform tells; for progress bars.
    pub total: Option<u64>,
    /// How many records of the walk stand before this page, where that is not what was received so far: some are asked for
    /// more than once.
    pub before: Option<u64>,
}

/// What follows a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Another page. It may repeat records: landing them again writes nothing.
    Page(Position),
    /// The walk is complete.
    End,
    /// The walk is complete, and leaves something behind for the next one: which version of a file was read, say.
    EndAt {
        /// What the next walk finds in [`PageRequest::bookmark`].
        bookmark: Value,
        /// Whether the walk gave every record there is. One that left out what has not changed, or that could not keep up
        /// with a list that changes, proves no deletion; of a walk by change the watermark stays where it was.
        whole: bool,
    },
}

/// What a page that was read to its end held.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// How many records.
    pub records: usize,
    /// The [marks](overlap::mark) of their keys in the order of arrival. Records without a key have none.
    pub keys: Vec<u64>,
}

impl Seen {
    /// Takes note of a record; `key` is none where it has none.
    pub fn note(&mut self, key: Option<&str>) {
        self.records += 1;
        self.keys.extend(key.map(overlap::mark));
    }
}

/// What a record is called and when it was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The key at the platform.
    pub key: String,
    /// When the platform says it was last changed, where it says so.
    pub updated_at: Option<Timestamp>,
    /// The key of the record it hangs on, where it names one itself; else that is the parent whose list is walked.
    pub parent: Option<String>,
}

/// A finding of `wharf check`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Finding {
    /// What was tried, for people: `orders can be read`.
    pub what: String,
    /// Whether it worked.
    pub ok: bool,
    /// What is missing on the platform's side and what to click there, where it did not work; else what was seen.
    pub detail: String,
}

impl Finding {
    /// It worked, and this was seen.
    pub fn passed(what: impl Into<String>, detail: impl Into<String>) -> Finding {
        Finding { what: what.into(), ok: true, detail: detail.into() }
    }

    /// It did not work, for this reason; the error's hint says what to do.
    pub fn failed(what: impl Into<String>, error: &Error) -> Finding {
        let detail = match error.hint_text() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        Finding { what: what.into(), ok: false, detail }
    }

    /// What a call said.
    pub fn of(what: impl Into<String>, said: Result<String>) -> Finding {
        match said {
            Ok(detail) => Finding::passed(what, detail),
            Err(error) => Finding::failed(what, &error),
        }
    }
}

/// A shop platform. One value serves one connection of one pipeline.
///
/// The contract:
/// - [`Source::page`] makes calls that change nothing at the shop, and may be repeated at any time from any position that
///   [`Source::next`] ever gave.
/// - A walk over a list that changes meanwhile may repeat records but must not leave out one that existed all the time.
/// - Records are given as received. Nothing is decoded, renamed or dropped; that is SQL's work.
#[async_trait]
pub trait Source: Send + Sync {
    /// Learns, by harmless calls, what of a platform's streams this shop has: older versions lack some. Called once before
    /// [`Source::streams`] is asked by whoever is going to read.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// The streams in the order in which they are to be read.
    fn streams(&self) -> Vec<StreamSpec>;

    /// Asks for one page.
    async fn page(&self, request: &PageRequest<'_>) -> Result<Page>;

    /// How many records a stream has, by a cheap call, where the platform tells; to spread a first read evenly.
    async fn size(&self, _stream: &StreamSpec) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Whether the page at a position must hold other records than the one before it: then one that does not is asked for
    /// again. False where a list begins anew, or where the source has gone back on purpose; there no walk ends because all
    /// on the page before was known.
    fn follows(&self, _position: &Position) -> bool {
        true
    }

    /// What shows that a record of a stream is gone.
    fn absence(&self, _stream: &StreamSpec) -> Absence {
        Absence::SecondWalk
    }

    /// The records with these keys, at most as many as [`Absence::AskedByKey`] says, as the stream's list would give them,
    /// in any order. One that is left out does not belong to the stream (any more). `parent`: the parent's key, where the
    /// stream has a parent.
    ///
    /// # Errors
    /// As [`Source::page`]; a platform that gives what it was not asked for does not look at the keys, and is an error to
    /// the caller.
    async fn by_key(&self, stream: &StreamSpec, _parent: Option<&str>, _keys: &[String]) -> Result<Vec<Bytes>> {
        Err(Error::new(Kind::Internal, format!("{} cannot be asked for by key", stream.name)))
    }

    /// Whether a record without a key is none that anybody misses, such as a template that a list holds besides its
    /// records. It is counted and left out.
    fn is_no_record(&self, _stream: &StreamSpec, _record: &[u8]) -> bool {
        false
    }

    /// Where to go after a page that was read to its end. A list cut by position is walked by [`overlap`], which needs to
    /// know what the page held.
    fn next(&self, request: &PageRequest<'_>, meta: &Value, seen: &Seen) -> Result<Next>;

    /// Key and change time of one record, or why it has no key.
    fn identify(&self, stream: &StreamSpec, record: &[u8]) -> std::result::Result<Identity, String>;

    /// Whose credentials these are: one cheap call that changes nothing, or none. What the platform does not tell reliably
    /// is left out, and address and credentials stand for it.
    async fn tenant(&self) -> Result<Tenant>;

    /// Tests address, credentials and rights with harmless calls.
    async fn check(&self) -> Vec<Finding>;

    /// What the mapping needs to know of this connection's settings (never a secret); stored in `ops.connections`.
    fn map_settings(&self) -> Value;

    /// How many calls this value has made to the platform so far, tries included; for reports.
    fn calls(&self) -> u64 {
        0
    }
}
