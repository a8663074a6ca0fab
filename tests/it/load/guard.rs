//! What changes, empties or unsubscribes too much of what the account holds is stopped before the first call.

use super::counts;
use crate::support::canonical::Shop;
use crate::support::pipeline::WholeWay;
use serde_json::{Value, json};
use wharf::Kind;
use wharf::sandbox::{Fault, FaultKind, woocommerce};
use wharf::stage::load::Options;
use wharf::stage::plan;

const LIMITS: &str = r#"{"guard": {"max_removed_share": 0.1, "max_changed_share": 0.5, "at_least": 5}}"#;

async fn shop_of(n: usize, more: Value) -> (Shop, Vec<String>) {
    let mut settings = json!({"load": serde_json::from_str::<Value>(LIMITS).unwrap()});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let shop = Shop::new(settings).await;
    let emails: Vec<String> = (0..n).map(|n| format!("c{n}@shop.example")).collect();
    let all: Vec<(&str, Value)> = emails.iter().map(|email| (email.as_str(), json!({}))).collect();
    shop.contacts(&all).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts new", u64::try_from(n).unwrap())]), "a first load is free");
    shop.target.take_calls();
    (shop, emails)
}

fn allowed() -> Options {
    Options { allow_mass_change: true, ..Options::default() }
}

#[tokio::test]
async fn most_contacts_gone_stop_the_load_until_somebody_says_that_it_is_meant() {
    let (shop, emails) = shop_of(40, json!({"contacts": {"tags": {"always": ["shop"]}}})).await;
    for email in &emails[..4] {
        shop.deletes(email).await;
    }
    assert_eq!(shop.load().await.sent, counts(&[("contacts untag", 4)]), "a few are nothing to stop for");
    for email in &emails[4..12] {
        shop.deletes(email).await;
    }
    shop.target.take_calls();
    let (report, _) = shop.plan().await;
    assert_eq!((report.toll.held, report.toll.removed), (Some(36), 8));
    assert!(report.guard.unwrap().contains("load.guard.max_removed_share"));
    let error = shop.try_load().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Guard);
    assert!(error.detail().starts_with("8 of 36 contacts"), "{error}");
    assert!(error.hint_text().unwrap().contains("--allow-mass-change"));
    assert!(shop.target.take_calls().is_empty() && shop.target.state(|state| state.looks) == 20);
    assert_eq!(shop.count("delivery.pending where object = 'contact'").await, 8, "they wait");

    assert_eq!(shop.load_as(&allowed()).await.unwrap().tally.sent, counts(&[("contacts untag", 8)]));
    assert_eq!(shop.load().await.all_calls(), 0);
}

#[tokio::test]
async fn unsubscribing_many_and_changing_most_is_stopped_and_new_contacts_are_not() {
    let (shop, emails) = shop_of(20, json!({})).await;
    let out = json!({"email_consent": "opt_out", "email_consent_at": "2024-06-01T00:00:00Z"});
    let all: Vec<(&str, Value)> = emails[..6].iter().map(|email| (email.as_str(), out.clone())).collect();
    shop.contacts(&all).await;
    assert_eq!(shop.try_load().await.unwrap_err().kind(), Kind::Guard);
    shop.load_as(&allowed()).await.unwrap();

    let moved: Vec<(&str, Value)> = emails[6..16].iter().map(|email| (email.as_str(), json!({"city": "Ł"}))).collect();
    shop.contacts(&moved).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 10)]), "half is allowed");
    let moved: Vec<(&str, Value)> = emails[6..17].iter().map(|email| (email.as_str(), json!({"city": "P"}))).collect();
    shop.contacts(&moved).await;
    let error = shop.try_load().await.unwrap_err();
    assert!(error.detail().contains("max_changed_share"), "{error}");
    shop.load_as(&allowed()).await.unwrap();

    let many: Vec<String> = (0..100).map(|n| format!("new{n}@shop.example")).collect();
    let new: Vec<(&str, Value)> = many.iter().map(|email| (email.as_str(), json!({}))).collect();
    shop.contacts(&new).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts new", 100)]));
}

#[tokio::test]
async fn a_changed_mapping_is_announced_and_let_through_only_when_it_is_meant() {
    let (mut shop, _) = shop_of(20, json!({})).await;
    shop.pipeline.contacts.tags.always = vec!["vip".into()];
    shop.pipeline.contacts.fields.insert("town".into(), "city".into());
    let (report, _) = shop.plan().await;
    assert_eq!(report.changed_settings, ["fields.town", "tags.always"]);
    assert_eq!((report.toll.changed, report.toll.removed), (20, 0));
    assert_eq!(report.changed_fields, counts(&[("tags", 20)]), "nobody has a city");
    assert_eq!(shop.try_load().await.unwrap_err().kind(), Kind::Guard);
    // It stays so: what was taken over is not forgotten.
    assert_eq!(shop.try_load().await.unwrap_err().kind(), Kind::Guard);
    assert_eq!(shop.load_as(&allowed()).await.unwrap().tally.sent, counts(&[("contacts changed", 20)]));
}

#[tokio::test]
async fn contacts_of_another_pipeline_in_the_account_do_not_make_the_share_smaller() {
    let (shop, _) = shop_of(40, json!({})).await;
    let statement = "insert into delivery.batches (target, pipeline, operation, run_id, items, keys, state)
        values ('crm', 'other', 'upsert contacts', 1, 30, '{}', 'acknowledged');
        update delivery.ledger set batch_id = (select max(batch_id) from delivery.batches)
        where key in (select key from delivery.ledger order by key limit 30)";
    shop.client().await.batch_execute(statement).await.unwrap();
    assert_eq!(shop.plan().await.0.toll.held, None, "where nothing is pending nobody asks");
    shop.client().await.batch_execute("delete from delivery.fingerprints").await.unwrap();
    let full = plan::Options { full: true, ..plan::Options::default() };
    assert_eq!(shop.plan_as(&full).await.0.toll.held, Some(10));
}

const SHOP: &str = "    max_deleted_share: 0.5";

const REST: &str = "contacts: {consent: all}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_answers_empty_takes_nothing_away_at_the_account() {
    let way = WholeWay::open(woocommerce::Options { orders: 60, ..woocommerce::Options::small() }, SHOP, REST).await;
    way.run().await;
    let calls = || way.account().account().calls.values().sum::<u64>();
    let (before, held) = (calls(), way.rows("select count(*) from delivery.ledger where object = 'contact'").await);
    let fault = Fault { times: 0, ..Fault::new(FaultKind::EmptyPage, "/wp-json/wc/v3/customers*") };
    way.sandbox.fault(fault);
    // However the extract ends: what counts is what reaches the account.
    let read = way.try_read_all(false).await;
    let loaded = way.try_load().await;
    assert!(read.is_err() || loaded.is_err(), "nobody has noticed");
    assert_eq!(calls(), before);
    for error in [read.err(), loaded.err()].into_iter().flatten() {
        // It is noticed as soon as the shop contradicts itself, or at the latest by the share of the missing.
        assert!(matches!(error.kind(), Kind::Truncated | Kind::Guard), "{error}");
    }
    // The shop is well again: nothing has happened.
    way.sandbox.clear_faults();
    way.try_read_all(false).await.unwrap();
    way.try_load().await.unwrap();
    assert_eq!(calls(), before);
    assert_eq!(way.rows("select count(*) from delivery.ledger where object = 'contact'").await, held);
}
