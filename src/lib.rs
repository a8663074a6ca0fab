//! Wharf: customers, orders, products and categories from shop platforms, through one Postgres database, into
//! marketing and CRM platforms.
//!
//! A row goes one way, through rooms in this order:
//!
//! - [`config`]: a pipeline file, typed and validated;
//! - [`http`]: the one client for all platforms: auth, pagination, pacing, retries;
//! - [`source`]: platform reads, one file each;
//! - [`store`]: Postgres: pool, migrations, COPY, leases, change feed, ledger;
//! - `sql/`: what raw data means, what a canonical row is, what a target gets;
//! - [`target`]: platform writes, one file each;
//! - [`tenant`]: who is behind a connection's or an account's name;
//! - [`stage`]: extract, transform, load, archive: what drives all that;
//! - [`commands`]: one file per verb of the command line, with [`printer`] and [`progress`] for what it says, and
//!   [`foreign`] for text from outside in it;
//! - [`sandbox`]: every platform emulated on loopback, written from the platforms' facts;
//! - [`failpoint`]: places where tests let it fail or die; nothing of it is in a release build.

pub mod clock;
pub mod commands;
pub mod config;
pub mod error;
pub mod failpoint;
pub mod foreign;
pub mod http;
pub mod json;
pub mod memory;
pub mod printer;
pub mod progress;
pub mod sandbox;
pub mod source;
pub mod sql;
pub mod stage;
pub mod store;
pub mod target;
pub mod tenant;
pub mod tls;

pub use error::{Error, Kind, Result};
