//! SALESmanago emulated from its sheet.

use super::Platform;
use crate::Result;
use axum::Router;
use serde_json::{Value, json};
use std::sync::Arc;

/// What the emulated account is like.
#[derive(Debug, Clone, Default)]
pub struct Options {}

/// The emulated account.
#[derive(Debug)]
pub struct SalesManago {}

impl SalesManago {
    /// An empty account.
    ///
    /// # Errors
    /// None yet.
    pub fn open(_options: Options) -> Result<Self> {
        Ok(Self {})
    }
}

impl Platform for SalesManago {
    fn name(&self) -> &'static str {
        "salesmanago"
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
        Vec::new()
    }

    fn url_variable(&self) -> &'static str {
        "SM_URL"
    }
}
