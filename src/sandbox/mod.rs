//! Every platform emulated on loopback, written from its sheet's facts and never from a connector's code.
//!
//! The model: a **sandbox** is a set of **platforms**, each served on a port of its own as its real server would be, with
//! the control endpoints under `/_sandbox/` on every port beside it (see [`control`]). Before a request reaches the
//! platform it passes the **faults** (see [`faults`]) and every call is kept in the **log** of calls. All of it is
//! count-based and repeatable: no fault hangs on time or chance.
//!
//! A platform is one folder and one row in [`registry`]: a type that implements [`Platform`], and options that open it. It
//! keeps its state in memory, may be inspected and changed over HTTP or from Rust, and touches nothing of the product but
//! shared types.
//!
//! ```no_run
//! # async fn example() -> wharf::Result<()> {
//! use wharf::sandbox::{Sandbox, SandboxOptions, woocommerce, salesmanago};
//! let options = SandboxOptions::default()
//!     .with(woocommerce::Options::small())
//!     .with(salesmanago::Options::default());
//! let sandbox = Sandbox::start(options).await?;
//! println!("{} {}", sandbox.woocommerce_url(), sandbox.salesmanago_url());
//! println!("{}", sandbox.get::<woocommerce::WooCommerce>().is_some());
//! sandbox.stop().await;
//! # Ok(())
//! # }
//! ```

pub mod control;
pub mod esputnik;
pub mod faults;
pub mod idosell;
mod line;
pub mod php;
pub mod registry;
pub mod requests;
pub mod salesmanago;
mod server;
pub mod stock;
pub mod table;
pub mod woocommerce;

pub use faults::{Fault, FaultKind};
pub use requests::{Call, Requests};
pub use server::{Opener, Sandbox, SandboxOptions};

use axum::Router;
use serde_json::Value;
use std::sync::Arc;

/// One emulated platform: its state and its endpoints.
///
/// The contract:
/// - [`Platform::router`] answers as the real server does, at the paths of the real server, with its quirks. It never
///   sees a request that a fault has answered, and it does see the request of a lost answer.
/// - A handler that knows a better name for its route than the path (`/products/{id}/variations`) puts a
///   [`requests::Route`] into the answer's extensions; else the matched path is the name under which calls are counted.
/// - State lives in memory behind `self`; [`Platform::reset`] brings the beginning back.
pub trait Platform: Send + Sync + 'static {
    /// The platform's name as pipelines write it: `woocommerce`.
    fn name(&self) -> &'static str;

    /// The endpoints, at the real server's paths.
    fn router(self: Arc<Self>) -> Router;

    /// Figures and state for `GET /_sandbox/state`: a JSON object.
    fn state(&self) -> Value;

    /// Changes the state as `POST /_sandbox/change` asks; answers what was changed.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the request.
    fn change(&self, request: &Value) -> Result<Value, String>;

    /// Brings the beginning back.
    fn reset(&self);

    /// Environment variables with the credentials for this platform, address left out: `("WOO_KEY", "ck_…")`. They are
    /// known constants and open nothing but this sandbox.
    fn credentials(&self) -> Vec<(&'static str, String)>;

    /// The environment variable that takes this platform's address: `WOO_URL`.
    fn url_variable(&self) -> &'static str;

    /// The address as `base_url` takes it, where the platform is served at `url`: a sub-folder is part of it.
    fn base_url(&self, url: &str) -> String {
        url.to_owned()
    }

    /// Control endpoints of this platform alone, mounted under `/_sandbox/<name>/`.
    fn control(self: Arc<Self>) -> Router {
        Router::new()
    }
}
