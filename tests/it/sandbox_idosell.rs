//! The emulated IdoSell behaves as its sheet says: checked over HTTP.

use crate::support::panel::Panel;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use wharf::sandbox::Platform as _;
use wharf::sandbox::idosell::{API_KEY, Options, PASSWORD, READ_KEY, USER};

const ALL_ORDERS: &str = "1999-01-01 00:00:00";

fn modified(begin: &str, end: &str) -> Value {
    json!({"ordersRange": {"ordersDateRange": {
        "ordersDateType": "modified", "ordersDateBegin": begin, "ordersDateEnd": end,
    }}})
}

fn keys(rows: &[Value], key: &str) -> Vec<u64> {
    rows.iter().map(|row| row[key].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn nobody_gets_in_without_a_key_and_a_missing_right_is_named() {
    let panel = Panel::small().await;
    let nobody = panel.send(panel.http.get(panel.url("system/serverTime"))).await;
    assert_eq!(nobody.status, 401);
    assert_eq!(nobody.json()["errors"][0]["message"], "Authorization error");
    assert_eq!(nobody.headers["x-error"], "Authorization error");

    panel.change(json!({"rights": {"crm": "none"}}));
    let barred = panel.get("clients/clients?resultsPage=0").await;
    assert_eq!(barred.status, 403);
    assert_eq!(barred.json()["errors"]["message"], "Scope: crm, level: r");
    assert_eq!(barred.headers["x-error"], "Scope: crm, level: r");
    assert_eq!(panel.get("system/serverTime").await.status, 200, "the other modules stay open");

    panel.change(json!({"rights": {"crm": "rw"}}));
    let body = json!({"params": {"clients": [{"clientLogin": "nobody"}]}});
    let request = panel.http.put(panel.url("clients/clients")).header("X-API-KEY", READ_KEY).json(&body);
    let refused = panel.send(request).await;
    assert_eq!((refused.status, &refused.json()["errors"]["message"]), (403, &json!("Scope: crm, level: rw")));
}

#[tokio::test]
async fn a_token_opens_the_door_until_it_expires() {
    let panel = Panel::small().await;
    let ask =
        |body: Value| panel.http.post(panel.url("authorize/accessToken")).basic_auth(USER, Some(PASSWORD)).json(&body);
    let token = panel.send(ask(json!({"scope": ["admin"]}))).await.json();
    assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let bearer = token["access_token"].as_str().unwrap();
    let get = || panel.http.get(panel.url("clients/clients?clientsIds=41")).bearer_auth(bearer);
    assert_eq!(panel.send(get()).await.status, 200);
    panel.change(json!({"advance_seconds": 3600}));
    assert_eq!(panel.send(get()).await.status, 401);
}

#[tokio::test]
async fn the_version_is_part_of_the_path() {
    let panel = Panel::small().await;
    for (version, status) in [("v4", 404), ("v5", 200), ("v6", 200), ("v8", 200), ("v9", 404)] {
        let url = panel.url("system/serverTime").replace("v6", version);
        assert_eq!(panel.send(panel.http.get(url).header("X-API-KEY", API_KEY)).await.status, status, "{version}");
    }
    assert_eq!(panel.get("orders/statuses").await.status, 404, "these came with version 7");
    let url = panel.url("orders/statuses").replace("v6", "v7");
    assert_eq!(panel.send(panel.http.get(url).header("X-API-KEY", API_KEY)).await.status, 200);
    assert_eq!(panel.get("clients/nothing").await.status, 404);
}

#[tokio::test]
async fn a_forgotten_wrapper_and_no_parameters_are_fault_3_of_a_success() {
    let panel = Panel::small().await;
    for path in [
        "orders/orders/search",
        "orders/unfinished/search",
        "clients/newsletter/email/search",
        "clients/newsletter/sms/search",
        "clients/crm/search",
        "products/products/search",
    ] {
        let unwrapped = panel.call(Method::POST, path, modified(ALL_ORDERS, "2030-01-01 00:00:00")).await;
        assert_eq!(unwrapped.fault(), 3, "{path}");
        assert_eq!(panel.search(path, json!({})).await.fault(), 3, "{path}");
    }
    assert_eq!(
        panel.search("orders/orders/search", json!({"resultsPage": 0})).await.fault(),
        3,
        "there is no everything"
    );
    assert_eq!(panel.get("clients/clients").await.fault(), 3);
    assert_eq!(panel.get("returns/returns?results_page=0").await.fault(), 3, "some filter is required");
    let text = panel.search("products/products/search", json!({})).await.json();
    assert_eq!(text["errors"]["faultCode"], "3", "this gate writes its codes as texts");
    let not_json = panel.http.post(panel.url("orders/orders/search")).header("X-API-KEY", API_KEY).body("{");
    let not_json = panel.send(not_json).await;
    assert_eq!(not_json.status, 422);
    assert!(not_json.headers["x-error"].as_bytes().contains(&0xc5), "the header is UTF-8");
}

#[tokio::test]
async fn fault_2_is_the_end_on_most_gates_and_a_blocked_shop_on_categories() {
    let panel = Panel::small().await;
    let far = json!({"resultsPage": 1000, "ordersSerialNumbers": [10000]});
    assert_eq!(panel.search("orders/orders/search", far).await.fault(), 2);
    assert_eq!(panel.get("clients/clients?clientsIds=4000000").await.fault(), 2);
    assert_eq!(panel.get("products/categories?results_page=9").await.json()["categories"], json!([]));
    panel.change(json!({"blocked": true}));
    assert_eq!(panel.get("clients/clients?clientsIds=41").await.fault(), 4);
    assert_eq!(panel.get("products/categories").await.fault(), 2);
    assert_eq!(panel.search("products/products/search", json!({"skipDefaultProduct": "y"})).await.fault(), 5);
    assert_eq!(panel.get("payments/forms").await.fault(), 6);
    panel.change(json!({"blocked": false}));
    for (query, fault) in [("shop_id=9&menu_id=1&lang_id=pol", 2), ("shop_id=1&menu_id=1&lang_id=xyz", 3)] {
        assert_eq!(panel.get(&format!("menu/menu?{query}")).await.fault(), fault);
    }
    assert_eq!(panel.get("menu/menu?shop_id=1&menu_id=7&lang_id=pol").await.fault(), 4);
    let unknown = json!({"skipDefaultProduct": "y", "returnPricesCurrency": "XXX"});
    assert_eq!(panel.search("products/products/search", unknown).await.fault(), 4);
}

#[tokio::test]
async fn pages_begin_at_nought_and_every_gate_spells_them_its_own_way() {
    let panel = Panel::small().await;
    let params = modified(ALL_ORDERS, "2030-01-01 00:00:00");
    let mut asked = params.clone();
    asked["resultsPage"] = json!(1);
    asked["resultsLimit"] = json!(40);
    let second = panel.search("orders/orders/search", asked).await.json();
    let total: u64 = second["resultsNumberAll"].as_str().unwrap().parse().unwrap();
    assert_eq!((&second["resultsPage"], &second["resultsLimit"]), (&json!(1), &json!(40)));
    assert_eq!(second["resultsNumberPage"], json!(total.div_ceil(40)));
    assert_eq!(second["Results"].as_array().unwrap().len(), 40);
    let mut first = params.clone();
    first["resultsLimit"] = json!(40);
    let first = panel.search("orders/orders/search", first).await.json();
    assert_eq!(first["resultsNumberAll"], json!(total), "a number here, a text there");

    let all = panel.every("orders/orders/search", params).await;
    let serials = keys(&all, "orderSerialNumber");
    assert_eq!(serials.len() as u64, total);
    assert_eq!(serials.iter().collect::<BTreeSet<_>>().len(), serials.len());
    assert_eq!(serials[40..80], keys(second["Results"].as_array().unwrap(), "orderSerialNumber"));

    for limit in [0, 101] {
        let query = format!("clients/clients?resultsLimit={limit}");
        assert_eq!(panel.get(&query).await.status, 422, "{limit}");
    }
    let news = panel.search("clients/newsletter/email/search", json!({"results_limit": 5})).await.json();
    assert_eq!((&news["results_page"], &news["results_limit"]), (&json!(0), &json!(5)));
    assert_eq!(news["clients"].as_array().unwrap().len(), 5);
    let crm = panel.search("clients/crm/search", json!({"resultsLimit": 5})).await.json();
    assert_eq!(crm["clientsResults"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_parameter_that_nobody_documented_is_refused() {
    let panel = Panel::small().await;
    assert_eq!(panel.get("clients/clients?modifiedSince=2026-01-01").await.status, 422);
    assert_eq!(panel.search("orders/orders/search", json!({"orderSerialNumber": 1})).await.status, 422);
    let wrong = modified("2026-02-14T00:00:00Z", "2026-02-16 00:00:00");
    assert_eq!(panel.search("orders/orders/search", wrong).await.status, 422);
}

#[tokio::test]
async fn windows_hold_both_ends_in_the_shops_zone() {
    let panel = Panel::small().await;
    let all = panel.every("orders/orders/search", modified(ALL_ORDERS, "2030-01-01 00:00:00")).await;
    let at = |row: &Value| row["orderDetails"]["orderChangeDate"].as_str().unwrap().to_owned();
    let (from, until) = (at(&all[100]), at(&all[200]));
    let window = panel.every("orders/orders/search", modified(&from, &until)).await;
    let wanted: Vec<u64> = keys(
        &all.iter().filter(|row| (from.clone()..=until.clone()).contains(&at(row))).cloned().collect::<Vec<_>>(),
        "orderSerialNumber",
    );
    assert_eq!(keys(&window, "orderSerialNumber"), wanted);
    assert!(wanted.len() >= 101);

    let clients = panel.every_client("").await;
    let at = |row: &Value| row["clientsLastModificationDate"].as_str().unwrap().to_owned();
    let day = at(&clients[50])[..10].to_owned();
    let query = format!(
        "&clientsLastModificationDate[clientsLastModificationDateBegin]={day}\
         &clientsLastModificationDate[clientsLastModificationDateEnd]={day}%2023:59:59"
    );
    let on_that_day = panel.every_client(&query).await;
    let wanted: Vec<Value> = clients.iter().filter(|row| at(row).starts_with(&day)).cloned().collect();
    assert_eq!(keys(&on_that_day, "clientId"), keys(&wanted, "clientId"));
    assert!(!wanted.is_empty());
}

#[tokio::test]
async fn an_order_that_changes_leaves_its_window_and_the_rows_behind_it_move_up() {
    let panel = Panel::small().await;
    let window = modified("2026-08-01 00:00:00", "2026-09-30 23:59:59");
    let before = panel.every("orders/orders/search", window.clone()).await;
    let first = before[0]["orderSerialNumber"].as_u64().unwrap();
    let changed = panel.change(json!({"order_status": {"id": first, "status": "on_order"}}));
    assert_eq!(changed["orderDetails"]["orderStatus"], "on_order");
    let after = panel.every("orders/orders/search", window).await;
    assert_eq!(keys(&after, "orderSerialNumber"), keys(&before, "orderSerialNumber")[1..]);
    let now = panel.every("orders/orders/search", modified("2026-10-01 00:00:00", "2030-01-01 00:00:00")).await;
    assert!(keys(&now, "orderSerialNumber").contains(&first));
}

#[tokio::test]
async fn unfinished_orders_have_a_gate_of_their_own() {
    let panel = Panel::small().await;
    let window = modified(ALL_ORDERS, "2030-01-01 00:00:00");
    let finished = panel.every("orders/orders/search", window.clone()).await;
    let unfinished = panel.every("orders/unfinished/search", window).await;
    assert!(!unfinished.is_empty() && finished.len() + unfinished.len() == 700);
    assert!(unfinished[0]["orderDetails"].get("orderChangeDate").is_none());
    assert!(unfinished[0]["orderDetails"]["payments"]["orderBaseCurrency"].get("billingCurrency").is_none());
    let number = unfinished[0]["orderSerialNumber"].as_u64().unwrap();
    assert_eq!(panel.get(&format!("orders/orders?ordersSerialNumbers={number}")).await.fault(), 2);
}

#[tokio::test]
async fn the_sum_of_an_orders_items_is_what_its_products_cost() {
    let panel = Panel::small().await;
    let orders = panel.every("orders/orders/search", modified(ALL_ORDERS, "2030-01-01 00:00:00")).await;
    let (mut fractions, mut gifts, mut bundles, mut currencies) = (0, 0, 0, BTreeSet::new());
    for order in &orders {
        let details = &order["orderDetails"];
        let costs = &details["payments"]["orderCurrency"];
        currencies.insert(costs["currencyId"].as_str().unwrap().to_owned());
        let mut sum = 0.0;
        for item in details["productsResults"].as_array().unwrap() {
            let quantity = item["productQuantity"].as_f64().unwrap();
            sum += quantity * item["productOrderPrice"].as_f64().unwrap();
            fractions += i32::from(quantity.fract() != 0.0);
            gifts += i32::from(item["orderSalesMode"] != "money");
            bundles += i32::from(item["bundleId"] != 0);
        }
        let cost = costs["orderProductsCost"].as_f64().unwrap();
        assert!((sum - cost).abs() < 0.005, "{sum} {cost}: {order}");
    }
    assert!(fractions > 0 && gifts > 0 && bundles > 0);
    assert_eq!(currencies.len(), 4);
    let statuses: BTreeSet<_> = orders.iter().map(|order| order["orderDetails"]["orderStatus"].to_string()).collect();
    for status in ["joined", "finished", "canceled", "false", "packed"] {
        assert!(statuses.contains(&format!("\"{status}\"")), "{statuses:?}");
    }
    let by_auction = orders.iter().find(|order| order["orderDetails"]["auctionInfo"]["auctionClientEmail"].is_string());
    let account = &by_auction.unwrap()["clientResult"]["clientAccount"];
    assert_eq!(account["clientEmail"], "", "a marketplace tells a relay address alone");
}

#[tokio::test]
async fn people_without_an_account_are_on_the_newsletter_list_alone() {
    let panel = Panel::small().await;
    let clients: BTreeMap<u64, Value> =
        panel.every_client("").await.into_iter().map(|row| (row["clientId"].as_u64().unwrap(), row)).collect();
    let news = panel.every("clients/newsletter/email/search", json!({})).await;
    let alone: Vec<&Value> =
        news.iter().filter(|row| !clients.contains_key(&row["client_number"].as_u64().unwrap())).collect();
    assert!(!alone.is_empty());
    assert!(alone.iter().all(|row| row["registered"] == "n" && row["login"] == ""));
    assert!(news.iter().any(|row| row["shops"] == json!([])), "PHP's empty map");
    let agreed = json!({"shops": [{"shop_id": 1, "approval": "y"}]});
    for row in panel.every("clients/newsletter/email/search", agreed).await {
        assert_eq!(row["shops"]["1"]["approval"], "y");
        if let Some(client) = clients.get(&row["client_number"].as_u64().unwrap()) {
            let approvals = client["newsletterEmailApprovalsData"].as_array().unwrap();
            let at_first = approvals.iter().find(|entry| entry["shopId"] == 1).unwrap();
            assert_eq!(at_first["newsletterEmailApprovalDate"], row["shops"]["1"]["date_modification"]);
        }
    }
    let unregistered = json!({"shops": [{"shop_id": 1, "registered": "n"}]});
    let unregistered = panel.every("clients/newsletter/email/search", unregistered).await;
    assert!(unregistered.iter().all(|row| row["registered"] == "n"));
    assert!(clients.values().any(|client| client["isUnregistered"] == "y"));
}

#[tokio::test]
async fn a_change_of_consent_shows_on_the_newsletter_list_and_does_not_touch_the_client() {
    let panel = Panel::small().await;
    let login = json!({"login": "nowa", "email": "nowa@example.com"});
    let client = panel.change(json!({"create_client": login}))["id"].as_u64().unwrap();
    panel.change(json!({"advance_seconds": 86_400}));
    let before = panel.get(&format!("clients/clients?clientsIds={client}")).await.rows()[0].clone();
    panel.change(json!({"consent": {"client": client, "agreed": true}}));
    let after = panel.get(&format!("clients/clients?clientsIds={client}")).await.rows()[0].clone();
    assert_eq!(before["clientsLastModificationDate"], after["clientsLastModificationDate"]);
    let since = json!({"date": {"from": "2026-10-02 00:00:00", "to": "2030-01-01 00:00:00"}});
    let changed = panel.every("clients/newsletter/email/search", since.clone()).await;
    assert_eq!(keys(&changed, "client_number"), [client]);

    let reader = panel.change(json!({"subscribe": {"email": "czytelnik@example.com"}}))["id"].as_u64().unwrap();
    let joined = panel.every("clients/newsletter/email/search", since).await;
    assert_eq!(keys(&joined, "client_number"), [client, reader]);
    panel.change(json!({"advance_seconds": 86_400}));
    panel.change(json!({"consent": {"client": reader, "agreed": false}}));
    let later = json!({"date": {"from": "2026-10-03 00:00:00", "to": "2030-01-01 00:00:00"}});
    assert_eq!(
        panel.search("clients/newsletter/email/search", later).await.fault(),
        2,
        "leaving keeps the day of joining"
    );
    let left = json!({"shops": [{"shop_id": 1, "approval": "n", "registered": "n"}]});
    assert!(keys(&panel.every("clients/newsletter/email/search", left).await, "client_number").contains(&reader));
}

#[tokio::test]
async fn a_client_who_is_deleted_vanishes_from_every_list() {
    let panel = Panel::small().await;
    let client = panel.every_client("&clientIsActive=yes").await[3]["clientId"].as_u64().unwrap();
    panel.change(json!({"delete_client": client}));
    assert_eq!(panel.get(&format!("clients/clients?clientsIds={client}")).await.fault(), 2);
    let news = panel.every("clients/newsletter/email/search", json!({})).await;
    assert!(!keys(&news, "client_number").contains(&client));
    panel.platform().reset();
    assert_eq!(panel.get(&format!("clients/clients?clientsIds={client}")).await.rows().len(), 1);
}

#[tokio::test]
async fn consents_are_written_by_login_and_every_record_answers_for_itself() {
    let panel = Panel::small().await;
    let create = json!({"create_client": {"login": "anna.testowa", "email": "anna@example.com"}});
    let client = panel.change(create)["id"].as_u64().unwrap();
    let approval = |value: &str, shop: u64| json!([{"inNewsletterEmailApproval": value, "shopId": shop}]);
    let body = json!({
        "params": {"clients": [
            {"clientLogin": "anna.testowa", "newsletterEmailApprovalsData": approval("y", 1), "requestReference": "row-1"},
            {"clientLogin": "nikt", "newsletterEmailApprovalsData": approval("y", 1), "requestReference": "row-2"},
            {"clientLogin": "anna.testowa", "newsletterEmailApprovalsData": approval("y", 9)},
            {"clientLogin": "Anna.Testowa"},
            {},
        ]},
        "clientsSettings": {"clientSettingSendMail": false, "clientSettingSendSms": false},
    });
    let answer = panel.call(Method::PUT, "clients/clients", body).await;
    assert_eq!(answer.status, 207);
    let results = answer.json()["results"].as_array().unwrap().clone();
    assert_eq!(results[0]["clientsResult"], json!({"clientId": client, "requestReference": "row-1"}));
    let faults: Vec<&Value> = results.iter().map(|result| &result["errors"][0]["faultCode"]).collect();
    assert_eq!(faults, [&json!(null), &json!(1), &json!(14), &json!(2), &json!(1)]);
    let found = json!({"shops": [{"shop_id": 1, "approval": "y"}]});
    assert!(keys(&panel.every("clients/newsletter/email/search", found).await, "client_number").contains(&client));
    assert_eq!(panel.platform().state()["letters"], 0);
    let loud = json!({"params": {"clients": [{"clientLogin": "anna.testowa", "newsletterEmailApproval": false}]}});
    assert_eq!(panel.call(Method::PUT, "clients/clients", loud).await.status, 200);
    assert_eq!(panel.platform().state()["letters"], 2, "what is not forbidden is sent");
}

#[tokio::test]
async fn creating_a_client_twice_is_fault_3() {
    let panel = Panel::small().await;
    let record = json!({"login": "nowy", "email": "nowy@example.com", "firstname": "Nowy", "lastname": "Klient",
        "password": "Haslo-Testowe-1", "email_newsletter": true, "request_reference": "a"});
    let wrong = json!({"login": "NOWY", "email": "zly-adres", "firstname": "", "lastname": "Testowa", "password": "x"});
    let body = json!({"params": {"clients": [record, wrong]}, "settings": {"send_mail": false, "send_sms": false}});
    let answer = panel.call(Method::POST, "clients/clients", body.clone()).await;
    assert_eq!(answer.status, 207);
    let clients = answer.json()["clients"].as_array().unwrap().clone();
    assert_eq!(clients[0]["status"], true);
    let faults: Vec<u64> =
        clients[1]["errors"].as_array().unwrap().iter().map(|e| e["faultCode"].as_u64().unwrap()).collect();
    assert_eq!(faults, [2, 5, 12, 10]);
    let again = panel.call(Method::POST, "clients/clients", body).await.json();
    assert_eq!(again["clients"][0]["errors"][0]["faultCode"], 3);
}

#[tokio::test]
async fn tags_are_added_changed_and_taken_away() {
    let panel = Panel::small().await;
    let add = json!({"params": [{"clientId": 41, "tagName": "newsletter", "tagValue": 1}]});
    let added = panel.call(Method::POST, "clients/tags", add).await.rows()[0].clone();
    let tag = added["tagId"].clone();
    let edit = |operation: &str, value: i64| {
        let change = json!({"tagId": tag, "operation": operation, "tagValue": value});
        json!({"params": {"clientId": 41, "clientTags": [change]}})
    };
    let more = panel.call(Method::PUT, "clients/tags", edit("add", 2)).await.rows();
    assert_eq!(more[0]["tagValue"], 3);
    assert_eq!(panel.get("clients/tags?clientId=41").await.rows()[0]["tagName"], "newsletter");
    panel.call(Method::PUT, "clients/tags", edit("set", 0)).await;
    assert!(panel.get("clients/tags?clientId=41").await.rows().is_empty(), "nought takes it away");
    let forgotten = panel.call(Method::POST, "clients/tags", json!([{"clientId": 41}])).await;
    assert_eq!(forgotten.fault(), 3);
}

#[tokio::test]
async fn the_status_of_an_order_is_written_with_a_fault_for_each_that_is_not_there() {
    let panel = Panel::small().await;
    let placed = panel.change(json!({"place_order": {"client": 45, "status": "new"}}));
    let number = placed["orderSerialNumber"].as_u64().unwrap();
    let quiet = json!({"dontSendMail": "y", "dontSendSMS": "y"});
    let orders = json!([
        {"orderSerialNumber": number, "orderStatus": "packed", "settings": quiet},
        {"orderSerialNumber": 1, "orderStatus": "packed"},
        {"orderSerialNumber": number, "orderStatus": "flying"},
        {"orderSerialNumber": number, "orderStatus": "joined"},
    ]);
    let answer = panel.call(Method::PUT, "orders/orders", json!({"params": {"orders": orders}})).await;
    assert_eq!(answer.status, 207);
    let results = answer.json()["results"]["ordersResults"].as_array().unwrap().clone();
    let faults: Vec<u64> = results.iter().map(|result| result["faultCode"].as_u64().unwrap()).collect();
    assert_eq!(faults, [0, 1, 5, 6]);
    let order = panel.get(&format!("orders/orders?ordersSerialNumbers={number}")).await.rows()[0].clone();
    assert_eq!(order["orderDetails"]["orderStatus"], "packed");
    let history = panel.get(&format!("orders/history?orderSerialNumber={number}")).await.json();
    assert!(!history["historyEvents"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn products_show_menu_paths_deleted_ones_apart_and_a_template_first() {
    let panel = Panel::small().await;
    let all = panel.every("products/products/search", json!({"returnProducts": "active"})).await;
    assert_eq!(all[0]["productId"], 0, "the template comes unless it is left out");
    let active = panel.every("products/products/search", json!({"skipDefaultProduct": "y"})).await;
    assert_eq!(keys(&active, "productId"), keys(&all, "productId")[1..]);
    let deleted = panel.every("products/products/search", json!({"returnProducts": "deleted"})).await;
    let trashed = panel.every("products/products/search", json!({"returnProducts": "in_trash"})).await;
    assert!(deleted.iter().all(|row| row["productIsDeleted"] == "y"));
    assert_eq!(active.len() + deleted.len() + trashed.len(), 500);

    let menu = panel.get("menu/menu?shop_id=1&menu_id=1&lang_id=pol").await.json();
    let nodes: BTreeMap<u64, String> = menu["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            (node["item_id"].as_u64().unwrap(), node["lang_data"][0]["item_textid"].as_str().unwrap().to_owned())
        })
        .collect();
    let mut deepest = 0;
    for product in &active {
        for node in product["productMenu"].as_array().unwrap().iter().filter(|node| node["shopId"] == 1) {
            let texts = node["menuItemDescriptionsLangData"].as_array().unwrap();
            let polish = texts.iter().find(|text| text["langId"] == "pol").unwrap();
            let path = polish["menuItemTextId"].as_str().unwrap();
            assert_eq!(nodes[&node["menuItemId"].as_u64().unwrap()], path);
            deepest = deepest.max(path.split('\\').count());
        }
    }
    assert_eq!(deepest, 3);
    let sliced = panel.get("menu/menu?shop_id=1&menu_id=1&lang_id=pol&textid_separator=>").await.text;
    assert!(!sliced.contains("\\\\"));

    let days = json!({"productDateMode": "modified", "productDateBegin": "2026-09-30", "productDateEnd": "2026-10-01"});
    let recent = json!({"skipDefaultProduct": "y", "productDate": days});
    let before = panel.every("products/products/search", recent.clone()).await.len();
    let old = active[0]["productId"].as_u64().unwrap();
    panel.change(json!({"edit_product": {"id": old, "price": 12.5}}));
    let after = panel.every("products/products/search", recent).await;
    assert_eq!(after.len(), before + 1);
    let changed = after.iter().find(|row| row["productId"] == old).unwrap();
    assert!(changed["productPriceChangedTime"].as_str().unwrap().starts_with("2026-10-01"));
}

#[tokio::test]
async fn the_server_says_so_often_that_it_is_overloaded() {
    let panel = Panel::small().await;
    panel.change(json!({"overloaded": 2}));
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(panel.get("system/serverLoad").await.json()["serverLoadStatus"].as_str().unwrap().to_owned());
    }
    assert_eq!(said, ["overloaded", "overloaded", "normal"]);
    let config = panel.get("system/config").await.json();
    assert_eq!(config["shops"].as_array().unwrap().len(), 2);
    assert!(panel.get("system/serverTime").await.json()["time"].as_i64().unwrap() >= 1_790_812_800);
    assert_eq!(panel.get("couriers/couriers").await.status, 422, "the country is required");
    assert!(!panel.get("couriers/couriers?countryCode=PL").await.rows().is_empty());
}

#[tokio::test]
async fn crm_counts_what_each_client_bought() {
    let panel = Panel::small().await;
    let client =
        panel.change(json!({"create_client": {"login": "licznik", "email": "licznik@example.com"}}))["id"].clone();
    let place = |status: &str| {
        json!({"place_order": {"client": client, "status": status,
        "items": [{"product": 100, "quantity": 2, "price": 10.25}], "delivery": 5}})
    };
    panel.change(place("finished"));
    panel.change(place("new"));
    let found = panel.search("clients/crm/search", json!({"clientLogin": "licznik"})).await.rows();
    assert_eq!(found[0]["clientOrdersAllCount"], 2);
    assert_eq!(found[0]["clientOrdersCompletedCount"], 1);
    assert_eq!(found[0]["clientTotalOrdersValue"], 25.5);
}

#[tokio::test]
async fn about_a_hundredth_of_the_panel_changes_and_the_same_seed_changes_the_same() {
    let (one, other) = (Panel::small().await, Panel::small().await);
    let change = json!({"share": 0.05, "seed": 7});
    let changes = one.change(change.clone());
    assert_eq!(changes, other.change(change));
    let kinds: BTreeSet<String> =
        changes["changes"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    one.platform().reset();
    let fresh = Panel::small().await;
    let window = modified(ALL_ORDERS, "2030-01-01 00:00:00");
    let of_one = one.every("orders/orders/search", window.clone()).await;
    assert_eq!(of_one, fresh.every("orders/orders/search", window).await);
}

#[tokio::test]
async fn a_panel_of_four_shops_keeps_consent_apart() {
    let panel = Panel::open(Options { shops: 4, ..Options::small() }).await;
    let client =
        panel.change(json!({"create_client": {"login": "cztery", "email": "cztery@example.com"}}))["id"].clone();
    panel.change(json!({"consent": {"client": client, "shop": 4, "agreed": true}}));
    for (shop, is_there) in [(1, false), (4, true)] {
        let asked = json!({"shops": [{"shop_id": shop, "approval": "y", "registered": "y"}]});
        let found = panel.every("clients/newsletter/email/search", asked).await;
        assert_eq!(keys(&found, "client_number").contains(&client.as_u64().unwrap()), is_there, "{shop}");
    }
}
