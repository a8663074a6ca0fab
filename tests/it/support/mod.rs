//! What tests share.

pub mod postgres;

pub use postgres::{TestDatabase, database};
