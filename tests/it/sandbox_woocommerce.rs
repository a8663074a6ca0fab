//! The emulated WooCommerce's lists and rows behave as its sheet says, every fact over HTTP.

use crate::support::convert;
use crate::support::shop::{KEY, Shop};
use serde_json::{Value, json};
use std::collections::HashSet;
use wharf::sandbox::woocommerce::{Options, shop::Entity};

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
    let trash = shop.order_with("trash").await;
    for wanted in ["any", "any,trash"] {
        assert_eq!(shop.get(&format!("orders?status={wanted}&include={trash}")).await.ids(), Vec::<u64>::new());
        let total: usize =
            shop.get(&format!("orders?status={wanted}&per_page=1")).await.header("x-wp-total").parse().unwrap();
        let counts = shop.sandbox.woocommerce().unwrap().counts(Entity::Orders);
        assert_eq!(total, 700 - counts["trash"]);
    }
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
    assert_eq!(own, std::slice::from_ref(by_items));
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
