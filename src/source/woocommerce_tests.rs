//! Paging, keys and errors without a shop, and requests as a small shop on loopback sees them.

use super::*;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response as Answered};
use futures::StreamExt;
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

fn page_of(start: u64, size: u64, total: u64) -> (Value, Seen) {
    let mut seen = Seen::default();
    (start..(start + size).min(total)).for_each(|row| seen.note(Some(&(row + 1).to_string())));
    (stored(&Meta { slice: Slice { start, size }, total: Some(total) }).unwrap(), seen)
}

#[test]
fn a_page_begins_with_the_last_row_known_and_goes_back_where_it_does_not() {
    let shop = shop("http://127.0.0.1:1", json!({}));
    let customers = stream(&shop, "customers");
    let next = |position: &Value, meta: &Value, seen: &Seen| {
        let walk = &Walk::Everything;
        let request = PageRequest { stream: &customers, walk, parent: None, position, bookmark: &Value::Null };
        let Next::Page(next) = shop.next(&request, meta, seen).unwrap() else { panic!("there are more") };
        let place: Place = restored(&next).unwrap();
        (place.list.slice(&WooCommerce::sorted(&request, 100)).start, shop.follows(&next), next)
    };
    let (meta, seen) = page_of(0, 100, 300);
    let (start, follows, second) = next(&Value::Null, &meta, &seen);
    assert_eq!((start, follows), (99, true));
    // The first row left and another came: what stands at 99 now is the row behind the one that is known.
    let (meta, seen) = page_of(100, 100, 301);
    let meta = stored(&Meta { slice: Slice { start: 99, size: 100 }, ..restored(&meta).unwrap() }).unwrap();
    let (start, follows, _) = next(&second, &meta, &seen);
    assert_eq!((start, follows), (88, false));
}

#[test]
fn positions_of_the_version_before_begin_their_list_anew() {
    let before = json!({"offset": 300, "per_page": null, "total": 900, "at": 1000, "trash": true, "before_trash": 40});
    let place: Place = restored(&before).unwrap();
    assert_eq!(place, Place { trash: true, before_trash: 40, ..Place::default() });
}

#[test]
fn a_weak_server_is_asked_for_small_pages_and_rarely_for_a_full_one() {
    let mut place = Place::default();
    let (mut asked, mut tries) = (Vec::new(), 0);
    for _ in 0..200 {
        let size = place.size(100);
        asked.push(size);
        if size == 100 {
            tries += place.tries();
        }
        // Full pages fail always.
        place = place.after(SMALL_PAGE, 100);
    }
    let full = asked.iter().filter(|size| **size == 100).count();
    assert_eq!((full, tries), (3, 4), "at the beginning twice, after 40 and after 120 small pages once");
    assert_eq!(place.after(100, 100).size(25), 25);
}

#[test]
fn the_keys_of_orders_end_with_the_trash() {
    let shop = shop("http://127.0.0.1:1", json!({}));
    let (orders, products) = (stream(&shop, "orders"), stream(&shop, "products"));
    let (end, seen) = page_of(0, 100, 1);
    let next = |stream, walk, position: &Value| {
        shop.next(&PageRequest { stream, walk, parent: None, position, bookmark: &Value::Null }, &end, &seen).unwrap()
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
    assert_eq!(shop.next(&request, &Value::Null, &Seen::default()).unwrap_err().kind(), Kind::Internal);
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
    let paging = "orderby=id&order=asc&per_page=100";
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
