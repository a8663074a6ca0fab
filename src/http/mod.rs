//! The one HTTP client for all platforms: auth, pagination, pacing, retries, and JSON read record by record.
//!
//! The model: a [`Client`] serves one connection or account. It owns the credentials, the pace and the connection pool; a
//! platform says only path, parameters and what it expects. A [`Call`] is made of one or more **attempts**; each is paced,
//! counted and signed anew. A call that ends badly is a [`Failure`]: an [`crate::Error`] for people, the [`Fate`] of the
//! call (certainly not done, or nobody knows) for code, and the platform's answer where there was one.
//!
//! What may enter: nothing of a platform (no codes, no field names) and nothing of Postgres.
//!
//! Wrong answers avoided here: repeating a write whose first attempt may have arrived; handing credentials to another
//! host on a redirect; holding a page of 200 MB as a tree; taking a maintenance page for an empty list; waiting a year
//! because a header said so; printing a key that travels in a query string.

mod auth;
pub mod budget;
mod client;
mod content;
mod failure;
mod oauth1;
mod options;
pub mod overlap;
mod pace;
pub mod paging;
mod query;
mod records;
mod response;
mod retry;
mod splitter;
mod tls;

pub use auth::Auth;
pub use budget::Budget;
pub use client::{Call, Client, is_this_machine};
pub use content::parse as parse_json;
pub use failure::{Answer, Failure, Fate, Idempotency};
pub use oauth1::{OAuth1, SignatureMethod};
pub use options::{CallClass, ClientOptions, Timeouts};
pub use records::{RecordStream, records_of};
pub use reqwest::Method;
pub use response::Response;
pub use retry::RetryPolicy;
pub use splitter::{Selector, Splitter};
pub use tls::install_crypto_provider;
