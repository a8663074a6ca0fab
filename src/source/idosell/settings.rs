//! IdoSell's own keys in a pipeline file (sheet, section 2), and what is wrong with values that no schema can tell.

use crate::config::formats::Secret;
use crate::config::pipeline::PlatformSettings;
use crate::source::registry::Remark;
use crate::{Error, Kind, Result};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

/// IdoSell's own keys.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The key of the Admin API, as the panel shows it.
    #[serde(default)]
    #[schemars(with = "Option<Secret>")]
    pub api_key: Option<SecretString>,
    /// Instead of a key: the access token of an application, sent as `Authorization: Bearer`. It lives for an hour.
    #[serde(default)]
    #[schemars(with = "Option<Secret>")]
    pub access_token: Option<SecretString>,
    /// The version in the path: 6, or 5, 7, 8.
    #[serde(default = "six")]
    #[schemars(range(min = 5, max = 99))]
    pub api_version: u32,
    /// Which shop of the panel counts for consent, menu and links: its number, or `all`.
    #[serde(default)]
    pub shop_id: ShopId,
    /// With `shop_id: all`: the numbers of the panel's shops, for keys that may not read them (SYSTEM).
    #[serde(default)]
    pub shops: Vec<u32>,
    /// The menu that gives the categories.
    #[serde(default = "one")]
    pub menu_id: u32,
    /// The language of names (ISO 639-3).
    #[serde(default = "polish")]
    pub lang_id: String,
    /// The currency of product prices, where the shop does not say (ISO 4217).
    #[serde(default = "zloty")]
    pub currency: String,
    /// The zone of the shop's times, which name none.
    #[serde(default = "warsaw")]
    #[schemars(extend("format" = "time-zone"))]
    pub time_zone: String,
    /// Who is sent is said by `contacts.consent` of the pipeline: `consented` is `opt_in_only` there, `all` is `all`.
    #[serde(default)]
    pub contact_scope: Option<ContactScope>,
    /// The address of the offer feed's gateway.xml: prices, pages and pictures of products come from there.
    #[serde(default)]
    #[schemars(with = "Option<Secret>")]
    pub iof_url: Option<SecretString>,
    /// Which prices of the feed count: those of `full` (as customers see them), or of `light` (with the rebate of whoever the
    /// feed was made for).
    #[serde(default)]
    pub iof_prices: FeedPrices,
    /// The first day of orders and returns that are read.
    #[serde(default = "millennium")]
    pub history_from: Date,
    /// Kinds of orders to ask for one by one; left out, the shop is asked without saying which.
    #[serde(default)]
    pub order_types: Vec<OrderType>,
    /// Whether orders that were begun and never placed are read as abandoned carts.
    #[serde(default = "yes")]
    pub unfinished_orders: bool,
    /// Whether buyers from marketplaces, whose addresses are relays, become contacts that can be written to.
    #[serde(default)]
    pub marketplace: Marketplace,
    /// Ends of relay addresses, besides those of the best known marketplaces.
    #[serde(default)]
    pub relay_domains: Vec<String>,
    /// What becomes of an order whose status nobody has explained.
    #[serde(default)]
    pub unknown_status: UnknownStatus,
    /// After how many calls the shop is asked how busy its server is; 0 for never. While it is overloaded, Wharf waits.
    #[serde(default = "fifty")]
    pub load_check_every: u32,
    /// How long Wharf waits before it asks an overloaded server again.
    #[serde(default)]
    pub load_pause: Option<crate::config::pipeline::Span>,
    /// Records per page, 1 to 100.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 100))]
    pub per_page: u32,
    /// Whether the shop's certificate is checked. Turn it off only for a test shop.
    #[serde(default = "yes")]
    pub verify_tls: bool,
}

/// Which shop of a panel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(untagged)]
pub enum ShopId {
    /// This one.
    One(u32),
    /// All of them: whoever agreed in one has agreed.
    All(All),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum All {
    /// All shops of the panel.
    All,
}

impl Default for ShopId {
    fn default() -> Self {
        ShopId::One(1)
    }
}

impl<'de> Deserialize<'de> for ShopId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || serde::de::Error::custom("is neither the number of a shop nor `all`");
        match Value::deserialize(deserializer)? {
            Value::Number(number) => {
                number.as_u64().and_then(|number| u32::try_from(number).ok()).map(ShopId::One).ok_or_else(wrong)
            }
            // From a variable, a number is text.
            Value::String(text) if text == "all" => Ok(ShopId::All(All::All)),
            Value::String(text) => text.parse().map(ShopId::One).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// Who is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContactScope {
    /// Only people who agreed.
    Consented,
    /// Everybody.
    All,
}

/// Which prices of the feed count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FeedPrices {
    /// As customers see them.
    #[default]
    Full,
    /// With the rebate of whoever the feed was made for.
    Light,
}

/// Kinds of orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderType {
    /// Retail.
    Retail,
    /// Wholesale.
    Wholesale,
    /// Dropshipping.
    Dropshipping,
    /// To a supplier.
    Deliverer,
}

impl OrderType {
    /// The platform's word.
    pub fn as_str(self) -> &'static str {
        match self {
            OrderType::Retail => "retail",
            OrderType::Wholesale => "wholesale",
            OrderType::Dropshipping => "dropshipping",
            OrderType::Deliverer => "deliverer",
        }
    }
}

/// What becomes of buyers from marketplaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Marketplace {
    /// Their orders are kept; they themselves are nobody who can be written to.
    #[default]
    Exclude,
    /// They are contacts like others.
    Include,
}

/// What becomes of an order whose status nobody has explained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownStatus {
    /// It keeps the last status known, INITIALIZED if there was none, and is reported.
    #[default]
    Keep,
    /// It is held until the pipeline file says what its status means, and is reported.
    Hold,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn six() -> u32 {
    6
}

fn fifty() -> u32 {
    50
}

fn hundred() -> u32 {
    100
}

fn polish() -> String {
    "pol".into()
}

fn zloty() -> String {
    "PLN".into()
}

fn warsaw() -> String {
    "Europe/Warsaw".into()
}

/// The platform is not older.
fn millennium() -> Date {
    jiff::civil::date(2000, 1, 1)
}

impl Settings {
    /// The zone of the shop's times.
    ///
    /// # Errors
    /// [`Kind::PipelineFile`] for a zone that does not exist.
    pub fn zone(&self) -> Result<TimeZone> {
        TimeZone::get(&self.time_zone).map_err(|_| {
            Error::new(Kind::PipelineFile, "`time_zone` is no time zone").hint("write for example Europe/Warsaw")
        })
    }
}

/// What a schema cannot tell.
pub fn inspect(settings: &PlatformSettings) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let given = |key: &str| settings.0.contains_key(key);
    if !given("api_key") && !given("access_token") {
        remarks.push(Remark {
            key: "api_key",
            warning: false,
            message: "`api_key` is missing".into(),
            hint: Some("the panel makes it: Administracja > API > Klucze dostępowe do Admin API".into()),
        });
    }
    if given("contact_scope") {
        remarks.push(Remark {
            key: "contact_scope",
            warning: true,
            message: "`contact_scope` changes nothing here".into(),
            hint: Some(
                "write `contacts: {consent: opt_in_only}` for `consented`, `contacts: {consent: all}` for `all`".into(),
            ),
        });
    }
    let all_of_unknown = settings.0.get("shops").and_then(Value::as_array).is_some_and(|shops| !shops.is_empty())
        && settings.0.get("shop_id").and_then(Value::as_str) != Some("all");
    if all_of_unknown {
        remarks.push(Remark {
            key: "shops",
            warning: true,
            message: "`shops` counts only with `shop_id: all`".into(),
            hint: None,
        });
    }
    remarks
}

/// The shop's address out of what people paste: scheme, host, port, and a folder that is not the API's.
///
/// # Errors
/// [`Kind::PipelineFile`] for what is no address.
pub fn shop_address(pasted: &str) -> Result<Url> {
    let wrong =
        || Error::new(Kind::PipelineFile, "`base_url` is no address").hint("write https:// and the shop's host");
    let mut url = Url::parse(pasted.trim()).map_err(|_| wrong())?;
    if url.host_str().is_none() || url.cannot_be_a_base() {
        return Err(wrong());
    }
    let folders: Vec<&str> = url.path().split('/').filter(|folder| !folder.is_empty()).collect();
    // Panels are opened under /panel, APIs lie under /api; shops lie at the root or, behind a proxy, in a folder.
    let kept = folders.iter().take_while(|folder| !matches!(**folder, "api" | "panel" | "admin")).copied();
    let path: String = kept.map(|folder| format!("/{folder}")).collect();
    url.set_path(&format!("{path}/"));
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(keys: Value) -> Result<Settings> {
        let Value::Object(keys) = keys else { unreachable!() };
        PlatformSettings(keys.into_iter().collect()).typed()
    }

    #[test]
    fn what_people_paste_becomes_the_shops_address() {
        for (pasted, address) in [
            ("https://sklep.example", "https://sklep.example/"),
            ("https://sklep.example///", "https://sklep.example/"),
            ("https://client1234.idosell.com/api/admin/v6/", "https://client1234.idosell.com/"),
            ("https://client1234.idosell.com/api/admin/v6/orders/orders?x=1#y", "https://client1234.idosell.com/"),
            ("https://client1234.iai-shop.com/panel/api.php", "https://client1234.iai-shop.com/"),
            (" http://127.0.0.1:8080/proxy/api/ ", "http://127.0.0.1:8080/proxy/"),
        ] {
            assert_eq!(shop_address(pasted).unwrap().as_str(), address);
        }
        for wrong in ["", "sklep.example", "mailto:a@b.example"] {
            assert_eq!(shop_address(wrong).unwrap_err().kind(), Kind::PipelineFile, "{wrong}");
        }
    }

    #[test]
    fn a_shop_is_a_number_or_all() {
        let shop = |value: Value| settings(json!({"api_key": "k", "shop_id": value})).map(|settings| settings.shop_id);
        assert_eq!(shop(json!(3)).unwrap(), ShopId::One(3));
        assert_eq!(shop(json!("3")).unwrap(), ShopId::One(3));
        assert_eq!(shop(json!("all")).unwrap(), ShopId::All(All::All));
        for wrong in [json!("every"), json!(-1), json!(1.5), json!([1])] {
            assert!(shop(wrong.clone()).is_err(), "{wrong}");
        }
        assert_eq!(settings(json!({"api_key": "k"})).unwrap().shop_id, ShopId::One(1));
    }

    #[test]
    fn a_key_is_asked_for_and_a_scope_is_said_elsewhere() {
        let remarks = |keys: Value| {
            let Value::Object(keys) = keys else { unreachable!() };
            let found = inspect(&PlatformSettings(keys.into_iter().collect()));
            found.into_iter().map(|remark| (remark.key, remark.warning)).collect::<Vec<_>>()
        };
        assert_eq!(remarks(json!({})), [("api_key", false)]);
        assert_eq!(remarks(json!({"access_token": "t"})), []);
        assert_eq!(remarks(json!({"api_key": "k", "contact_scope": "all"})), [("contact_scope", true)]);
        assert_eq!(remarks(json!({"api_key": "k", "shops": [1, 2]})), [("shops", true)]);
        assert_eq!(remarks(json!({"api_key": "k", "shops": [1, 2], "shop_id": "all"})), []);
    }
}
