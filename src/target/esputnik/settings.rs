//! The keys of an eSputnik account in a pipeline file (sheet, section 2), and what is wrong with them.

use crate::config::formats::Secret;
use crate::config::pipeline::{PlatformSettings, Span};
use crate::source::registry::Remark;
use jiff::SignedDuration;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// eSputnik's own keys.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The account's API key, with full access.
    #[schemars(with = "Secret")]
    pub api_key: SecretString,
    /// By what eSputnik recognises a contact. Contacts that have no such value are recognised by their e-mail, else by their
    /// phone.
    #[serde(default)]
    pub dedupe_on: DedupeOn,
    /// The additional field that contacts are recognised by; only with `dedupe_on: fieldId`.
    #[serde(default)]
    pub field_id: Option<i64>,
    /// Segments that every contact is added to, by name; those for accounts and for subscribers are `contacts.tags`.
    #[serde(default)]
    pub group_names: Vec<String>,
    /// Segments that every contact is taken out of, by name.
    #[serde(default)]
    pub group_names_exclude: Vec<String>,
    /// Additional fields by what goes into them: `company`, `birthday`, `country`, `registered_at`, `consent_at` or a name of
    /// `contacts.fields` on the left, the field's id or its name at eSputnik on the right. Names of `contacts.fields` that
    /// are left out here are looked for under their own name.
    #[serde(default)]
    pub field_map: BTreeMap<String, FieldName>,
    /// Whether contacts that were deleted at eSputnik come back.
    #[serde(default)]
    pub restore_deleted: bool,
    /// Which phones go along: those whose owner has not objected to text messages, or only those whose owner agreed.
    #[serde(default)]
    pub phones: Phones,
    /// What becomes of people of whom it is not known whether they agreed, where `contacts.consent` or
    /// `orders.without_consent` let them through: left out, or created unconfirmed, which asks them.
    #[serde(default)]
    pub unknown_consent: UnknownConsent,
    /// How far back unsubscriptions made at eSputnik are read the first time.
    #[serde(default = "two_years")]
    pub read_opt_outs_back: Span,
    /// How orders are sent.
    #[serde(default)]
    pub orders_via: OrdersVia,
    /// What becomes of orders that were placed before the first load.
    #[serde(default)]
    pub old_orders: OldOrders,
    /// Which version of the events API is used.
    #[serde(default)]
    pub event_version: EventVersion,
    /// What an event is known by: whose it is, or the order.
    #[serde(default)]
    pub event_key: EventKey,
    /// The account's time zone: dates of events have no offset and are read in it.
    #[serde(default = "kyiv")]
    #[schemars(extend("format" = "time-zone"))]
    pub time_zone: String,
    /// The currencies that the account takes.
    #[serde(default = "currencies")]
    pub currencies: Vec<String>,
    /// The currency of orders that name none.
    #[serde(default)]
    pub default_currency: Option<String>,
    /// What orders in other currencies are converted to; one of `currencies`.
    #[serde(default)]
    pub convert_to: Option<String>,
    /// How much of `convert_to` one unit of another currency is: `{PLN: 10.45}`. Orders in currencies without a rate are
    /// rejected.
    #[serde(default)]
    pub rates: BTreeMap<String, f64>,
    /// How shipping counts: beside the items, so that items and shipping add up to the total; as an item of its own; or
    /// within the prices of the items, which then add up to the total alone.
    #[serde(default)]
    pub shipping: Shipping,
    /// What an order is known by at eSputnik: its number, or the shop's key of it.
    #[serde(default)]
    pub order_id: OrderId,
    /// Whether ids of customers and orders carry the connection's name, because several shops feed the account. Left out:
    /// where this pipeline has several.
    #[serde(default)]
    pub prefix_ids: Option<bool>,
    /// Which of a product's names items carry; it must equal the ids of the product feed.
    #[serde(default)]
    pub product_id: ProductId,
    /// Page of items whose product has none (deleted, for example); left out, such orders are rejected.
    #[serde(default)]
    pub item_url: Option<String>,
    /// Picture of items whose product has none; left out, such orders are rejected.
    #[serde(default)]
    pub item_image_url: Option<String>,
    /// Whether abandoned carts are sent; not where eSputnik's own web tracking does it.
    #[serde(default)]
    pub carts: bool,
    /// Contacts per call. eSputnik takes 3000; fewer finish sooner.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 3000))]
    pub contact_batch: usize,
    /// Orders per call, at most 1000.
    #[serde(default = "five_hundred")]
    #[schemars(range(min = 1, max = 1000))]
    pub order_batch: usize,
    /// Imports that may be at work there at once.
    #[serde(default = "eight")]
    #[schemars(range(min = 1, max = 64))]
    pub jobs: usize,
    /// The first pause before an import is asked for; it doubles up to `job_poll_max`.
    #[serde(default = "five_seconds")]
    pub job_poll: Span,
    /// The longest pause.
    #[serde(default = "a_minute")]
    pub job_poll_max: Span,
    /// How long after its call an import that goes on is left alone: its contacts wait, all else goes on, and each run asks
    /// for it once more.
    #[serde(default = "half_an_hour")]
    pub job_timeout: Span,
    /// How long after its call an import that has not ended counts as lost, and its contacts are sent again.
    #[serde(default = "six_hours")]
    pub job_lost_after: Span,
    /// How long an import is taken to go on whose answer was lost, before its contacts are sent again.
    #[serde(default = "ten_minutes")]
    pub job_grace: Span,
}

/// By what eSputnik recognises a contact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DedupeOn {
    /// The shop's id of the customer.
    #[default]
    #[serde(rename = "externalCustomerId")]
    ExternalCustomerId,
    /// The e-mail address.
    #[serde(rename = "email")]
    Email,
    /// The phone.
    #[serde(rename = "sms")]
    Sms,
    /// Either; may join two people who share a phone.
    #[serde(rename = "email_or_sms")]
    EmailOrSms,
    /// An additional field.
    #[serde(rename = "fieldId")]
    FieldId,
}

/// An additional field, by id or by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldName {
    /// Its id.
    Id(i64),
    /// Its name, or its key, at eSputnik.
    Name(String),
}

impl JsonSchema for FieldName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FieldName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Either type will do, so none is named.
        schemars::json_schema!({ "description": "The id of an additional field, or its name" })
    }
}

/// Which phones go along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phones {
    /// All but those whose owner opted out of text messages.
    #[default]
    UnlessOptedOut,
    /// Those whose owner opted in to text messages.
    OptedIn,
}

/// What becomes of people of whom it is not known whether they agreed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownConsent {
    /// Left out: an import would make them confirmed.
    #[default]
    Skip,
    /// Created unconfirmed, by the call for subscription forms; eSputnik asks them if its workflow does.
    Subscribe,
}

/// How orders are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrdersVia {
    /// By Add orders.
    #[default]
    Orders,
    /// By events.
    Events,
    /// By Add orders first, then by events.
    Both,
}

/// What becomes of orders that were placed before the first load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OldOrders {
    /// They go as past events, which start no workflow.
    #[default]
    PastEvents,
    /// They are not sent.
    LeaveOut,
    /// They go as new orders do, which starts the workflows that begin with orders: switch these off for the first load.
    AsNew,
}

/// Which version of the events API is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventVersion {
    /// Nested values as escaped text.
    V1,
    /// Nested values as they are.
    #[default]
    V2,
    /// The same under a newer address.
    V3,
}

impl EventVersion {
    /// As the address says it.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::V1 => "v1/event",
            Self::V2 => "v2/event",
            Self::V3 => "v3/event",
        }
    }

    /// Past events have two versions.
    pub(super) fn past_path(self) -> &'static str {
        match self {
            Self::V1 => "v1/past_events",
            Self::V2 | Self::V3 => "v2/past_events",
        }
    }
}

/// What an event is known by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKey {
    /// The customer's id, else the e-mail, else the phone.
    #[default]
    Contact,
    /// The order's id, as Add orders does it.
    Order,
}

/// How shipping counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shipping {
    /// Items and shipping add up to the total.
    #[default]
    Beside,
    /// As an item of its own.
    AsItem,
    /// Within the prices of the items.
    InItems,
}

/// What an order is known by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderId {
    /// Its number; where it has none, the shop's key.
    #[default]
    Number,
    /// The shop's key.
    Key,
}

/// Which of a product's names items carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProductId {
    /// The stock keeping unit; where a product has none, the shop's own key.
    #[default]
    Sku,
    /// The shop's own key.
    ProductKey,
}

fn two_years() -> Span {
    Span(SignedDuration::from_hours(24 * 730))
}

fn kyiv() -> String {
    "Europe/Kyiv".to_owned()
}

fn currencies() -> Vec<String> {
    ["USD", "EUR", "UAH"].map(str::to_owned).to_vec()
}

fn thousand() -> usize {
    1000
}

fn five_hundred() -> usize {
    500
}

fn eight() -> usize {
    8
}

fn five_seconds() -> Span {
    Span(SignedDuration::from_secs(5))
}

fn a_minute() -> Span {
    Span(SignedDuration::from_mins(1))
}

fn six_hours() -> Span {
    Span(SignedDuration::from_hours(6))
}

fn half_an_hour() -> Span {
    Span(SignedDuration::from_mins(30))
}

fn ten_minutes() -> Span {
    Span(SignedDuration::from_mins(10))
}

/// Finds what a schema cannot tell.
pub(super) fn inspect(settings: &PlatformSettings) -> Vec<Remark> {
    let get = |key: &str| settings.0.get(key);
    let mut remarks = Vec::new();
    let mut mistake = |key, message: &str, hint: &str| {
        remarks.push(Remark { key, warning: false, message: message.into(), hint: Some(hint.into()) });
    };
    let by_field = get("dedupe_on").and_then(Value::as_str) == Some("fieldId");
    if by_field != get("field_id").is_some_and(|id| !id.is_null()) {
        mistake(
            "field_id",
            "`field_id` and `dedupe_on: fieldId` belong together",
            "write both, or leave both out; the id stands beside the field in Settings > Additional fields",
        );
    }
    let texts = |key: &str| -> Vec<String> {
        let list = get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let taken = if get("currencies").is_some() { texts("currencies") } else { currencies() };
    for key in ["default_currency", "convert_to"] {
        let named = get(key).and_then(Value::as_str);
        let is_known = |code: &str| {
            taken.iter().any(|taken| taken == code)
                || (key == "default_currency" && get("rates").is_some_and(|rates| rates.get(code).is_some()))
        };
        if named.is_some_and(|code| !is_known(code)) {
            let message = format!("`{key}` is no currency that the account takes");
            mistake(key, &message, "write one of `currencies`: USD, EUR or UAH if that is left out");
        }
    }
    let rates = get("rates").and_then(Value::as_object);
    if rates.is_some_and(|rates| !rates.is_empty()) && get("convert_to").is_none_or(Value::is_null) {
        mistake("rates", "`rates` do not say what is converted to", "write `convert_to: UAH` beside them");
    }
    if rates.is_some_and(|rates| rates.values().any(|rate| rate.as_f64().is_none_or(|rate| rate <= 0.0))) {
        mistake("rates", "a rate is no number above zero", "write how much of `convert_to` one unit is worth");
    }
    let zero = |key: &str| {
        get(key).and_then(Value::as_str).and_then(|text| text.parse::<Span>().ok()).is_some_and(|span| span.0.is_zero())
    };
    if zero("job_poll") {
        mistake("job_poll", "`job_poll` is no time at all", "leave it out for 5s");
    }
    remarks
}
