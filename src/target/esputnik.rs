//! eSputnik (also Yespo): contacts imported in jobs that end minutes later, a list of unsubscribed addresses, and orders by
//! Add orders, by events or both.
//!
//! The model: HTTP Basic with the API key (sheet, section 2). A contact import only starts a job; the load stage asks for it
//! until it has ended and keeps its contacts out of other jobs. What was not taken stands in the answer beside 200. Neither
//! orders nor events are deduplicated or listed, so a call of open fate is held for a person. Additional fields are found by
//! name before anything is rendered.
//!
//! What may enter: `http`, the requests that `sql/deliver/esputnik/` renders, the account's settings. No business rule.
//!
//! Wrong answers avoided here: an import without `contactFields`, which empties what it does not name; taking 200 for "all
//! taken"; parsing an empty body; a list of one element that comes as an object; a second job after a time-out; 409 for an
//! error; an unsubscription there that an import lifts.

mod calls;
mod contacts;
mod each;
mod fields;
mod orders;
mod read_back;
mod recent;
mod settings;

pub use self::settings::Settings;

use self::calls::all;
use self::each::each;
use self::recent::Recent;
use self::settings::{EventVersion, OldOrders, UnknownConsent};
use super::address::base_url;
use super::registry::TargetPlatform;
use super::{
    BatchOutcome, ContactState, Found, Held, Item, JobPatience, Limit, Manner, Operation, OptOutPage, OptOutReading,
    Shown, Target,
};
use crate::config::formats::{Rate, Span};
use crate::config::pipeline::{Account, Load};
use crate::http::{Auth, Budget, CallClass, Client, ClientOptions, RetryPolicy};
use crate::source::Finding;
use crate::tenant::{self, Credential, Tenant};
use crate::{Error, Kind, Result};
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// The registry's row.
pub const PLATFORM: TargetPlatform = TargetPlatform {
    name: "esputnik",
    title: "eSputnik",
    about: "customer data platform and marketing automation, also sold as Yespo",
    credentials: "in eSputnik: profile > Settings > API > New key, with full access (contacts and orders need it); a key \
                  that is not used for 90 days is switched off",
    schema: || schemars::schema_for!(Settings),
    example: include_str!("esputnik.example.yaml"),
    inspect: settings::inspect,
    build,
};

/// All calls together (sheet, section 3).
const ALL_CALLS: Rate = Rate { calls: 200, per: Duration::from_secs(1) };
/// Classes with limits of their own, and whether they count apart from all calls: only what the platform names a higher limit
/// for can be meant so. The third version of events is named nowhere and counts with all others.
const EVENTS: &str = "events";
const PAST_EVENTS: &str = "past events";
const READS: &str = "contact reads";
const CLASSES: [(&str, u32, bool); 3] = [(EVENTS, 350, true), (PAST_EVENTS, 100, false), (READS, 50, false)];

/// Calls in flight at once, those of one bundle of events counted as one.
const CONCURRENCY: usize = 4;
/// Events of one bundle, each of which is a call.
const BUNDLE: usize = 50;
/// Addresses of one call that unsubscribes; no maximum is documented.
const ADDRESSES: usize = 500;
/// The most past events of a call (sheet, section 3).
const PAST_MAX: usize = 500;
/// How long an answer is waited for, as the platform's own plug-ins do.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a contact of an import that has ended may take to show.
const APPEARS: Duration = Duration::from_secs(10);
/// The longest stretch of time of the activity list: three months are allowed.
const ACTIVITY_WINDOW: Duration = Duration::from_secs(85 * 86_400);

/// How people should write the address.
const ADDRESS: &str = "https://esputnik.com/api or https://yespo.io/api";

const UNSUBSCRIBE: &str = "unsubscribe e-mails";
const RESUBSCRIBE: &str = "subscribe e-mails again";
const IMPORT: &str = "import contacts";
const SUBSCRIBE: &str = "subscribe contacts";
const ADD_ORDERS: &str = "add orders";
const SEND_EVENTS: &str = "send events";
const ADD_PAST_EVENTS: &str = "add past events";

fn build(account: &Account, load: &Load) -> Result<Arc<dyn Target>> {
    Ok(Arc::new(ESputnik::new(account, load)?))
}

/// One account.
pub struct ESputnik {
    client: Client,
    settings: Settings,
    rate: Rate,
    recent: Mutex<Recent>,
}

impl ESputnik {
    /// The target of an account. Makes no call.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] for settings that are not the platform's, [`Kind::Address`] for the address.
    pub fn new(account: &Account, load: &Load) -> Result<Self> {
        let settings: Settings = account.settings.typed()?;
        let wrong = settings::inspect(&account.settings).into_iter().find(|remark| !remark.warning);
        if let Some(wrong) = wrong {
            return Err(Error::new(Kind::PipelineFile, wrong.message).hint(wrong.hint.unwrap_or_default()));
        }
        let sizes = [(settings.contact_batch, 3000), (settings.order_batch, 1000), (settings.jobs, 64)];
        if sizes.iter().any(|(size, most)| *size == 0 || size > most) {
            return Err(Error::new(Kind::PipelineFile, "`contact_batch`, `order_batch` or `jobs` is out of its range")
                .hint("leave it out for 1000, 500 and 8"));
        }
        if jiff::tz::TimeZone::get(&settings.time_zone).is_err() {
            return Err(Error::new(Kind::PipelineFile, "`time_zone` is no time zone")
                .hint("write the zone of the eSputnik account, such as Europe/Kyiv"));
        }
        let mut options = ClientOptions::new(base_url(account, ADDRESS)?);
        // Any user name will do.
        options.auth = Auth::basic("wharf", settings.api_key.clone());
        let rate = load.rate.unwrap_or(ALL_CALLS);
        options.rate = Some(rate);
        // A lower rate of the pipeline file holds for all calls, whatever their class.
        options.classes = CLASSES
            .iter()
            .map(|(name, calls, is_apart)| CallClass {
                name,
                rate: Rate { calls: *calls, per: Duration::from_secs(1) },
                is_apart: *is_apart && load.rate.is_none(),
            })
            .collect();
        options.unasked_quiet = Some(Duration::from_secs(1));
        options.retry = RetryPolicy { attempts: 8, ..RetryPolicy::default() };
        let parallel = load.parallel.map_or(CONCURRENCY, |calls| calls as usize);
        options.concurrency = parallel * BUNDLE + settings.jobs + 16;
        options.timeouts.answer = PATIENCE;
        Ok(Self { client: Client::new(options)?, settings, rate, recent: Mutex::default() })
    }

    fn accepted(&self, object: &'static str, keys: impl Iterator<Item = Uuid>, body: &str) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.accepted(object, keys, body, Instant::now());
    }

    fn was_accepted(&self, object: &'static str, keys: impl Iterator<Item = Uuid>, body: &str) -> bool {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).is_done(object, keys, body)
    }

    /// Whether events have a limit of their own.
    fn has_own_limit(&self) -> bool {
        self.settings.event_version != EventVersion::V3
    }
}

fn length(span: Span) -> Duration {
    span.0.unsigned_abs()
}

#[async_trait]
impl Target for ESputnik {
    fn operations(&self) -> Vec<Operation> {
        let contact = |name| Operation { name, object: "contact", idempotent: true, ..Operation::default() };
        let order = |name, object, batch| Operation { name, object, batch, ..Operation::default() };
        let mut operations = vec![
            Operation { batch: ADDRESSES, goes_first: true, ..contact(UNSUBSCRIBE) },
            Operation { batch: ADDRESSES, goes_first: true, ..contact(RESUBSCRIBE) },
            Operation { batch: self.settings.contact_batch, manner: Manner::Job, ..contact(IMPORT) },
            Operation { batch: BUNDLE, manner: Manner::Each, idempotent: false, ..contact(SUBSCRIBE) },
        ];
        operations.extend([
            order(ADD_ORDERS, "order", self.settings.order_batch),
            Operation { manner: Manner::Each, needs_contact: true, ..order(SEND_EVENTS, "event", BUNDLE) },
            Operation { needs_contact: true, ..order(ADD_PAST_EVENTS, "past event", PAST_MAX) },
        ]);
        operations
    }

    async fn send(&self, operation: &Operation, items: &[Item], _first_load: bool) -> Result<BatchOutcome> {
        match (operation.name, items) {
            (_, []) => Ok(all(0, &super::Outcome::Started)),
            (UNSUBSCRIBE, items) => self.unsubscribed("v1/emails/unsubscribed/add", items).await,
            (RESUBSCRIBE, items) => self.unsubscribed("v1/emails/unsubscribed/delete", items).await,
            (IMPORT, items) => self.import(items).await,
            (SUBSCRIBE, items) => each(items, |item| self.subscribe(item)).await,
            (ADD_ORDERS, items) => self.add_orders(items).await,
            (SEND_EVENTS, items) => each(items, |item| self.send_event(item)).await,
            (ADD_PAST_EVENTS, items) => self.add_past_events(items).await,
            (other, _) => Err(orders::unknown_operation(other)),
        }
    }

    async fn job(&self, _: &Operation, reference: &str, items: &[Item]) -> Result<Option<BatchOutcome>> {
        self.import_status(reference, items).await
    }

    fn job_patience(&self) -> JobPatience {
        JobPatience {
            first: length(self.settings.job_poll),
            longest: length(self.settings.job_poll_max),
            give_up: length(self.settings.job_timeout),
            lost: length(self.settings.job_lost_after),
            grace: length(self.settings.job_grace),
            at_once: self.settings.jobs,
        }
    }

    /// An import is waited for until it has ended, so whoever does not show then was left out.
    fn confirm_within(&self) -> Duration {
        APPEARS
    }

    async fn look_up(&self, operation: &Operation, items: &[Item]) -> Result<Vec<Found>> {
        if operation.object != "contact" {
            return Ok(vec![Found::CannotTell(orders::not_listed()); items.len()]);
        }
        let looks: Vec<BoxFuture<'_, Result<Found>>> =
            items.iter().map(|item| self.look_up_card(item).boxed()).collect();
        let found: Vec<_> = stream::iter(looks).buffered(contacts::SIDE_BY_SIDE).collect().await;
        found.into_iter().collect()
    }

    async fn contacts(&self, addresses: &[String]) -> Result<Vec<Option<ContactState>>> {
        self.states(addresses).await
    }

    fn contacts_per_call(&self) -> usize {
        1
    }

    async fn read_back(&self, held: &[Held]) -> Result<Vec<Shown>> {
        self.compare(held).await
    }

    fn not_shown(&self) -> &'static [&'static str] {
        read_back::NOT_SHOWN
    }

    fn parallel(&self) -> usize {
        CONCURRENCY
    }

    async fn learn(&self, properties: &[&str]) -> Result<Value> {
        self.find_fields(properties).await
    }

    fn first_load(&self) -> String {
        let orders = match self.settings.old_orders {
            OldOrders::PastEvents => {
                "orders placed before it go as past events and start no workflow (old_orders: past_events; the event type \
                 orderCreated must be there, with segmentation on)"
            }
            OldOrders::LeaveOut => "orders placed before it are not sent (old_orders: leave_out)",
            OldOrders::AsNew => {
                "orders placed before it START THE WORKFLOWS that begin with orders, as the pipeline file asks for (old_orders: \
                 as_new): switch these off for the time"
            }
        };
        let contacts = match self.settings.unknown_consent {
            UnknownConsent::Skip => "imported contacts start none",
            UnknownConsent::Subscribe => {
                "imported contacts start none, those of unknown consent those that begin with subscribeFromApi \
                 (unknown_consent: subscribe)"
            }
        };
        format!("{orders}; {contacts}")
    }

    fn opt_out_reading(&self) -> Option<OptOutReading> {
        Some(OptOutReading { window: ACTIVITY_WINDOW, back: length(self.settings.read_opt_outs_back) })
    }

    async fn opt_outs(&self, from: Timestamp, until: Timestamp, offset: Option<&str>) -> Result<OptOutPage> {
        self.unsubscriptions(from, until, offset).await
    }

    fn scores_delivered(&self) -> bool {
        true
    }

    fn rate(&self) -> Option<Rate> {
        Some(self.rate)
    }

    fn limits(&self) -> Vec<Limit> {
        self.client.options().classes.iter().map(|class| Limit { class: class.name, rate: class.rate }).collect()
    }

    fn keep_to(&self, budget: Arc<dyn Budget>) {
        self.client.keep_to(budget);
    }

    fn keep_class_to(&self, class: &'static str, budget: Arc<dyn Budget>) {
        self.client.keep_class_to(class, budget);
    }

    async fn rest(&self) {
        self.client.rest().await;
    }

    fn calls(&self) -> u64 {
        self.client.calls()
    }

    /// Names of organisations need not be unique, so whose key it is belongs to it.
    async fn tenant(&self) -> Result<Tenant> {
        let info = tenant::where_told(self.read("v1/account/info", &[]).await)?;
        let told = info.and_then(|info| {
            let organisation = calls::text(&info, "organisationName")?;
            Some(match calls::text(&info, "userEmail") {
                Some(user) => format!("{organisation} of {user}"),
                None => organisation,
            })
        });
        Ok(Tenant { told, credential: Credential::Secret(self.settings.api_key.clone()) })
    }

    async fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut say = |what: &str, result: Result<String>| {
            let finding = Finding::of(what, result);
            let ok = finding.ok;
            findings.push(finding);
            ok
        };
        let account = self.read("v1/account/info", &[]).await;
        let account = account.map(|info| calls::text(&info, "organisationName").unwrap_or_else(|| "no name".into()));
        if !say("eSputnik accepts the API key", account) {
            return findings;
        }
        let segments = self.read("v1/groups", &[("startindex", "1".into()), ("maxrows", "1".into())]).await;
        say("contacts and segments can be read", segments.map(|_| "groups answers".to_owned()));
        if !self.settings.field_map.is_empty() {
            // Names of contacts.fields are known to the load alone; here every name may be one.
            let names: Vec<&str> = self.settings.field_map.keys().map(String::as_str).collect();
            let found = self.find_fields(&names).await;
            say("the additional fields are there", found.map(|_| format!("{} mapped", names.len())));
        }
        findings
    }

    fn deliver_settings(&self) -> Value {
        let settings = &self.settings;
        json!({
            "dedupe_on": settings.dedupe_on,
            "field_id": settings.field_id,
            "group_names": settings.group_names,
            "group_names_exclude": settings.group_names_exclude,
            "restore_deleted": settings.restore_deleted,
            "phones": settings.phones,
            "unknown_consent": settings.unknown_consent,
            "orders_via": settings.orders_via,
            "old_orders": settings.old_orders,
            "event_version": settings.event_version,
            "event_key": settings.event_key,
            "time_zone": settings.time_zone,
            "currencies": settings.currencies,
            "default_currency": settings.default_currency,
            "convert_to": settings.convert_to,
            "rates": settings.rates,
            "shipping": settings.shipping,
            "order_id": settings.order_id,
            "prefix_ids": settings.prefix_ids,
            "product_id": settings.product_id,
            "item_url": settings.item_url,
            "item_image_url": settings.item_image_url,
            "carts": settings.carts,
            // Opt-outs there are read from a list, not from cards.
            "check_existing": false,
        })
    }
}
