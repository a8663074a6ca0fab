//! SALESmanago (API v2) emulated: contacts, consent, tags, events, its asynchronous upserts, and answers that say
//! `success: false` with HTTP 200.
//!
//! Written from the platform's sheet alone. Where the sheet calls something unverified, the emulation takes the reading
//! that hurts a careless caller most (an event is never deduplicated, a null erases, a double opt-in letter goes out when
//! nobody forbids it) and notes it as a violation, so that a test can prove that nothing of the kind was sent.
//!
//! - [`account`]: the cards and tags of one account, what an upsert does to a card, what waits to be applied;
//! - [`event`]: external events: what is refused, what is kept;
//! - [`api`]: the platform's own calls under `/api/`;
//! - [`inspect`]: `/_sandbox/salesmanago/`: what arrived, and the switches;
//! - [`show`]: the two JSON faces of a card.
//!
//! Memory: a card or an event is a few numbers and one packed text, so that millions fit.

pub mod account;
pub mod api;
pub mod event;
pub mod inspect;
pub mod show;

use super::registry::{self, Opens, SandboxPlatform};
use super::{Platform, Sandbox};
use crate::Result;
use account::Account;
use axum::Router;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The row of the registry.
pub const PLATFORM: SandboxPlatform = SandboxPlatform {
    name: "salesmanago",
    about: "a marketing account, empty at first",
    wished: |wish| wish.opener("salesmanago", Options::default()),
    settings: || registry::shown(&Options::default()),
};

/// How the emulated account behaves. Every field can be changed while it runs (`POST /_sandbox/salesmanago/settings`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The account's `clientId`.
    pub client_id: String,
    /// The account's API secret; `apiKey` may be any text, as at the platform.
    pub api_secret: String,
    /// Users of the account; the first is the usual owner.
    pub users: Vec<String>,
    /// Whether `user/listByClient` gives objects instead of texts.
    pub users_as_objects: bool,
    /// Whether the account is active; an inactive one answers `Not authenticated`.
    pub active: bool,
    /// When an accepted batch upsert takes effect.
    pub apply: Apply,
    /// What a card shows of its events.
    pub shown_events: ShownEvents,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_id: "sandbox-client".into(),
            api_secret: "sandbox-secret".into(),
            users: vec!["owner@shop.example".into()],
            users_as_objects: false,
            active: true,
            apply: Apply::AfterRequests(2),
            shown_events: ShownEvents::Full,
        }
    }
}

/// When an accepted `contact/batchupsertv2` takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    /// Just before the n-th later call is answered; 0 is at once.
    AfterRequests(u32),
    /// When so many milliseconds have passed.
    AfterMilliseconds(i64),
    /// When the control API says `settle`.
    OnCommand,
}

/// What a card shows of its events: the sheet knows the list's name only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShownEvents {
    /// Everything, under the names used for writing.
    Full,
    /// Everything, the type called `type`.
    ShortNames,
    /// Without `externalId`: a reader cannot tell which order an event is.
    WithoutExternalId,
    /// The list is left out.
    LeftOut,
}

/// The `apiKey` that [`Platform::credentials`] gives; the platform takes any.
const API_KEY: &str = "sandbox-api-key";

impl Opens for Options {
    type Platform = SalesManago;

    fn open(self, _origin: String) -> Result<SalesManago> {
        SalesManago::open(self)
    }
}

impl Sandbox {
    /// The emulated SALESmanago, if it is served.
    pub fn salesmanago(&self) -> Option<&Arc<SalesManago>> {
        self.get()
    }

    /// Its address. Empty where it is not served.
    pub fn salesmanago_url(&self) -> String {
        self.base_url("salesmanago")
    }
}

/// The emulated account.
pub struct SalesManago {
    account: Mutex<Account>,
}

impl SalesManago {
    /// An empty account.
    ///
    /// # Errors
    /// None: other platforms read files here.
    pub fn open(options: Options) -> Result<Self> {
        Ok(Self { account: Mutex::new(Account::new(options)) })
    }

    /// The account itself, for tests in the same process.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        // A handler that panicked leaves at worst one card half changed; the sandbox goes on.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platform for SalesManago {
    fn name(&self) -> &'static str {
        "salesmanago"
    }

    fn router(self: Arc<Self>) -> Router {
        api::router(self)
    }

    fn state(&self) -> Value {
        inspect::counts(&mut self.account())
    }

    fn change(&self, request: &Value) -> Result<Value, String> {
        inspect::change(&mut self.account(), request)
    }

    fn reset(&self) {
        let mut account = self.account();
        *account = Account::new(account.options.clone());
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        let options = self.account().options.clone();
        vec![
            ("SM_CLIENT_ID", options.client_id),
            ("SM_API_KEY", API_KEY.to_owned()),
            ("SM_API_SECRET", options.api_secret),
            ("SM_OWNER", options.users.into_iter().next().unwrap_or_default()),
        ]
    }

    fn url_variable(&self) -> &'static str {
        "SM_URL"
    }

    fn control(self: Arc<Self>) -> Router {
        inspect::router(self)
    }
}

/// Now, in the milliseconds the platform counts in.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
