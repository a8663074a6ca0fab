//! Every body that is sent keeps to the platform's own specification, where that is at hand, and the bodies are what the
//! golden files say (`tests/golden/esputnik/`).

use super::{Value, json, pair};
use crate::support::canonical::Shop;
use crate::support::fake_esputnik::FakeESputnik;

const MAIL: &str = "anna@shop.example";

/// The schema of a body by the path that it went to.
fn schema_of(path: &str) -> Option<&'static str> {
    Some(match path {
        "v1/contacts" => "ContactsBulkUpdate",
        "v1/contact/subscribe" => "SubscribeContact",
        "v1/emails/unsubscribed/add" | "v1/emails/unsubscribed/delete" => "UnsubscribeParamsDto",
        "v1/orders" => "Orders",
        "v1/event" => "EventDto",
        "v2/event" | "v3/event" => "Event",
        "v1/past_events" => "BatchPastEvents",
        "v2/past_events" => "BatchPastEventsV2",
        _ => return None,
    })
}

/// All that this target ever sends, by path.
async fn everything() -> Vec<(String, Value)> {
    let mut heard = Vec::new();
    for version in ["v1", "v2"] {
        let (shop, account) = pair(json!({"contacts": {"consent": "all", "tags": {"always": ["Shop"]}}})).await;
        let settings = json!({"orders_via": "both", "event_version": version, "unknown_consent": "subscribe"});
        fill(&shop).await;
        account.load(&shop, settings.clone()).await.unwrap();
        // Now that the history is there, the rest goes by events.
        shop.contact("out@shop.example", json!({"email_consent_at": "2025-01-01T00:00:00Z"})).await;
        shop.order(MAIL, "2", order("IN_PROGRESS")).await;
        account.load(&shop, settings.clone()).await.unwrap();
        shop.order(MAIL, "2", order("DELIVERED")).await;
        account.load(&shop, settings).await.unwrap();
        heard.extend(writes(&account));
    }
    heard
}

async fn fill(shop: &Shop) {
    shop.contact(
        MAIL,
        json!({"first_name": "Анна", "last_name": "Новак", "phone": "+380501112233", "street": "вул. Прикладна, 1",
            "postal_code": "01001", "city": "Київ", "region": "Київська", "language": "uk_UA"}),
    )
    .await;
    shop.contact("out@shop.example", json!({"email_consent": "opt_out"})).await;
    shop.contact("unknown@shop.example", json!({"email_consent": "unknown", "email_consent_at": null})).await;
    shop.tags(MAIL, "registered", &["rejestracja"]).await;
    let mut old = order("DELIVERED");
    old["placed_at"] = json!("2026-02-28T08:14:40Z");
    shop.order(MAIL, "1", old).await;
}

fn order(status: &str) -> Value {
    json!({"status": status, "source_status": "wc-status", "payment_status": "paid", "currency": "UAH", "total": "1200.50",
        "shipping": "70.50", "discount": "60", "tax": "200", "placed_at": "2026-03-01T08:14:40Z",
        "payment_method": "card", "delivery_method": "Нова Пошта", "pickup_place": "Відділення №12",
        "utm": {"source": "google", "campaign": "spring"}, "items": [
            {"sku": "TEA", "name": "Чайник \"Ранок\"", "quantity": 3, "line_total": "1000"},
            {"sku": "KG", "name": "Чай на вагу", "quantity": 1.25, "line_total": "190"}]})
}

fn writes(account: &FakeESputnik) -> Vec<(String, Value)> {
    account.state(|state| {
        state.calls.iter().filter(|(path, body)| body.is_object() && schema_of(path).is_some()).cloned().collect()
    })
}

#[tokio::test]
async fn every_body_keeps_to_the_specification() {
    let root = std::env::var("WHARF_SHARED").unwrap_or_else(|_| "../shared".into());
    let path = format!("{root}/platforms/esputnik/openapi.json");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: {path} is not here");
        return;
    };
    let mut specification: Value = serde_json::from_slice(&bytes).unwrap();
    // "Any value" is written as an object there; the platform's own examples are texts and lists.
    specification["components"]["schemas"]["EventParameter"]["properties"]["value"] = json!({});
    // What the elements of a list may be stands at the list there.
    for schema in specification["components"]["schemas"].as_object_mut().unwrap().values_mut() {
        for property in schema["properties"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            if property["type"] == "array"
                && let Some(choices) = property.as_object_mut().and_then(|property| property.remove("enum"))
            {
                property["items"]["enum"] = choices;
            }
        }
    }
    let heard = everything().await;
    let mut seen = std::collections::BTreeSet::new();
    for (path, body) in heard {
        let name = schema_of(&path).unwrap();
        seen.insert(name);
        let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": specification["components"]});
        let validator = jsonschema::validator_for(&schema).unwrap();
        let mistakes: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(mistakes.is_empty(), "{path}: {mistakes:?} in {body:#}");
        // The specification forbids no further members; the platform knows no others.
        let known = &specification["components"]["schemas"][name]["properties"];
        for member in body.as_object().unwrap().keys().filter(|member| *member != "keyValue") {
            assert!(known.get(member).is_some(), "{path}: {member}");
        }
    }
    assert_eq!(seen.len(), 8, "every kind of body was seen: {seen:?}");
}

#[tokio::test]
async fn the_bodies_are_what_the_golden_files_say() {
    let mut bodies: Vec<(String, Value)> = Vec::new();
    for (path, body) in everything().await {
        let kind = body["eventTypeKey"].as_str().unwrap_or_default().to_owned();
        let mut name = path.replace('/', "_");
        if !kind.is_empty() {
            name = format!("{name}_{kind}");
        }
        if !bodies.iter().any(|(known, _)| *known == name) {
            bodies.push((name, body));
        }
    }
    assert!(bodies.len() >= 10, "{:?}", bodies.iter().map(|(name, _)| name).collect::<Vec<_>>());
    for (name, body) in bodies {
        let path = format!("{}/tests/golden/esputnik/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = format!("{}\n", serde_json::to_string_pretty(&body).unwrap());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, expected, "{path}; UPDATE_GOLDEN=1 writes what is sent now");
    }
}
