//! Changes, faults and the log of calls of the emulated WooCommerce.

use crate::support::shop::{KEY, Shop};
use serde_json::{Value, json};
use std::collections::HashSet;
use wharf::sandbox::woocommerce::Options;
use wharf::sandbox::{Fault, FaultKind};

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
    let shop = Shop::open(Options { customers: 500, orders: 1000, ..Options::default() }).await;
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
    assert_eq!((named("order placed").len(), named("order status").len()), (4, 6));

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
