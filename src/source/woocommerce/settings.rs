//! The keys of a pipeline file that are WooCommerce's own.

use crate::config::formats::Secret;
use crate::config::pipeline::PlatformSettings;
use crate::source::registry::Remark;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// WooCommerce's own keys (sheet, section 2).
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The key, `ck_` and 40 hexadecimal digits.
    #[schemars(with = "Secret")]
    pub consumer_key: SecretString,
    /// Its secret, `cs_` and 40 hexadecimal digits.
    #[schemars(with = "Secret")]
    pub consumer_secret: SecretString,
    /// How the key is shown to the shop; left out: `basic` on https, `oauth1` on http.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// Whether the shop's certificate is checked. Turn it off only for a test shop.
    #[serde(default = "yes")]
    pub verify_tls: bool,
    /// A WordPress user, needed only to read newsletter subscribers who have no customer account.
    #[serde(default)]
    pub wp_user: Option<String>,
    /// An application password of that user (Users > Profile > Application Passwords).
    #[serde(default)]
    #[schemars(with = "Option<Secret>")]
    pub wp_app_password: Option<SecretString>,
    /// The meta keys in which the shop's plugins keep marketing consent. Without any, consent is unknown.
    #[serde(default)]
    pub consent_meta_keys: Vec<ConsentMetaKey>,
    /// Which users are customers: a WordPress role, or `all`.
    #[serde(default = "all")]
    pub role: String,
    /// The WordPress roles that mean a newsletter subscription without an account; left out: `subscriber` where `wp_user`
    /// is set, else none.
    #[serde(default)]
    pub newsletter_roles: Option<Vec<String>>,
    /// The meta key that holds the birthday.
    #[serde(default)]
    pub birthday_meta_key: Option<String>,
    /// Records per page, 1 to 100; fewer where the shop's server is weak.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 100))]
    pub per_page: u32,
}

/// How the key is shown to the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// HTTP Basic; https only.
    Basic,
    /// In the query string, for servers that drop the Authorization header; https only.
    Query,
    /// OAuth 1.0a signatures, on http and https.
    Oauth1,
}

/// A meta key that holds consent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentMetaKey {
    /// The meta key, on customers or orders.
    pub key: String,
    /// What the consent is for.
    #[serde(default)]
    pub channel: Channel,
    /// Values that mean consent, whatever their case.
    #[serde(default = "accepted")]
    pub accepted: Vec<String>,
    /// Values that mean refusal, whatever their case. Any other value says nothing.
    #[serde(default = "refused")]
    pub refused: Vec<String>,
    /// The meta key that holds the moment of the statement.
    #[serde(default)]
    pub date_key: Option<String>,
}

/// What a consent is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    #[default]
    Email,
    /// Text messages.
    Sms,
}

fn yes() -> bool {
    true
}

fn all() -> String {
    "all".into()
}

fn hundred() -> u32 {
    100
}

fn accepted() -> Vec<String> {
    ["yes", "1", "true", "on", "subscribed"].map(String::from).into()
}

fn refused() -> Vec<String> {
    ["no", "0", "false", "off", "unsubscribed"].map(String::from).into()
}

/// A key of another form is most likely a key of something else.
pub(super) fn inspect(settings: &PlatformSettings) -> Vec<Remark> {
    let looks_right = |key: &str, prefix: &str| {
        let digits = settings.0.get(key).and_then(Value::as_str).and_then(|value| value.strip_prefix(prefix));
        digits.is_some_and(|digits| digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    [("consumer_key", "ck_"), ("consumer_secret", "cs_")]
        .into_iter()
        .filter(|(key, prefix)| settings.0.contains_key(*key) && !looks_right(key, prefix))
        .map(|(key, prefix)| Remark {
            key,
            warning: true,
            message: format!("`{key}` does not look like one of WooCommerce's"),
            hint: Some(format!("they are `{prefix}` and 40 hexadecimal digits")),
        })
        .collect()
}
