//! WooCommerce passes the battery.

use super::source::SourceCase;
use futures::FutureExt;
use serde_json::json;
use wharf::Kind;
use wharf::sandbox::woocommerce::{CONSUMER_KEY, CONSUMER_SECRET, Options};
use wharf::sandbox::{Sandbox, SandboxOptions};
use wharf::source::registry;

pub fn case() -> SourceCase {
    SourceCase {
        platform: "woocommerce",
        start: || {
            async {
                let shop = Options { customers: 20, orders: 120, ..Options::default() };
                Sandbox::start(SandboxOptions::default().with(shop)).await.unwrap()
            }
            .boxed()
        },
        connection: |sandbox| {
            json!({"connection": "shop", "platform": "woocommerce", "base_url": sandbox.woocommerce_url(), "auth": "basic",
                "consumer_key": CONSUMER_KEY, "consumer_secret": CONSUMER_SECRET, "per_page": 20,
                "full_walk_every": "0s"})
        },
        build: registry::build,
        stream: "orders",
        path: "/wp-json/wc/v3/orders*",
        page_size: 20,
        secrets: &[
            ("consumer_key", "ck_00000000deadbeef00000000deadbeef00000000"),
            ("consumer_secret", "cs_11111111deadbeef11111111deadbeef11111111"),
        ],
        swap: |key| {
            let id: u64 = key.parse().unwrap();
            json!([{"vanish": {"entity": "orders", "id": id}}, {"create": {"entity": "orders", "fields": {}}}])
        },
        reading: &["GET"],
        errors: &[
            (401, r#"{"code": "woocommerce_rest_authentication_error", "message": ""}"#, Kind::Credentials),
            (401, r#"{"code": "woocommerce_rest_cannot_view", "message": ""}"#, Kind::Credentials),
            (403, r#"{"code": "woocommerce_rest_cannot_view", "message": ""}"#, Kind::Permission),
            (404, r#"{"code": "rest_no_route", "message": ""}"#, Kind::Address),
            (404, r#"{"code": "woocommerce_rest_product_invalid_id", "message": ""}"#, Kind::Refused),
            (400, r#"{"code": "rest_invalid_param", "message": ""}"#, Kind::Refused),
            (429, r#"{"code": "too_many_requests", "message": ""}"#, Kind::Throttled),
        ],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn woocommerce_does_what_every_source_must_do() {
    super::source(&case()).await;
}
