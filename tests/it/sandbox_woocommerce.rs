//! The emulated WooCommerce behaves as its sheet says: every fact over HTTP, and a recorded shop answered row for row.

use crate::support::convert;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use std::collections::HashSet;
use wharf::sandbox::woocommerce::{self, Options, shop::Entity};
use wharf::sandbox::{Fault, FaultKind, Sandbox, SandboxOptions};

const KEY: (&str, &str) = (woocommerce::CONSUMER_KEY, woocommerce::CONSUMER_SECRET);

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn rows(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json().as_array().unwrap().clone()
    }

    fn ids(&self) -> Vec<u64> {
        self.rows().iter().map(|row| row["id"].as_u64().unwrap()).collect()
    }

    fn code(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(body["data"]["status"], json!(self.status));
        (self.status, body["code"].as_str().unwrap().to_owned())
    }

    fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    fn totals(&self) -> (String, String) {
        (self.header("x-wp-total"), self.header("x-wp-totalpages"))
    }
}

struct Shop {
    sandbox: Sandbox,
    http: reqwest::Client,
}

impl Shop {
    async fn open(options: Options) -> Self {
        // Whoever comes first installs it; later tests find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let served = SandboxOptions { woocommerce: Some(options), ..SandboxOptions::default() };
        let sandbox = Sandbox::start(served).await.unwrap();
        Self { sandbox, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn small() -> Self {
        Self::open(Options::small()).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/wp-json/wc/v3/{path}", self.sandbox.woocommerce_url())
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.unwrap() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.get_as(KEY, path).await
    }

    async fn get_as(&self, key: (&str, &str), path: &str) -> Answer {
        self.send(self.http.get(self.url(path)).basic_auth(key.0, Some(key.1))).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(self.http.put(self.url(path)).basic_auth(KEY.0, Some(KEY.1)).json(&body)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.http.post(self.url(path)).basic_auth(KEY.0, Some(KEY.1)).json(&body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(self.http.delete(self.url(path)).basic_auth(KEY.0, Some(KEY.1))).await
    }

    async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sandbox/{path}", self.sandbox.url("woocommerce").unwrap());
        let answer = self.send(self.http.post(url).json(&body)).await;
        assert!(answer.status < 300, "{}", answer.text);
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    /// The id of some order with a status.
    async fn order_with(&self, status: &str) -> u64 {
        self.get(&format!("orders?status={status}&per_page=1")).await.ids()[0]
    }
}

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

const AUTH: &str = "woocommerce_rest_authentication_error";
const VIEW: &str = "woocommerce_rest_cannot_view";

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
async fn bad_parameters_are_refused_by_name_before_anybody_asks_who_is_there() {
    let shop = Shop::small().await;
    for (query, name, code) in [
        ("per_page=101", "per_page", "rest_out_of_bounds"),
        ("per_page=0", "per_page", "rest_out_of_bounds"),
        ("per_page=-1", "per_page", "rest_out_of_bounds"),
        ("page=0", "page", "rest_out_of_bounds"),
        ("per_page=x", "per_page", "rest_invalid_type"),
        ("orderby=colour", "orderby", "rest_not_in_enum"),
        ("order=up", "order", "rest_not_in_enum"),
        ("status=unheard", "status", "rest_not_in_enum"),
        ("modified_after=2026-10-01", "modified_after", "rest_invalid_date"),
        ("after=yesterday", "after", "rest_invalid_date"),
    ] {
        let answer = shop.send(shop.http.get(shop.url(&format!("orders?{query}")))).await;
        assert_eq!(answer.code(), (400, "rest_invalid_param".to_owned()), "{query}");
        assert_eq!(answer.json()["data"]["details"][name]["code"], code, "{query}");
        assert!(answer.json()["data"]["params"][name].is_string(), "{query}");
    }
    // Parameters that no list knows are no mistake.
    assert_eq!(shop.get("orders?invented_parameter=1&per_page=1").await.status, 200);
}

#[tokio::test]
async fn unknown_routes_and_ids_have_codes_of_their_own() {
    let shop = Shop::small().await;
    let code = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(shop.get("nothing").await.code(), code(404, "rest_no_route"));
    assert_eq!(shop.get("orders/99999999").await.code(), code(404, "woocommerce_rest_shop_order_invalid_id"));
    assert_eq!(shop.get("products/99999999").await.code(), code(404, "woocommerce_rest_product_invalid_id"));
    assert_eq!(shop.get("customers/99999999").await.code(), code(404, "woocommerce_rest_invalid_id"));
    assert_eq!(shop.get("orders/99999999/refunds").await.rows(), Vec::<Value>::new());
    let refund = shop.get("refunds?per_page=1").await.ids()[0];
    assert_eq!(shop.get(&format!("orders/{refund}")).await.code(), code(404, "woocommerce_rest_shop_order_invalid_id"));
    assert_eq!(shop.get(&format!("orders?include={refund}")).await.ids(), Vec::<u64>::new());
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

#[tokio::test]
async fn pages_cover_a_list_once_and_say_where_they_are() {
    let shop = Shop::small().await;
    let mut ids = Vec::new();
    let mut page = 1;
    loop {
        let answer = shop.get(&format!("orders?status=any&orderby=id&order=asc&per_page=100&page={page}")).await;
        let pages: usize = answer.header("x-wp-totalpages").parse().unwrap();
        let link = answer.header("link");
        assert_eq!(link.contains("rel=\"next\""), page < pages, "{link}");
        assert_eq!(link.contains("rel=\"prev\""), page > 1, "{link}");
        ids.extend(answer.ids());
        if page == pages {
            assert_eq!(ids.len().to_string(), answer.header("x-wp-total"));
            break;
        }
        page += 1;
    }
    assert!(ids.is_sorted());
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    assert_eq!(shop.get("orders").await.rows().len(), 10);
    assert_eq!(shop.get("orders?orderby=id&order=asc&offset=5&per_page=3").await.ids(), ids[5..8]);
    let head = shop.send(shop.http.head(shop.url("orders?per_page=1")).basic_auth(KEY.0, Some(KEY.1))).await;
    assert_eq!((head.header("x-wp-total"), head.text.as_str()), (ids.len().to_string(), ""));
}

#[tokio::test]
async fn a_page_past_the_end_is_empty_and_some_lists_forget_their_totals_there() {
    let shop = Shop::small().await;
    for list in ["orders?status=any", "orders?status=trash", "refunds?x=1"] {
        let past = shop.get(&format!("{list}&per_page=100&page=99")).await;
        assert_eq!((past.rows().len(), past.totals()), (0, ("0".to_owned(), "0".to_owned())), "{list}");
    }
    for list in ["customers?role=all", "products?status=any", "products/categories?x=1"] {
        let totals = shop.get(&format!("{list}&per_page=100")).await.totals();
        let past = shop.get(&format!("{list}&per_page=100&page=99")).await;
        assert_eq!((past.rows().len(), past.totals()), (0, totals), "{list}");
    }
}

#[tokio::test]
async fn fields_trim_rows_down_to_an_empty_list() {
    let shop = Shop::small().await;
    let rows = shop.get("orders?_fields=id,billing.email&per_page=2").await.rows();
    let names = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&rows[0]), ["billing", "id"]);
    assert_eq!(names(&rows[0]["billing"]), ["email"]);
    assert_eq!(shop.get("orders?_fields=nothing&per_page=1").await.rows(), [json!([])]);
    assert_eq!(names(&shop.get("orders?_fields=id&per_page=1").await.rows()[0]), ["id"]);
    let id = shop.order_with("completed").await;
    assert_eq!(names(&shop.get(&format!("orders/{id}?_fields=id")).await.json()), ["_links", "id"]);
}

#[tokio::test]
async fn any_leaves_out_the_trash_alone_and_trash_is_asked_by_itself() {
    let shop = Shop::small().await;
    let statuses = async |query: &str| {
        let rows = shop.get(&format!("orders?status={query}&per_page=100&orderby=id&order=desc")).await.rows();
        rows.iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect::<HashSet<_>>()
    };
    let any = statuses("any").await;
    assert!(any.contains("checkout-draft") && any.contains("shipped") && !any.contains("trash"), "{any:?}");
    assert!(!statuses("any,trash").await.contains("trash"));
    assert_eq!(statuses("trash").await, HashSet::from(["trash".to_owned()]));
    let two = HashSet::from(["pending".to_owned(), "on-hold".to_owned()]);
    assert_eq!(statuses("pending,on-hold").await, two);
    let trashed = shop.order_with("trash").await;
    let read = shop.get(&format!("orders/{trashed}")).await;
    assert_eq!((read.status, read.json()["status"].clone()), (200, json!("trash")));
    let refused = shop.put(&format!("orders/{trashed}"), json!({ "status": "trash" })).await;
    assert_eq!(refused.code(), (400, "rest_invalid_param".to_owned()));
}

#[tokio::test]
async fn the_default_list_of_customers_misses_staff_and_subscribers() {
    let shop = Shop::small().await;
    assert_eq!(shop.get("customers?orderby=id&per_page=1").await.header("x-wp-total"), "300");
    let all = shop.get("customers?role=all&orderby=id&per_page=100").await;
    assert_eq!(all.header("x-wp-total"), "308");
    let roles: HashSet<String> = all.rows().iter().map(|row| row["role"].as_str().unwrap().to_owned()).collect();
    assert!(roles.contains("administrator") && roles.contains("subscriber"), "{roles:?}");
}

#[tokio::test]
async fn customers_and_categories_take_no_notice_of_modified_after_and_refuse_to_sort_by_it() {
    let shop = Shop::small().await;
    for list in ["customers", "products/categories"] {
        let plain = shop.get(&format!("{list}?orderby=id&per_page=1")).await.totals();
        let since =
            shop.get(&format!("{list}?orderby=id&per_page=1&modified_after=2099-01-01T00:00:00")).await.totals();
        assert_eq!(plain, since, "{list}");
        let sorted = shop.get(&format!("{list}?orderby=modified")).await;
        assert_eq!(sorted.code(), (400, "rest_invalid_param".to_owned()), "{list}");
    }
    for list in ["orders", "refunds", "products"] {
        assert_eq!(shop.get(&format!("{list}?orderby=modified&per_page=1")).await.status, 200, "{list}");
    }
}

#[tokio::test]
async fn modified_after_leaves_out_an_equal_stamp() {
    let shop = Shop::small().await;
    let rows = shop.get("orders?orderby=modified&order=desc&per_page=100").await.rows();
    let stamps: Vec<&str> = rows.iter().map(|row| row["date_modified_gmt"].as_str().unwrap()).collect();
    assert!(stamps.is_sorted_by(|newer, older| newer >= older));
    let since = async |stamp: &str, order: &str| {
        let path = format!("orders?modified_after={stamp}&dates_are_gmt=true&per_page=100&orderby={order}");
        shop.get(&path).await.ids()
    };
    let newer = stamps.iter().filter(|stamp| **stamp > stamps[20]).count();
    assert_eq!(since(stamps[20], "modified").await.len(), newer);
    assert_eq!(since(stamps[20], "id").await.len(), newer);
    let before = format!("orders?modified_before={}&dates_are_gmt=true&per_page=1", stamps[20]);
    let total: usize = shop.get(&before).await.header("x-wp-total").parse().unwrap();
    let all: usize = shop.get("orders?per_page=1").await.header("x-wp-total").parse().unwrap();
    assert_eq!(total + rows.iter().filter(|row| row["date_modified_gmt"].as_str() >= Some(stamps[20])).count(), all);
}

#[tokio::test]
async fn a_z_beside_dates_are_gmt_shifts_the_window_by_the_sites_offset() {
    let shop = Shop::open(Options { zone: "Europe/Kyiv".to_owned(), ..Options::small() }).await;
    let rows = shop.get("orders?orderby=modified&order=desc&per_page=1").await.rows();
    let newest = rows[0]["date_modified_gmt"].as_str().unwrap();
    let minute = |minutes: i64| {
        let stamp: jiff::civil::DateTime = newest.parse().unwrap();
        (stamp + jiff::SignedDuration::from_mins(minutes)).to_string()
    };
    let found = async |bound: String, gmt: bool| {
        let path = format!("orders?modified_after={bound}&dates_are_gmt={gmt}&per_page=100");
        !shop.get(&path).await.ids().is_empty()
    };
    assert!(found(minute(-1), true).await);
    assert!(!found(minute(0), true).await);
    // In October Kyiv is three hours ahead: a bound with Z finds the row only when it is that much older.
    assert!(!found(format!("{}Z", minute(-1)), true).await);
    assert!(!found(format!("{}Z", minute(-179)), true).await);
    assert!(found(format!("{}Z", minute(-181)), true).await);
    assert!(found(format!("{}Z", minute(-1)), false).await);
    assert!(found(minute(179), false).await);
    assert!(!found(minute(181), false).await);
}

#[tokio::test]
async fn refunds_are_read_per_order_and_all_together() {
    let shop = Shop::small().await;
    let all = shop.get("refunds?per_page=100&orderby=id&order=asc").await.rows();
    assert!(all.len() > 20);
    let by_items = all.iter().find(|row| row["line_items"].as_array().is_some_and(|items| !items.is_empty())).unwrap();
    let order = by_items["parent_id"].as_u64().unwrap();
    let own = shop.get(&format!("orders/{order}/refunds")).await.rows();
    assert_eq!(own, [by_items.clone()]);
    assert_eq!(shop.get(&format!("refunds?parent_id={order}")).await.rows(), own);
    let item = &by_items["line_items"][0];
    assert!(item["quantity"].as_i64().unwrap() < 0 && item["total"].as_str().unwrap().starts_with('-'));
    let sold = shop.get(&format!("orders/{order}")).await.json();
    let pointed = item["meta_data"][0]["value"].as_str().unwrap();
    assert_eq!(item["meta_data"][0]["key"], "_refunded_item_id");
    let lines = sold["line_items"].as_array().unwrap();
    assert!(lines.iter().any(|line| line["id"].as_u64().unwrap().to_string() == pointed));
    let shown = &sold["refunds"][0];
    assert_eq!(
        (&shown["id"], shown["total"].as_str().unwrap()),
        (&by_items["id"], &*format!("-{}", by_items["amount"].as_str().unwrap()))
    );
    assert!(all.iter().any(|row| row["line_items"] == json!([])));
}

#[tokio::test]
async fn rows_have_the_shape_of_the_sheets_samples() {
    let Some(samples) = convert::shared("platforms/woocommerce") else { return };
    let shop = Shop::small().await;
    for (file, path) in [
        ("customers-page1.json", "customers?per_page=1&orderby=id&role=all"),
        ("orders-page1.json", "orders?per_page=1&status=completed"),
        ("products-page1.json", "products?per_page=1&type=variable"),
        ("product-categories.json", "products/categories?per_page=1"),
        ("order-1044-refunds.json", "refunds?per_page=1"),
    ] {
        let sample: Value = serde_json::from_str(&std::fs::read_to_string(samples.join(file)).unwrap()).unwrap();
        let row = shop.get(path).await.rows()[0].clone();
        for (name, value) in sample[0].as_object().unwrap() {
            assert!(row.get(name).is_some(), "{file}: {name} is missing");
            let same_kind = std::mem::discriminant(value) == std::mem::discriminant(&row[name]);
            assert!(same_kind || value.is_null() || row[name].is_null(), "{file}: {name} is {}", row[name]);
        }
    }
}

#[tokio::test]
async fn variations_hang_on_their_product() {
    let shop = Shop::small().await;
    let product = shop.get("products?type=variable&per_page=1").await.rows()[0].clone();
    let id = product["id"].as_u64().unwrap();
    let rows = shop.get(&format!("products/{id}/variations?orderby=id&order=asc&per_page=100")).await.rows();
    let ids: Vec<Value> = rows.iter().map(|row| row["id"].clone()).collect();
    assert_eq!(json!(ids), product["variations"]);
    assert!(rows.iter().all(|row| row["parent_id"] == json!(id)));
    let stamp = |row: &Value| row["date_modified_gmt"].as_str().unwrap().to_owned();
    let variation = rows[0]["id"].as_u64().unwrap();
    shop.put(&format!("products/{id}/variations/{variation}"), json!({ "regular_price": "9.99" })).await;
    let touched = shop.get(&format!("products/{id}")).await.json();
    assert!(stamp(&touched) > stamp(&product), "a variation saved over the API moves its product's stamp");
}

#[tokio::test]
async fn the_stock_is_odd_in_all_the_ways_that_shops_are() {
    let shop = Shop::open(Options { customers: 2000, orders: 3000, ..Options::default() }).await;
    let mut currencies = HashSet::new();
    let mut letters = String::new();
    let (mut guests, mut deleted_products, mut entities, mut whole_yen, mut utm, mut fraction) = (0, 0, 0, 0, 0, 0);
    for page in 1..=12 {
        let path = format!("orders?per_page=100&page={page}&orderby=id&order=asc");
        for order in shop.get(&path).await.rows() {
            let text = |name: &str| order[name].as_str().unwrap().to_owned();
            currencies.insert(text("currency"));
            letters.push_str(order["billing"]["last_name"].as_str().unwrap());
            guests += usize::from(order["customer_id"] == 0);
            whole_yen += usize::from(text("currency") == "JPY" && !text("total").contains('.'));
            let meta = order["meta_data"].to_string();
            utm += usize::from(meta.contains("_wc_order_attribution_utm_source"));
            for line in order["line_items"].as_array().unwrap() {
                deleted_products += usize::from(line["product_id"] == 0 && line["sku"].is_null());
                entities += usize::from(line["name"].as_str().unwrap().contains("&amp;"));
                fraction += usize::from(line["price"].is_f64());
            }
        }
    }
    assert_eq!(currencies, ["PLN", "UAH", "EUR", "JPY"].map(str::to_owned).into());
    for letter in ['ż', 'Ґ', 'Π', '王', 'ا', 'ß', '佐'] {
        assert!(letters.contains(letter) || letters.contains(letter.to_uppercase().next().unwrap()), "{letter}");
    }
    assert!((200..400).contains(&guests), "{guests}");
    for count in [deleted_products, entities, whole_yen, utm, fraction] {
        assert!(count > 0);
    }
    let customers = shop.get("customers?role=all&orderby=id&per_page=100&page=2").await.rows();
    let meta = |key: &str, value: &str| {
        customers.iter().any(|row| {
            row["meta_data"].as_array().unwrap().iter().any(|entry| entry["key"] == key && entry["value"] == value)
        })
    };
    assert!(meta("marketing_consent", "yes") && meta("marketing_consent", "no"));
    assert!(customers.iter().any(|row| row["date_modified_gmt"].is_null()));
    assert!(customers.iter().any(|row| row["billing"]["email"] == ""));
    let categories = shop.get("products/categories?per_page=100").await.rows();
    assert!(categories.iter().any(|row| row["name"].as_str().unwrap().contains("&amp;")));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_shop_and_another_gives_another() {
    let one = Shop::small().await;
    let same = Shop::small().await;
    let other = Shop::open(Options { seed: 2, ..Options::small() }).await;
    let path = "orders?per_page=20&orderby=id&order=asc&page=3&_fields=id,total,billing,line_items";
    let rows = one.get(path).await.rows();
    assert_eq!(rows, same.get(path).await.rows());
    assert_ne!(rows, other.get(path).await.rows());
}

#[tokio::test]
async fn decimals_are_as_many_as_were_asked_for() {
    let shop = Shop::small().await;
    let id = shop.order_with("completed").await;
    let plain = shop.get(&format!("orders/{id}")).await.json();
    let six = shop.get(&format!("orders/{id}?dp=6")).await.json();
    let (plain, six) = (plain["total"].as_str().unwrap(), six["total"].as_str().unwrap());
    assert_eq!(six.split_once('.').unwrap().1.len(), 6);
    assert_eq!(plain.parse::<f64>().unwrap(), six.parse::<f64>().unwrap());
}

#[tokio::test]
async fn any_save_touches_an_order_and_a_deleted_refund_does_not() {
    let shop = Shop::small().await;
    let id = shop.order_with("processing").await;
    let stamp = async |id: u64| shop.get(&format!("orders/{id}")).await.json()["date_modified_gmt"].clone();
    let before = stamp(id).await;
    shop.put(&format!("orders/{id}"), json!({})).await;
    let after = stamp(id).await;
    assert!(after.as_str() > before.as_str());

    shop.control("change", json!({ "advance_seconds": 60 })).await;
    let refund = shop.post(&format!("orders/{id}/refunds"), json!({ "amount": "1.00", "reason": "test" })).await;
    assert_eq!(refund.status, 201, "{}", refund.text);
    let refunded = stamp(id).await;
    assert!(refunded.as_str() > after.as_str());

    shop.control("change", json!({ "advance_seconds": 60 })).await;
    let refund = refund.json()["id"].as_u64().unwrap();
    assert_eq!(shop.delete(&format!("orders/{id}/refunds/{refund}?force=true")).await.status, 200);
    assert_eq!(stamp(id).await, refunded);
    assert_eq!(shop.get(&format!("orders/{id}/refunds")).await.rows(), Vec::<Value>::new());
}

#[tokio::test]
async fn completing_an_order_stamps_it_paid_and_completed_and_cash_is_paid_only_then() {
    let shop = Shop::small().await;
    let order = json!({
        "payment_method": "cod", "status": "processing", "billing": { "email": "new@example.com" },
        "line_items": [{ "product_id": 100, "quantity": 2 }],
    });
    let made = shop.post("orders", order).await;
    assert_eq!(made.status, 201);
    let row = made.json();
    assert!(row["date_paid_gmt"].is_null() && row["billing"]["email"] == "new@example.com");
    let id = row["id"].as_u64().unwrap();
    let done = shop.put(&format!("orders/{id}"), json!({ "status": "completed" })).await.json();
    assert!(done["date_paid_gmt"].is_string() && done["date_completed_gmt"].is_string());
    assert_eq!(shop.get("orders?orderby=id&order=desc&per_page=1").await.ids(), [id]);
}

#[tokio::test]
async fn deleting_moves_orders_to_the_trash_first_and_customers_go_only_by_force() {
    let shop = Shop::small().await;
    let id = shop.order_with("completed").await;
    shop.delete(&format!("orders/{id}")).await;
    assert_eq!(shop.get(&format!("orders/{id}")).await.json()["status"], "trash");
    assert_eq!(shop.get(&format!("orders?include={id}")).await.ids(), Vec::<u64>::new());
    assert_eq!(shop.get(&format!("orders?status=trash&include={id}")).await.ids(), [id]);
    shop.delete(&format!("orders/{id}?force=true")).await;
    assert_eq!(shop.get(&format!("orders/{id}")).await.status, 404);

    let rows = shop.get("orders?per_page=100").await.rows();
    let order = rows.iter().find(|row| row["customer_id"] != 0).unwrap();
    let customer = order["customer_id"].as_u64().unwrap();
    assert_eq!(shop.delete(&format!("customers/{customer}")).await.status, 501);
    assert_eq!(shop.delete(&format!("customers/{customer}?force=true")).await.status, 200);
    assert_eq!(shop.get(&format!("customers/{customer}")).await.status, 404);
    let left = shop.get(&format!("orders/{}", order["id"])).await.json();
    assert_eq!(left["customer_id"], 0);
    assert!(left["date_modified_gmt"].as_str() > order["date_modified_gmt"].as_str());
    assert_eq!(shop.get("customers?orderby=id&per_page=1").await.header("x-wp-total"), "299");
}

#[tokio::test]
async fn meta_of_a_customer_is_updated_by_its_key_and_bad_emails_are_refused_singly_and_emptied_in_a_batch() {
    let shop = Shop::small().await;
    let id = shop.get("customers?orderby=id&per_page=1").await.ids()[0];
    let put = async |value: &str| {
        let body = json!({ "meta_data": [{ "key": "marketing_consent", "value": value }] });
        shop.put(&format!("customers/{id}"), body).await.json()["meta_data"].clone()
    };
    put("yes").await;
    let entries = put("no").await;
    let consents: Vec<&Value> =
        entries.as_array().unwrap().iter().filter(|entry| entry["key"] == "marketing_consent").collect();
    assert_eq!((consents.len(), &consents[0]["value"]), (1, &json!("no")));

    let refused = shop.put(&format!("customers/{id}"), json!({ "billing": { "email": "" } })).await;
    assert_eq!(refused.code(), (400, "rest_invalid_param".to_owned()));
    let batch =
        json!({ "update": [{ "id": id, "billing": { "email": "bad" } }, { "id": 999_999, "first_name": "x" }] });
    let answer = shop.post("customers/batch", batch).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["update"][0]["billing"]["email"], "");
    assert_eq!(answer.json()["update"][1]["error"]["code"], "woocommerce_rest_invalid_id");
    let too_many: Vec<Value> = (0..101).map(|_| json!({ "id": id })).collect();
    assert_eq!(shop.post("customers/batch", json!({ "update": too_many })).await.status, 413);
    let order = shop.order_with("completed").await;
    let batch = json!({ "update": [{ "id": order, "status": "unheard" }] });
    assert_eq!(shop.post("orders/batch", batch).await.json()["update"][0]["status"], "pending");
}

#[tokio::test]
async fn a_renamed_category_shows_in_its_products_without_touching_them() {
    let shop = Shop::small().await;
    let product = shop.get("products?per_page=1").await.rows()[0].clone();
    let category = product["categories"][0]["id"].as_u64().unwrap();
    shop.put(&format!("products/categories/{category}"), json!({ "name": "Nowa nazwa" })).await;
    let shown = shop.get(&format!("products/{}", product["id"])).await.json();
    assert_eq!(shown["categories"][0]["name"], "Nowa nazwa");
    assert_eq!(shown["date_modified_gmt"], product["date_modified_gmt"]);
    assert_eq!(shop.get("products?per_page=1").await.header("x-wp-total"), "500");
}

#[tokio::test]
async fn about_one_percent_changes_each_named_and_nothing_else_moves() {
    let shop = Shop::open(Options { customers: 1000, orders: 2000, ..Options::default() }).await;
    let walk = async |list: &str| {
        let mut rows = std::collections::BTreeMap::new();
        for page in 1.. {
            let answer = shop.get(&format!("{list}&orderby=id&order=asc&per_page=100&page={page}")).await.rows();
            if answer.is_empty() {
                return rows;
            }
            rows.extend(answer.into_iter().map(|row| (row["id"].as_u64().unwrap(), row)));
        }
        rows
    };
    let (orders, customers) = (walk("orders?status=any").await, walk("customers?role=all").await);
    let newest = orders.values().filter_map(|row| row["date_modified_gmt"].as_str()).max().unwrap().to_owned();

    let answer = shop.control("change", json!({ "share": 0.01, "seed": 5 })).await;
    let changes = answer["changes"].as_array().unwrap();
    let named = |what: &str| changes.iter().filter(|change| change["what"] == what).collect::<Vec<_>>();
    for what in
        ["order placed", "order status", "unsubscribed", "e-mail changed", "customer deleted", "category renamed"]
    {
        assert!(!named(what).is_empty(), "{what}");
    }
    assert_eq!((named("order placed").len(), named("order status").len()), (8, 12));

    let (orders_then, customers_then) = (walk("orders?status=any").await, walk("customers?role=all").await);
    let moved = |before: &std::collections::BTreeMap<u64, Value>, after: &std::collections::BTreeMap<u64, Value>| {
        let all: HashSet<u64> = before.keys().chain(after.keys()).copied().collect();
        all.into_iter().filter(|id| before.get(id) != after.get(id)).collect::<HashSet<u64>>()
    };
    let expected = |entity: &str| {
        let own = changes.iter().filter(|change| change["entity"] == entity);
        own.map(|change| change["id"].as_u64().unwrap()).collect::<HashSet<u64>>()
    };
    assert_eq!(moved(&customers, &customers_then), expected("customers"));
    let gone = expected("customers").into_iter().filter(|id| !customers_then.contains_key(id)).collect::<HashSet<_>>();
    let of_gone = orders.iter().filter(|(_, row)| gone.contains(&row["customer_id"].as_u64().unwrap()));
    let mut expected_orders = expected("orders");
    expected_orders.extend(of_gone.map(|(id, _)| *id));
    assert_eq!(moved(&orders, &orders_then), expected_orders);
    for id in &expected_orders {
        assert!(orders_then[id]["date_modified_gmt"].as_str() > Some(newest.as_str()));
    }
    let since = shop.get(&format!("orders?modified_after={newest}&dates_are_gmt=true&per_page=100&status=any")).await;
    assert_eq!(since.ids().into_iter().collect::<HashSet<u64>>(), expected_orders);

    shop.control("reset", json!({})).await;
    assert_eq!(walk("orders?status=any").await, orders);
}

#[tokio::test]
async fn single_changes_go_past_the_api() {
    let shop = Shop::small().await;
    let customer = shop.get("customers?orderby=id&per_page=1").await.rows()[0].clone();
    let id = &customer["id"];
    let edit = json!({ "edit": { "entity": "customers", "id": id, "meta": { "marketing_consent": "no" } } });
    let edited = shop.control("change", edit).await;
    assert_eq!(edited["date_modified_gmt"], customer["date_modified_gmt"]);
    assert!(edited["meta_data"].to_string().contains("\"no\""));

    let order = shop.order_with("completed").await;
    shop.control("change", json!({ "vanish": { "entity": "orders", "id": order } })).await;
    assert_eq!(shop.get(&format!("orders/{order}")).await.status, 404);

    let raw = "{\"id\":9999999,\"name\":\"a\\u0000b\"}";
    shop.control("change", json!({ "raw": { "entity": "products", "id": 9_999_999, "text": raw } })).await;
    let page = shop.get("products?orderby=id&order=desc&per_page=1").await;
    assert_eq!(page.text, format!("[{raw}]"));
}

#[tokio::test]
async fn faults_strike_the_named_call_and_no_other() {
    let shop = Shop::small().await;
    let path = "/wp-json/wc/v3/orders";
    let page = async |number: u32| {
        let url = shop.url(&format!("orders?orderby=id&order=asc&per_page=5&page={number}"));
        let answer = shop.http.get(url).basic_auth(KEY.0, Some(KEY.1)).send().await?;
        let (status, retry_after) = (answer.status().as_u16(), answer.headers().get("retry-after").cloned());
        let text = answer.text().await?;
        Ok::<_, reqwest::Error>((status, retry_after, text))
    };
    let right = page(2).await.unwrap();

    shop.sandbox.fault(Fault::new(FaultKind::Throttle, path).after(1).retry_after("7"));
    assert_eq!(page(2).await.unwrap().0, 200);
    let (status, retry_after, _) = page(2).await.unwrap();
    assert_eq!((status, retry_after.unwrap().to_str().unwrap().to_owned()), (429, "7".to_owned()));
    assert_eq!(page(2).await.unwrap(), right);

    shop.sandbox.fault(Fault::new(FaultKind::Throttle, path).retry_after("date:90"));
    let date = page(2).await.unwrap().1.unwrap();
    assert!(httpdate::parse_http_date(date.to_str().unwrap()).is_ok());
    for (kind, status) in [(FaultKind::Error, 500), (FaultKind::Maintenance, 503), (FaultKind::Html, 200)] {
        shop.sandbox.fault(Fault::new(kind, path));
        let (found, _, text) = page(2).await.unwrap();
        assert_eq!(found, status);
        assert!(text.starts_with("<!DOCTYPE html>"), "{text}");
    }
    shop.sandbox.fault(Fault::new(FaultKind::Cut, path).query("page=3"));
    assert_eq!(page(2).await.unwrap(), right);
    let cut = page(3).await.unwrap_err();
    assert!(cut.is_body() || cut.is_decode(), "{cut:?}");
    shop.sandbox.fault(Fault::new(FaultKind::Drop, path));
    assert!(page(2).await.unwrap_err().is_request());
    shop.sandbox.fault(Fault::new(FaultKind::EmptyPage, path));
    assert_eq!(page(2).await.unwrap().2, "[]");
    shop.sandbox.fault(Fault::new(FaultKind::TruncatedJson, path));
    let (status, _, text) = page(2).await.unwrap();
    assert!(status == 200 && serde_json::from_str::<Value>(&text).is_err() && right.2.starts_with(&text));
    shop.sandbox.fault(Fault::new(FaultKind::Notices, path));
    assert!(page(2).await.unwrap().2.ends_with(&right.2));
    shop.sandbox.fault(Fault::new(FaultKind::DuplicatePage, path).query("page=3"));
    assert_eq!(page(2).await.unwrap(), right);
    assert_eq!(page(3).await.unwrap().2, right.2);
    assert_ne!(page(3).await.unwrap().2, right.2);
    assert!(shop.sandbox.faults().iter().all(|report| report.struck == 1));
}

#[tokio::test]
async fn a_lost_answer_has_done_its_work_and_a_dropped_call_has_not() {
    let shop = Shop::small().await;
    let id = shop.get("customers?orderby=id&per_page=1").await.ids()[0];
    let put = async |name: &str| {
        let request = shop.http.put(shop.url(&format!("customers/{id}"))).basic_auth(KEY.0, Some(KEY.1));
        request.json(&json!({ "first_name": name })).send().await
    };
    let name = async || shop.get(&format!("customers/{id}")).await.json()["first_name"].clone();
    shop.sandbox.fault(Fault::new(FaultKind::Lost, "*/customers/*").method("PUT"));
    assert!(put("Lost").await.is_err());
    assert_eq!(name().await, "Lost");
    shop.sandbox.fault(Fault::new(FaultKind::Drop, "*/customers/*").method("PUT"));
    assert!(put("Dropped").await.is_err());
    assert_eq!(name().await, "Lost");
    let calls = shop.sandbox.requests().calls("woocommerce", "*/customers/*");
    let lost = calls.iter().find(|call| call.fault.as_deref() == Some("lost")).unwrap();
    assert_eq!((lost.method.as_str(), lost.status), ("PUT", 0));
}

#[tokio::test]
async fn calls_are_logged_and_counted_per_route_over_http() {
    let shop = Shop::small().await;
    let product = shop.get("products?type=variable&per_page=1").await.ids()[0];
    shop.get(&format!("products/{product}/variations")).await;
    let url = format!("{}/_sandbox/requests", shop.sandbox.woocommerce_url());
    let log = shop.send(shop.http.get(&url)).await.json();
    assert_eq!(log["counts"]["woocommerce GET /wp-json/wc/v3/products/{id}/variations"], 1);
    assert_eq!(log["total"], 2);
    let calls = log["calls"].as_array().unwrap();
    assert!(calls[0]["at_micros"].as_u64() <= calls[1]["at_micros"].as_u64());
    let since = shop.send(shop.http.get(format!("{url}?since=1&platform=woocommerce"))).await.json();
    assert_eq!(since["calls"].as_array().unwrap().len(), 1);
    let state = shop.send(shop.http.get(url.replace("requests", "state"))).await.json();
    assert_eq!(state["woocommerce"]["orders"]["total"], 700);
    assert_eq!(state["woocommerce"]["customers"]["by"]["customer"], 300);
}

#[tokio::test]
async fn the_last_page_of_a_large_shop_is_found_like_the_first() {
    let shop = Shop::open(Options { customers: 200, orders: 300_000, ..Options::default() }).await;
    let counts = shop.sandbox.woocommerce().unwrap().counts(Entity::Orders);
    assert_eq!(counts.values().sum::<usize>(), 300_000);
    let live = 300_000 - counts["trash"];
    let pages = live.div_ceil(100);
    let last = shop.get(&format!("orders?orderby=id&order=asc&per_page=100&page={pages}")).await;
    assert_eq!(last.header("x-wp-total"), live.to_string());
    assert_eq!(last.rows().len(), (live - 1) % 100 + 1);
    let newest = last.rows().last().unwrap()["date_modified_gmt"].as_str().unwrap().to_owned();
    let since = format!("orders?modified_after={newest}&dates_are_gmt=true&orderby=modified&per_page=100");
    assert_eq!(shop.get(&since).await.ids(), Vec::<u64>::new());
}

/// The recorded shop, served from files made of its recorded pages.
async fn recorded_shop() -> Option<(Shop, Vec<convert::Recorded>, tempfile::TempDir)> {
    let file = convert::shared("data/recorded/woocommerce.ndjson.zst")?;
    let calls = convert::recording(&file);
    let folder = tempfile::tempdir().unwrap();
    convert::recorded_shop(&calls, folder.path());
    let options =
        Options { load: Some(folder.path().to_owned()), zone: "Europe/Kyiv".to_owned(), ..Options::default() };
    Some((Shop::open(options).await, calls, folder))
}

#[tokio::test]
async fn a_recorded_shop_is_answered_page_for_page_and_row_for_row() {
    let Some((shop, calls, _folder)) = recorded_shop().await else { return };
    let mut compared = 0;
    for call in calls.iter().filter(|call| call.status == 200 || call.status == 404 || call.status == 400) {
        let answer = shop.get(call.path.trim_start_matches("/wp-json/wc/v3/")).await;
        assert_eq!(answer.status, call.status, "{}", call.path);
        // Rows are byte for byte those of the recording, errors in other order of fields.
        if call.status == 200 {
            assert!(answer.text == call.body, "{} differs", call.path);
        } else {
            assert_eq!(answer.json(), serde_json::from_str::<Value>(&call.body).unwrap(), "{}", call.path);
        }
        for name in ["x-wp-total", "x-wp-totalpages"] {
            assert_eq!(answer.header(name), call.headers.get(name).cloned().unwrap_or_default(), "{}", call.path);
        }
        let home = shop.sandbox.woocommerce_url();
        let link = answer.header("link").replace(&home, "https://127.0.0.1:8081");
        assert_eq!(Some(&link), call.headers.get("link"), "{}", call.path);
        compared += 1;
    }
    assert!(compared > 60, "{compared}");
}

#[tokio::test]
async fn a_shop_from_files_can_be_changed_and_goes_back() {
    let Some((shop, _, _folder)) = recorded_shop().await else { return };
    let before = shop.get("orders?orderby=id&per_page=100").await.text;
    let changes = shop.sandbox.woocommerce().unwrap().change_about(0.01, 3);
    assert!(changes.iter().any(|change| change.what == "order placed"));
    assert_ne!(shop.get("orders?orderby=id&per_page=100").await.text, before);
    let newest = shop.get("orders?orderby=modified&order=desc&per_page=1").await.rows()[0].clone();
    assert!(newest["date_modified_gmt"].as_str().unwrap() >= "2026-11-21");
    shop.control("reset", json!({})).await;
    assert_eq!(shop.get("orders?orderby=id&per_page=100").await.text, before);
}

#[tokio::test]
async fn uci_invoices_become_a_shop() {
    let Some(file) = convert::shared("data/olist/uci_online_retail.csv.zst") else { return };
    let folder = tempfile::tempdir().unwrap();
    let converted = convert::uci(&file, folder.path(), Some(500));
    assert_eq!(converted.orders, 500);
    let options = Options { load: Some(folder.path().to_owned()), zone: "UTC".to_owned(), ..Options::default() };
    let shop = Shop::open(options).await;
    let first = shop.get("orders?orderby=id&order=asc&per_page=1").await;
    assert_eq!(first.header("x-wp-total"), "500");
    let order = &first.rows()[0];
    assert_eq!((&order["number"], &order["total"]), (&json!("536365"), &json!("139.12")));
    assert_eq!(order["billing"]["email"], "c17850@customers.example");
    let cancelled = shop.get("orders?status=cancelled&orderby=id&order=asc&per_page=1").await.rows()[0].clone();
    assert_eq!((&cancelled["number"], &cancelled["total"]), (&json!("C536379"), &json!("-27.50")));
    let customers: usize = shop.get("customers?orderby=id&per_page=1").await.header("x-wp-total").parse().unwrap();
    assert_eq!(customers, converted.customers);
}

#[tokio::test]
async fn olist_orders_become_a_shop_with_three_levels_of_categories() {
    let Some(data) = convert::shared("data/olist") else { return };
    let folder = tempfile::tempdir().unwrap();
    let converted = convert::olist(&data, folder.path(), Some(400));
    assert_eq!(converted.orders, 400);
    let options = Options { load: Some(folder.path().to_owned()), zone: "UTC".to_owned(), ..Options::default() };
    let shop = Shop::open(options).await;
    let order = shop.get("orders?orderby=id&order=asc&per_page=1").await.rows()[0].clone();
    assert_eq!(order["number"], "e481f51cbdc54678b7cc49136f2d6af7");
    assert_eq!((&order["status"], &order["total"]), (&json!("completed"), &json!("38.71")));
    let product = shop.get(&format!("products/{}", order["line_items"][0]["product_id"])).await.json();
    let category = shop.get(&format!("products/categories/{}", product["categories"][0]["id"])).await.json();
    assert_ne!(category["parent"], 0);
    let categories = shop.get("products/categories?per_page=100&orderby=id").await.rows();
    let parent = |id: &Value| categories.iter().find(|row| row["id"] == *id).map(|row| row["parent"].clone());
    let deep = categories.iter().filter(|row| parent(&row["parent"]).is_some_and(|up| up != json!(0)));
    assert!(deep.count() > 5);
}
