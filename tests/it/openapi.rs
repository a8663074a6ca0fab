//! The judge made from a platform's specification sees what is wrong with a request, and a proxy refuses it.

use crate::support::openapi::Specification;
use crate::support::openapi::proxy::Proxy;
use axum::http::{HeaderMap, Method};
use futures::FutureExt;
use serde_json::{Value, json};
use wharf::sandbox::{Fault, FaultKind, Sandbox, SandboxOptions, esputnik};

fn headers(key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json; charset=UTF-8".parse().unwrap());
    headers.insert(axum::http::HeaderName::try_from(key).unwrap(), "secret".parse().unwrap());
    headers
}

fn esputnik(method: Method, target: &str, body: &Value) -> Option<Result<(), String>> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Some(Specification::esputnik()?.check_request(&method, target, &headers("authorization"), body.as_bytes()))
}

#[test]
fn right_requests_to_esputnik_pass() {
    let order = json!({"externalOrderId": "1", "email": "a@example.com", "totalCost": 10.5, "status": "DELIVERED",
        "date": "2026-03-01T10:14:40+02:00", "currency": "UAH", "additionalInfo": {"utm": "x"}});
    let params = json!([{"name": "a", "value": "text"}, {"name": "items", "value": [{"externalItemId": "1"}]}]);
    let contacts = json!({"contacts": [{"channels": [{"type": "email", "value": "a@example.com"}]}], "dedupeOn": "email",
        "contactFields": ["firstName", "email"], "customFieldsIDs": [1]});
    for (method, target, body) in [
        (Method::GET, "/api/v1/contacts?email=a%40example.com&startindex=1&maxrows=500", Value::Null),
        (Method::GET, "/api/v1/contact/7", Value::Null),
        (Method::POST, "/api/v1/orders", json!({"orders": [order]})),
        (Method::POST, "/api/v2/event", json!({"eventTypeKey": "x", "keyValue": "1", "params": params})),
        (Method::POST, "/api/v3/event", json!({"eventTypeKey": "x", "keyValue": "1", "params": params})),
        (Method::POST, "/api/v1/contacts", contacts),
        (Method::DELETE, "/api/v1/orders?externalOrderId=1", Value::Null),
    ] {
        let Some(checked) = esputnik(method.clone(), target, &body) else { return };
        assert_eq!(checked, Ok(()), "{method} {target}");
    }
}

#[test]
fn each_way_to_break_esputniks_specification_is_seen() {
    let order = |field: &str, value: Value| {
        let mut order = json!({"externalOrderId": "1", "email": "a@example.com", "totalCost": 10.5, "status": "DELIVERED",
            "date": "2026-03-01T10:14:40+02:00", "currency": "UAH"});
        match value {
            Value::Null => drop(order.as_object_mut().unwrap().remove(field)),
            value => order[field] = value,
        }
        json!({"orders": [order]})
    };
    for (method, target, body, expected) in [
        (Method::GET, "/api/v1/nothing", Value::Null, "path is not known"),
        (Method::PUT, "/api/v1/orders", json!({}), "method is not known"),
        (Method::GET, "/api/v1/contacts?mail=a", Value::Null, "query parameter mail is not known"),
        (Method::GET, "/api/v1/contacts?maxrows=many", Value::Null, "maxrows"),
        (Method::GET, "/api/v1/contact/seven", Value::Null, "id"),
        (Method::GET, "/api/v2/contacts/activity?dateFrom=2026-01-01", Value::Null, "dateTo is missing"),
        (Method::POST, "/api/v1/orders", order("date", Value::Null), "\"date\" is a required property"),
        (Method::POST, "/api/v1/orders", order("date", json!("2026-03-01 10:14")), "date-time"),
        (Method::POST, "/api/v1/orders", order("totalCost", json!("10")), "not of type"),
        (Method::POST, "/api/v1/orders", order("status", json!("SENT")), "not one of"),
        (Method::POST, "/api/v1/orders", order("additionalInfo", json!({"n": 1})), "not of type"),
        (Method::POST, "/api/v1/orders", order("curency", json!("UAH")), "curency"),
        (
            Method::POST,
            "/api/v1/event",
            json!({"eventTypeKey": "x", "params": [{"name": "a", "value": []}]}),
            "not of type",
        ),
        (Method::POST, "/api/v1/contacts", json!({"contacts": []}), "dedupeOn"),
        (Method::GET, "/api/v1/contact/7", json!({}), "body where none belongs"),
    ] {
        let Some(checked) = esputnik(method.clone(), target, &body) else { return };
        let error = checked.expect_err(&format!("{method} {target} {body} passed"));
        assert!(error.contains(expected), "{error}");
    }
    let Some(specification) = Specification::esputnik() else { return };
    let without = specification.check_request(&Method::GET, "/api/v1/account/info", &HeaderMap::new(), b"");
    assert!(without.unwrap_err().contains("no authorization header"));
    let mut plain = headers("authorization");
    plain.insert("content-type", "text/plain".parse().unwrap());
    let plain = specification.check_request(&Method::POST, "/api/v1/orders", &plain, b"{}");
    assert!(plain.unwrap_err().contains("media type"));
}

#[test]
fn idosells_lists_nested_queries_and_bodies_are_read_in_their_styles() {
    let Some(specification) = Specification::idosell() else { return };
    let check = |method: Method, target: &str, body: &str| {
        specification.check_request(&method, &format!("/api/admin/v6{target}"), &headers("x-api-key"), body.as_bytes())
    };
    let nested = "clientsLastModificationDate%5BclientsLastModificationDateBegin%5D=2026-01-01";
    let right = format!("/clients/clients?clientsIds=1,2&resultsPage=0&{nested}");
    assert_eq!(check(Method::GET, &right, ""), Ok(()));
    assert_eq!(check(Method::POST, "/orders/orders/search", r#"{"params": {"resultsPage": 0}}"#), Ok(()));
    for (method, target, body, expected) in [
        (Method::GET, "/clients/clients?clientsIds=1,two", "", "clientsIds"),
        (Method::GET, "/clients/clients?clientIsActive=perhaps", "", "clientIsActive"),
        (Method::GET, "/clients/clients?client=1", "", "client is not known"),
        (Method::POST, "/orders/orders/search", r#"{"params": {"resultsPage": "x"}}"#, "not of type"),
        (Method::POST, "/orders/orders/search", r#"{"params": {"resultPage": 0}}"#, "resultPage"),
        (Method::POST, "/orders/orders/search", "{", "no JSON"),
    ] {
        let error = check(method, target, body).expect_err(target);
        assert!(error.contains(expected), "{error}");
    }
    let allowed = Specification::idosell().unwrap().allowing("/api/admin/v7/*");
    assert_eq!(
        allowed.check_request(&Method::GET, "/api/admin/v7/orders/statuses", &headers("x-api-key"), b""),
        Ok(())
    );
    let elsewhere = specification.check_request(&Method::GET, "/api/admin/v5/menu", &headers("x-api-key"), b"");
    assert!(elsewhere.unwrap_err().contains("not below"));
}

#[tokio::test]
async fn the_proxy_passes_what_is_allowed_refuses_the_rest_and_fails_its_test() {
    let sandbox = Sandbox::start(SandboxOptions::default().with(esputnik::Options::default())).await.unwrap();
    let proxy = Proxy::start(Specification::esputnik(), sandbox.url("esputnik").unwrap()).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let key = esputnik::Options::default().api_key;
    let get = |path: &str| http.get(format!("{}{path}", proxy.origin)).basic_auth("", Some(&key));
    assert_eq!(get("/api/v1/account/info").send().await.unwrap().status().as_u16(), 200);
    assert!(get("/_sandbox/state").send().await.unwrap().status().is_success());
    // A call that gets no answer gets none through the proxy either.
    sandbox.fault(Fault::new(FaultKind::Drop, "/api/v1/groups"));
    assert!(get("/api/v1/groups").send().await.is_err());
    assert!(get("/api/v1/groups").send().await.unwrap().status().is_success());
    sandbox.fault(Fault::new(FaultKind::Cut, "/api/v1/groups"));
    assert!(get("/api/v1/groups").send().await.unwrap().bytes().await.is_err(), "a cut answer arrives cut");
    if Specification::esputnik().is_none() {
        return;
    }
    let refused = get("/api/v1/account/inf").send().await.unwrap();
    assert_eq!(refused.status().as_u16(), 400);
    assert!(refused.text().await.unwrap().contains("path is not known"));
    assert!(!sandbox.requests().counts().keys().any(|route| route.contains("inf ")), "it never reached the sandbox");
    assert_eq!(proxy.passed(), 4);
    let failed = async move { drop(proxy) };
    let panicked = std::panic::AssertUnwindSafe(failed).catch_unwind().await.unwrap_err();
    assert!(panicked.downcast_ref::<String>().unwrap().contains("path is not known"));
}
