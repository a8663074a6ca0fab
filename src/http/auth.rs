//! How a call proves who asks. Secrets enter as [`SecretString`] and leave only inside a request.

use super::oauth1::{self, OAuth1};
use super::query::Query;
use crate::{Error, Kind, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::fmt;
use url::Url;

/// How a call proves who asks. Never prints its secrets.
#[derive(Clone, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// HTTP Basic.
    Basic {
        /// User name or key.
        user: SecretString,
        /// Password or secret.
        password: SecretString,
    },
    /// `Authorization: Bearer …`.
    Bearer(SecretString),
    /// A header of the platform's own, such as `X-Access-Token`.
    Header {
        /// The header's name.
        name: &'static str,
        /// The header's value.
        value: SecretString,
    },
    /// Parameters in the query string.
    Query(Vec<(&'static str, SecretString)>),
    /// Members of the JSON object in the body.
    Body(Vec<(&'static str, SecretString)>),
    /// OAuth 1.0a, in the query string; each attempt is signed anew.
    OAuth1(OAuth1),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Auth::None => "None",
            Auth::Basic { .. } => "Basic",
            Auth::Bearer(_) => "Bearer",
            Auth::Header { .. } => "Header",
            Auth::Query(_) => "Query",
            Auth::Body(_) => "Body",
            Auth::OAuth1(_) => "OAuth1",
        })
    }
}

impl Auth {
    /// HTTP Basic with `user` and `password`.
    pub fn basic(user: impl Into<String>, password: SecretString) -> Self {
        Auth::Basic { user: SecretString::from(user.into()), password }
    }

    /// Whether a query parameter of this name carries our credentials: such are taken off a redirect's address before
    /// signing anew, and are never printed.
    pub(super) fn owns_parameter(&self, name: &str) -> bool {
        match self {
            Auth::Query(pairs) => pairs.iter().any(|(own, _)| *own == name),
            Auth::OAuth1(_) => name.starts_with("oauth_"),
            _ => false,
        }
    }

    /// Adds the proof to one attempt. `url` has no query yet; `query` is what the caller asks for.
    ///
    /// # Errors
    /// [`Kind::Credentials`] for a secret that no header can carry; [`Kind::Internal`] for a body that is no object.
    pub(super) fn apply(
        &self,
        method: &reqwest::Method,
        url: &Url,
        query: &mut Query,
        headers: &mut HeaderMap,
        body: Option<&mut Value>,
    ) -> Result<()> {
        match self {
            Auth::None => {}
            Auth::Basic { user, password } => {
                let pair = format!("{}:{}", user.expose_secret(), password.expose_secret());
                headers.insert(AUTHORIZATION, secret_header(&format!("Basic {}", STANDARD.encode(pair)))?);
            }
            Auth::Bearer(token) => {
                headers.insert(AUTHORIZATION, secret_header(&format!("Bearer {}", token.expose_secret()))?);
            }
            Auth::Header { name, value } => {
                headers.insert(HeaderName::from_static(name), secret_header(value.expose_secret())?);
            }
            Auth::Query(pairs) => {
                for (name, value) in pairs {
                    query.push(*name, value.expose_secret());
                }
            }
            Auth::Body(members) => {
                let Some(Value::Object(object)) = body else {
                    return Err(Error::new(Kind::Internal, "credentials go into a body that is no JSON object"));
                };
                for (name, value) in members {
                    object.insert((*name).to_owned(), Value::from(value.expose_secret()));
                }
            }
            Auth::OAuth1(signer) => signer.sign(method, url, query, &oauth1::Moment::now()),
        }
        Ok(())
    }
}

fn secret_header(value: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        Error::new(Kind::Credentials, "a credential holds a character that no HTTP header can carry")
            .hint("look for a line break or a blank at the end of the variable that holds it")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(auth: &Auth) -> (Query, HeaderMap, Value) {
        let url = Url::parse("https://shop.example.test/wp-json/wc/v3/orders").unwrap();
        let (mut query, mut headers, mut body) = (Query::default(), HeaderMap::new(), serde_json::json!({"a": 1}));
        auth.apply(&reqwest::Method::POST, &url, &mut query, &mut headers, Some(&mut body)).unwrap();
        (query, headers, body)
    }

    /// The vector of the WooCommerce sheet, section 2.
    #[test]
    fn basic_is_the_base64_of_key_and_secret() {
        let auth = Auth::basic(
            "ck_0123456789abcdef0123456789abcdef01234567",
            "cs_fedcba9876543210fedcba9876543210fedcba98".into(),
        );
        let (_, headers, _) = applied(&auth);
        assert_eq!(
            headers[AUTHORIZATION].to_str().unwrap(),
            "Basic Y2tfMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzpjc19mZWRjYmE5ODc2NTQzMjEwZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4"
        );
        assert!(headers[AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn each_kind_puts_the_secret_where_it_says() {
        assert_eq!(applied(&Auth::Bearer("t".into())).1[AUTHORIZATION], "Bearer t");
        assert_eq!(applied(&Auth::Header { name: "x-access-token", value: "t".into() }).1["x-access-token"], "t");
        assert_eq!(applied(&Auth::Query(vec![("key", "a b&c".into())])).0.to_string(), "key=a%20b%26c");
        assert_eq!(applied(&Auth::Body(vec![("sha", "x".into())])).2, serde_json::json!({"a": 1, "sha": "x"}));
    }

    #[test]
    fn secrets_never_print() {
        let all = [
            Auth::basic("hidden", "hidden".into()),
            Auth::Bearer("hidden".into()),
            Auth::Header { name: "x-key", value: "hidden".into() },
            Auth::Query(vec![("key", "hidden".into())]),
            Auth::Body(vec![("sha", "hidden".into())]),
            Auth::OAuth1(OAuth1::new("hidden".into(), "hidden".into(), super::super::SignatureMethod::HmacSha256)),
        ];
        for auth in all {
            assert!(!format!("{auth:?} {auth:#?}").contains("hidden"));
        }
    }

    #[test]
    fn a_secret_with_a_line_break_is_named_without_being_shown() {
        let url = Url::parse("https://shop.example.test/").unwrap();
        let error = Auth::Bearer("hidden\n".into())
            .apply(&reqwest::Method::GET, &url, &mut Query::default(), &mut HeaderMap::new(), None)
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Credentials);
        assert!(!format!("{error:?}").contains("hidden"));
    }
}
