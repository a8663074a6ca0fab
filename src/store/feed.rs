//! The change feed as readers take it: pages in order behind a position, and named consumers who keep theirs here.
//!
//! The obvious ways fail: going by `seq` skips a row that commits late; one long cursor keeps the server from cleaning up
//! for as long as somebody reads; a position that is kept before the lines have left is a gap after a crash. So pages are
//! short statements behind a position, up to the last complete run, and a consumer moves on after its lines have gone out.
//!
//! A consumer is read by one process at a time. Lock, pages and position share one session: a reader whose session was cut
//! can move nothing any more, so it needs no fencing number.

use super::lease::{self, LEAVING};
use super::run::holder;
use crate::{Error, Kind, Result, sql};
use jiff::SignedDuration;
use serde::Serialize;
use tokio_postgres::{Client, Transaction};

/// The tables whose changes are in the feed.
pub const ENTITIES: [&str; 8] = [
    "contacts",
    "contact_sources",
    "contact_tags",
    "orders",
    "order_items",
    "products",
    "product_categories",
    "categories",
];

/// How far the feed has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Changes of lower runs have been read.
    pub run_id: i64,
    /// Of this run those up to here; `None`: all.
    pub seq: Option<i64>,
}

impl Position {
    /// Behind all changes of a run.
    pub fn after(run_id: i64) -> Self {
        Self { run_id, seq: None }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it stands: behind this, it has been read.
    pub position: Position,
    /// The change, its old values and its row as it is now: one JSON object on one line.
    pub text: String,
}

/// The last run up to which every change is there to be read.
///
/// # Errors
/// Those of the database.
pub async fn complete_run(session: &Client) -> Result<i64> {
    Ok(session.query_one("select canonical.complete_run()", &[]).await?.get(0))
}

/// Changes of runs up to this one may have been pruned.
///
/// # Errors
/// Those of the database.
pub async fn pruned_run(session: &Client) -> Result<i64> {
    Ok(session.query_one("select pruned_run from ops.feed", &[]).await?.get(0))
}

/// The changes behind `position` of runs up to `through`, at most `rows`, in order; of `entities` alone where some are
/// named.
///
/// # Errors
/// Those of the database.
pub async fn page(
    session: &Client,
    position: Position,
    through: i64,
    entities: Option<&[String]>,
    rows: u64,
) -> Result<Vec<Change>> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let found = session
        .query(sql::file("changes/read.sql")?, &[&position.run_id, &position.seq, &through, &entities, &rows])
        .await?;
    Ok(found
        .into_iter()
        .map(|row| Change { position: Position { run_id: row.get(0), seq: Some(row.get(1)) }, text: row.get(2) })
        .collect())
}

/// A consumer as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct ConsumerState {
    /// Its name; of a load, the account and the pipeline.
    pub name: String,
    /// `named` (`wharf changes --consumer`) or `load`.
    pub kind: String,
    /// How far it has read.
    #[serde(flatten)]
    pub position: Position,
    /// Complete changes that it has not read, counted up to a thousand.
    pub behind: i64,
    /// When it last moved on (UTC); of a load unknown.
    pub moved_at: Option<String>,
    /// The only entities it asks for.
    pub entities: Option<Vec<String>>,
}

/// All consumers, those of loads included.
///
/// # Errors
/// Those of the database.
pub async fn consumers(session: &Client) -> Result<Vec<ConsumerState>> {
    let through = complete_run(session).await?;
    let rows = session.query(sql::file("changes/consumers.sql")?, &[&through]).await?;
    Ok(rows
        .into_iter()
        .map(|row| ConsumerState {
            name: row.get(0),
            kind: row.get(1),
            position: Position { run_id: row.get(2), seq: row.get(3) },
            behind: row.get(4),
            moved_at: row.get(5),
            entities: row.get(6),
        })
        .collect())
}

/// A consumer that has not read all of some runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocking {
    /// Its name; of a load, the account and the pipeline.
    pub name: String,
    /// `named` (`wharf changes --consumer`) or `load`.
    pub kind: String,
    /// The last run that it has read all of.
    pub passed_run: i64,
}

/// The changes of some runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prunable {
    /// The first of the runs.
    pub first_run: i64,
    /// The last of the runs.
    pub last_run: i64,
    /// How many changes they have.
    pub changes: u64,
}

/// The last run of which every change is older than `keep`; at most `complete`.
///
/// # Errors
/// Those of the database.
pub async fn old_run(session: &Client, keep: SignedDuration, complete: i64) -> Result<i64> {
    Ok(session.query_one(sql::file("changes/old_run.sql")?, &[&keep.as_secs_f64(), &complete]).await?.get(0))
}

/// Consumers that have not read every change of runs up to `run_id`; who is furthest behind comes first.
///
/// # Errors
/// Those of the database.
pub async fn blocking(session: &Client, run_id: i64) -> Result<Vec<Blocking>> {
    let rows = session.query(sql::file("changes/blocking.sql")?, &[&run_id]).await?;
    Ok(rows.into_iter().map(|row| Blocking { name: row.get(0), kind: row.get(1), passed_run: row.get(2) }).collect())
}

/// The changes of runs up to `run_id`, if there are any.
///
/// # Errors
/// Those of the database.
pub async fn prunable(session: &Client, run_id: i64) -> Result<Option<Prunable>> {
    let row = session.query_one(sql::file("changes/prunable.sql")?, &[&run_id]).await?;
    let (Some(first_run), Some(last_run)) = (row.get(0), row.get(1)) else { return Ok(None) };
    Ok(Some(Prunable { first_run, last_run, changes: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0) }))
}

/// Places whose archive ends before the run: each with the last run of the feed there.
///
/// # Errors
/// Those of the database.
pub async fn archives_behind(session: &Client, run_id: i64) -> Result<Vec<(String, i64)>> {
    let rows = session
        .query("select place, feed_run from ops.archives where feed_run < $1 order by place", &[&run_id])
        .await?;
    Ok(rows.into_iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Notes that changes of runs up to `run_id` may be gone from now on.
///
/// # Errors
/// Those of the database.
pub async fn note_pruned(transaction: &Transaction<'_>, run_id: i64) -> Result<()> {
    transaction.execute("update ops.feed set pruned_run = greatest(pruned_run, $1)", &[&run_id]).await?;
    Ok(())
}

/// Deletes the oldest changes of runs up to `run_id`, at most `rows`; how many there were.
///
/// # Errors
/// Those of the database.
pub async fn delete_oldest(transaction: &Transaction<'_>, run_id: i64, rows: u64) -> Result<u64> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    Ok(transaction.execute(sql::file("changes/prune.sql")?, &[&run_id, &rows]).await?)
}

/// Where a consumer begins that is new or set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// Before the first change that is left.
    Everything,
    /// Behind a run.
    After(i64),
    /// Behind what is complete now.
    Now,
}

impl Beginning {
    /// As a position.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn position(self, session: &Client) -> Result<Position> {
        Ok(match self {
            Self::Everything => Position::after(0),
            Self::After(run_id) => Position::after(run_id),
            Self::Now => Position::after(complete_run(session).await?),
        })
    }
}

/// The right to read as a named consumer; it ends with the session that it was taken on.
#[derive(Debug)]
pub struct Consumer {
    name: String,
    /// How far it has read, as stored.
    pub position: Position,
}

impl Consumer {
    /// Takes the consumer `name` for this session, making it where there is none. `beginning` sets it back; without,
    /// a known one goes on and a new one begins with everything.
    ///
    /// # Errors
    /// [`Kind::LeaseHeld`] if another process reads as it; [`Kind::Command`] if it has asked for other entities so far.
    pub async fn take(
        session: &Client,
        name: &str,
        beginning: Option<Beginning>,
        entities: Option<&[String]>,
    ) -> Result<Self> {
        let locked = lease::lock_within(session, &lock(name), LEAVING).await?;
        let known = session
            .query_opt("select run_id, seq, entities, holder from ops.consumers where name = $1", &[&name])
            .await?;
        if !locked {
            let who = known.map_or_else(|| "another process".to_owned(), |row| row.get(3));
            return Err(Error::new(Kind::LeaseHeld, format!("consumer {name} is being read by {who}")).hint(
                "one process reads as a consumer at a time; give this one another name to read everything twice",
            ));
        }
        let position = match (&known, beginning) {
            (Some(row), None) => Position { run_id: row.get(0), seq: row.get(1) },
            (_, beginning) => beginning.unwrap_or(Beginning::Everything).position(session).await?,
        };
        if let (Some(row), None) = (&known, beginning) {
            let before: Option<Vec<String>> = row.get(2);
            if before.as_deref() != entities {
                let what = before.map_or_else(|| "all entities".to_owned(), |names| names.join(", "));
                return Err(Error::new(Kind::Command, format!("consumer {name} has read {what} so far"))
                    .hint("read on with the same --entity, set it back with --from-beginning, or take another name"));
            }
        }
        session
            .execute(
                "insert into ops.consumers (name, run_id, seq, entities, holder) values ($1, $2, $3, $4, $5)
                 on conflict (name) do update
                 set run_id = excluded.run_id, seq = excluded.seq, entities = excluded.entities, holder = excluded.holder",
                &[&name, &position.run_id, &position.seq, &entities, &holder()],
            )
            .await?;
        Ok(Self { name: name.to_owned(), position })
    }

    /// Keeps how far its lines have gone out.
    ///
    /// # Errors
    /// [`Kind::Command`] if it has been forgotten meanwhile; those of the database.
    pub async fn move_to(&mut self, session: &Client, position: Position) -> Result<()> {
        if position == self.position {
            return Ok(());
        }
        let moved = session
            .execute(
                "update ops.consumers set run_id = $2, seq = $3, moved_at = now() where name = $1",
                &[&self.name, &position.run_id, &position.seq],
            )
            .await?;
        if moved == 0 {
            return Err(Error::new(Kind::Command, format!("consumer {} has been forgotten", self.name))
                .hint("read again with --consumer to begin anew"));
        }
        self.position = position;
        Ok(())
    }
}

/// Forgets a consumer; whether there was one. One that is being read right now stays. Of a load (`account/pipeline`) its
/// place in the feed is forgotten: should the pipeline be loaded again, everything is compared with the ledger first.
///
/// # Errors
/// [`Kind::LeaseHeld`]; those of the database.
pub async fn forget(session: &Client, name: &str) -> Result<bool> {
    if !lease::lock_within(session, &lock(name), LEAVING).await? {
        return Err(Error::new(Kind::LeaseHeld, format!("consumer {name} is being read"))
            .hint("stop its reader, then forget it"));
    }
    let forgotten = session.execute("delete from ops.consumers where name = $1", &[&name]).await;
    session.execute("select pg_advisory_unlock(hashtextextended($1, 0))", &[&lock(name)]).await?;
    if forgotten? > 0 {
        return Ok(true);
    }
    let statement = "delete from delivery.consumers where target || '/' || pipeline = $1";
    Ok(session.execute(statement, &[&name]).await? > 0)
}

fn lock(name: &str) -> String {
    format!("wharf consumer {name}")
}
