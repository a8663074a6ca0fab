//! IdoSell passes the battery.

use super::source::SourceCase;
use futures::FutureExt;
use serde_json::json;
use wharf::Kind;
use wharf::sandbox::idosell::{API_KEY, Options};
use wharf::sandbox::{Sandbox, SandboxOptions};
use wharf::source::registry;

pub fn case() -> SourceCase {
    SourceCase {
        platform: "idosell",
        start: || {
            async {
                // Its clock is months behind this machine's, and that is no reason to complain.
                let panel = Options { customers: 120, orders: 60, ..Options::default() };
                Sandbox::start(SandboxOptions::default().with(panel)).await.unwrap()
            }
            .boxed()
        },
        connection: |sandbox| {
            json!({"connection": "shop", "platform": "idosell", "base_url": sandbox.idosell_url(), "api_key": API_KEY,
                "per_page": 20, "rate": "100/s", "load_check_every": 0})
        },
        build: registry::build,
        stream: "customers",
        path: "/api/admin/v6/clients/clients",
        page_size: 20,
        secrets: &[("api_key", "ZGVhZGJlZWYtZGVhZGJlZWYtZGVhZGJlZWY=")],
        swap: |key| {
            let id: u64 = key.parse().unwrap();
            let login = format!("in.place.of.{key}");
            let client = json!({"login": login, "email": format!("{login}@example.com")});
            json!([{"delete_client": id}, {"create_client": client}])
        },
        // Searches are POSTs that change nothing; that no other is made is seen by the platform's specification.
        reading: &["GET", "POST"],
        errors: &[
            (401, r#"{"errors": [{"message": "Authorization error"}]}"#, Kind::Credentials),
            (403, r#"{"errors": {"message": "Scope: crm, level: r"}}"#, Kind::Permission),
            (404, r#"{"errors": {"message": "Not found"}}"#, Kind::Address),
            (422, r#"{"errors": [{"message": "Nieprawidłowy format danych"}]}"#, Kind::Refused),
            (429, r#"{"errors": {"message": "Too many requests"}}"#, Kind::Throttled),
        ],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idosell_does_what_every_source_must_do() {
    super::source(&case()).await;
}
