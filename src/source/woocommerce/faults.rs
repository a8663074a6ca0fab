//! What WooCommerce's errors mean, by status and code: their words are translated into the site's language.

use super::settings::Auth;
use crate::http::Failure;
use crate::{Error, Kind, clock};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) const AUTHENTICATION_ERROR: &str = "woocommerce_rest_authentication_error";
pub(super) const NO_ROUTE: &str = "rest_no_route";

/// An error body (sheet, section 3). The retired API wraps the same in `errors`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Trouble {
    code: Option<String>,
    errors: Option<Box<Trouble>>,
    data: TroubleData,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TroubleData {
    params: BTreeMap<String, Value>,
}

fn trouble(failure: &Failure) -> Option<Trouble> {
    failure.answer()?.json()
}

/// The platform's code: messages are translated into the site's language, codes are not.
pub(super) fn code(failure: &Failure) -> Option<String> {
    let trouble = trouble(failure)?;
    let code = trouble.code.or_else(|| trouble.errors?.code)?;
    // A code is a word, and nothing else of an answer may be printed.
    let is_word = code.len() <= 80 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    is_word.then_some(code)
}

/// A shop takes OAuth signatures this far from its own clock (sheet, section 2).
pub(super) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// Who asked for what: the same code has another cause for another call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// How the call proved who asks.
    pub(super) auth: Auth,
    /// Whether WordPress' own lists (`wp/v2`) were asked, with the application password.
    pub(super) of_wordpress: bool,
    /// Whether base_url is https.
    pub(super) is_encrypted: bool,
}

/// What the shop's clock said when it answered.
fn answered_at(failure: &Failure) -> Option<Timestamp> {
    let date = failure.answer()?.headers.get("date")?.to_str().ok()?;
    httpdate::parse_http_date(date).ok()?.try_into().ok()
}

/// Why a signature may have been refused: the shop's code does not tell a wrong clock from a wrong key.
pub(super) fn refused_signature(theirs: Option<Timestamp>) -> String {
    match theirs.map(|theirs| clock::wall().duration_since(theirs).abs()) {
        Some(apart) if apart >= CLOCK_TOLERANCE => format!(
            "this machine's clock differs from the shop's by {} s, and it takes 15 minutes: set the one that is wrong",
            apart.as_secs()
        ),
        _ => "compare consumer_key and consumer_secret with the shop's and give the key the permission Read; where the shop \
              is behind a proxy that speaks https to it, its signatures are made over https addresses: set `auth: basic`"
            .to_owned(),
    }
}

/// What a failure means here, by status and code (sheet, section 3).
pub(super) fn explained(failure: Failure, asked: Asked) -> Failure {
    let (Some(status), Some(code)) = (failure.status(), code(&failure)) else { return failure };
    if failure.kind() == Kind::Throttled {
        return failure;
    }
    let signature = refused_signature(answered_at(&failure));
    let params = trouble(&failure).map(|trouble| trouble.data.params).unwrap_or_default();
    failure.explained(|error| {
        let detail = format!("{error} ({code})");
        let as_kind = |kind, hint: &str| Error::new(kind, detail.clone()).hint(hint);
        match (status, code.as_str()) {
            (401, AUTHENTICATION_ERROR) => as_kind(
                Kind::Credentials,
                match asked.auth {
                    Auth::Oauth1 => &signature,
                    _ => "compare consumer_secret with the shop's and give the key the permission Read",
                },
            ),
            (401, "woocommerce_rest_authentication_missing_parameter") => as_kind(
                Kind::Credentials,
                "something between here and the shop takes parameters out of the address; try `auth: basic` on https",
            ),
            (401, "woocommerce_rest_cannot_view") => as_kind(
                Kind::Credentials,
                match asked.auth {
                    Auth::Basic => {
                        "the shop does not know consumer_key, or its server drops the Authorization header: compare the \
                         key, then try `auth: query`; behind a proxy that ends TLS only `auth: oauth1` works"
                    }
                    Auth::Query => {
                        "the shop does not know consumer_key, or does not see that it is asked over https: compare the \
                         key, then try `auth: oauth1`"
                    }
                    Auth::Oauth1 => {
                        "the shop took the call for an anonymous one: check base_url (plain permalinks do not work), and \
                         that the key's user still exists"
                    }
                },
            ),
            (401 | 403, "incorrect_password" | "invalid_username" | "invalid_email") => {
                as_kind(Kind::Credentials, "compare wp_user and wp_app_password with the shop's; WordPress takes them over https only")
            }
            (401 | 403, "rest_forbidden_context" | "rest_user_cannot_view" | "rest_forbidden") => as_kind(
                Kind::Permission,
                match (asked.of_wordpress, asked.is_encrypted) {
                    (true, true) => "give wp_user the role Administrator; a security plugin may forbid the list of users, too",
                    (true, false) => "WordPress takes application passwords over https only, and base_url is not https",
                    (false, _) => {
                        "a security plugin at the shop forbids this part of its REST API: allow it there for the key's user"
                    }
                },
            ),
            (403, _) => as_kind(
                Kind::Permission,
                "give the key's user the role Shop manager or Administrator (WooCommerce > Settings > Advanced > REST API)",
            ),
            (400, "rest_invalid_param") => {
                let names: Vec<&str> = params.keys().map(String::as_str).filter(|name| is_name(name)).collect();
                let hint = "the shop's WooCommerce may be too old, or a plugin changes its API";
                Error::new(Kind::Refused, format!("{detail}: {}", names.join(", "))).hint(hint)
            }
            (404, NO_ROUTE) => as_kind(
                Kind::Address,
                "is WooCommerce active there, and are permalinks other than Plain (Settings > Permalinks)? check base_url, \
                 its sub-folder included; where permalinks cannot be changed, add /index.php to it",
            ),
            (404, "woocommerce_api_disabled") => {
                as_kind(Kind::Address, "this is the retired API's address: set base_url to the shop's own")
            }
            // One record that is not there says nothing about the address.
            (404, code) if code.ends_with("_invalid_id") => as_kind(Kind::Refused, "it was deleted meanwhile"),
            (500, _) => as_kind(error.kind(), "the shop's PHP error log says why; the next run continues where this one stopped"),
            _ => match error.hint_text() {
                Some(hint) => as_kind(error.kind(), hint),
                None => Error::new(error.kind(), detail.clone()),
            },
        }
    })
}

fn is_name(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
