//! OAuth 1.0a, one- or two-legged, HMAC-SHA1 and HMAC-SHA256, parameters in the query string (RFC 5849; WooCommerce
//! sheet, section 2). The body is never signed: none of our platforms sends forms.

use super::query::{Query, encode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::Sha256;
use std::fmt;
use url::Url;

/// How the base string is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureMethod {
    /// `HMAC-SHA1`.
    HmacSha1,
    /// `HMAC-SHA256`.
    HmacSha256,
}

impl SignatureMethod {
    fn name(self) -> &'static str {
        match self {
            SignatureMethod::HmacSha1 => "HMAC-SHA1",
            SignatureMethod::HmacSha256 => "HMAC-SHA256",
        }
    }
}

/// A signer. Never prints its secrets.
#[derive(Clone)]
pub struct OAuth1 {
    consumer_key: SecretString,
    consumer_secret: SecretString,
    token: Option<(SecretString, SecretString)>,
    method: SignatureMethod,
}

impl fmt::Debug for OAuth1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth1").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What makes two signatures of one call differ.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) nonce: String,
    pub(super) timestamp: i64,
}

impl Moment {
    /// Now, with a nonce nobody used before.
    pub(super) fn now() -> Self {
        Self { nonce: hex::encode(rand::random::<[u8; 16]>()), timestamp: crate::clock::wall().as_second() }
    }
}

impl OAuth1 {
    /// A signer without a token (one-legged).
    pub fn new(consumer_key: SecretString, consumer_secret: SecretString, method: SignatureMethod) -> Self {
        Self { consumer_key, consumer_secret, token: None, method }
    }

    /// The same with an access token and its secret.
    pub fn with_token(mut self, token: SecretString, token_secret: SecretString) -> Self {
        self.token = Some((token, token_secret));
        self
    }

    /// Adds the `oauth_` parameters to `query`, numbered and sorted as signed. `url` is without query.
    pub(super) fn sign(&self, method: &reqwest::Method, url: &Url, query: &mut Query, moment: &Moment) {
        query.push("oauth_consumer_key", self.consumer_key.expose_secret());
        query.push("oauth_nonce", &moment.nonce);
        query.push("oauth_signature_method", self.method.name());
        query.push("oauth_timestamp", moment.timestamp.to_string());
        if let Some((token, _)) = &self.token {
            query.push("oauth_token", token.expose_secret());
        }
        query.number_and_sort();
        let signature = self.signature(&base_string(method, url, query));
        query.push("oauth_signature", signature);
    }

    fn signature(&self, base_string: &str) -> String {
        let token_secret = self.token.as_ref().map_or("", |(_, secret)| secret.expose_secret());
        let key = format!("{}&{}", encode(self.consumer_secret.expose_secret()), encode(token_secret));
        match self.method {
            SignatureMethod::HmacSha1 => hmac_base64::<Hmac<Sha1>>(key.as_bytes(), base_string.as_bytes()),
            SignatureMethod::HmacSha256 => hmac_base64::<Hmac<Sha256>>(key.as_bytes(), base_string.as_bytes()),
        }
    }
}

/// `METHOD&URL&parameters`, each percent-encoded; the parameters, encoded already, are so a second time.
fn base_string(method: &reqwest::Method, url: &Url, sorted: &Query) -> String {
    let mut address = url.clone();
    address.set_query(None);
    address.set_fragment(None);
    format!("{}&{}&{}", method.as_str().to_ascii_uppercase(), encode(address.as_str()), encode(&sorted.to_string()))
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
fn hmac_base64<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::Method;

    fn signer(method: SignatureMethod) -> OAuth1 {
        OAuth1::new(
            "ck_0123456789abcdef0123456789abcdef01234567".into(),
            "cs_fedcba9876543210fedcba9876543210fedcba98".into(),
            method,
        )
    }

    fn orders() -> Url {
        Url::parse("http://shop.example.test/wp-json/wc/v3/orders").unwrap()
    }

    fn moment(nonce: &str) -> Moment {
        Moment { nonce: nonce.into(), timestamp: 1_793_448_000 }
    }

    fn signature_of(query: &Query) -> &str {
        &query.pairs().iter().find(|(name, _)| name == "oauth_signature").unwrap().1
    }

    fn sheet_query() -> Query {
        let mut query = Query::default();
        for (name, value) in [
            ("page", "1"),
            ("per_page", "100"),
            ("orderby", "modified"),
            ("order", "asc"),
            ("dates_are_gmt", "true"),
            ("modified_after", "2026-10-01T00:00:00"),
        ] {
            query.push(name, value);
        }
        query
    }

    /// The vectors of the WooCommerce sheet, section 2.
    #[test]
    fn the_base_string_is_the_sheets() {
        let mut query = sheet_query();
        query.push("oauth_consumer_key", "ck_0123456789abcdef0123456789abcdef01234567");
        query.push("oauth_nonce", "a1b2c3d4e5f60718293a4b5c6d7e8f90");
        query.push("oauth_signature_method", "HMAC-SHA256");
        query.push("oauth_timestamp", "1793448000");
        query.number_and_sort();
        assert_eq!(
            base_string(&Method::GET, &orders(), &query),
            "GET&http%3A%2F%2Fshop.example.test%2Fwp-json%2Fwc%2Fv3%2Forders&dates_are_gmt%3Dtrue%26modified_after%3D2026-10-01T00%253A00%253A00%26oauth_consumer_key%3Dck_0123456789abcdef0123456789abcdef01234567%26oauth_nonce%3Da1b2c3d4e5f60718293a4b5c6d7e8f90%26oauth_signature_method%3DHMAC-SHA256%26oauth_timestamp%3D1793448000%26order%3Dasc%26orderby%3Dmodified%26page%3D1%26per_page%3D100"
        );
    }

    #[test]
    fn both_methods_give_the_sheets_signatures() {
        for (method, expected) in [
            (SignatureMethod::HmacSha256, "HI4fFa4gBNSBb32hO91jfEDtryQxmzzwLBX/cocThCY="),
            (SignatureMethod::HmacSha1, "Wz4cJvdUmdlZpbO8AVJwDf8t/0g="),
        ] {
            let mut query = sheet_query();
            signer(method).sign(&Method::GET, &orders(), &mut query, &moment("a1b2c3d4e5f60718293a4b5c6d7e8f90"));
            assert_eq!(signature_of(&query), expected);
        }
    }

    #[test]
    fn letters_blanks_and_plus_signs_are_signed_as_sent() {
        let mut query = Query::default();
        query.push("search", "Żółć & co+1");
        signer(SignatureMethod::HmacSha256).sign(&Method::GET, &orders(), &mut query, &moment("nonce2"));
        assert_eq!(signature_of(&query), "vPXdMriO2j9mT4co24fna1w2l1svuMdYKtIe4H+r1x0=");
    }

    /// RFC 5849's own photo example (section 1.2), which has a token.
    #[test]
    fn a_token_signs_with_both_secrets() {
        let url = Url::parse("http://photos.example.net/photos").unwrap();
        let mut query = Query::default();
        query.push("file", "vacation.jpg");
        query.push("size", "original");
        OAuth1::new("dpf43f3p2l4k3l03".into(), "kd94hf93k423kf44".into(), SignatureMethod::HmacSha1)
            .with_token("nnch734d00sl2jdk".into(), "pfkkdhi9sl3r4s00".into())
            .sign(&Method::GET, &url, &mut query, &Moment { nonce: "chapoH".into(), timestamp: 137_131_202 });
        assert_eq!(signature_of(&query), "MdpQcU8iPSUjWoN/UDMsK2sui9I=");
    }

    #[test]
    fn two_moments_never_share_a_nonce() {
        assert_ne!(Moment::now().nonce, Moment::now().nonce);
    }

    #[test]
    fn a_port_of_the_shops_own_is_signed_and_the_default_port_is_not() {
        let text = |url: &str| base_string(&Method::GET, &Url::parse(url).unwrap(), &Query::default());
        assert_eq!(text("http://Shop.Example:8080/x?y=1#z"), "GET&http%3A%2F%2Fshop.example%3A8080%2Fx&");
        assert_eq!(text("http://shop.example:80/x"), "GET&http%3A%2F%2Fshop.example%2Fx&");
    }
}
