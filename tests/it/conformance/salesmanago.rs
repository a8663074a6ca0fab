//! SALESmanago passes the battery.

use super::target::TargetCase;
use futures::FutureExt;
use serde_json::{Value, json};
use uuid::Uuid;
use wharf::Kind;
use wharf::sandbox::salesmanago::{Apply, Options};
use wharf::sandbox::{Platform as _, Sandbox, SandboxOptions};
use wharf::target::{Item, registry};

fn item(address: String, request: Value) -> Item {
    Item {
        key: Uuid::new_v4(),
        contact_id: Uuid::new_v4(),
        address,
        envelope: Value::Null.into(),
        request: request.into(),
    }
}

pub fn contact(n: usize) -> Item {
    let email = format!("c{n}@shop.example");
    let request = json!({"contact": {"email": email, "name": format!("Person {n}")}, "tags": ["A", "B"],
        "forceOptIn": true, "forceOptOut": false, "forcePhoneOptIn": false, "forcePhoneOptOut": false});
    item(email, request)
}

fn purchase(n: usize) -> Item {
    let request = json!({"date": 1_714_983_072_000_i64, "contactExtEventType": "PURCHASE", "products": "SKU-1", "value": 9.99,
        "location": "shop_pl", "externalId": format!("order-{n}"), "detail2": n.to_string()});
    item(format!("c{n}@shop.example"), request)
}

pub fn case() -> TargetCase {
    TargetCase {
        platform: "salesmanago",
        start: || {
            async {
                let account = Options { apply: Apply::AfterRequests(1), ..Options::default() };
                Sandbox::start(SandboxOptions::default().with(account)).await.unwrap()
            }
            .boxed()
        },
        account: |sandbox| {
            let mut account =
                json!({"account": "crm", "platform": "salesmanago", "base_url": sandbox.salesmanago_url()});
            for (variable, value) in sandbox.salesmanago().unwrap().credentials() {
                account[variable.trim_start_matches("SM_").to_lowercase()] = json!(value);
            }
            account
        },
        build: registry::build,
        idempotent: ("upsert contacts", "/api/contact/batchupsertv2", contact),
        appending: ("add purchases", "/api/v2/contact/addBatchContactExtEvent", purchase),
        unwelcome: || purchase(999),
        settle: |sandbox| {
            sandbox.salesmanago().unwrap().account().settle(jiff::Timestamp::now().as_millisecond());
        },
        secrets: &[("api_key", "planted-api-key-4711"), ("api_secret", "planted-api-secret-4712")],
        reading: &["/api/user/listByClient", "/api/contact/hasContact", "/api/contact/basic"],
        not_held: &["calls", "automations"],
        errors: &[
            (200, r#"{"success": false, "message": ["User not authenticated"]}"#, Kind::Credentials),
            (200, r#"{"success": false, "message": "Not authenticated"}"#, Kind::Credentials),
            (200, r#"{"message": []}"#, Kind::Protocol),
            (429, r#"{"success": false, "message": ["Too many requests"]}"#, Kind::Throttled),
        ],
        successes: &[],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn salesmanago_does_what_every_target_must_do() {
    super::target(&case()).await;
}
