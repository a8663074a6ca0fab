//! How the emulated account behaves. Every setting can be changed while it runs (`POST /_sandbox/esputnik/settings`).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The key that Basic authentication must give as the password; the user name may be any.
    pub api_key: String,
    /// Whether the key is on; one that is off answers 401.
    pub key_active: bool,
    /// `userEmail` of `account/info`.
    pub user_email: String,
    /// `organisationName` of `account/info`.
    pub organisation: String,
    /// The account's time zone: its activity list has local times without an offset.
    pub zone: String,
    /// How import jobs go on.
    pub jobs: Jobs,
    /// Whether an answer whose list has one element is given as the platform's XML-to-JSON conversion gives it.
    pub collapse: bool,
    /// What an identical request for one contact is answered.
    pub repeat: Repeat,
    /// Limits per second; `None` answers whatever comes. What is used is counted in any case.
    pub limits: Option<Limits>,
    /// Currencies that the account takes.
    pub currencies: Vec<String>,
    /// Additional fields.
    pub fields: Vec<Field>,
    /// Subscription categories: their keys.
    pub subscriptions: Vec<String>,
    /// Static segments that are there from the beginning.
    pub static_groups: Vec<String>,
    /// Segments by conditions, which nobody can be put into.
    pub dynamic_groups: Vec<String>,
    /// Parameters of an event that name its contact, in the account's order; the first one that an event has decides.
    pub contact_params: Vec<String>,
    /// Event types that are validated: names of parameters, and whether they are required.
    pub validated: BTreeMap<String, BTreeMap<String, bool>>,
    /// The largest event, in bytes.
    pub event_bytes: usize,
    /// Whether an item of an order event needs `category`, too, as newer texts say.
    pub items_need_category: bool,
    /// Event types without segmentation, which take no past events.
    pub segmentation_off: Vec<String>,
    /// How many days back a past event may lie.
    pub past_days: i64,
    /// Whether support has turned on the deletion of past events.
    pub past_delete: bool,
    /// Whether orders that were all taken are answered `{"failedOrders": null}` instead of nothing.
    pub null_when_no_order_failed: bool,
    /// How many bodies of orders and events are kept for inspection, the newest ones.
    pub kept_bodies: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api_key: "sandbox-esputnik-key".into(),
            key_active: true,
            user_email: "api-user@shop.example".into(),
            organisation: "Sandbox Shop".into(),
            zone: "Europe/Kyiv".into(),
            jobs: Jobs::default(),
            collapse: true,
            repeat: Repeat::WithinSeconds(60),
            limits: None,
            currencies: ["USD", "EUR", "UAH"].map(str::to_owned).into(),
            fields: Field::usual(),
            subscriptions: vec!["promo".into(), "news".into()],
            static_groups: vec!["Customers".into()],
            dynamic_groups: vec!["Active 90 days".into()],
            contact_params: CONTACT_PARAMS.map(str::to_owned).into(),
            validated: BTreeMap::new(),
            event_bytes: 20_000,
            items_need_category: false,
            segmentation_off: Vec::new(),
            past_days: 3650,
            past_delete: false,
            null_when_no_order_failed: false,
            kept_bodies: 20_000,
        }
    }
}

/// The platform's own order of parameters that name a contact.
const CONTACT_PARAMS: [&str; 13] = [
    "ContactId",
    "Contact_id",
    "externalCustomerId",
    "Email",
    "EmailAddress",
    "UserEmail",
    "ContactEmail",
    "Phone",
    "SMS",
    "PhoneNumber",
    "PushToken",
    "ContactKey",
    "Contact_key",
];

/// How import jobs go on. Progress is counted, never timed, so that what failed once fails always.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// What moves a job on.
    pub counted: Counted,
    /// So many steps a job says STARTED.
    pub started: u32,
    /// So many further steps it says IMPORTING; the next one applies it.
    pub importing: u32,
    /// In which order jobs are applied when several run.
    pub order: JobOrder,
    /// Whether a finished job gives its `mapping`.
    pub mapping: bool,
}

impl Default for Jobs {
    fn default() -> Self {
        Self { counted: Counted::Polls, started: 1, importing: 1, order: JobOrder::Arrival, mapping: true }
    }
}

/// What moves a job on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Each question for the job's own state.
    Polls,
    /// Each later call of any kind.
    Requests,
    /// Only the control endpoint `settle`.
    Nothing,
}

/// In which order jobs are applied when several run: the platform promises none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobOrder {
    /// Each when its turn has come.
    Arrival,
    /// When one's turn has come, all that run, the newest first.
    NewestFirst,
    /// When one's turn has come, all that run, contact by contact in turns.
    Together,
}

/// What an identical request for one contact (add, update, subscribe) is answered: 409 within a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeat {
    /// It is taken again.
    Taken,
    /// 409 within so many seconds of the sandbox's own clock.
    WithinSeconds(i64),
    /// 409 within so many calls.
    WithinCalls(u32),
}

/// Calls per second. One call may count in several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// All methods together, events apart.
    pub all: u32,
    /// Events, all versions together.
    pub events: u32,
    /// Past events.
    pub past_events: u32,
    /// Deletions of past events.
    pub past_deletes: u32,
    /// `GET /v1/contacts`.
    pub contact_search: u32,
    /// Messages of a contact and single letters.
    pub messages: u32,
    /// How a second is counted.
    pub second: Second,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            all: 200,
            events: 350,
            past_events: 100,
            past_deletes: 5,
            contact_search: 50,
            messages: 10,
            second: Second::Any,
        }
    }
}

/// How a second is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Second {
    /// No stretch of one second has more calls than the limit.
    Any,
    /// Windows of one second, one after the other.
    Window,
}

/// An additional field of a contact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: String,
    /// What it takes.
    pub kind: FieldKind,
    /// What a list of choices has.
    #[serde(default)]
    pub values: Vec<String>,
    /// The group that it stands in.
    #[serde(default = "Field::personal")]
    pub group: String,
}

impl Field {
    fn personal() -> String {
        "Personal".into()
    }

    fn new(id: u32, name: &str, kind: FieldKind, values: &[&str]) -> Self {
        Self {
            id,
            name: name.into(),
            key: name.to_uppercase().replace(' ', "_"),
            kind,
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            group: Self::personal(),
        }
    }

    /// What a shop's account usually has.
    fn usual() -> Vec<Self> {
        vec![
            Self::new(15_867, "Birthday", FieldKind::Date, &[]),
            Self::new(15_868, "Gender", FieldKind::Combobox, &["M", "F"]),
            Self::new(15_869, "Company", FieldKind::Textfield, &[]),
            Self::new(15_870, "Country", FieldKind::Textfield, &[]),
            Self::new(15_871, "Registered at", FieldKind::Datetime, &[]),
            Self::new(15_872, "Points", FieldKind::Number, &[]),
            Self::new(15_873, "Spent", FieldKind::Decimal, &[]),
            Self::new(15_874, "Tags", FieldKind::Tags, &[]),
            Self::new(15_875, "Note", FieldKind::Textarea, &[]),
        ]
    }
}

/// What an additional field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// A line of text.
    Textfield,
    /// One of the choices.
    Combobox,
    /// Several of the choices.
    Checkboxlist,
    /// Text of any length.
    Textarea,
    /// A day.
    Date,
    /// A whole number.
    Number,
    /// A day and a time.
    Datetime,
    /// A number.
    Decimal,
    /// Free words.
    Tags,
}
