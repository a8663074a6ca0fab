//! Who gets into the emulated WooCommerce, and how the others are refused (sheet, section 2).

use crate::support::shop::{AUTH, Answer, KEY, Shop, VIEW};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use wharf::sandbox::woocommerce::{self, Options};

/// An OAuth 1.0a signed query, made here and not with the emulation's own code.
struct Signer<'a> {
    key: &'a str,
    secret: &'a str,
    stamp: i64,
    nonce: &'a str,
    method: &'a str,
}

impl Signer<'_> {
    fn now(nonce: &str) -> Signer<'_> {
        Signer { key: KEY.0, secret: KEY.1, stamp: jiff::Timestamp::now().as_second(), nonce, method: "HMAC-SHA256" }
    }

    fn query(&self, url: &str, params: &[(&str, &str)]) -> String {
        const SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
        let enc = |text: &str| utf8_percent_encode(text, SET).to_string();
        let stamp = self.stamp.to_string();
        let mut pairs: Vec<(String, String)> = params
            .iter()
            .copied()
            .chain([
                ("oauth_consumer_key", self.key),
                ("oauth_nonce", self.nonce),
                ("oauth_signature_method", self.method),
                ("oauth_timestamp", stamp.as_str()),
            ])
            .map(|(name, value)| (enc(name), enc(value)))
            .collect();
        pairs.sort();
        let joined = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let base = format!("GET&{}&{}", enc(url), enc(&joined));
        let key = format!("{}&", self.secret);
        let digest = if self.method == "HMAC-SHA1" {
            let mut mac = Hmac::<sha1::Sha1>::new_from_slice(key.as_bytes()).unwrap();
            mac.update(base.as_bytes());
            mac.finalize().into_bytes().to_vec()
        } else {
            let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
            mac.update(base.as_bytes());
            mac.finalize().into_bytes().to_vec()
        };
        format!("{joined}&oauth_signature={}", enc(&STANDARD.encode(digest)))
    }
}

#[tokio::test]
async fn keys_open_the_shop_by_basic_and_by_query_string_and_the_query_decides() {
    let shop = Shop::small().await;
    assert_eq!(shop.get("orders?per_page=1").await.status, 200);
    let pair = |secret: &str| format!("orders?per_page=1&consumer_key={}&consumer_secret={secret}", KEY.0);
    let query_only = shop.send(shop.http.get(shop.url(&pair(KEY.1)))).await;
    assert_eq!(query_only.status, 200);
    assert_eq!(shop.get(&pair("cs_wrong")).await.code(), (401, AUTH.to_owned()));
    assert_eq!(shop.get_as((KEY.0, "cs_wrong"), &pair(KEY.1)).await.status, 200);
    let logged = shop.sandbox.requests().calls("", "").last().unwrap().query.clone();
    assert!(!logged.contains(KEY.1), "{logged}");
}

#[tokio::test]
async fn wrong_secret_unknown_key_and_missing_rights_have_codes_of_their_own() {
    let shop = Shop::small().await;
    let wrong = shop.get_as((KEY.0, "cs_wrong"), "orders").await;
    assert_eq!(wrong.code(), (401, AUTH.to_owned()));
    assert_eq!(wrong.json()["message"], "Consumer secret is invalid.");
    assert_eq!(shop.get_as(("ck_unknown", "cs_x"), "orders").await.code(), (401, VIEW.to_owned()));
    let writes_only = (woocommerce::WRITE_KEY, woocommerce::WRITE_SECRET);
    let answer = shop.get_as(writes_only, "orders").await;
    assert_eq!(answer.code(), (401, AUTH.to_owned()));
    assert_eq!(answer.json()["message"], "The API key provided does not have read permissions.");
    let reads_only = (woocommerce::READ_KEY, woocommerce::READ_SECRET);
    let id = shop.order_with("processing").await;
    let request = shop.http.put(shop.url(&format!("orders/{id}"))).basic_auth(reads_only.0, Some(reads_only.1));
    assert_eq!(shop.send(request.json(&json!({}))).await.code(), (401, AUTH.to_owned()));
    let customer = (woocommerce::CUSTOMERS_KEY, woocommerce::CUSTOMERS_SECRET);
    for list in ["orders", "products", "customers", "products/categories"] {
        assert_eq!(shop.get_as(customer, list).await.code(), (403, VIEW.to_owned()), "{list}");
    }
}

#[tokio::test]
async fn on_plain_http_only_oauth_opens_the_shop() {
    let shop = Shop::open(Options { as_tls: false, ..Options::small() }).await;
    assert_eq!(shop.get("orders").await.code(), (401, VIEW.to_owned()));
    let pair = format!("orders?consumer_key={}&consumer_secret={}", KEY.0, KEY.1);
    assert_eq!(shop.send(shop.http.get(shop.url(&pair))).await.code(), (401, VIEW.to_owned()));
    let url = shop.url("orders");
    for method in ["HMAC-SHA1", "HMAC-SHA256"] {
        let signer = Signer { method, ..Signer::now(method) };
        let query = signer.query(&url, &[("per_page", "1"), ("search", "Żółć & co+1")]);
        assert_eq!(shop.send(shop.http.get(format!("{url}?{query}"))).await.status, 200, "{method}");
    }
    // One request may say that it came over TLS.
    let request = shop.http.get(&url).basic_auth(KEY.0, Some(KEY.1)).header("x-forwarded-proto", "https");
    assert_eq!(shop.send(request).await.status, 200);
}

#[tokio::test]
async fn signatures_clocks_and_nonces_are_checked() {
    let shop = Shop::open(Options { as_tls: false, ..Options::small() }).await;
    let url = shop.url("orders");
    let get = async |query: String| shop.send(shop.http.get(format!("{url}?{query}"))).await;
    let now = jiff::Timestamp::now().as_second();
    let message = |answer: &Answer| (answer.code(), answer.json()["message"].as_str().unwrap().to_owned());
    let refused = |text: &str| ((401, AUTH.to_owned()), text.to_owned());

    let stale = Signer { stamp: now - 905, ..Signer::now("stale") };
    assert_eq!(message(&get(stale.query(&url, &[])).await), refused("Invalid timestamp."));
    let late = Signer { stamp: now - 890, ..Signer::now("late") };
    assert_eq!(get(late.query(&url, &[])).await.status, 200);

    let first = Signer::now("once");
    assert_eq!(get(first.query(&url, &[])).await.status, 200);
    let again = Signer { stamp: now + 5, ..Signer::now("once") };
    assert_eq!(message(&get(again.query(&url, &[])).await), refused("Invalid nonce - nonce has already been used."));

    let stranger = Signer { key: "ck_unknown", ..Signer::now("stranger") };
    assert_eq!(message(&get(stranger.query(&url, &[])).await), refused("Consumer key is invalid."));
    let forged = Signer { secret: "cs_wrong", ..Signer::now("forged") };
    assert_eq!(
        message(&get(forged.query(&url, &[])).await),
        refused("Invalid signature - provided signature does not match.")
    );
    let plain = Signer { method: "PLAINTEXT", ..Signer::now("plain") };
    assert_eq!(
        message(&get(plain.query(&url, &[])).await),
        refused("Invalid signature - signature method is invalid.")
    );
    let list = Signer::now("list");
    assert_eq!(get(list.query(&url, &[("status[]", "completed")])).await.status, 401);
    let numbered = Signer::now("numbered");
    assert_eq!(get(numbered.query(&url, &[("status[0]", "completed")])).await.status, 200);
    let halved = Signer::now("halved").query(&url, &[]).replace("oauth_nonce=halved&", "");
    assert_eq!(get(halved).await.code(), (401, "woocommerce_rest_authentication_missing_parameter".to_owned()));
}

#[tokio::test]
async fn oauth_parameters_may_stand_in_the_authorization_header() {
    let shop = Shop::open(Options { as_tls: false, ..Options::small() }).await;
    let url = shop.url("orders");
    let signed = Signer::now("header").query(&url, &[]);
    let header = signed.split('&').map(|pair| pair.replacen('=', "=\"", 1) + "\"").collect::<Vec<_>>().join(", ");
    let request = shop.http.get(&url).header("authorization", format!("OAuth {header}"));
    assert_eq!(shop.send(request).await.status, 200);
}

#[tokio::test]
async fn the_root_answers_everybody_but_a_wrong_secret() {
    let shop = Shop::small().await;
    let root = format!("{}/wp-json/wc/v3", shop.sandbox.woocommerce_url());
    assert_eq!(shop.send(shop.http.get(&root)).await.status, 200);
    assert_eq!(shop.send(shop.http.get(format!("{root}/")).basic_auth("ck_unknown", Some("x"))).await.status, 200);
    assert_eq!(shop.send(shop.http.get(format!("{root}/")).basic_auth(KEY.0, Some("x"))).await.status, 401);
}

#[tokio::test]
async fn other_ways_in_behave_as_on_a_real_site() {
    let shop = Shop::open(Options { folder: "shop".to_owned(), ..Options::small() }).await;
    let home = shop.sandbox.woocommerce_url();
    assert!(home.ends_with("/shop"));
    let get = async |path: &str| shop.send(shop.http.get(format!("{home}{path}")).basic_auth(KEY.0, Some(KEY.1))).await;
    assert_eq!(get("/wp-json/wc/v3/orders?per_page=1").await.status, 200);
    assert_eq!(get("/index.php/wp-json/wc/v3/orders?per_page=1").await.status, 200);
    assert_eq!(get("/?rest_route=/wc/v3/orders").await.code(), (401, VIEW.to_owned()));
    assert_eq!(get("/wp-json/wc/v2/orders?per_page=1").await.status, 200);
    assert_eq!(get("/wp-json/wc/v1/orders").await.rows(), Vec::<Value>::new());
    let old = get("/wc-api/v3/orders").await;
    assert_eq!((old.status, old.json()["errors"]["code"].clone()), (404, json!("woocommerce_api_disabled")));
    let signed = Signer::now("folder").query(&format!("{home}/wp-json/wc/v3/orders"), &[]);
    let answer = shop.send(shop.http.get(format!("{home}/wp-json/wc/v3/orders?{signed}"))).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn site_users_want_an_application_password_and_the_context_edit() {
    let shop = Shop::small().await;
    let users = format!("{}/wp-json/wp/v2/users", shop.sandbox.woocommerce_url());
    let get = async |user: &str, password: &str, query: &str| {
        shop.send(shop.http.get(format!("{users}?{query}")).basic_auth(user, Some(password))).await
    };
    let query = "context=edit&roles=subscriber&orderby=id&order=asc&per_page=100";
    let subscribers = get(woocommerce::WP_USER, woocommerce::WP_APP_PASSWORD, query).await;
    let rows = subscribers.rows();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["roles"] == json!(["subscriber"])));
    assert!(rows.iter().any(|row| row["email"].as_str().is_some_and(|email| email.contains('@'))));
    let without_blanks = woocommerce::WP_APP_PASSWORD.replace(' ', "");
    assert_eq!(get(woocommerce::WP_USER, &without_blanks, query).await.status, 200);
    let wrong = get(woocommerce::WP_USER, "wrong", query).await;
    assert_eq!(wrong.code(), (401, "incorrect_password".to_owned()));
    assert_eq!(get(KEY.0, KEY.1, query).await.code(), (401, "rest_forbidden_context".to_owned()));
    assert!(get(KEY.0, KEY.1, "per_page=3").await.rows().iter().all(|row| row.get("email").is_none()));
    let opened = shop.get_as((woocommerce::WP_USER, woocommerce::WP_APP_PASSWORD), "orders?per_page=1").await;
    assert_eq!(opened.status, 200);
    let past = get(woocommerce::WP_USER, woocommerce::WP_APP_PASSWORD, &format!("{query}&page=9")).await;
    assert_eq!((past.rows().len(), past.totals()), (0, subscribers.totals()));
}
