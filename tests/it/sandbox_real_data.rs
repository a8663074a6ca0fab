//! Shops from files: a recorded one is answered row for row, real orders are served as WooCommerce would.

use crate::support::convert;
use crate::support::shop::Shop;
use serde_json::{Value, json};
use wharf::sandbox::woocommerce::Options;

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

/// Rows in their order, with the lists inside them sorted.
fn in_order(text: &str) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(list) => {
                list.iter_mut().for_each(sort);
                list.sort_by_key(Value::to_string);
            }
            Value::Object(members) => members.values_mut().for_each(sort),
            _ => {}
        }
    }
    let mut value: Value = serde_json::from_str(text).unwrap();
    match &mut value {
        Value::Array(rows) => rows.iter_mut().for_each(sort),
        one => sort(one),
    }
    value
}

#[tokio::test]
async fn a_recorded_shop_is_answered_page_for_page_and_row_for_row() {
    let Some((shop, calls, _folder)) = recorded_shop().await else { return };
    let mut compared = 0;
    for call in calls.iter().filter(|call| call.status == 200 || call.status == 404 || call.status == 400) {
        let answer = shop.get(call.path.trim_start_matches("/wp-json/wc/v3/")).await;
        assert_eq!(answer.status, call.status, "{}", call.path);
        // Rows are those of the recording, but for lists in them that the shop gives in another order each time; errors come
        // in another order of fields.
        if call.status == 200 {
            let (given, recorded) = (in_order(&answer.text), in_order(&call.body));
            assert!(answer.text == call.body || given == recorded, "{} differs", call.path);
            assert_eq!(answer.text.len(), call.body.len(), "{}", call.path);
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
