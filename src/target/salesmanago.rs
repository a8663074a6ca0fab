//! SALESmanago.

use super::Target;
use super::registry::TargetPlatform;
use crate::config::formats::Secret;
use crate::config::pipeline::{Account, Load, PlatformSettings};
use crate::source::registry::Remark;
use crate::{Error, Kind, Result};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The registry's row.
pub const PLATFORM: TargetPlatform = TargetPlatform {
    name: "salesmanago",
    title: "SALESmanago",
    about: "marketing automation, also sold as Manago AI, written through its API v2",
    credentials: "in SALESmanago: Settings > Integration > API v2 shows client id and API secret; the address is the one \
                  the panel is opened under, such as https://app2.salesmanago.com",
    schema: || schemars::schema_for!(Settings),
    example: include_str!("salesmanago.example.yaml"),
    inspect,
    build,
};

/// SALESmanago's own keys (sheet, section 2).
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The account's client id.
    #[schemars(length(min = 1))]
    pub client_id: String,
    /// Any text of your own choice; keep it stable.
    #[schemars(with = "Secret")]
    pub api_key: SecretString,
    /// The account's API secret; it is never sent.
    #[schemars(with = "Secret")]
    pub api_secret: SecretString,
    /// E-mail address of the SALESmanago user who owns the contacts; must exist there.
    #[schemars(length(min = 1))]
    pub owner: String,
    /// The shop's constant on events; equal to the location of its product feed: a-z 0-9 / _ - . and at most 36 of them.
    #[serde(default)]
    pub location: Option<String>,
    /// The shop's domain on events.
    #[serde(default)]
    pub shop_domain: Option<String>,
    /// Language of contacts whose own is not known, for example `PL`.
    #[serde(default)]
    pub lang: Option<String>,
    /// Time zone in which dates without time are meant; UTC if left out.
    #[serde(default)]
    #[schemars(extend("format" = "time-zone"))]
    pub timezone: Option<String>,
    /// Whether a first load looks up which contacts exist already, so that their consent is left alone.
    #[serde(default = "yes")]
    pub check_existing: bool,
}

fn yes() -> bool {
    true
}

fn inspect(settings: &PlatformSettings) -> Vec<Remark> {
    let text = |key: &str| settings.0.get(key).and_then(Value::as_str);
    let mut remarks = Vec::new();
    if text("owner").is_some_and(|owner| !owner.contains('@')) {
        remarks.push(Remark {
            key: "owner",
            warning: false,
            message: "`owner` is no e-mail address".into(),
            hint: Some("write the e-mail address of a SALESmanago user, the one who owns the contacts".into()),
        });
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/_-.".contains(&byte);
    if text("location").is_some_and(|location| location.len() > 36 || !location.bytes().all(allowed)) {
        remarks.push(Remark {
            key: "location",
            warning: false,
            message: "`location` is not one that SALESmanago takes".into(),
            hint: Some("at most 36 of a-z 0-9 / _ - . and no blanks".into()),
        });
    }
    remarks
}

fn build(account: &Account, _load: &Load) -> Result<Arc<dyn Target>> {
    let _settings: Settings = account.settings.typed()?;
    Err(Error::new(Kind::Internal, "the SALESmanago target is not part of this build"))
}
