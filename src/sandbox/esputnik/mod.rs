//! eSputnik (Yespo) emulated: contacts by asynchronous jobs, orders that fail one by one inside a 200, events that are
//! ignored without a word, and answers that went through a conversion from XML.
//!
//! Written from the platform's sheet alone. Where the sheet calls something unverified, or says nothing, the emulation
//! takes the reading that hurts a careless caller most (an import without `contactFields` wipes, a job fails when half of
//! it is applied, the first parameter that names a contact decides) and notes what a careful caller does not do as a
//! violation, so that a test can prove that nothing of the kind was sent.
//!
//! - [`options`]: the settings;
//! - [`account`]: contacts and how they are found, segments, the list of the unsubscribed;
//! - [`card`], [`contact`], [`rules`]: one contact as it is kept, as a request says it, and what its values must be;
//! - [`import`]: bulk imports and their jobs;
//! - [`orders`], [`events`]: orders and events, with every event that arrived and what became of it;
//! - [`limits`]: calls per second;
//! - [`api`], [`contact_calls`], [`other_calls`], [`show`]: the platform's own calls under `/api/`;
//! - [`inspect`]: `/_sandbox/esputnik/`: what arrived, and the switches.
//!
//! Memory: a contact is one packed text of about 150 bytes with its places in an index, an event 16 bytes, so that a million
//! of each fit; bodies are kept of the newest orders and events alone.

pub mod account;
pub mod api;
pub mod card;
pub mod contact;
pub mod contact_calls;
pub mod events;
pub mod import;
pub mod inspect;
pub mod limits;
pub mod options;
pub mod orders;
pub mod other_calls;
pub mod rules;
pub mod show;

pub use options::{Counted, Field, FieldKind, JobOrder, Jobs, Limits, Options, Repeat, Second};

use super::registry::{self, Opens, SandboxPlatform};
use super::{Platform, Sandbox};
use crate::Result;
use account::Account;
use axum::Router;
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The row of the registry.
pub const PLATFORM: SandboxPlatform = SandboxPlatform {
    name: "esputnik",
    about: "a customer data account, empty at first",
    wished: |wish| wish.opener("esputnik", Options::default()),
    settings: || registry::shown(&Options::default()),
};

impl Opens for Options {
    type Platform = ESputnik;

    fn open(self, _origin: String) -> Result<ESputnik> {
        Ok(ESputnik { account: Mutex::new(Account::new(self)) })
    }
}

impl Sandbox {
    /// The emulated eSputnik, if it is served.
    pub fn esputnik(&self) -> Option<&Arc<ESputnik>> {
        self.get()
    }

    /// Its address as `base_url` takes it. Empty where it is not served.
    pub fn esputnik_url(&self) -> String {
        self.base_url("esputnik")
    }
}

/// The emulated account.
pub struct ESputnik {
    account: Mutex<Account>,
}

impl ESputnik {
    /// The account itself, for tests in the same process.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        // A handler that panicked leaves at worst one contact half changed; the sandbox goes on.
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platform for ESputnik {
    fn name(&self) -> &'static str {
        "esputnik"
    }

    fn router(self: Arc<Self>) -> Router {
        api::router(self)
    }

    fn state(&self) -> Value {
        inspect::counts(&self.account())
    }

    fn change(&self, request: &Value) -> Result<Value, String> {
        inspect::change(&mut self.account(), request)
    }

    fn reset(&self) {
        let mut account = self.account();
        *account = Account::new(account.options.clone());
    }

    fn credentials(&self) -> Vec<(&'static str, String)> {
        vec![("ESPUTNIK_API_KEY", self.account().options.api_key.clone())]
    }

    fn url_variable(&self) -> &'static str {
        "ESPUTNIK_URL"
    }

    fn base_url(&self, url: &str) -> String {
        format!("{url}/api")
    }

    fn control(self: Arc<Self>) -> Router {
        inspect::router(self)
    }
}
