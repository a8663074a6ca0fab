//! Requests as a small panel on loopback sees them, and what becomes of its answers.

use super::*;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response as Answered};
use std::path::PathBuf;
use std::sync::Mutex;

const KEY: &str = "YXBwbGljYXRpb24xOlRlc3Q=";

/// One request: method and path with query, key, body.
#[derive(Debug, Clone)]
struct Seen {
    uri: String,
    key: String,
    body: Value,
}

type Script = Arc<dyn Fn(usize, &Seen) -> (u16, Vec<(&'static str, Vec<u8>)>, String) + Send + Sync>;

#[derive(Clone)]
struct Panel {
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A panel that answers as told; gives its address and what it was asked.
async fn panel(
    script: impl Fn(usize, &Seen) -> (u16, Vec<(&'static str, Vec<u8>)>, String) + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<Seen>>>) {
    async fn answer(State(panel): State<Panel>, request: Request) -> Answered {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let seen = Seen {
            uri: format!("{} {}", head.method, head.uri),
            key: head.headers.get("x-api-key").map_or_else(String::new, |value| value.to_str().unwrap().to_owned()),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        let number = {
            let mut all = panel.seen.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        let (status, headers, body) = (panel.script)(number, &seen);
        let mut answer = (axum::http::StatusCode::from_u16(status).unwrap(), body).into_response();
        for (name, value) in headers {
            answer.headers_mut().insert(name, axum::http::HeaderValue::from_bytes(&value).unwrap());
        }
        answer
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let app = Router::new().fallback(answer).with_state(Panel { script: Arc::new(script), seen: seen.clone() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, seen)
}

fn ok(body: Value) -> (u16, Vec<(&'static str, Vec<u8>)>, String) {
    (200, Vec::new(), body.to_string())
}

fn fault(code: i64) -> (u16, Vec<(&'static str, Vec<u8>)>, String) {
    (207, Vec::new(), json!({"errors": {"faultCode": code, "faultString": "za mało"}}).to_string())
}

fn shop(base_url: &str, further: Value) -> IdoSell {
    IdoSell::new(&connection(base_url, further)).unwrap()
}

fn connection(base_url: &str, further: Value) -> Connection {
    let mut keys = json!({
        "connection": "shop", "platform": "idosell", "base_url": base_url, "api_key": KEY, "rate": "1000/s",
        "load_check_every": 0,
    });
    keys.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    serde_json::from_value(keys).unwrap()
}

fn stream(shop: &IdoSell, name: &str) -> StreamSpec {
    shop.streams().into_iter().find(|stream| stream.name == name).unwrap()
}

/// A whole walk: the keys in the order of arrival.
async fn walk(shop: &IdoSell, name: &str, walk: Walk, bookmark: Value) -> Result<(Vec<String>, Option<Next>)> {
    let stream = stream(shop, name);
    let (mut position, mut keys) = (Value::Null, Vec::new());
    loop {
        let request =
            PageRequest { stream: &stream, walk: &walk, parent: None, position: &position, bookmark: &bookmark };
        let mut page = shop.page(&request).await?;
        let mut held = crate::source::Seen::default();
        while let Some(record) = page.records.next().await {
            keys.push(shop.identify(&stream, &record?).unwrap().key);
            held.note(keys.last().map(String::as_str));
        }
        match shop.next(&request, &page.meta, &held)? {
            Next::Page(next) => position = next,
            Next::End => return Ok((keys, None)),
            end => return Ok((keys, Some(end))),
        }
    }
}

fn since(text: &str) -> Walk {
    Walk::ModifiedSince(text.parse().unwrap())
}

fn order(serial: u64) -> Value {
    json!({"orderSerialNumber": serial, "orderDetails": {"orderChangeDate": "2026-02-14 10:00:00"}, "errors": []})
}

#[tokio::test]
async fn changed_orders_are_searched_for_by_change_and_by_payment_in_the_shops_own_time() {
    let (url, seen) = panel(|number, seen| {
        assert_eq!(seen.key, KEY);
        match number {
            0 => ok(json!({"Results": [order(1), order(2)], "resultsNumberAll": "3", "resultsNumberPage": 2})),
            1 => ok(json!({"resultsNumberAll": 3, "Results": [order(3)], "resultsNumberPage": "2"})),
            _ => fault(2),
        }
    })
    .await;
    let shop = shop(&format!("{url}/api/admin/v6/orders"), json!({"per_page": 2}));
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    let (keys, _) = walk(&shop, "orders", Walk::ModifiedSince(yesterday), Value::Null).await.unwrap();
    assert_eq!(keys, ["1", "2", "3"]);
    let seen = seen.lock().unwrap().clone();
    let range = |number: usize| &seen[number].body["params"]["ordersRange"]["ordersDateRange"];
    assert_eq!(seen[0].uri, "POST /api/admin/v6/orders/orders/search");
    assert_eq!(range(0)["ordersDateType"], "modified");
    assert_eq!(range(0)["ordersDateBegin"], local_time::written(local_time::upper_bound(yesterday, &shop.zone)));
    assert_eq!(seen[0].body["params"]["resultsPage"], 0);
    assert_eq!(
        (&seen[0].body["params"]["resultsLimit"], &seen[1].body["params"]["resultsPage"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(range(1)["ordersDateEnd"], range(0)["ordersDateEnd"], "the window is closed");
    assert_eq!(range(2)["ordersDateType"], "last_payments_operation");
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn a_back_fill_asks_for_all_time_once_and_for_months_where_there_is_more_than_a_page() {
    let (url, seen) = panel(|_, seen| {
        let range = &seen.body["params"]["ordersRange"]["ordersDateRange"];
        assert_eq!(range["ordersDateType"], "add");
        let (from, to) = (range["ordersDateBegin"].as_str().unwrap(), range["ordersDateEnd"].as_str().unwrap());
        // Two orders a month in 2024.
        let orders: Vec<Value> = (1..=12u64)
            .flat_map(|month| [(month, 10), (month, 20)])
            .filter(|(month, day)| {
                let at = format!("2024-{month:02}-{day} 12:00:00");
                from <= at.as_str() && at.as_str() <= to
            })
            .map(|(month, day)| order(month * 100 + day))
            .collect();
        let page = seen.body["params"]["resultsPage"].as_u64().unwrap() as usize;
        let shown: Vec<&Value> = orders.iter().skip(page * 3).take(3).collect();
        if shown.is_empty() {
            return fault(2);
        }
        ok(json!({"Results": shown, "resultsNumberAll": orders.len(), "resultsNumberPage": orders.len().div_ceil(3)}))
    })
    .await;
    let shop = shop(&url, json!({"per_page": 3, "history_from": "2010-01-01"}));
    let (mut keys, _) = walk(&shop, "orders", Walk::Everything, Value::Null).await.unwrap();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 24);
    let calls = seen.lock().unwrap().len();
    assert!(calls < 40, "{calls}");
}

#[tokio::test]
async fn subscribers_are_read_by_channel_shop_and_answer() {
    let (url, seen) = panel(|_, seen| match seen.uri.as_str() {
        "GET /api/admin/v6/system/config" => ok(json!({"shops": [{"shop_id": 1}, {"shop_id": "2"}]})),
        "POST /api/admin/v6/clients/newsletter/email/search" => {
            let shop = seen.body["params"]["shops"][0].clone();
            let number = shop["shop_id"].to_string();
            let record = json!({"client_number": 41, "email": "a@b.pl", "registered": "n", "shops": {number: shop}});
            ok(json!({"clients": [record], "results_number_all": 1, "results_number_page": 1}))
        }
        _ => ok(json!({"clients": [], "results_number_all": 0, "results_number_page": 0})),
    })
    .await;
    let shop = shop(&url, json!({"shop_id": "all"}));
    shop.prepare().await.unwrap();
    let (keys, _) = walk(&shop, "subscribers", Walk::Everything, Value::Null).await.unwrap();
    assert_eq!(keys, ["email-41-1", "email-41-1", "email-41-2", "email-41-2"]);
    let seen = seen.lock().unwrap().clone();
    let asked: Vec<Value> = seen[1..].iter().map(|seen| seen.body["params"]["shops"][0].clone()).collect();
    let one = |shop: u32, approval: &str| json!({"shop_id": shop, "approval": approval});
    assert_eq!(asked[..4], [one(1, "y"), one(1, "n"), one(2, "y"), one(2, "n")]);
    assert_eq!(asked.len(), 8);
    assert_eq!(seen[1].body["params"]["results_page"], 0);
    assert_eq!(seen[1].body["params"].get("date"), None);
    assert_eq!(shop.map_settings()["shops"], json!([1, 2]));
}

#[tokio::test]
async fn customers_and_returns_are_asked_for_in_brackets() {
    let (url, seen) = panel(|_, _| fault(2)).await;
    let shop = shop(&url, json!({}));
    walk(&shop, "customers", since("2026-01-01T10:00:00Z"), Value::Null).await.unwrap();
    walk(&shop, "customers", Walk::Keys, Value::Null).await.unwrap();
    walk(&shop, "returns", since("2026-01-01T10:00:00Z"), Value::Null).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    let decoded = |number: usize| {
        percent_encoding::percent_decode_str(&seen[number].uri.replace('+', " ")).decode_utf8().unwrap().into_owned()
    };
    assert!(
        decoded(0).contains("clientsLastModificationDate[clientsLastModificationDateBegin]=2026-01-01 11:00:00"),
        "{}",
        decoded(0)
    );
    assert!(decoded(1).contains("returnElements=clientId"), "{}", decoded(1));
    assert!(decoded(2).contains("range[date][date_begin]=2026-01-01 11:00:00"), "{}", decoded(2));
    assert!(decoded(2).contains("range[date][dates_type]=date_add"), "{}", decoded(2));
    assert!(decoded(3).contains("range[date][dates_type]=date_end"), "{}", decoded(3));
}

#[tokio::test]
async fn products_are_asked_for_by_day_and_deleted_ones_apart() {
    let (url, seen) = panel(|_, _| fault(2)).await;
    let shop = shop(&url, json!({}));
    walk(&shop, "products", since("2026-01-31T23:30:00Z"), Value::Null).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    let asked = |number: usize| seen[number].body["params"].clone();
    assert_eq!(asked(0)["productDate"]["productDateBegin"], "2026-02-01", "it is February in the shop");
    assert_eq!(asked(0)["productDate"]["productDateMode"], "modified_and_quantity_changed");
    assert_eq!(asked(0)["skipDefaultProduct"], "y");
    assert_eq!(
        (asked(1)["productDate"]["productDateMode"].as_str(), asked(2)["returnProducts"].as_str()),
        (Some("price_changed"), Some("deleted"))
    );
}

#[tokio::test]
async fn faults_stop_where_they_mean_something() {
    let kind = |name: &'static str, code: i64| async move {
        let (url, _) = panel(move |_, _| fault(code)).await;
        walk(&shop(&url, json!({})), name, Walk::Everything, Value::Null)
            .await
            .map_err(|error| error.kind())
            .map(|_| ())
    };
    assert_eq!(kind("customers", 2).await, Ok(()));
    assert_eq!(kind("customers", 3).await, Err(Kind::Protocol));
    assert_eq!(kind("orders", 4).await, Err(Kind::Permission));
    assert_eq!(kind("products", 4).await, Err(Kind::Refused));
    assert_eq!(kind("products", 5).await, Err(Kind::Permission));
    assert_eq!(kind("categories", 2).await, Err(Kind::Permission), "blocked, not empty");
}

#[tokio::test]
async fn a_gateways_page_is_asked_for_again_and_then_reported() {
    let html = || (200, Vec::new(), "<html><title>Przerwa techniczna</title></html>".to_owned());
    let (url, _) = panel(move |number, _| if number == 0 { html() } else { fault(2) }).await;
    assert!(walk(&shop(&url, json!({})), "customers", Walk::Everything, Value::Null).await.is_ok());
    let (url, seen) = panel(move |_, _| html()).await;
    let error = walk(&shop(&url, json!({})), "customers", Walk::Everything, Value::Null).await.unwrap_err();
    assert_eq!((error.kind(), seen.lock().unwrap().len()), (Kind::NotJson, 3));
    assert!(error.to_string().contains("Przerwa techniczna"), "{error}");
}

#[tokio::test]
async fn a_missing_right_is_named_as_the_platform_names_it_and_no_key_is_shown() {
    let (url, _) = panel(|_, _| {
        let said = format!("Brak uprawnień dla {KEY}. Scope: crm, level: r");
        (403, vec![("x-error", said.into_bytes())], "{}".to_owned())
    })
    .await;
    let error = walk(&shop(&url, json!({})), "customers", Walk::Everything, Value::Null).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Permission);
    assert!(error.to_string().contains("Brak uprawnień dla …. Scope: crm, level: r"), "{error}");
    assert!(error.hint_text().unwrap().contains("Scope: crm, level: r"), "{:?}", error.hint_text());
}

#[tokio::test]
async fn an_overloaded_server_is_left_alone_until_it_is_not() {
    let (url, seen) = panel(|number, seen| match (seen.uri.ends_with("serverLoad"), number) {
        (true, 0 | 1) => ok(json!({"serverLoadStatus": "overloaded"})),
        (true, _) => ok(json!({"serverLoadStatus": "normal"})),
        _ => {
            let parameter = |name: &str| -> usize {
                seen.uri.split(&format!("{name}=")).nth(1).unwrap().split('&').next().unwrap().parse().unwrap()
            };
            let (page, limit) = (parameter("resultsPage"), parameter("resultsLimit"));
            let shown: Vec<Value> = (1..=12).skip(page * limit).take(limit).map(|id| json!({"clientId": id})).collect();
            ok(json!({"results": shown, "resultsNumberAll": 12, "resultsNumberPage": 12_usize.div_ceil(limit)}))
        }
    })
    .await;
    let shop = shop(&url, json!({"load_check_every": 3, "load_pause": "1ms", "per_page": 1}));
    let (keys, _) = walk(&shop, "customers", Walk::Everything, Value::Null).await.unwrap();
    let distinct: HashSet<&String> = keys.iter().collect();
    assert_eq!(distinct.len(), 12, "{keys:?}");
    let asked: Vec<bool> = seen.lock().unwrap().iter().map(|seen| seen.uri.ends_with("serverLoad")).collect();
    assert_eq!(asked[..4], [true, true, true, false], "until it is at rest, nothing else is asked");
    let calls_between: Vec<usize> = asked[3..].split(|is_load| *is_load).map(<[bool]>::len).collect();
    let (last, others) = calls_between.split_last().unwrap();
    assert!(others.iter().all(|calls| *calls == 3) && *last <= 3 && !others.is_empty(), "{asked:?}");
}

#[tokio::test]
async fn a_server_that_does_not_say_how_busy_it_is_is_read_all_the_same() {
    let (url, seen) =
        panel(|_, seen| if seen.uri.ends_with("serverLoad") { (403, Vec::new(), "{}".into()) } else { fault(2) }).await;
    let shop = shop(&url, json!({"load_check_every": 1}));
    walk(&shop, "customers", Walk::Everything, Value::Null).await.unwrap();
    walk(&shop, "customers", Walk::Everything, Value::Null).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 3, "it is asked once");
}

#[tokio::test]
async fn a_customer_who_goes_while_the_list_is_read_hides_nobody() {
    let all = Arc::new(Mutex::new((1..=9u64).collect::<Vec<_>>()));
    let (url, _) = panel(move |number, seen| {
        let mut all = all.lock().unwrap();
        if number == 2 {
            all.remove(0);
        }
        let page: usize = seen.uri.split("resultsPage=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
        let shown: Vec<Value> = all.iter().skip(page * 3).take(3).map(|id| json!({"clientId": id})).collect();
        ok(json!({"results": shown, "resultsNumberAll": all.len(), "resultsNumberPage": all.len().div_ceil(3)}))
    })
    .await;
    let (keys, _) =
        walk(&shop(&url, json!({"per_page": 3})), "customers", Walk::Everything, Value::Null).await.unwrap();
    for id in 2..=9u64 {
        assert!(keys.contains(&id.to_string()), "{id} of {keys:?}");
    }
}

#[tokio::test]
async fn a_walk_that_begins_in_the_future_of_its_window_asks_nothing() {
    let (url, seen) = panel(|_, _| fault(2)).await;
    let later = Timestamp::now().checked_add(SignedDuration::from_hours(1)).unwrap();
    let (keys, _) = walk(&shop(&url, json!({})), "orders", Walk::ModifiedSince(later), Value::Null).await.unwrap();
    assert!(keys.is_empty() && seen.lock().unwrap().is_empty());
}

const GATEWAY: &str = r#"<provider_description>
    <full url="/edi/full.xml?token=geheim" hash="HASH" changed="2026-02-16 02:00:00">
      <changes><change url="/edi/change.xml" hash="c1" changed="2026-02-16 02:30:00"/></changes></full>
    <light url="/edi/light.xml" hash="l1" changed="2026-02-16 02:00:00"/></provider_description>"#;

#[tokio::test]
async fn an_unchanged_offer_file_is_not_asked_for_and_proves_no_deletion() {
    let (url, seen) = panel(|_, seen| {
        let path = seen.uri.split(['?', ' ']).nth(1).unwrap();
        let product = |id: &str| format!("<offer><products currency=\"PLN\"><product id=\"{id}\"/></products></offer>");
        (
            200,
            Vec::new(),
            match path {
                "/gateway.xml" => GATEWAY.replace("HASH", "f1"),
                "/edi/full.xml" => product("1"),
                "/edi/change.xml" => product("2"),
                other => panic!("{other}"),
            },
        )
    })
    .await;
    let shop = shop(&url, json!({"iof_url": format!("{url}/gateway.xml")}));
    let (keys, end) = walk(&shop, "offers", Walk::Everything, Value::Null).await.unwrap();
    assert_eq!(keys, ["1", "2"]);
    let Some(Next::EndAt { bookmark, whole: true }) = end else { panic!("{end:?}") };
    assert!(!bookmark.to_string().contains("geheim"), "{bookmark}");
    let calls = seen.lock().unwrap().len();
    let (keys, end) = walk(&shop, "offers", Walk::Everything, bookmark.clone()).await.unwrap();
    assert!(keys.is_empty());
    assert_eq!(end, Some(Next::EndAt { bookmark, whole: false }));
    assert_eq!(seen.lock().unwrap().len(), calls + 1, "the gateway alone");
}

/// A gateway whose full file lies at `file`, and a second server that counts who asks it.
async fn feed_elsewhere(allowed: bool) -> (Result<Vec<String>>, usize) {
    let offer = "<offer><products><product id=\"1\"/></products></offer>".to_owned();
    let (elsewhere, asked) = panel(move |_, _| (200, Vec::new(), offer.clone())).await;
    let file = format!("{elsewhere}/full.xml");
    let (url, _) = panel(move |_, _| {
        (200, Vec::new(), format!("<provider_description><full url=\"{file}\" hash=\"1\"/></provider_description>"))
    })
    .await;
    let servers = if allowed { vec![elsewhere] } else { Vec::new() };
    let settings = json!({"iof_url": format!("{url}/gateway.xml"), "allowed_servers": servers});
    let walked = walk(&shop(&url, settings), "offers", Walk::Everything, Value::Null).await;
    let asked = asked.lock().unwrap().len();
    (walked.map(|(keys, _)| keys), asked)
}

#[tokio::test]
async fn a_gateway_that_names_another_server_leads_nowhere_unless_the_pipeline_file_allows_it() {
    let (walked, asked) = feed_elsewhere(false).await;
    let error = walked.unwrap_err();
    assert_eq!((error.kind(), asked), (Kind::Protocol, 0), "{error}");
    assert!(error.hint_text().unwrap().contains("allowed_servers"));
    let (walked, asked) = feed_elsewhere(true).await;
    assert_eq!((walked.unwrap(), asked), (vec!["1".to_owned()], 1));
}

#[tokio::test]
async fn a_feed_that_is_not_encrypted_is_refused_unless_the_pipeline_file_allows_it() {
    let settings = |allow_http: bool| json!({"iof_url": "http://shop.example/gateway.xml", "allow_http": allow_http});
    let made = |allow_http| IdoSell::new(&connection("https://shop.example", settings(allow_http)));
    assert_eq!(made(false).err().unwrap().kind(), Kind::PipelineFile);
    assert!(made(true).is_ok());
}

#[tokio::test]
async fn what_wharf_check_finds_names_every_missing_right() {
    let (url, _) = panel(|_, seen| {
        let scope =
            |scope: &str| (403, vec![("x-error", format!("Scope: {scope}, level: r").into_bytes())], "{}".to_owned());
        match seen.uri.as_str() {
            uri if uri.contains("system/") => scope("system"),
            uri if uri.contains("clients/") => scope("crm"),
            uri if uri.contains("menu/") => fault(4),
            _ => fault(if seen.uri.contains("categories") { 0 } else { 2 }),
        }
    })
    .await;
    let findings = shop(&url, json!({})).check().await;
    let wrong: Vec<(&str, &str)> =
        findings.iter().filter(|one| !one.ok).map(|one| (one.what.as_str(), one.detail.as_str())).collect();
    assert_eq!(
        wrong.iter().map(|(what, _)| *what).collect::<Vec<_>>(),
        [
            "customers can be read",
            "newsletter subscribers can be read",
            "SMS subscribers can be read",
            "categories can be read",
            "the menu can be read"
        ],
        "{findings:#?}"
    );
    assert!(wrong[0].1.contains("Scope: crm, level: r"), "{}", wrong[0].1);
    assert!(wrong[4].1.contains("menu_id"), "{}", wrong[4].1);
}

#[tokio::test]
async fn a_wrong_key_is_told_once() {
    let (url, seen) = panel(|_, _| {
        (
            401,
            vec![("x-error", b"Authorization error".to_vec())],
            json!({"errors": [{"message": "Authorization error"}]}).to_string(),
        )
    })
    .await;
    let findings = shop(&url, json!({})).check().await;
    assert_eq!((findings.len(), seen.lock().unwrap().len()), (1, 1));
    assert!(
        findings[0].detail.contains("Authorization error") && findings[0].detail.contains("api_key"),
        "{findings:?}"
    );
}

/// The samples beside the sheet: every record has a key, and nothing is left out.
#[tokio::test]
async fn the_samples_are_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/platforms/idosell");
    if !folder.is_dir() {
        return;
    }
    let shop = shop("http://127.0.0.1:1", json!({}));
    for (file, list, name) in [
        ("clients.json", "results", "customers"),
        ("clients-newsletter-email-search.json", "clients", "subscribers"),
        ("orders-search.json", "results", "orders"),
        ("products-search.json", "results", "products"),
        ("products-categories.json", "categories", "categories"),
        ("menu.json", "result", "categories"),
        ("returns.json", "returns", "returns"),
    ] {
        let body = Bytes::from(std::fs::read(folder.join(file)).unwrap());
        let whole: Value = serde_json::from_slice(&body).unwrap();
        let name_of_list =
            whole.as_object().unwrap().keys().find(|key| key.eq_ignore_ascii_case(list)).unwrap().clone();
        let envelope = Envelope::read(&body, list).unwrap();
        assert_eq!(envelope.records.len(), whole[name_of_list].as_array().unwrap().len(), "{file}");
        for record in &envelope.records {
            let identity = shop.identify(&stream(&shop, name), record).unwrap();
            assert!(name == "categories" || name == "subscribers" || identity.updated_at.is_some(), "{file}");
        }
    }
    for file in ["orders-search-empty-207.http.json", "orders-search-no-params-207.http.json"] {
        let sample: Value = serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap();
        let envelope = Envelope::read(&sample["body"].to_string().into(), "results").unwrap();
        let meaning = faults::Gate::List.meaning(&envelope.fault.unwrap());
        assert_eq!(matches!(meaning, Meaning::Empty), file.contains("empty"), "{file}");
    }
}
