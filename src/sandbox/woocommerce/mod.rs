//! WooCommerce emulated from its sheet.

use super::Platform;
use crate::Result;
use axum::Router;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// The consumer key of the sandbox's shop: read and write.
pub const CONSUMER_KEY: &str = "ck_0123456789abcdef0123456789abcdef01234567";
/// Its secret.
pub const CONSUMER_SECRET: &str = "cs_fedcba9876543210fedcba9876543210fedcba98";

/// What the emulated shop is like.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many customers with an account (role `customer`); ignored where `load` is given.
    pub customers: u64,
    /// How many orders; ignored where `load` is given.
    pub orders: u64,
    /// The stock is a pure function of this number (and of the counts).
    pub seed: u64,
    /// The moment at which the stock ends and the shop's clock begins (UTC); it runs on from there.
    pub now: jiff::Timestamp,
    /// The site's time zone.
    pub zone: String,
    /// Whether WordPress takes this plain server for https: Basic and query-string keys work only then.
    pub as_tls: bool,
    /// A sub-folder that WordPress lives in: `shop`; empty for none.
    pub folder: String,
    /// A folder with a shop in files.
    pub load: Option<PathBuf>,
}

impl Default for Options {
    /// 20,000 customers and 50,000 orders.
    fn default() -> Self {
        Self {
            customers: 20_000,
            orders: 50_000,
            seed: 1,
            // 2026-10-01T00:00:00Z
            now: jiff::Timestamp::constant(1_790_812_800, 0),
            zone: "Europe/Warsaw".to_owned(),
            as_tls: true,
            folder: String::new(),
            load: None,
        }
    }
}

impl Options {
    /// 300 customers and 700 orders: a taste in seconds.
    pub fn small() -> Self {
        Self { customers: 300, orders: 700, ..Self::default() }
    }
}

/// The emulated shop.
#[derive(Debug)]
pub struct WooCommerce {
    home: String,
}

impl WooCommerce {
    /// Opens the shop whose server's address is `origin`.
    ///
    /// # Errors
    /// [`crate::Kind::Io`] where a shop in files cannot be read; [`crate::Kind::Command`] for an unknown time zone.
    pub fn open(options: Options, origin: String) -> Result<Self> {
        let folder = options.folder.trim_matches('/');
        let home = if folder.is_empty() { origin } else { format!("{origin}/{folder}") };
        Ok(Self { home })
    }

    /// The shop's address, sub-folder included, without a final slash.
    pub fn home(&self) -> &str {
        &self.home
    }
}

impl Platform for WooCommerce {
    fn name(&self) -> &'static str {
        "woocommerce"
    }

    fn router(self: Arc<Self>) -> Router {
        Router::new()
    }

    fn state(&self) -> Value {
        json!({})
    }

    fn change(&self, _request: &Value) -> Result<Value, String> {
        Err("nothing can be changed".to_owned())
    }

    fn reset(&self) {}

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("WOO_KEY", CONSUMER_KEY.to_owned()), ("WOO_SECRET", CONSUMER_SECRET.to_owned())]
    }

    fn url_variable(&self) -> &'static str {
        "WOO_URL"
    }
}
