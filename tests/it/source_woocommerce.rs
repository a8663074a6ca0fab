//! The WooCommerce source against the emulated shop: every stream whole, by every way of showing the key, and through
//! faults.

use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use wharf::config::pipeline::Connection;
use wharf::sandbox::woocommerce::{CONSUMER_KEY, CONSUMER_SECRET, Entity, Options};
use wharf::sandbox::{Fault, FaultKind, Sandbox, SandboxOptions};
use wharf::source::{Finding, Next, PageRequest, Seen, Source, StreamSpec, Walk, registry};
use wharf::{Kind, Result};

async fn sandbox(change: impl FnOnce(&mut Options)) -> Sandbox {
    let mut options = Options { customers: 150, orders: 330, ..Options::small() };
    change(&mut options);
    Sandbox::start(SandboxOptions::default().with(options)).await.unwrap()
}

fn source(sandbox: &Sandbox, further: Value) -> Arc<dyn Source> {
    let mut keys = json!({
        "connection": "shop", "platform": "woocommerce", "base_url": sandbox.woocommerce_url(),
        "consumer_key": CONSUMER_KEY, "consumer_secret": CONSUMER_SECRET, "per_page": 50,
    });
    keys.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    let connection: Connection = serde_json::from_value(keys).unwrap();
    registry::build(&connection).unwrap()
}

fn stream(source: &Arc<dyn Source>, name: &str) -> StreamSpec {
    source.streams().into_iter().find(|stream| stream.name == name).unwrap()
}

/// A walk as the extractor makes it: what broke off is asked for again. Gives the keys in the order of arrival.
async fn walk(source: &Arc<dyn Source>, name: &str, walk: &Walk, parent: Option<&str>) -> Result<Vec<u64>> {
    let stream = stream(source, name);
    let (mut position, mut keys, mut tries) = (Value::Null, Vec::new(), 0);
    loop {
        let request = PageRequest { stream: &stream, walk, parent, position: &position, bookmark: &Value::Null };
        let mut page = source.page(&request).await?;
        let (mut seen, mut broken) = (Seen::default(), None);
        while let Some(record) = page.records.next().await {
            match record {
                Ok(record) => {
                    let key = source.identify(&stream, &record).unwrap().key;
                    seen.note(Some(&key));
                    keys.push(key.parse().unwrap());
                }
                Err(error) => broken = Some(error),
            }
        }
        if let Some(error) = broken {
            tries += 1;
            if tries > 3 || !error.kind().is_retryable() {
                return Err(error);
            }
            continue;
        }
        match source.next(&request, &page.meta, &seen)? {
            Next::Page(next) => position = next,
            Next::End | Next::EndAt { .. } => return Ok(keys),
        }
    }
}

/// How many rows the shop has in a list, those of one class left out.
fn held(sandbox: &Sandbox, entity: Entity, except: &str) -> usize {
    let counts = sandbox.woocommerce().unwrap().counts(entity);
    counts.iter().filter(|(class, _)| class.as_str() != except).map(|(_, count)| count).sum()
}

#[tokio::test]
async fn every_stream_is_read_whole_by_every_way_of_showing_the_key() {
    for (auth, as_tls, folder) in
        [("basic", true, "shop"), ("query", true, ""), ("oauth1", false, "a/b"), ("oauth1", true, "")]
    {
        let sandbox = sandbox(|options| (options.as_tls, options.folder) = (as_tls, folder.to_owned())).await;
        let source = source(&sandbox, json!({"auth": auth}));
        source.prepare().await.unwrap();
        for (name, entity, except) in [
            ("categories", Entity::Categories, ""),
            ("products", Entity::Products, "trash"),
            ("customers", Entity::Users, ""),
            ("orders", Entity::Orders, "trash"),
            ("refunds", Entity::Refunds, ""),
        ] {
            let keys = walk(&source, name, &Walk::Everything, None).await.unwrap();
            assert!(!keys.is_empty(), "{name}");
            assert!(keys.is_sorted(), "{auth} {name}");
            let distinct: BTreeSet<u64> = keys.iter().copied().collect();
            assert_eq!(distinct.len(), held(&sandbox, entity, except), "{auth} {name}");
            // A page begins with the last row of the page before it.
            assert!(keys.len() <= distinct.len() + distinct.len() / 49, "{auth} {name}: {} rows", keys.len());
        }
        let trash = walk(&source, "trash", &Walk::Everything, None).await.unwrap();
        let orders = sandbox.woocommerce().unwrap().counts(Entity::Orders);
        assert_eq!(trash.len(), orders.get("trash").copied().unwrap_or_default());
        let all: BTreeSet<u64> = walk(&source, "orders", &Walk::Keys, None).await.unwrap().into_iter().collect();
        assert_eq!(all.len(), held(&sandbox, Entity::Orders, ""), "trashed orders are not deleted ones");
        assert_eq!(source.calls(), sandbox.requests().total(), "every call is counted");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn subscribers_need_a_wordpress_user() {
    let sandbox = sandbox(|_| {}).await;
    let source = source(&sandbox, json!({"wp_user": "admin", "wp_app_password": "abcd EFGH 1234 ijkl MNOP 5678"}));
    let subscribers = walk(&source, "subscribers", &Walk::Everything, None).await.unwrap();
    let users = sandbox.woocommerce().unwrap().counts(Entity::Users);
    assert_eq!(Some(&subscribers.len()), users.get("subscriber"));
    sandbox.stop().await;
}

#[tokio::test]
async fn variations_are_read_below_their_products() {
    let sandbox = sandbox(|_| {}).await;
    let source = source(&sandbox, json!({}));
    let mut found = BTreeSet::new();
    for product in walk(&source, "products", &Walk::Everything, None).await.unwrap() {
        let row = sandbox.woocommerce().unwrap().row(Entity::Products, product).unwrap();
        if row["type"] == "variable" {
            found.extend(walk(&source, "variations", &Walk::Everything, Some(&product.to_string())).await.unwrap());
        }
    }
    assert!(!found.is_empty());
    assert_eq!(found.len(), held(&sandbox, Entity::Variations, ""));
    sandbox.stop().await;
}

#[tokio::test]
async fn changes_since_a_moment_are_found_in_every_zone_and_that_moment_itself_is_among_them() {
    for zone in ["Europe/Kyiv", "America/Los_Angeles", "UTC"] {
        let sandbox = sandbox(|options| options.zone = zone.to_owned()).await;
        let source = source(&sandbox, json!({}));
        let orders = stream(&source, "orders");
        let mut stamps: Vec<_> = Vec::new();
        for key in walk(&source, "orders", &Walk::Everything, None).await.unwrap() {
            let row = sandbox.woocommerce().unwrap().row(Entity::Orders, key).unwrap();
            stamps.push((source.identify(&orders, row.to_string().as_bytes()).unwrap().updated_at.unwrap(), key));
        }
        stamps.sort_unstable();
        for middle in [0, stamps.len() / 2, stamps.len() - 1] {
            let since = stamps[middle].0;
            let expected: BTreeSet<u64> = stamps.iter().filter(|(at, _)| *at >= since).map(|(_, key)| *key).collect();
            let found = walk(&source, "orders", &Walk::ModifiedSince(since), None).await.unwrap();
            let found: BTreeSet<u64> = found.into_iter().collect();
            assert!(expected.is_subset(&found), "{zone} {since}");
            assert!(found.len() <= expected.len() + 5, "{zone} {since}: {} of {}", found.len(), expected.len());
        }
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_walk_through_faults_loses_nothing() {
    for kind in [
        FaultKind::Throttle,
        FaultKind::Error,
        FaultKind::Cut,
        FaultKind::Drop,
        FaultKind::Lost,
        FaultKind::TruncatedJson,
        FaultKind::Notices,
        FaultKind::DuplicatePage,
        FaultKind::EmptyPage,
    ] {
        let sandbox = sandbox(|_| {}).await;
        let source = source(&sandbox, json!({}));
        let whole: BTreeSet<u64> =
            walk(&source, "customers", &Walk::Everything, None).await.unwrap().into_iter().collect();
        sandbox.fault(Fault::new(kind, "*/customers").after(1).times(2));
        let found = walk(&source, "customers", &Walk::Everything, None).await;
        let struck: u64 = sandbox.faults().iter().map(|fault| fault.struck).sum();
        assert_eq!(struck, 2, "{kind:?}");
        let found: BTreeSet<u64> = found.unwrap().into_iter().collect();
        assert_eq!(found, whole, "{kind:?}");
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn half_a_list_is_not_taken_for_the_whole() {
    let sandbox = sandbox(|_| {}).await;
    let source = source(&sandbox, json!({}));
    sandbox.fault(Fault::new(FaultKind::EmptyPage, "*/customers").query("offset").times(0));
    let found = walk(&source, "customers", &Walk::Everything, None).await;
    assert_eq!(found.unwrap_err().kind(), Kind::Truncated);
    sandbox.stop().await;
}

#[tokio::test]
async fn a_shop_that_fails_on_full_pages_is_read_in_small_ones() {
    let sandbox = sandbox(|_| {}).await;
    let source = source(&sandbox, json!({}));
    sandbox.fault(Fault::new(FaultKind::Error, "*/orders").query("per_page=50").after(2).times(0));
    let keys = walk(&source, "orders", &Walk::Everything, None).await.unwrap();
    let distinct: BTreeSet<u64> = keys.iter().copied().collect();
    assert_eq!(distinct.len(), held(&sandbox, Entity::Orders, "trash"));
    let calls = sandbox.requests().calls("woocommerce", "*/orders");
    let asked = |size: &str| calls.iter().filter(|call| call.query.contains(size)).count();
    assert_eq!(asked("per_page=50"), 4, "two that were answered, and two tries of the third");
    assert!(asked("per_page=25") >= (distinct.len() - 100) / 25, "{calls:?}");
    sandbox.stop().await;
}

async fn findings(sandbox: &Sandbox, further: Value) -> Vec<Finding> {
    source(sandbox, further).check().await
}

#[tokio::test]
async fn a_check_names_what_is_missing() {
    let sandbox = sandbox(|_| {}).await;
    let good = json!({"auth": "basic", "wp_user": "admin", "wp_app_password": "abcd EFGH 1234 ijkl MNOP 5678"});
    let good = findings(&sandbox, good).await;
    assert!(good.iter().all(|finding| finding.ok) && good.len() == 7, "{good:?}");
    let signed = findings(&sandbox, json!({"auth": "oauth1"})).await;
    assert!(signed.iter().all(|finding| finding.ok) && signed.iter().any(|f| f.what.contains("clocks")), "{signed:?}");
    for (further, word) in [
        (json!({"auth": "basic", "consumer_secret": "cs_wrong"}), "consumer_secret"),
        (json!({"auth": "basic", "consumer_key": "ck_unknown"}), "auth: query"),
        (json!({"auth": "oauth1", "consumer_secret": "cs_wrong"}), "auth: basic"),
        (
            json!({"auth": "basic", "consumer_key": "ck_2222222222222222222222222222222222222222",
                   "consumer_secret": "cs_2222222222222222222222222222222222222222"}),
            "permission Read",
        ),
        (
            json!({"auth": "basic", "consumer_key": "ck_3333333333333333333333333333333333333333",
                   "consumer_secret": "cs_3333333333333333333333333333333333333333"}),
            "Shop manager",
        ),
    ] {
        let found = findings(&sandbox, further).await;
        let last = found.last().unwrap();
        assert!(!last.ok && last.detail.contains(word), "{word}: {found:?}");
        assert!(!last.detail.contains("cs_"), "{found:?}");
    }
    let wrong_password = findings(&sandbox, json!({"auth": "basic", "wp_user": "admin", "wp_app_password": "x"})).await;
    let last = wrong_password.last().unwrap();
    assert!(!last.ok && last.detail.contains("wp_app_password"), "{wrong_password:?}");
    let elsewhere = json!({"base_url": format!("{}/nowhere", sandbox.woocommerce_url())});
    let found = findings(&sandbox, elsewhere).await;
    assert!(found.len() == 1 && !found[0].ok, "{found:?}");
    sandbox.stop().await;
}
