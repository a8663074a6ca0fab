//! Who asks: consumer keys by Basic, query string and OAuth 1.0a, application passwords (sheet, section 2). May use the
//! request alone.
//!
//! An unknown key is no error but makes the request anonymous; a wrong secret is one. Basic and query-string keys are
//! looked at only where WordPress believes that the connection is TLS.

use super::answers::WpError;
use super::params::Params;
use axum::http::{HeaderMap, Method, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha1::Sha1;
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The consumer key of the sandbox's shop: may read and write.
pub const CONSUMER_KEY: &str = "ck_0123456789abcdef0123456789abcdef01234567";
/// Its secret.
pub const CONSUMER_SECRET: &str = "cs_fedcba9876543210fedcba9876543210fedcba98";
/// A key that may only read.
pub const READ_KEY: &str = "ck_1111111111111111111111111111111111111111";
/// Its secret.
pub const READ_SECRET: &str = "cs_1111111111111111111111111111111111111111";
/// A key that may only write.
pub const WRITE_KEY: &str = "ck_2222222222222222222222222222222222222222";
/// Its secret.
pub const WRITE_SECRET: &str = "cs_2222222222222222222222222222222222222222";
/// A key that may read and write, of a user who may not see the shop's data.
pub const CUSTOMERS_KEY: &str = "ck_3333333333333333333333333333333333333333";
/// Its secret.
pub const CUSTOMERS_SECRET: &str = "cs_3333333333333333333333333333333333333333";
/// The user of the application password.
pub const WP_USER: &str = "admin";
/// The application password; blanks may stay or go.
pub const WP_APP_PASSWORD: &str = "abcd EFGH 1234 ijkl MNOP 5678";

/// A signature is good for so many seconds before and after its time stamp.
const WINDOW: i64 = 15 * 60;

/// Everything outside RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

struct Key {
    key: &'static str,
    secret: &'static str,
    reads: bool,
    writes: bool,
    manages_shop: bool,
}

const KEYS: [Key; 4] = [
    Key { key: CONSUMER_KEY, secret: CONSUMER_SECRET, reads: true, writes: true, manages_shop: true },
    Key { key: READ_KEY, secret: READ_SECRET, reads: true, writes: false, manages_shop: true },
    Key { key: WRITE_KEY, secret: WRITE_SECRET, reads: false, writes: true, manages_shop: true },
    Key { key: CUSTOMERS_KEY, secret: CUSTOMERS_SECRET, reads: true, writes: true, manages_shop: false },
];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Nobody whom the shop knows.
    Anonymous,
    /// Somebody who may not see the shop's data.
    Customer,
    /// Somebody who may.
    Manager,
}

/// What the shop keeps in order to tell who asks.
#[derive(Debug, Default)]
pub struct Auth {
    nonces: Mutex<HashMap<(String, String), i64>>,
}

/// The request as far as it matters here.
pub struct Asked<'a> {
    /// The HTTP method.
    pub method: &'a Method,
    /// Scheme and host are taken from here where a client signed another scheme than the server's.
    pub headers: &'a HeaderMap,
    /// The path as the server knows it, sub-folder included.
    pub path: &'a str,
    /// The parameters of the query.
    pub params: &'a Params,
    /// Whether WordPress believes that the connection is TLS.
    pub is_tls: bool,
    /// The site's host and port, where the request names none.
    pub host: &'a str,
}

impl Auth {
    /// Who asks for something of the shop.
    ///
    /// # Errors
    /// 401 with the shop's code: wrong secret, bad signature, old time stamp, used nonce, missing right of the key.
    pub fn shop_caller(&self, asked: &Asked<'_>) -> Result<Caller, WpError> {
        if asked.is_tls
            && let Some(key) = basic_or_query_key(asked)?
        {
            return permitted(key, asked.method);
        }
        if let Some(key) = self.signed_key(asked)? {
            return permitted(key, asked.method);
        }
        self.site_caller(asked)
    }

    /// Who asks for something of the site itself: an application password alone opens it.
    ///
    /// # Errors
    /// 401 incorrect_password.
    pub fn site_caller(&self, asked: &Asked<'_>) -> Result<Caller, WpError> {
        match basic(asked.headers).filter(|_| asked.is_tls) {
            Some((user, password)) if user == WP_USER => {
                let plain = |text: &str| text.replace(' ', "");
                if plain(&password) == plain(WP_APP_PASSWORD) {
                    return Ok(Caller::Manager);
                }
                let message = "The provided password is an invalid application password.";
                Err(WpError::new(401, "incorrect_password", message))
            }
            _ => Ok(Caller::Anonymous),
        }
    }

    fn signed_key(&self, asked: &Asked<'_>) -> Result<Option<&'static Key>, WpError> {
        let mut signed = asked.params.clone();
        signed.0.extend(authorization_params(asked.headers));
        const NEEDED: [&str; 5] =
            ["oauth_consumer_key", "oauth_timestamp", "oauth_nonce", "oauth_signature", "oauth_signature_method"];
        let value = |name: &str| signed.get(name).unwrap_or_default();
        let missing: Vec<&str> = NEEDED.into_iter().filter(|name| value(name).is_empty()).collect();
        if missing.len() == NEEDED.len() {
            return Ok(None);
        }
        if !missing.is_empty() {
            let plural = if missing.len() == 1 { "" } else { "s" };
            let message = format!("Missing OAuth parameter{plural} {}", missing.join(", "));
            return Err(WpError::new(401, "woocommerce_rest_authentication_missing_parameter", message));
        }
        let Some(key) = KEYS.iter().find(|key| key.key == value("oauth_consumer_key")) else {
            return Err(refused("Consumer key is invalid."));
        };
        let method = value("oauth_signature_method");
        if !matches!(method, "HMAC-SHA1" | "HMAC-SHA256") {
            return Err(refused("Invalid signature - signature method is invalid."));
        }
        let given = value("oauth_signature").replace(' ', "+");
        let host = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(asked.host);
        // The sandbox has no TLS of its own: whoever plays that it has signs either scheme.
        let schemes: &[&str] = if asked.is_tls { &["https", "http"] } else { &["http"] };
        let is_right = schemes.iter().any(|scheme| {
            let url = format!("{scheme}://{host}{}", asked.path);
            signature(asked.method.as_str(), &url, &signed, method, key.secret) == given
        });
        if !is_right {
            return Err(refused("Invalid signature - provided signature does not match."));
        }
        let now = Timestamp::now().as_second();
        let stamp: i64 = value("oauth_timestamp").parse().unwrap_or_default();
        if (now - stamp).abs() > WINDOW {
            return Err(refused("Invalid timestamp."));
        }
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.retain(|_, used_at| now - *used_at <= WINDOW);
        if nonces.insert((key.key.to_owned(), value("oauth_nonce").to_owned()), now).is_some() {
            return Err(refused("Invalid nonce - nonce has already been used."));
        }
        Ok(Some(key))
    }
}

fn refused(message: &str) -> WpError {
    WpError::new(401, "woocommerce_rest_authentication_error", message)
}

/// The query pair decides where it is given; an unknown key is nobody's.
fn basic_or_query_key(asked: &Asked<'_>) -> Result<Option<&'static Key>, WpError> {
    let pair = match (asked.params.get("consumer_key"), asked.params.get("consumer_secret")) {
        (Some(key), Some(secret)) if !key.is_empty() && !secret.is_empty() => Some((key.to_owned(), secret.to_owned())),
        _ => basic(asked.headers),
    };
    let Some((name, secret)) = pair else { return Ok(None) };
    let Some(key) = KEYS.iter().find(|key| key.key == name) else { return Ok(None) };
    if key.secret != secret {
        return Err(refused("Consumer secret is invalid."));
    }
    Ok(Some(key))
}

fn permitted(key: &Key, method: &Method) -> Result<Caller, WpError> {
    let (is_allowed, right) = match *method {
        Method::GET | Method::HEAD => (key.reads, "read"),
        Method::OPTIONS => (true, "read"),
        _ => (key.writes, "write"),
    };
    if !is_allowed {
        return Err(refused(&format!("The API key provided does not have {right} permissions.")));
    }
    Ok(if key.manages_shop { Caller::Manager } else { Caller::Customer })
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn authorization_params(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(rest) = text.strip_prefix("OAuth ") else { return Vec::new() };
    let mut params = Vec::new();
    for part in rest.split(',') {
        let Some((name, value)) = part.trim().split_once('=') else { continue };
        let value = value.trim_matches('"');
        if name.starts_with("oauth_") {
            params.push((name.to_owned(), percent_decode_str(value).decode_utf8_lossy().into_owned()));
        }
    }
    params
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// What is signed: method, address without query, sorted parameters.
fn base_string(method: &str, url: &str, params: &Params) -> String {
    let mut pairs: Vec<(String, String)> = params
        .0
        .iter()
        .filter(|(name, _)| name != "oauth_signature")
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort();
    let joined: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    // A HEAD request is signed as such.
    format!("{}&{}&{}", method.to_uppercase(), encode(url), encode(&joined.join("&")))
}

fn signature(method: &str, url: &str, params: &Params, kind: &str, secret: &str) -> String {
    let text = base_string(method, url, params);
    let key = format!("{secret}&");
    let digest = match kind {
        "HMAC-SHA1" => hmac_of::<Hmac<Sha1>>(key.as_bytes(), text.as_bytes()),
        _ => hmac_of::<Hmac<Sha256>>(key.as_bytes(), text.as_bytes()),
    };
    STANDARD.encode(digest)
}

fn hmac_of<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    match <M as KeyInit>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        }
        // An HMAC takes keys of any length; an empty digest would match nothing.
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "1793448000";

    fn signed(query: &str, method: &str, nonce: &str) -> String {
        let mut params = Params::parse(query);
        for (name, value) in [
            ("oauth_consumer_key", CONSUMER_KEY),
            ("oauth_nonce", nonce),
            ("oauth_signature_method", method),
            ("oauth_timestamp", STAMP),
        ] {
            params.0.push((name.to_owned(), value.to_owned()));
        }
        signature("GET", "http://shop.example.test/wp-json/wc/v3/orders", &params, method, CONSUMER_SECRET)
    }

    #[test]
    fn signatures_are_those_of_the_sheets_test_vectors() {
        let query =
            "dates_are_gmt=true&modified_after=2026-10-01T00:00:00&order=asc&orderby=modified&page=1&per_page=100";
        let nonce = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
        assert_eq!(signed(query, "HMAC-SHA256", nonce), "HI4fFa4gBNSBb32hO91jfEDtryQxmzzwLBX/cocThCY=");
        assert_eq!(signed(query, "HMAC-SHA1", nonce), "Wz4cJvdUmdlZpbO8AVJwDf8t/0g=");
        let odd = "search=%C5%BB%C3%B3%C5%82%C4%87%20%26%20co%2B1";
        assert_eq!(signed(odd, "HMAC-SHA256", "nonce2"), "vPXdMriO2j9mT4co24fna1w2l1svuMdYKtIe4H+r1x0=");
    }
}
