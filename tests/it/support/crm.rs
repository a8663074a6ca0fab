//! The account that a world feeds: what tests need of each alike. People are named as the account tells them apart.

use serde_json::{Value, json};
use wharf::sandbox::esputnik::Counted;
use wharf::sandbox::esputnik::account::By;
use wharf::sandbox::salesmanago::Apply;
use wharf::sandbox::salesmanago::account::Manner;
use wharf::sandbox::{Platform as _, Sandbox, SandboxOptions, esputnik, salesmanago};

/// A target platform.
#[derive(Debug, Clone)]
pub enum Crm {
    /// Cards by number.
    SalesManago,
    /// Addresses.
    ESputnik(Box<esputnik::Options>),
}

impl Crm {
    /// An eSputnik whose jobs take a poll or two and which takes the shop's currency.
    pub fn esputnik() -> Self {
        let mut options = esputnik::Options::default();
        options.currencies.push("PLN".into());
        Self::ESputnik(Box::new(options))
    }

    /// The same for tests that lose answers: a job goes on with each further call, because nobody can ask for one whose
    /// number was lost.
    pub fn esputnik_that_goes_on() -> Self {
        let Self::ESputnik(mut options) = Self::esputnik() else { unreachable!() };
        options.jobs.counted = Counted::Requests;
        Self::ESputnik(options)
    }

    pub fn platform(&self) -> &'static str {
        match self {
            Self::SalesManago => "salesmanago",
            Self::ESputnik(_) => "esputnik",
        }
    }

    pub fn served(&self, options: SandboxOptions) -> SandboxOptions {
        match self {
            Self::SalesManago => {
                options.with(salesmanago::Options { apply: Apply::AfterRequests(1), ..salesmanago::Options::default() })
            }
            Self::ESputnik(own) => options.with((**own).clone()),
        }
    }

    /// The address that `base_url` takes.
    pub fn url(&self, sandbox: &Sandbox) -> String {
        match self {
            Self::SalesManago => sandbox.salesmanago_url(),
            Self::ESputnik(_) => sandbox.esputnik_url(),
        }
    }

    /// The pipeline's target.
    pub fn target(&self, sandbox: &Sandbox, url: &str) -> Value {
        match self {
            Self::SalesManago => {
                let mut target = json!({"account": "crm", "platform": "salesmanago", "base_url": url,
                    "contact_batch": 10, "event_batch": 5});
                for (variable, value) in sandbox.salesmanago().unwrap().credentials() {
                    target[variable.trim_start_matches("SM_").to_lowercase()] = json!(value);
                }
                target
            }
            Self::ESputnik(own) => json!({
                "account": "crm", "platform": "esputnik", "base_url": url, "api_key": own.api_key,
                "currencies": own.currencies, "time_zone": own.zone, "contact_batch": 10, "order_batch": 5,
                "item_url": "https://shop.example/", "item_image_url": "https://shop.example/logo.png",
                "job_poll": "10ms", "job_poll_max": "50ms", "job_grace": "1s",
                // Add orders is at work from the first load on, with all that can happen to it.
                "old_orders": "as_new",
            }),
        }
    }

    /// What was accepted takes effect.
    pub fn settle(&self, sandbox: &Sandbox) {
        match self {
            Self::SalesManago => {
                sandbox.salesmanago().unwrap().account().settle(jiff::Timestamp::now().as_millisecond());
            }
            Self::ESputnik(_) => {
                sandbox.esputnik().unwrap().account().settle_jobs();
            }
        }
    }

    /// Somebody whom the account has met before and who has opted out there.
    pub fn meet(&self, sandbox: &Sandbox, email: &str) -> Option<String> {
        match self {
            Self::SalesManago => {
                let manner = Manner { single: false, double_opt_in: false, fire_events: false, owner: 0 };
                let card = json!({"contact": {"email": email}, "forceOptIn": false});
                let now = jiff::Timestamp::now().as_millisecond();
                let account = sandbox.salesmanago().unwrap();
                let made = account.account().upsert(card.as_object().unwrap(), manner, now);
                made.ok().map(|number| number.to_string())
            }
            Self::ESputnik(_) => {
                sandbox.esputnik().unwrap().account().unsubscribe(email, true);
                Some(email.to_owned())
            }
        }
    }

    /// The person with an address, if the account knows one.
    pub fn find(&self, sandbox: &Sandbox, email: &str) -> Option<String> {
        match self {
            Self::SalesManago => sandbox.salesmanago().unwrap().account().find(email).map(|number| number.to_string()),
            Self::ESputnik(_) => {
                let email = email.trim().to_lowercase();
                let account = sandbox.esputnik().unwrap().account();
                let is_known =
                    account.find_present(By::Email, &email).is_some() || account.unsubscribed.contains_key(&*email);
                is_known.then_some(email)
            }
        }
    }

    /// The person opts out there, unless that is so or nobody is there.
    pub fn opt_out(&self, sandbox: &Sandbox, email: &str) -> Option<String> {
        match self {
            Self::SalesManago => {
                let mut account = sandbox.salesmanago().unwrap().account();
                let number = account.find(email).filter(|number| !account.card(*number).opted_out)?;
                account.set_opted_out(number, Some(true), None, jiff::Timestamp::now().as_millisecond());
                Some(number.to_string())
            }
            Self::ESputnik(_) => {
                let mut account = sandbox.esputnik().unwrap().account();
                let email = email.trim().to_lowercase();
                account.find_present(By::Email, &email)?;
                if account.unsubscribed.contains_key(&*email) {
                    return None;
                }
                account.unsubscribe(&email, true);
                Some(email)
            }
        }
    }
}
