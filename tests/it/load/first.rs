//! A first load ends when something was acknowledged and nothing is on its way any more, and not before.

use super::counts;
use crate::support::canonical::Shop;
use serde_json::json;
use wharf::stage::load::Options;
use wharf::stage::plan;

async fn is_first(shop: &Shop) -> bool {
    shop.value("select first_load from delivery.consumers").await == "true"
}

/// A contact that says something new.
async fn change(shop: &Shop, city: &str) {
    shop.contact("a@shop.example", json!({"city": city})).await;
}

/// Whether a load fired nothing.
async fn loads_quietly(shop: &Shop) -> bool {
    shop.load().await;
    let calls = shop.target.take_calls();
    assert!(!calls.is_empty(), "a load without a call says nothing");
    calls.iter().all(|call| call.first_load)
}

#[tokio::test]
async fn a_load_before_anything_was_extracted_ends_nothing() {
    let shop = Shop::new(json!({})).await;
    let empty = shop.try_load().await.unwrap();
    assert!(empty.first_load && empty.tally.all_sent() == 0);
    assert!(is_first(&shop).await);
    let (report, _) = shop.plan().await;
    assert!(report.first_load && report.first_load_starts.is_some(), "the plan says so");
    change(&shop, "Gdańsk").await;
    assert!(loads_quietly(&shop).await, "245 automations");
    change(&shop, "Łódź").await;
    assert!(!loads_quietly(&shop).await, "what changes later is news");
}

#[tokio::test]
async fn who_may_not_be_sent_ends_nothing_either() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({"email_consent": "opt_out"})).await;
    shop.contact("b@shop.example", json!({"email_consent": "unknown"})).await;
    shop.load().await;
    shop.target.take_calls();
    let acknowledged = shop.count("delivery.batches where state = 'acknowledged'").await > 0;
    assert_eq!(is_first(&shop).await, !acknowledged, "nothing acknowledged, nothing ended");
}

#[tokio::test]
async fn a_shop_that_was_read_in_part_is_still_at_its_first_load() {
    let shop = Shop::new(json!({})).await;
    let client = shop.client().await;
    client
        .batch_execute(
            "insert into ops.cursors (connection, stream, full_at)
             values ('shop', 'customers', now()), ('shop', 'orders', null)",
        )
        .await
        .unwrap();
    change(&shop, "Gdańsk").await;
    assert!(loads_quietly(&shop).await);
    change(&shop, "Łódź").await;
    assert!(loads_quietly(&shop).await, "the orders are yet to be read");
    client.execute("update ops.cursors set full_at = now()", &[]).await.unwrap();
    client
        .batch_execute(
            "insert into ops.connections (connection, platform, base_url, settings, mapped_run)
             values ('shop', 'woocommerce', 'https://shop.example', '{}', 1)
             on conflict (connection) do update set mapped_run = excluded.mapped_run;
             insert into staging.orders (connection, source_key, payload, payload_hash, run_id)
             values ('shop', '1', '{}', gen_random_uuid(), 2)",
        )
        .await
        .unwrap();
    change(&shop, "Poznań").await;
    assert!(loads_quietly(&shop).await, "they have landed and mean nothing yet");
    client.execute("update ops.connections set mapped_run = 2", &[]).await.unwrap();
    assert!(is_first(&shop).await);
    shop.load().await;
    assert!(!is_first(&shop).await);
}

#[tokio::test]
async fn a_first_load_that_was_over_and_could_not_say_so_is_over() {
    let shop = Shop::new(json!({})).await;
    change(&shop, "Gdańsk").await;
    assert!(loads_quietly(&shop).await);
    shop.client().await.execute("update delivery.consumers set first_load = true", &[]).await.unwrap();
    shop.load().await;
    assert!(!is_first(&shop).await, "the next load says it, whether or not it has something to send");
    change(&shop, "Łódź").await;
    assert!(!loads_quietly(&shop).await);
}

#[tokio::test]
async fn a_saved_plan_ends_a_first_load_only_if_it_leaves_nothing() {
    let shop = Shop::new(json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan");
    change(&shop, "Gdańsk").await;
    shop.plan_as(&plan::Options { out: Some(path.clone()), ..plan::Options::default() }).await;
    // What the plan does not know stays pending.
    shop.contact("b@shop.example", json!({})).await;
    let applied = Options { plan: Some(path.clone()), ..Options::default() };
    shop.load_as(&applied).await.unwrap();
    assert!(shop.target.take_calls().iter().all(|call| call.first_load));
    assert!(is_first(&shop).await);
    assert!(loads_quietly(&shop).await);
    assert!(!is_first(&shop).await);

    let shop = Shop::new(json!({})).await;
    change(&shop, "Gdańsk").await;
    shop.plan_as(&plan::Options { out: Some(path.clone()), ..plan::Options::default() }).await;
    assert_eq!(shop.load_as(&applied).await.unwrap().tally.sent, counts(&[("contacts new", 1)]));
    assert!(!is_first(&shop).await, "nothing is left, whoever sent it");
}

#[tokio::test]
async fn a_shop_that_is_added_has_a_first_load_of_its_own() {
    let mut shop = Shop::new(json!({})).await;
    change(&shop, "Gdańsk").await;
    assert!(loads_quietly(&shop).await);
    let mut second = shop.pipeline.sources[0].clone();
    second.connection = "second".into();
    shop.pipeline.sources.push(second);
    change(&shop, "Łódź").await;
    assert!(loads_quietly(&shop).await, "nobody can tell whose contacts come next");
    assert!(is_first(&shop).await, "the second shop was never read");
    shop.contact("b@shop.example", json!({})).await;
    shop.change("update canonical.contact_sources set connection = 'second' where email = 'b@shop.example'").await;
    assert!(loads_quietly(&shop).await);
    assert!(!is_first(&shop).await);
    change(&shop, "Kraków").await;
    assert!(!loads_quietly(&shop).await);
}
