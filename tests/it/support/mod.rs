//! What tests share.

pub mod home;
pub mod postgres;
pub mod staged;

pub use postgres::{TestDatabase, database};
