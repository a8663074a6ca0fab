//! A connection pooler that lends a server's session out for one transaction at a time (PgBouncer with
//! `pool_mode = transaction` or `statement`) cannot carry Wharf: leases are locks of a session, followers of the feed listen
//! on one, settings and temporary tables belong to one. It would seem to work, and two processes would hold one lease. So
//! it is told apart before anything is done.
//!
//! No question tells it: such a pooler answers as the server behind it does. But it shows in which process of the server
//! answers. Behind it, two connections are served by one process, or one connection by two.

use crate::{Error, Kind, Result};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Refuses a pooler that does not keep sessions; `first` and `second` are connections of their own.
///
/// # Errors
/// [`Kind::Command`] with what to do; those of the database.
pub(super) async fn refuse(first: &Client, second: &Client, shown: &str) -> Result<()> {
    let mut processes = Vec::new();
    for client in [first, first, second, first] {
        processes.push(process(client).await?);
    }
    let is_session = |of: &[usize]| of.iter().all(|at| processes.get(*at) == processes.first());
    if is_session(&[1, 3]) && !is_session(&[2]) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Command,
        format!(
            "{shown} is a connection pooler that changes the server's session between transactions (as PgBouncer does \
             with pool_mode = transaction): locks, settings and notifications would be lost there"
        ),
    )
    .hint(
        "name the PostgreSQL server itself in DATABASE_URL, or set pool_mode = session for this database at the pooler",
    ))
}

/// Asked in the simple protocol, because prepared statements are among what such a pooler may lose.
async fn process(client: &Client) -> Result<String> {
    let answer = client.simple_query("select pg_backend_pid()").await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.map(str::to_owned).ok_or_else(|| Error::new(Kind::Internal, "PostgreSQL named no process of its own"))
}
