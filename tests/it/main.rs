//! Integration tests, in one program so that they share one PostgreSQL: one module per subject.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that meets the unexpected is to fail there")]
#![allow(missing_docs, reason = "tests are named as sentences")]

mod support;

mod archive;
mod budget;
mod change_feed;
mod changes;
mod check;
mod cli;
mod conformance;
mod consent;
mod consent_at_accounts;
mod consent_idosell;
mod consent_in_any_order;
mod crash;
mod error_codes;
mod esputnik;
mod explain;
mod extract;
mod extract_doubts;
mod extract_idosell;
mod extract_woocommerce;
mod foreign_text;
mod http;
mod http_environment;
mod idosell_esputnik;
mod idosell_failing_calls;
mod idosell_salesmanago;
mod leases;
mod load;
mod migrations;
mod openapi;
mod private_postgres;
mod private_postgres_crash;
mod private_postgres_links;
mod questions;
mod real_orders;
mod sandbox_esputnik;
mod sandbox_idosell;
mod sandbox_idosell_offer;
mod sandbox_idosell_specification;
mod sandbox_real_data;
mod sandbox_salesmanago;
mod sandbox_woocommerce;
mod sandbox_woocommerce_auth;
mod sandbox_woocommerce_changes;
mod schema_docs;
mod sessions;
mod soak;
mod source_woocommerce;
mod sql_format;
mod staging;
mod target_esputnik;
mod target_salesmanago;
mod tenants;
mod tls;
mod transform;
mod transform_idosell;
mod verify;
mod walks;
