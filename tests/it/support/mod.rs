//! What tests share.

pub mod postgres;
pub mod staged;

pub use postgres::{TestDatabase, database};
