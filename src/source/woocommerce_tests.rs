//! Paging, keys and errors without a shop, and requests as a small shop on loopback sees them.

use super::*;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response as Answered};
use futures::StreamExt;
use proptest::prelude::*;
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::sync::Mutex;

const KEY: &str = "ck_0123456789abcdef0123456789abcdef01234567";
const SECRET: &str = "cs_fedcba9876543210fedcba9876543210fedcba98";

fn connection(base_url: &str, further: Value) -> Connection {
    let mut keys = json!({
        "connection": "shop", "platform": "woocommerce", "base_url": base_url,
        "consumer_key": KEY, "consumer_secret": SECRET,
    });
    keys.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    serde_json::from_value(keys).unwrap()
}

fn shop(base_url: &str, further: Value) -> WooCommerce {
    WooCommerce::new(&connection(base_url, further)).unwrap()
}

fn stream(shop: &WooCommerce, name: &str) -> StreamSpec {
    shop.streams().into_iter().find(|stream| stream.name == name).unwrap()
}

// Bounds, keys, stamps

#[test]
fn bounds_are_utc_without_a_zone_and_let_the_moment_itself_in() {
    let moment: Timestamp = "2026-10-01T02:00:00.9+02:00".parse().unwrap();
    assert_eq!(bound(moment), "2026-09-30T23:59:59");
}

#[test]
fn a_record_is_called_by_its_id_and_dated_by_its_last_change() {
    let read = |text: &str| identity(text.as_bytes());
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let both = r#"{"id":7,"date_created_gmt":"2026-10-01T10:00:00","date_modified_gmt":"2026-10-05T07:41:00"}"#;
    assert_eq!(read(both).unwrap(), Identity { key: "7".into(), updated_at: at("2026-10-05T07:41:00Z"), parent: None });
    let never_edited = r#"{"date_modified_gmt":null,"date_created_gmt":"2026-10-01T10:00:00","id":"7"}"#;
    assert_eq!(
        read(never_edited).unwrap(),
        Identity { key: "7".into(), updated_at: at("2026-10-01T10:00:00Z"), parent: None }
    );
    for undated in
        [r#"{"id":7}"#, r#"{"id":7,"date_modified_gmt":"0000-00-00T00:00:00"}"#, r#"{"id":7,"date_modified_gmt":5}"#]
    {
        assert_eq!(read(undated).unwrap(), Identity { key: "7".into(), updated_at: None, parent: None }, "{undated}");
    }
    for wrong in [
        "[]",
        "[7]",
        "{}",
        r#"{"id":null}"#,
        r#"{"id":0}"#,
        r#"{"id":""}"#,
        r#"{"id":"x"}"#,
        r#"{"id":-1}"#,
        r#"{"id":1.5}"#,
        "7",
        "{\"id\":7",
    ] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

fn sample(name: &str) -> Option<String> {
    let shared = std::env::var_os("WHARF_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let read = std::fs::read_to_string(shared.join("platforms/woocommerce").join(name)).ok();
    if read.is_none() {
        eprintln!("skipped: the sample {name} is not there");
    }
    read
}

#[test]
fn every_record_of_the_samples_has_a_key_and_all_but_wordpress_users_a_stamp() {
    for (name, dated) in [
        ("customers-page1.json", true),
        ("customers-page2.json", true),
        ("orders-page1.json", true),
        ("orders-page2.json", true),
        ("order-1044-refunds.json", true),
        ("products-page1.json", true),
        ("product-501-variations.json", true),
        ("product-categories.json", false),
        ("wp-users-page1.json", false),
    ] {
        let Some(text) = sample(name) else { continue };
        let records: Vec<Box<RawValue>> = serde_json::from_str(&text).unwrap();
        assert!(!records.is_empty());
        for record in records {
            let identity = identity(record.get().as_bytes()).unwrap();
            assert_eq!(identity.updated_at.is_some(), dated, "{name} {}", identity.key);
        }
    }
}

// Paging

/// A list that loses rows between pages, walked as the extractor walks it.
struct List {
    rows: Vec<u64>,
    headers: bool,
    true_total_when_empty: bool,
}

impl List {
    fn page(&self, start: u64, per_page: u64, catches_up: bool) -> (Vec<u64>, Meta) {
        let start = start / per_page * per_page;
        let rows: Vec<u64> = self.rows.iter().copied().skip(start as usize).take(per_page as usize).collect();
        let told = self.headers && (!rows.is_empty() || self.true_total_when_empty);
        let total = told.then_some(self.rows.len() as u64).filter(|total| *total > 0);
        let pages = total.map(|total| total.div_ceil(per_page));
        (rows, Meta { start, per_page, total, pages, more: false, catches_up })
    }
}

proptest! {
    // A thousandth of the cases is enough to lose a row in.
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn a_walk_sees_every_row_that_stays_although_others_leave(
        size in 0u64..60, per_page in 1u64..9, removals in prop::collection::vec((0usize..30, 0usize..60), 0..12),
        true_total_when_empty: bool, pauses in prop::collection::vec(any::<bool>(), 0..40),
    ) {
        let mut list = List { rows: (0..size).collect(), headers: true, true_total_when_empty };
        let (mut place, mut seen, mut removed) = (Place::default(), Vec::new(), Vec::new());
        let mut now = 1_000_000;
        for page in 0.. {
            prop_assert!(page < 500, "the walk does not end");
            let (start, catches_up) = place.start(per_page, now);
            let (rows, meta) = list.page(start, per_page, catches_up);
            seen.extend(rows.iter().copied());
            for (_, place) in removals.iter().filter(|(after, _)| *after == page) {
                if *place < list.rows.len() {
                    removed.push(list.rows.remove(*place));
                }
            }
            now += if pauses.get(page).copied().unwrap_or(false) { 1000 } else { 1 };
            match place.after(&meta, rows.len() as u64, per_page, now - 1).unwrap() {
                Some(next) => place = next,
                None => break,
            }
        }
        // Rows that leave after the last page was counted are nobody's loss.
        for row in &list.rows {
            prop_assert!(seen.contains(row), "{row} of {:?}, removed {removed:?}, seen {seen:?}", list.rows);
        }
    }

    #[test]
    fn a_walk_without_headers_ends_and_sees_all(size in 0u64..60, per_page in 1u64..9) {
        let list = List { rows: (0..size).collect(), headers: false, true_total_when_empty: false };
        let (mut place, mut seen) = (Place::default(), Vec::new());
        loop {
            let (rows, meta) = list.page(place.offset, per_page, false);
            seen.extend(rows.iter().copied());
            match place.after(&meta, rows.len() as u64, per_page, 0).unwrap() {
                Some(next) => place = next,
                None => break,
            }
        }
        prop_assert_eq!(seen, list.rows);
    }
}

#[test]
fn small_pages_go_on_to_the_border_of_a_full_one() {
    let mut place = Place { offset: 100, total: Some(400), ..Place::default() };
    let mut sizes = Vec::new();
    for per_page in [25, 25, 25, 25, 100, 100] {
        let meta = Meta { start: place.offset, per_page, total: Some(400), ..Meta::default() };
        sizes.push(place.per_page.unwrap_or(100));
        match place.after(&meta, per_page, 100, 0).unwrap() {
            Some(next) => place = next,
            None => break,
        }
    }
    assert_eq!(sizes, [100, 25, 25, 25, 100, 100]);
}

#[test]
fn an_empty_page_where_rows_were_promised_is_doubted_once() {
    let place = Place { offset: 200, total: Some(250), ..Place::default() };
    let empty = Meta { start: 200, per_page: 100, ..Meta::default() };
    let back = place.after(&empty, 0, 100, 0).unwrap().unwrap();
    assert_eq!((back.offset, back.empty_at), (100, Some(200)));
    let full = Meta { start: 100, per_page: 100, total: Some(250), ..Meta::default() };
    let again = back.after(&full, 100, 100, 0).unwrap().unwrap();
    assert_eq!(again.offset, 200);
    let error = again.after(&empty, 0, 100, 0).unwrap_err();
    assert_eq!(error.kind(), Kind::Truncated, "a shop that promises rows again and gives none is half read");
    assert!(error.detail().contains("gives 200 rows") && error.detail().contains("has 250"), "{error}");
    // Rows that left meanwhile were nobody's promise, but those behind them moved to pages that were read already.
    let fewer = Meta { total: Some(200), ..full };
    let further_back = back.after(&fewer, 100, 100, 0).unwrap().unwrap();
    assert_eq!(further_back.offset, 0);
    let first = further_back.after(&Meta { start: 0, ..fewer.clone() }, 100, 100, 0).unwrap().unwrap();
    assert_eq!((first.offset, first.after(&fewer, 100, 100, 0).unwrap()), (100, None));
}

/// A case that the property found: the pages beyond the end say no total, and three rows had left before the place.
#[test]
fn rows_that_left_show_after_an_empty_page_too() {
    let place = Place { offset: 38, total: Some(40), ..Place::default() };
    let back = place.after(&Meta { start: 38, per_page: 2, ..Meta::default() }, 0, 2, 0).unwrap().unwrap();
    assert_eq!((back.offset, back.total), (36, Some(40)));
    let last = Meta { start: 36, per_page: 2, total: Some(37), ..Meta::default() };
    let further_back = back.after(&last, 1, 2, 0).unwrap().unwrap();
    assert_eq!(further_back.offset, 33, "three rows left: the three before the page moved to pages that were read");
}

#[test]
fn where_pages_before_an_empty_one_are_empty_too_the_walk_goes_further_back_each_time() {
    let empty = |start| Meta { start, per_page: 100, ..Meta::default() };
    let mut place = Place { offset: 1000, total: Some(1100), ..Place::default() };
    let mut offsets = Vec::new();
    while place.offset > 0 {
        place = place.after(&empty(place.offset), 0, 100, 0).unwrap().unwrap();
        offsets.push(place.offset);
    }
    assert_eq!(offsets, [900, 700, 300, 0]);
    assert_eq!(place.after(&empty(0), 0, 100, 0).unwrap(), None, "the list is empty now");
    // The same page promised and empty again is no list that shrinks.
    let full = Meta { start: 300, per_page: 100, total: Some(1100), ..Meta::default() };
    let place = Place { offset: 300, empty_at: Some(400), total: Some(1100), ..Place::default() };
    let again = place.after(&full, 100, 100, 0).unwrap().unwrap();
    assert_eq!(again.after(&empty(400), 0, 100, 0).unwrap_err().kind(), Kind::Truncated);
}

#[test]
fn an_empty_page_that_says_itself_that_it_should_be_full_is_no_end() {
    let place = Place { offset: 100, total: Some(500), ..Place::default() };
    let empty = Meta { start: 100, per_page: 100, total: Some(500), ..Meta::default() };
    let back = place.after(&empty, 0, 100, 0).unwrap().unwrap();
    assert_eq!((back.offset, back.empty_at), (0, Some(100)));
    let doubted = Place { empty_at: Some(100), ..place };
    assert_eq!(doubted.after(&empty, 0, 100, 0).unwrap_err().kind(), Kind::Truncated);
    // A few rows that a plug-in hides do not stop a shop from being read.
    let few = Meta { start: 400, total: Some(430), ..empty };
    assert_eq!(Place { offset: 400, total: Some(430), ..Place::default() }.after(&few, 0, 100, 0).unwrap(), None);
}

#[test]
fn a_walk_that_stood_still_reads_the_page_before_again_and_goes_on() {
    let place = Place { offset: 300, at: 1000, ..Place::default() };
    assert_eq!(place.start(100, 1060), (300, false));
    assert_eq!(place.start(100, 9000), (200, true));
    let meta = Meta { start: 200, per_page: 100, total: Some(900), catches_up: true, ..Meta::default() };
    let next = place.after(&meta, 100, 100, 9001).unwrap().unwrap();
    assert_eq!(next.start(100, 99_999), (300, false), "or a slow walk would never end");
}

#[test]
fn the_keys_of_orders_end_with_the_trash() {
    let shop = shop("http://127.0.0.1:1", json!({}));
    let (orders, products) = (stream(&shop, "orders"), stream(&shop, "products"));
    let end = stored(&Meta { start: 0, per_page: 100, total: Some(1), ..Meta::default() }).unwrap();
    let next = |stream, walk, position: &Value| {
        shop.next(&PageRequest { stream, walk, parent: None, position, bookmark: &Value::Null }, &end, 1).unwrap()
    };
    let Next::Page(trash) = next(&orders, &Walk::Keys, &Value::Null) else { panic!("the trash is left out") };
    assert_eq!(next(&orders, &Walk::Keys, &trash), Next::End);
    assert_eq!(next(&orders, &Walk::Everything, &Value::Null), Next::End);
    assert_eq!(next(&products, &Walk::Keys, &Value::Null), Next::End);
}

#[test]
fn a_position_of_somebody_else_is_an_error() {
    let shop = shop("http://127.0.0.1:1", json!({}));
    let (stream, walk, position) = (stream(&shop, "orders"), Walk::Everything, json!("cursor"));
    let request =
        PageRequest { stream: &stream, walk: &walk, parent: None, position: &position, bookmark: &Value::Null };
    assert_eq!(shop.next(&request, &Value::Null, 0).unwrap_err().kind(), Kind::Internal);
}

// Settings

#[test]
fn streams_depend_on_settings_and_the_mapping_learns_no_secret() {
    let names = |shop: &WooCommerce| shop.streams().iter().map(|stream| stream.name).collect::<Vec<_>>();
    let plain = shop("https://shop.example", json!({}));
    assert_eq!(names(&plain), ["categories", "products", "variations", "customers", "orders", "trash", "refunds"]);
    assert_eq!(
        plain.map_settings(),
        json!({"consent_meta_keys": [], "newsletter_roles": [], "birthday_meta_key": null})
    );
    let with_users = shop(
        "https://shop.example",
        json!({"wp_user": "wharf", "wp_app_password": "abcd efgh", "consent_meta_keys": [{"key": "marketing"}]}),
    );
    assert!(names(&with_users).contains(&"subscribers"));
    let settings = with_users.map_settings();
    assert_eq!(settings["newsletter_roles"], json!(["subscriber"]));
    assert_eq!(
        settings["consent_meta_keys"],
        json!([{
            "key": "marketing", "channel": "email", "date_key": null,
            "accepted": ["yes", "1", "true", "on", "subscribed"],
            "refused": ["no", "0", "false", "off", "unsubscribed"],
        }])
    );
    for secret in [KEY, SECRET, "abcd efgh"] {
        assert!(!settings.to_string().contains(secret) && !format!("{:?}", with_users.client).contains(secret));
    }
    let half = connection("https://shop.example", json!({"wp_user": "wharf"}));
    assert_eq!(WooCommerce::new(&half).err().unwrap().kind(), Kind::PipelineFile);
}

#[test]
fn the_key_is_shown_as_the_scheme_allows() {
    assert_eq!(shop("https://shop.example", json!({})).auth, Auth::Basic);
    assert_eq!(shop("http://127.0.0.1:1", json!({})).auth, Auth::Oauth1);
    assert_eq!(shop("https://shop.example", json!({"auth": "query"})).auth, Auth::Query);
}

// Requests, as a shop on loopback sees them

type Script = Arc<Mutex<Vec<(StatusCode, &'static str)>>>;

/// A shop that gives its answers in order, the last one for ever, and remembers what it was asked.
async fn scripted(answers: &[(u16, &'static str)]) -> (String, Arc<Mutex<Vec<String>>>) {
    let script: Script = Arc::new(Mutex::new(
        answers.iter().rev().map(|(status, body)| (StatusCode::from_u16(*status).unwrap(), *body)).collect(),
    ));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let app = Router::new()
        .fallback(move |State(script): State<Script>, request: Request| async move {
            let auth = request.headers().get("authorization").map(|value| value.to_str().unwrap_or("").to_owned());
            assert!(request.headers().get("cookie").is_none());
            seen.lock().unwrap().push(format!("{} {}", auth.unwrap_or_default(), request.uri()).trim().to_owned());
            let mut script = script.lock().unwrap();
            let (status, body) = if script.len() > 1 { script.pop().unwrap() } else { script[0] };
            let answer: Answered =
                (status, [("content-type", "application/json"), ("x-wp-total", "1")], body).into_response();
            answer
        })
        .with_state(script);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/shop", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, asked)
}

async fn read(shop: &WooCommerce, name: &str, walk: Walk, parent: Option<&str>) -> Result<usize> {
    let stream = stream(shop, name);
    let request = PageRequest { stream: &stream, walk: &walk, parent, position: &Value::Null, bookmark: &Value::Null };
    let mut page = shop.page(&request).await?;
    let mut records = 0;
    while let Some(record) = page.records.next().await {
        record?;
        records += 1;
    }
    Ok(records)
}

#[tokio::test]
async fn requests_are_the_sheets() {
    let (address, asked) = scripted(&[(200, "[{\"id\":1}]")]).await;
    let shop = shop(&address, json!({"auth": "query", "wp_user": "u", "wp_app_password": "p w"}));
    let moment: Timestamp = "2026-10-01T00:00:01Z".parse().unwrap();
    let credentials = format!("consumer_key={KEY}&consumer_secret={SECRET}");
    let paging = "orderby=id&order=asc&per_page=100&page=1";
    for (name, walk, parent, expected) in [
        ("customers", Walk::Everything, None, format!("/shop/wp-json/wc/v3/customers?role=all&{paging}")),
        ("orders", Walk::Everything, None, format!("/shop/wp-json/wc/v3/orders?status=any&{paging}")),
        (
            "orders",
            Walk::ModifiedSince(moment),
            None,
            format!(
                "/shop/wp-json/wc/v3/orders?status=any&modified_after=2026-10-01T00%3A00%3A00&dates_are_gmt=true&{paging}"
            ),
        ),
        (
            "orders",
            Walk::CreatedSince(moment),
            None,
            format!("/shop/wp-json/wc/v3/orders?status=any&after=2026-10-01T00%3A00%3A00&dates_are_gmt=true&{paging}"),
        ),
        ("orders", Walk::Keys, None, format!("/shop/wp-json/wc/v3/orders?status=any&_fields=id&{paging}")),
        ("trash", Walk::Everything, None, format!("/shop/wp-json/wc/v3/orders?status=trash&{paging}")),
        ("products", Walk::Everything, None, format!("/shop/wp-json/wc/v3/products?status=any&{paging}")),
        ("variations", Walk::Everything, Some("19"), format!("/shop/wp-json/wc/v3/products/19/variations?{paging}")),
        (
            "categories",
            Walk::Everything,
            None,
            format!("/shop/wp-json/wc/v3/products/categories?hide_empty=false&{paging}"),
        ),
        ("refunds", Walk::Everything, None, format!("/shop/wp-json/wc/v3/refunds?{paging}")),
    ] {
        assert_eq!(read(&shop, name, walk, parent).await.unwrap(), 1);
        assert_eq!(asked.lock().unwrap().pop().unwrap(), format!("{expected}&{credentials}"));
    }
    assert_eq!(read(&shop, "subscribers", Walk::Everything, None).await.unwrap(), 1);
    assert_eq!(
        asked.lock().unwrap().pop().unwrap(),
        format!("Basic dTpwIHc= /shop/wp-json/wp/v2/users?context=edit&roles=subscriber&{paging}"),
        "the shop's key goes nowhere but to wc/v3"
    );
    assert_eq!(shop.calls(), 11);
}

#[tokio::test]
async fn a_server_that_fails_on_full_pages_is_asked_for_small_ones() {
    let (address, asked) = scripted(&[(500, "{}"), (504, ""), (200, "[]")]).await;
    let shop = shop(&address, json!({"auth": "query"}));
    assert_eq!(read(&shop, "orders", Walk::Everything, None).await.unwrap(), 0);
    let sizes: Vec<bool> = asked.lock().unwrap().iter().map(|uri| uri.contains("per_page=25")).collect();
    assert_eq!(sizes, [false, false, true]);
}

#[tokio::test]
async fn shops_before_9_0_list_refunds_below_their_orders() {
    let (address, _) = scripted(&[(404, r#"{"code":"rest_no_route","data":{"status":404}}"#), (200, "[]")]).await;
    let shop = shop(&address, json!({"auth": "query"}));
    shop.prepare().await.unwrap();
    let last = shop.streams().pop().unwrap();
    assert_eq!((last.name, last.table, last.parent.unwrap().table), ("order_refunds", "refunds", "orders"));
    assert_eq!(read(&shop, "order_refunds", Walk::Everything, Some("7")).await.unwrap(), 0);
    shop.prepare().await.unwrap();
    assert_eq!(shop.streams().pop().unwrap().name, "refunds", "the shop was updated");
}

#[tokio::test]
async fn a_refused_signature_is_made_anew_once() {
    const REFUSED: (u16, &str) =
        (401, r#"{"code":"woocommerce_rest_authentication_error","message":"Niepoprawny znacznik."}"#);
    let (address, asked) = scripted(&[REFUSED, (200, "[]")]).await;
    let late = shop(&address, json!({}));
    assert_eq!(read(&late, "orders", Walk::Everything, None).await.unwrap(), 0);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0], asked[1], "nonce and time are new");
    let (address, asked) = scripted(&[REFUSED]).await;
    let wrong = shop(&address, json!({}));
    let error = read(&wrong, "orders", Walk::Everything, None).await.unwrap_err();
    assert_eq!((error.kind(), asked.lock().unwrap().len()), (Kind::Credentials, 2));
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("auth: basic") && !hint.contains("clock"), "the clocks agree: {hint}");
}

#[test]
fn a_refused_signature_blames_the_clock_only_where_it_is_wrong() {
    let hint = |seconds| faults::refused_signature(Some(clock::wall() + SignedDuration::from_secs(seconds)));
    assert!(hint(0).contains("consumer_secret"));
    assert!(hint(-3_600).contains("clock differs from the shop's by 3600 s"), "{}", hint(-3_600));
    assert!(!faults::refused_signature(None).contains("clock"));
}

#[tokio::test]
async fn every_error_of_the_sheet_says_what_to_do() {
    for (auth, status, body, kind, hint) in [
        ("query", 401, r#"{"code":"woocommerce_rest_authentication_error"}"#, Kind::Credentials, "permission Read"),
        ("basic", 401, r#"{"code":"woocommerce_rest_cannot_view"}"#, Kind::Credentials, "auth: query"),
        ("query", 401, r#"{"code":"woocommerce_rest_cannot_view"}"#, Kind::Credentials, "auth: oauth1"),
        ("oauth1", 401, r#"{"code":"woocommerce_rest_cannot_view"}"#, Kind::Credentials, "base_url"),
        ("basic", 403, r#"{"code":"woocommerce_rest_cannot_view"}"#, Kind::Permission, "Shop manager"),
        ("basic", 400, r#"{"code":"rest_invalid_param","data":{"params":{"per_page":"x"}}}"#, Kind::Refused, "too old"),
        ("basic", 404, r#"{"code":"rest_no_route"}"#, Kind::Address, "permalinks"),
        ("basic", 404, r#"{"errors":{"code":"woocommerce_api_disabled"}}"#, Kind::Address, "retired"),
        ("basic", 404, r#"{"code":"woocommerce_rest_product_invalid_id"}"#, Kind::Refused, "deleted"),
        ("basic", 404, "<html><title>Not found</title>", Kind::Address, "browser"),
        ("basic", 403, "<html><title>Access denied</title>", Kind::NotJson, "firewall"),
        ("basic", 200, "<html><title>Log in</title><input type=\"password\">", Kind::NotJson, "log-in"),
        ("basic", 200, r#"{"code":"x"}"#, Kind::Protocol, ""),
    ] {
        let (address, asked) = scripted(&[(status, body)]).await;
        let shop = shop(&address, json!({"auth": auth}));
        let error = read(&shop, "orders", Walk::Everything, None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body}: {error:?}");
        assert!(error.hint_text().unwrap_or_default().contains(hint), "{status} {body}: {:?}", error.hint_text());
        assert_eq!(asked.lock().unwrap().len(), 1, "{status} {body} is not tried again");
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains(KEY) && !printed.contains(SECRET) && !printed.contains("consumer_"), "{printed}");
    }
}

#[tokio::test]
async fn a_check_stops_at_wrong_credentials_and_names_them() {
    let (address, asked) = scripted(&[
        (200, r#"{"namespace":"wc/v3","routes":{}}"#),
        (401, r#"{"code":"woocommerce_rest_authentication_error"}"#),
    ])
    .await;
    let findings = shop(&address, json!({"auth": "basic"})).check().await;
    assert_eq!(findings.iter().map(|finding| finding.ok).collect::<Vec<_>>(), [true, false]);
    assert!(findings[1].what.contains("orders") && findings[1].detail.contains("compare consumer_secret"));
    assert!(!asked.lock().unwrap()[0].contains("Basic"), "reachability needs no key");
    let (address, _) = scripted(&[(200, r#"{"namespace":"wp/v2"}"#)]).await;
    let findings = shop(&address, json!({})).check().await;
    assert!(findings.len() == 1 && !findings[0].ok, "{findings:?}");
}

#[tokio::test]
async fn a_check_of_a_good_shop_finds_everything_readable() {
    let (address, _) = scripted(&[(200, r#"{"namespace":"wc/v3","routes":{}}"#), (200, "[{\"id\":1}]")]).await;
    let findings = shop(&address, json!({"wp_user": "u", "wp_app_password": "p"})).check().await;
    assert_eq!(findings.len(), 8, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.ok), "{findings:?}");
}
