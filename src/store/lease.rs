//! Leases: only one process works on a thing (a shop's streams, the transform, a target account) at a time.
//!
//! The obvious ways fail: a row with an expiry lets a slow holder and its successor work at once, or makes the successor
//! of a dead holder wait; a session lock alone does not stop a holder whose session was cut but whose other connections
//! still commit. So both: a session lock decides who holds (a dead holder frees it at once), and a row carries a fencing
//! number that rises with each holder and that every transaction under the lease checks first, locking the row.

use super::Database;
use super::run::{Run, close_dead, holder};
use crate::{Error, Kind, Result, sql};
use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// How long [`Lease::take`] waits for another holder.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long the server is asked to wait at a time for a lease held by another; what else the session is asked waits with it.
pub(super) const WAIT: &str = "1s";

/// How long whoever does not wait for others waits all the same: the session of a process that has ended is gone at the
/// server a moment later, a second at most where it was in the middle of a statement.
pub(super) const LEAVING: Duration = Duration::from_secs(5);

/// The pause after the server would not wait.
const RETRY: Duration = Duration::from_millis(250);

/// The pause between two tries of who does not wait for others.
const BRIEF: Duration = Duration::from_millis(25);

/// How much in a hurry whoever wants a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Before a back-fill goes on.
    Now,
    /// When a back-fill has used its share.
    Share,
}

/// The right to work on one thing. Released by [`Lease::release`], or in the background when dropped.
pub struct Lease {
    name: String,
    token: i64,
    run: Run,
    is_held: AtomicBool,
    since: Instant,
}

impl Lease {
    /// Takes the lease `name` (`extract:CONNECTION`, `transform`, `target:ACCOUNT`) for `run`, waiting up to
    /// [`PATIENCE`] while another process holds it.
    ///
    /// # Errors
    /// [`Kind::LeaseHeld`] if it is still held then, or held by this very run.
    pub async fn take(db: &Database, run: &Run, name: &str) -> Result<Self> {
        Self::take_within(db, run, name, PATIENCE).await
    }

    /// As [`Lease::take`], waiting up to `patience`; zero waits only as long as the session of a process that has ended may
    /// take to go.
    ///
    /// # Errors
    /// [`Kind::LeaseHeld`].
    pub async fn take_within(db: &Database, run: &Run, name: &str, patience: Duration) -> Result<Self> {
        Self::take_as(db, run, name, patience, Want::Now).await
    }

    /// As [`Lease::take_within`], in as much of a hurry as `want` says.
    ///
    /// # Errors
    /// [`Kind::LeaseHeld`].
    pub async fn take_as(db: &Database, run: &Run, name: &str, patience: Duration, want: Want) -> Result<Self> {
        if !run.shared.leases.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            return Err(Error::new(Kind::LeaseHeld, format!("{name} is being worked on by this very run")));
        }
        let result = take(db, run, name, patience, want).await;
        if result.is_err() {
            run.shared.leases.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        result
    }

    /// To be called first in every transaction under the lease: refuses if it has passed to another process, and keeps
    /// it from passing until the transaction ends.
    ///
    /// # Errors
    /// [`Kind::LeaseLost`].
    pub async fn assert(&self, transaction: &tokio_postgres::Transaction<'_>) -> Result<()> {
        transaction.execute("select ops.assert_lease($1, $2)", &[&self.name, &self.token]).await?;
        Ok(())
    }

    /// Lets `run` stand for the lease from now on: should that run be closed as died, the lease is taken away with it.
    /// The session lock stays with the run that took the lease, so that the death of either ends it.
    ///
    /// # Errors
    /// [`Kind::LeaseLost`].
    pub async fn stands_for(&self, db: &Database, run: &Run) -> Result<()> {
        let client = db.client().await?;
        let noted = client
            .execute(
                "update ops.leases set run_id = $3 where name = $1 and token = $2",
                &[&self.name, &self.token, &run.id],
            )
            .await?;
        if noted == 0 {
            return Err(Error::new(Kind::LeaseLost, format!("lease {} has passed to another process", self.name))
                .hint("nothing is lost; let the other process finish"));
        }
        Ok(())
    }

    /// The lease's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long it has been held.
    pub fn held_for(&self) -> Duration {
        self.since.elapsed()
    }

    /// The fencing number.
    pub fn token(&self) -> i64 {
        self.token
    }

    /// Gives a lease to whoever waits for it, although somebody still refers to it: nothing may be written under it then.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn give_away(lease: &Self) -> Result<()> {
        lease.is_held.store(false, Ordering::Relaxed);
        give_back(&lease.run, &lease.name, lease.token).await
    }

    /// Gives the lease back.
    ///
    /// # Errors
    /// Those of the database; the lease is free when the run's session ends, whatever happens here.
    pub async fn release(self) -> Result<()> {
        self.is_held.store(false, Ordering::Relaxed);
        give_back(&self.run, &self.name, self.token).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_held.load(Ordering::Relaxed) {
            return;
        }
        let (run, name, token) = (self.run.clone(), std::mem::take(&mut self.name), self.token);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = give_back(&run, &name, token).await {
                    tracing::debug!("lease {name} could not be given back: {error}");
                }
            });
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("name", &self.name).field("token", &self.token).finish()
    }
}

/// Name of the session lock behind a lease.
fn lease_lock(name: &str) -> String {
    format!("wharf lease {name}")
}

async fn take(db: &Database, run: &Run, name: &str, patience: Duration, want: Want) -> Result<Lease> {
    let began = Instant::now();
    let mut has_told = false;
    let at_once = if patience.is_zero() { LEAVING } else { Duration::ZERO };
    let mut is_ours = lock_within(&run.shared.session, &lease_lock(name), at_once).await?;
    while !is_ours {
        let waited = began.elapsed();
        if waited >= patience {
            return Err(held(db, run, name).await?);
        }
        if !has_told {
            tracing::warn!(
                "{name} is being worked on by {}; waiting up to {} s for it",
                who(db, name).await?,
                patience.as_secs()
            );
            has_told = true;
        }
        // A holder that is only filling in may let us go first.
        let client = db.client().await?;
        let note = match want {
            Want::Now => "update ops.leases set wanted_at = clock_timestamp() where name = $1",
            Want::Share => "update ops.leases set queued_at = clock_timestamp() where name = $1",
        };
        client.execute(note, &[&name]).await?;
        drop(client);
        is_ours = wait_for_lock(run, name, patience.saturating_sub(waited)).await?;
    }
    // From here on the session lock is ours. Whoever had the lease is done or dead: the dead are closed before their
    // rows are relied on.
    let token = async {
        close_dead(db).await?;
        let client = db.client().await?;
        let row = client.query_one(sql::file("store/take_lease.sql")?, &[&name, &holder(), &run.id]).await?;
        Ok(row.get(0))
    }
    .await;
    match token {
        Ok(token) => Ok(Lease {
            name: name.to_owned(),
            token,
            run: run.clone(),
            is_held: AtomicBool::new(true),
            since: Instant::now(),
        }),
        Err(error) => {
            unlock(run, name).await?;
            Err(error)
        }
    }
}

/// Takes a session lock, trying for `patience`; zero tries once. False if somebody else holds it still.
pub(super) async fn lock_within(session: &Client, lock: &str, patience: Duration) -> Result<bool> {
    let began = Instant::now();
    loop {
        let row = session.query_one("select pg_try_advisory_lock(hashtextextended($1, 0))", &[&lock]).await?;
        if row.get(0) || began.elapsed() >= patience {
            return Ok(row.get(0));
        }
        tokio::time::sleep(BRIEF).await;
    }
}

/// Waits inside the server, which hands the lock over the moment it is free; false if it is still held.
async fn wait_for_lock(run: &Run, name: &str, patience: Duration) -> Result<bool> {
    // The server's own limit of waiting is a second; who has less patience looks once more.
    if patience < Duration::from_secs(1) {
        tokio::time::sleep(RETRY.min(patience)).await;
        return lock_within(&run.shared.session, &lease_lock(name), Duration::ZERO).await;
    }
    let session = &run.shared.session;
    match session.execute("select pg_advisory_lock(hashtextextended($1, 0))", &[&lease_lock(name)]).await {
        Ok(_) => Ok(true),
        Err(error) if is_lock_timeout(&error) => Ok(false),
        Err(error) if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) => {
            // Two runs wait for one another; the other may give up first.
            tokio::time::sleep(RETRY).await;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn unlock(run: &Run, name: &str) -> Result<()> {
    run.shared.session.execute("select pg_advisory_unlock(hashtextextended($1, 0))", &[&lease_lock(name)]).await?;
    Ok(())
}

async fn give_back(run: &Run, name: &str, token: i64) -> Result<()> {
    let client = run.shared.db.client().await?;
    // The number stays: it must never be given out twice.
    let cleared = client
        .execute("update ops.leases set holder = '', run_id = 0 where name = $1 and token = $2", &[&name, &token])
        .await;
    let unlocked = unlock(run, name).await;
    run.shared.leases.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    cleared?;
    unlocked
}

/// Tells that a lease is held: by a process that does the very work which `run` is about, or by one at something else.
async fn held(db: &Database, run: &Run, name: &str) -> Result<Error> {
    let client = db.client().await?;
    // A run does what each of its stages' commands does.
    let same_work = client
        .query_opt(
            "select from ops.leases
             join ops.runs as ours on ours.run_id = $2
             join ops.runs as theirs on theirs.holder = leases.holder and theirs.pipeline = ours.pipeline
             where leases.name = $1 and theirs.run_id <> ours.run_id and theirs.finished_at is null
                 and ours.command in ('extract', 'transform', 'load', 'run')
                 and theirs.command in ('run', ours.command)
             limit 1",
            &[&name, &run.id],
        )
        .await?
        .is_some();
    drop(client);
    let detail = format!("{name} is being worked on by {}", who(db, name).await?);
    Ok(if same_work {
        Error::new(Kind::DoneElsewhere, format!("{detail}, which does the same work"))
            .hint("nothing has to be done; `wharf status` shows how far it is")
    } else {
        Error::new(Kind::LeaseHeld, detail)
            .hint("let the other process finish, then run the command again; nothing is lost")
    })
}

/// Who holds a lease, for people.
async fn who(db: &Database, name: &str) -> Result<String> {
    let client = db.client().await?;
    let row = client
        .query_opt(
            "select holder, to_char(taken_at, 'YYYY-MM-DD HH24:MI:SS') from ops.leases where name = $1 and holder <> ''",
            &[&name],
        )
        .await?;
    Ok(match row {
        Some(row) => format!("{} since {} UTC", row.get::<_, String>(0), row.get::<_, String>(1)),
        None => "another process".to_owned(),
    })
}

pub(super) fn is_lock_timeout(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}
