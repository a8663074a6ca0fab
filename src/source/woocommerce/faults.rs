//! What WooCommerce's errors mean, by status and code: their words are translated into the site's language.

use super::settings::Auth;
use crate::http::Failure;
use crate::{Error, Kind};
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

/// What a failure means here, by status and code (sheet, section 3).
pub(super) fn explained(failure: Failure, auth: Auth) -> Failure {
    let (Some(status), Some(code)) = (failure.status(), code(&failure)) else { return failure };
    if failure.kind() == Kind::Throttled {
        return failure;
    }
    let params = trouble(&failure).map(|trouble| trouble.data.params).unwrap_or_default();
    failure.explained(|error| {
        let detail = format!("{error} ({code})");
        let as_kind = |kind, hint: &str| Error::new(kind, detail.clone()).hint(hint);
        match (status, code.as_str()) {
            (401, AUTHENTICATION_ERROR) => as_kind(
                Kind::Credentials,
                match auth {
                    Auth::Oauth1 => {
                        "compare consumer_key and consumer_secret with the shop's, give the key the permission Read, and \
                         see that this machine's clock is right: the shop takes 15 minutes of difference"
                    }
                    _ => "compare consumer_secret with the shop's and give the key the permission Read",
                },
            ),
            (401, "woocommerce_rest_authentication_missing_parameter") => as_kind(
                Kind::Credentials,
                "something between here and the shop takes parameters out of the address; try `auth: basic` on https",
            ),
            (401, "woocommerce_rest_cannot_view") => as_kind(
                Kind::Credentials,
                match auth {
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
                "wp_user must be an administrator, and WordPress takes application passwords over https only",
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
