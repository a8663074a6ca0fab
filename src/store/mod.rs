//! Postgres: which server, connections, migrations, runs and leases. Only the database may be touched here, and, for the
//! private server, its programs and files.
//!
//! - [`database`]: opens a database, of one's own or private, and hands out connections;
//! - [`address`] and [`tls`]: connection strings and TLS with libpq's meaning;
//! - [`private`]: a PostgreSQL of Wharf's own, started and stopped as needed;
//! - [`pooler`]: tells a connection pooler apart that would not keep our sessions;
//! - [`waiting`]: waits for a server, bounded and ended by a stop;
//! - [`migrate`]: brings the schemas up to this program, and refuses newer ones;
//! - [`run`]: what a command did, as rows that analysts can read;
//! - [`staging`], [`storable`], [`cursor`], [`walk_keys`] and [`doubts`]: what was read of shops, how far, and what is gone
//!   there;
//! - [`copy`]: rows on their way into a table;
//! - [`statistics`]: what the planner has to know of tables that grow;
//! - [`feed`]: the change feed as readers take it, and how far each has read;
//! - [`budget`]: the calls that a target account allows, kept for all processes;
//! - [`lease`]: only one process works on a thing at a time, and one that was cut off cannot commit.

pub mod address;
pub mod budget;
pub mod copy;
pub mod cursor;
pub mod database;
pub mod doubts;
pub mod feed;
pub mod lease;
pub mod migrate;
pub mod pipelines;
mod pooler;
pub mod private;
pub mod run;
pub mod staging;
pub mod statistics;
pub mod storable;
pub mod tls;
pub mod waiting;
pub mod walk_keys;

pub use database::{Database, DatabaseLocation, Listener};
pub use lease::Lease;
pub use run::{Outcome, Run, Step};
