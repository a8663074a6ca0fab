//! The pipeline file as typed settings. The doc comments are the reference: `wharf schema` and `wharf init` print them.

pub use super::formats::{Rate, Span, Window};
use crate::{Error, Kind, Result};
use jiff::SignedDuration;
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use url::{Origin, Url};

/// One integration: shops on one side, one marketing or CRM account on the other.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The pipeline's name, unique in the database.
    #[schemars(extend("format" = "name"))]
    pub name: String,
    /// The shops to read.
    #[schemars(length(min = 1))]
    pub sources: Vec<Connection>,
    /// The account to write to.
    pub target: Account,
    /// Which contacts are sent, and with what.
    #[serde(default)]
    pub contacts: Contacts,
    /// Which orders are sent, and how statuses are read.
    #[serde(default)]
    pub orders: Orders,
    /// How fast and when the target is written to.
    #[serde(default)]
    pub load: Load,
    /// Where snapshots go; left out, none are written.
    #[serde(default)]
    pub archive: Option<Archive>,
    /// When `wharf serve` runs this pipeline: a cron line of five fields, in UTC.
    #[schemars(extend("format" = "cron"))]
    #[serde(default)]
    pub schedule: Option<String>,
    /// How old what was read of a shop may be, for example `2h`: `wharf status` marks older streams as STALE and exits with
    /// code 1. Left out, none is.
    #[serde(default)]
    pub fresh_within: Option<Span>,
}

/// One shop.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Connection {
    /// The shop's name, unique in the database; staging and canonical rows carry it. Never change it.
    #[schemars(extend("format" = "name"))]
    pub connection: String,
    /// The platform.
    pub platform: String,
    /// The shop's address, sub-folder included. https unless the host is this machine or `allow_http` is set.
    pub base_url: String,
    /// Allows http to other hosts.
    #[serde(default)]
    pub allow_http: bool,
    /// Further servers to which addresses in the shop's answers may lead (files of an offer feed, say), each as
    /// `https://host` or `https://host:8443`; `http://` and hosts of a private network only if they are written here. Other
    /// servers than these and the shop's own are never asked.
    #[serde(default)]
    pub allowed_servers: Vec<String>,
    /// Country in which phones without a country code are read, where a record names none (ISO 3166-1 alpha-2).
    #[serde(default)]
    #[schemars(extend("format" = "country"))]
    pub default_country: Option<String>,
    /// Most calls per time to the shop, for example `5/s`.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// The first read of the shop is spread evenly over this time, for example `8h`.
    #[serde(default)]
    pub spread: Option<Span>,
    /// The largest share of the time in which the shop may be at work for Wharf, for example `0.25`: after each answer it
    /// is left alone for as long as that takes.
    #[serde(default)]
    #[schemars(range(min = 0.01, max = 1.0))]
    pub max_load: Option<f64>,
    /// Recent records are read again every day this many days back, because shops do not mark every change.
    #[serde(default = "default_reread_days")]
    pub reread_days: u32,
    /// How often the keys of all records are compared, for deletions and for what never landed: `7d`, say.
    #[serde(default = "default_compare_keys_every")]
    pub compare_keys_every: Span,
    /// How often lists that the platform cannot filter are walked whole; `0s` is every run. Left out: once a day where the
    /// newest records can be read first in between (what changed in older ones is then found once a day), else every run.
    #[serde(default)]
    pub full_walk_every: Option<Span>,
    /// The largest share of a stream that may vanish in one run; more stops the run, because a shop answered half or empty.
    #[serde(default = "default_max_deleted_share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_deleted_share: f64,
    /// The platform's own keys, as section 2 of its sheet names them; typed by the platform's settings.
    #[serde(flatten)]
    pub settings: PlatformSettings,
}

impl Connection {
    /// The servers of `allowed_servers`.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] where one is no address; a validated file has none such.
    pub fn servers(&self) -> Result<Vec<Origin>> {
        let origin = |text: &String| {
            Url::parse(text).map(|url| url.origin()).map_err(|error| {
                Error::new(Kind::PipelineFile, "an entry of `allowed_servers` is no address").because(error)
            })
        };
        self.allowed_servers.iter().map(origin).collect()
    }
}

/// One account of a marketing or CRM platform.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Account {
    /// The account's name; pipelines that name the same account share its rate budget and its ledger.
    #[schemars(extend("format" = "name"))]
    pub account: String,
    /// The platform.
    pub platform: String,
    /// The account's address.
    pub base_url: String,
    /// Allows http to other hosts than this machine.
    #[serde(default)]
    pub allow_http: bool,
    /// The platform's own keys; typed by the platform's settings.
    #[serde(flatten)]
    pub settings: PlatformSettings,
}

/// A platform's own keys with variables filled in. Holds secrets, so it never prints.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PlatformSettings(pub BTreeMap<String, Value>);

impl fmt::Debug for PlatformSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl PlatformSettings {
    /// The keys as the platform's own type.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`], naming the key but never its value. A file that was loaded by [`crate::config::load`] has
    /// been checked against the type's schema, so what is left are formats that a schema cannot tell.
    pub fn typed<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let keys = Value::Object(self.0.clone().into_iter().collect());
        serde_path_to_error::deserialize(keys).map_err(|error| {
            let key = error.path().to_string();
            Error::new(Kind::PipelineFile, format!("the platform setting `{key}` is not as it should be"))
                .hint("`wharf check PIPELINE --offline` names each mistake with its line")
        })
    }
}

/// Which contacts are sent, and with what.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Contacts {
    /// Who is sent: only those who agreed, or everybody with their status.
    pub consent: ConsentChoice,
    /// Only contacts created on or after this day (UTC).
    pub created_after: Option<Date>,
    /// Only contacts created before this day (UTC).
    pub created_before: Option<Date>,
    /// Which tags contacts carry.
    pub tags: Tags,
    /// Further properties by name: SQL expressions over the contact's row (`c`, columns may stand alone) and its RFM row
    /// (`rfm`), evaluated read-only.
    pub fields: BTreeMap<String, String>,
    /// What becomes, at the target, of contacts that no shop has any more.
    pub deleted: DeletedContacts,
}

/// Who is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsentChoice {
    /// Only contacts whose e-mail consent is `opt_in`; one that was sent and opts out later is sent as opted out.
    #[default]
    OptInOnly,
    /// Everybody, each with the status known; unknown never becomes opt-in.
    All,
}

/// What becomes, at the target, of contacts that no shop has any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeletedContacts {
    /// The tags that Wharf set are removed; the card stays.
    #[default]
    Untag,
    /// Nothing is sent.
    Keep,
    /// The tags are removed and e-mail and SMS consent are withdrawn.
    OptOut,
}

/// Which tags contacts carry.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tags {
    /// Tag of contacts with an account; null for none.
    pub registered: Option<String>,
    /// Tag of newsletter subscribers without an account; null for none.
    pub newsletter: Option<String>,
    /// Whether buyers get a tag per level of the categories they bought in.
    pub categories: bool,
    /// Tags that every contact of this pipeline gets.
    pub always: Vec<String>,
}

impl Default for Tags {
    fn default() -> Self {
        Self {
            registered: Some("rejestracja".into()),
            newsletter: Some("newsletter".into()),
            categories: true,
            always: Vec::new(),
        }
    }
}

/// Which orders are sent, and how statuses are read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Orders {
    /// Overrides of the platform's own status map: the shop's status on the left.
    pub statuses: BTreeMap<String, OrderStatus>,
    /// Only orders placed on or after this day (UTC).
    pub placed_after: Option<Date>,
    /// Only orders placed before this day (UTC).
    pub placed_before: Option<Date>,
    /// Orders of contacts that `contacts.consent` leaves out.
    pub without_consent: OrdersWithoutConsent,
}

/// The canonical order statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Placed, not yet worked on.
    Initialized,
    /// Being worked on.
    InProgress,
    /// Finished.
    Delivered,
    /// Cancelled, failed or sent back.
    Cancelled,
    /// Never placed.
    AbandonedShoppingCart,
}

/// Orders of contacts that `contacts.consent` leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrdersWithoutConsent {
    /// Not sent.
    #[default]
    Skip,
    /// Sent; the contact is created without any consent.
    Send,
}

/// How fast and when the target is written to.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Most calls per time to the account, for example `10/s`; of several pipelines that name it, the lowest holds for all.
    pub rate: Option<Rate>,
    /// Most calls to the account in a day (UTC), where it has such a quota; what is left waits for the next day.
    #[schemars(range(min = 1))]
    pub calls_per_day: Option<u32>,
    /// A first load is spread evenly over this time, for example `8h`.
    pub spread: Option<Span>,
    /// Only within these hours: `22:00-06:00 Europe/Warsaw`.
    pub window: Option<Window>,
    /// Most calls in flight at once; as many as the platform takes if left out.
    #[schemars(range(min = 1, max = 64))]
    pub parallel: Option<u32>,
    /// The largest share of records that the target may refuse (of fifty and more); beyond it the load stops and leaves the
    /// rest pending. A fifth if left out.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_reject_share: Option<f64>,
    /// After a call whose answer was lost: how long its work may take to show at the account before what is not there is
    /// sent again, for example `5m`; one minute if left out.
    pub grace: Option<Span>,
    /// What a load may change at most of what the account holds already.
    #[serde(default)]
    pub guard: LoadGuard,
}

/// How many of the contacts that the account holds already one load may change. What exceeds that is held back, and nothing
/// else, because a shop that was read half, or a slip in this file, looks just like that; `--allow-mass-change` lets it through.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoadGuard {
    /// The largest share of the account's contacts that may lose tags (without gaining one: a renamed category takes nothing
    /// away), values of fields or consent, or be given up, in one load; each counted by itself.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_removed_share: f64,
    /// The largest share of the account's contacts that may change in any way in one load.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_changed_share: f64,
    /// Fewer contacts than this are never too many.
    pub at_least: u64,
}

impl Default for LoadGuard {
    fn default() -> Self {
        Self { max_removed_share: 0.1, max_changed_share: 0.5, at_least: 100 }
    }
}

/// Where snapshots go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// A folder (relative to this file) or the URL of an object store.
    #[schemars(length(min = 1))]
    pub to: String,
    /// How often.
    #[serde(default)]
    pub every: ArchiveEvery,
    /// Which instants can be restored later on; what none of these wants goes after each run that wrote a snapshot. Left
    /// out: all of them.
    #[serde(default)]
    pub keep: Option<ArchiveKeep>,
}

/// Which instants of the archive are kept, besides the current one. An instant that any of these wants is kept; the
/// history of changes always is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveKeep {
    /// So many of the latest.
    pub last: u32,
    /// The last one of a day (UTC), for so many days that have one.
    pub daily: u32,
    /// The last one of a month, for so many months that have one.
    pub monthly: u32,
}

/// How often snapshots are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveEvery {
    /// At the end of every run that changed anything.
    Run,
    /// At the end of the first run of a day (UTC).
    #[default]
    Day,
}

fn default_reread_days() -> u32 {
    30
}

fn default_compare_keys_every() -> Span {
    Span(SignedDuration::from_hours(24 * 7))
}

fn default_max_deleted_share() -> f64 {
    0.5
}
