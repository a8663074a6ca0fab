//! What tests share.

pub mod convert;
pub mod fake_shop;
pub mod home;
pub mod pipeline;
pub mod canonical;
pub mod fake_target;
pub mod postgres;
pub mod shop;
pub mod staged;
pub mod web;

pub use postgres::{TestDatabase, database};
