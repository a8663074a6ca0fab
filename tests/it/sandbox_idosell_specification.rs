//! Every answer of the emulated IdoSell is as the platform's own specification has it, but where the platform itself is
//! otherwise. Without the file the test is skipped.

use crate::support::openapi::Specification;
use crate::support::panel::{Answer, Panel};
use axum::http::Method as Verb;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Where recorded answers differ from the specification, `*` for every row of a list. What stands there is not compared.
const OTHERWISE: [&str; 8] = [
    // Nothing is null where a text is described.
    "results/*/affiliateLogin",
    "results/*/clientPreferences/clientGroupDiscountName",
    "Results/*/orderDetails/orderSourceResults/auctionsServiceName",
    "Results/*/orderDetails/orderSourceResults/orderSourceDetails/orderExternalId",
    "Results/*/orderDetails/orderPackingPersonLogin",
    // Nought where it was not sent yet.
    "Results/*/orderDetails/orderDispatchDate",
    // Numbers where texts are described.
    "Results/*/orderDetails/orderPrepareTime",
    "Results/*/clientResult/clientPickupPointAddress/pickupPointId",
];

/// Takes a place out.
fn take(value: &mut Value, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return };
    match (value, *first) {
        (Value::Array(rows), "*") => rows.iter_mut().for_each(|row| take(row, rest)),
        (Value::Object(fields), name) if rest.is_empty() => drop(fields.remove(name)),
        (Value::Object(fields), name) => fields.get_mut(name).into_iter().for_each(|inner| take(inner, rest)),
        _ => {}
    }
}

struct Judge {
    specification: Specification,
    /// Places of which an answer was otherwise.
    differs: BTreeSet<&'static str>,
    judged: usize,
}

impl Judge {
    fn judge(&mut self, method: Verb, path: &str, answer: &Answer) {
        let target = format!("/api/admin/v6/{}", path.split('?').next().unwrap());
        let check = |kept: Option<&str>| {
            let mut body = answer.json();
            for place in OTHERWISE.into_iter().filter(|place| kept != Some(place)) {
                take(&mut body, &place.split('/').collect::<Vec<_>>());
            }
            self.specification.check_answer(&method, &target, answer.status, body.to_string().as_bytes())
        };
        assert_eq!(check(None), Ok(()), "{path}");
        let differs: Vec<_> = OTHERWISE
            .into_iter()
            .filter(|place| !self.differs.contains(place) && check(Some(place)).is_err())
            .collect();
        self.differs.extend(differs);
        self.judged += 1;
    }
}

#[tokio::test]
async fn every_answer_is_as_the_specification_has_it() {
    let Some(specification) = Specification::idosell() else { return };
    let mut judge = Judge { specification, differs: BTreeSet::new(), judged: 0 };
    let panel = Panel::small().await;
    panel.change(json!({"share": 0.05}));
    panel.change(json!({"create_client": {"login": "anna.testowa", "email": "anna@example.com"}}));

    let paid_and_open = json!({"ordersRange": {"ordersDateRange": {
        "ordersDateType": "add", "ordersDateBegin": "1999-01-01 00:00:00", "ordersDateEnd": "2030-01-01 00:00:00",
    }}});
    for page in [0, 1, 6] {
        let mut params = paid_and_open.clone();
        params["resultsPage"] = json!(page);
        for path in ["orders/orders/search", "orders/unfinished/search"] {
            judge.judge(Verb::POST, path, &panel.search(path, params.clone()).await);
        }
    }
    for page in [0, 3, 5] {
        let query = format!("clients/clients?resultsPage={page}");
        judge.judge(Verb::GET, &query, &panel.get(&query).await);
        for path in ["clients/newsletter/email/search", "clients/newsletter/sms/search"] {
            judge.judge(Verb::POST, path, &panel.search(path, json!({"results_page": page})).await);
        }
        let path = "clients/crm/search";
        judge.judge(Verb::POST, path, &panel.search(path, json!({"resultsPage": page})).await);
        let path = "products/products/search";
        let params = json!({"resultsPage": page, "showPromotionsPrices": "y", "skipDefaultProduct": "y"});
        judge.judge(Verb::POST, path, &panel.search(path, params).await);
    }
    let returned = "returns/returns?range[date][date_begin]=2020-01-01%2000:00:00&range[date][dates_type]=date_add";
    for path in [
        returned,
        "clients/clients?clientsIds=4000000",
        "orders/orders?ordersSerialNumbers=10000,10001",
        "orders/history?orderSerialNumber=10000",
        "clients/tags?clientId=41",
        "products/products?productIds=100,108,116",
        "products/stocks?identType=id&products=100,108",
        "products/categories",
        "menu/menu?shop_id=1&menu_id=1&lang_id=pol",
        "menu/menu?shop_id=1&menu_id=1&lang_id=eng",
        "payments/forms?activeOnly=yes",
        "couriers/couriers?countryCode=PL",
        "deliveries/profiles",
        "shops/currencies",
        "shops/languages",
        "system/config",
        "system/serverTime",
        "system/serverLoad",
    ] {
        judge.judge(Verb::GET, path, &panel.get(path).await);
    }
    let login = json!({"clientLogin": "anna.testowa", "newsletterEmailApproval": true, "requestReference": "a"});
    for (verb, method, path, params) in [
        (Verb::PUT, Method::PUT, "clients/clients", json!({"clients": [login, {"clientLogin": "nikt"}]})),
        (Verb::POST, Method::POST, "clients/clients", json!({"clients": [{"login": "x"}]})),
        (Verb::POST, Method::POST, "clients/tags", json!([{"clientId": 41, "tagName": "a", "tagValue": 1}])),
        (
            Verb::PUT,
            Method::PUT,
            "orders/orders",
            json!({"orders": [{"orderSerialNumber": 10_000, "orderStatus": "packed"}]}),
        ),
        (Verb::POST, Method::POST, "clients/tags/delete", json!([{"clientId": 41, "tagId": 7}])),
    ] {
        judge.judge(verb, path, &panel.call(method, path, json!({ "params": params })).await);
    }
    assert!(judge.judged > 40);
    let idle: Vec<_> = OTHERWISE.into_iter().filter(|place| !judge.differs.contains(place)).collect();
    assert!(idle.is_empty(), "these are as the specification has them: {idle:?}");
}
