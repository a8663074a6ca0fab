//! eSputnik passes the battery.

use super::target::TargetCase;
use futures::FutureExt;
use serde_json::{Value, json};
use uuid::Uuid;
use wharf::Kind;
use wharf::sandbox::esputnik::Options;
use wharf::sandbox::{Sandbox, SandboxOptions};
use wharf::target::{Item, registry};

fn item(n: usize, envelope: Value, request: Value) -> Item {
    Item {
        key: Uuid::new_v4(),
        contact_id: Uuid::new_v4(),
        address: format!("c{n}@shop.example"),
        envelope: envelope.into(),
        request: request.into(),
    }
}

fn contact(n: usize) -> Item {
    let envelope = json!({"dedupeOn": "externalCustomerId", "contactFields": ["firstName", "email", "externalCustomerId"],
        "customFieldsIDs": []});
    let request = json!({"externalCustomerId": n.to_string(), "firstName": "Anna",
        "channels": [{"type": "email", "value": format!("c{n}@shop.example")}]});
    item(n, envelope, request)
}

fn order(n: usize) -> Item {
    let request = json!({"externalOrderId": format!("order-{n}"), "externalCustomerId": n.to_string(),
        "email": format!("c{n}@shop.example"), "totalCost": 9.99, "status": "DELIVERED", "currency": "UAH",
        "date": "2026-03-01T10:14:40+02:00", "items": []});
    item(n, json!({}), request)
}

fn case() -> TargetCase {
    TargetCase {
        platform: "esputnik",
        start: || {
            async {
                // An empty answer is a success here, so the ones that are cut must not be empty.
                let organisation = format!("Shop {}", Uuid::new_v4());
                let account = Options { null_when_no_order_failed: true, organisation, ..Options::default() };
                Sandbox::start(SandboxOptions::default().with(account)).await.unwrap()
            }
            .boxed()
        },
        account: |sandbox| {
            json!({"account": "crm", "platform": "esputnik", "base_url": sandbox.esputnik_url(),
                "api_key": Options::default().api_key})
        },
        build: registry::build,
        idempotent: ("import contacts", "/api/v1/contacts", contact),
        appending: ("add orders", "/api/v1/orders", order),
        unwelcome: || {
            let mut wrong = order(1);
            let mut request = wrong.request.value();
            request["currency"] = json!("XXX");
            wrong.request = request.into();
            wrong
        },
        settle: |sandbox| {
            sandbox.esputnik().unwrap().account().settle_jobs();
        },
        secrets: &[("api_key", "planted-api-key-4711")],
        reading: &["/api/v1/account/info", "/api/v1/addressbooks", "/api/v1/groups", "/api/v1/subscriptions"],
        not_held: &["calls", "jobs", "jobs_running"],
        errors: &[(401, "Unauthorized", Kind::Credentials), (429, "Too many requests", Kind::Throttled)],
        successes: &["", "null", "{}"],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn esputnik_does_what_every_target_must_do() {
    super::target(&case()).await;
}
