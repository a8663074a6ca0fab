//! What tests share.

pub mod at_panel;
pub mod canonical;
pub mod convert;
pub mod crm;
pub mod cutter;
pub mod fake_esputnik;
pub mod fake_shop;
pub mod fake_target;
mod happening;
mod happening_idosell;
mod happening_woocommerce;
pub mod home;
pub mod invariants;
pub mod invariants_esputnik;
pub mod naive;
mod naive_idosell;
mod naive_woocommerce;
pub mod openapi;
pub mod panel;
pub mod person;
pub mod pipeline;
pub mod pooler;
pub mod postgres;
pub mod program;
pub mod s3;
pub mod seller;
pub mod shop;
pub mod staged;
pub mod web;
pub mod world;

pub use postgres::{TestDatabase, database};
