//! What changes, empties or unsubscribes too many of the contacts that the account holds is held back, and nothing else.

use super::counts;
use crate::support::canonical::Shop;
use crate::support::fake_target::Act;
use crate::support::pipeline::WholeWay;
use serde_json::{Value, json};
use wharf::Kind;
use wharf::error::Exit;
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
async fn most_contacts_gone_are_held_back_until_somebody_says_that_it_is_meant() {
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
    assert!(report.tally.sent.is_empty() && report.tally.guarded == 8);
    let summary = shop.try_load().await.unwrap();
    let guarded = summary.guarded.unwrap();
    assert_eq!((guarded.contacts, summary.tally.exit()), (8, Exit::Decision));
    assert!(guarded.why[0].starts_with("8 of 36 contacts"), "{guarded:?}");
    assert!(shop.target.take_calls().is_empty() && shop.target.state(|state| state.looks) == 20);
    assert_eq!(shop.count("delivery.pending where object = 'contact'").await, 8, "they wait");

    assert_eq!(shop.load_as(&allowed()).await.unwrap().tally.sent, counts(&[("contacts untag", 8)]));
    assert_eq!(shop.load().await.all_calls(), 0);
}

#[tokio::test]
async fn unsubscribing_many_and_changing_most_is_held_back_and_new_contacts_are_not() {
    let (shop, emails) = shop_of(20, json!({})).await;
    let out = json!({"email_consent": "opt_out", "email_consent_at": "2024-06-01T00:00:00Z"});
    let all: Vec<(&str, Value)> = emails[..6].iter().map(|email| (email.as_str(), out.clone())).collect();
    shop.contacts(&all).await;
    assert_eq!(shop.load().await.guarded, 6);
    shop.load_as(&allowed()).await.unwrap();

    let moved: Vec<(&str, Value)> = emails[6..16].iter().map(|email| (email.as_str(), json!({"city": "Ł"}))).collect();
    shop.contacts(&moved).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 10)]), "half is allowed");
    let moved: Vec<(&str, Value)> = emails[6..17].iter().map(|email| (email.as_str(), json!({"city": "P"}))).collect();
    shop.contacts(&moved).await;
    let guarded = shop.try_load().await.unwrap().guarded.unwrap();
    assert!(guarded.why[0].contains("max_changed_share"), "{guarded:?}");
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
    assert_eq!(shop.load().await.guarded, 20);
    // It stays so: what was taken over is not forgotten.
    let tally = shop.load().await;
    assert_eq!((tally.guarded, tally.all_sent()), (20, 0));
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

/// 40 contacts that bought beds; 12 of them lose that tag and gain `instead`, 3 others move, one is new, two buy something.
async fn a_category_goes(instead: &[&str]) -> Shop {
    let (shop, emails) = shop_of(40, json!({"contacts": {"tags": {"categories": true, "always": ["shop"]}}})).await;
    for email in &emails {
        shop.tags(email, "category", &["Beds"]).await;
    }
    shop.load_as(&allowed()).await.unwrap();
    for email in &emails[..12] {
        shop.tags(email, "category", instead).await;
    }
    let moved: Vec<(&str, Value)> = emails[20..23].iter().map(|email| (email.as_str(), json!({"city": "Ł"}))).collect();
    shop.contacts(&moved).await;
    shop.contact("new@shop.example", json!({})).await;
    shop.orders(&[(&emails[0], "of one held back", json!({})), ("new@shop.example", "of a new one", json!({}))]).await;
    shop.target.take_calls();
    shop
}

fn with_beds(shop: &Shop) -> usize {
    shop.target.state(|state| state.cards.values().filter(|card| card.tags.contains(&"BEDS".to_owned())).count())
}

#[tokio::test]
async fn a_renamed_category_takes_nothing_away() {
    let shop = a_category_goes(&["Sofas"]).await;
    let (report, _) = shop.plan().await;
    assert_eq!((report.guard, report.toll.removed), (None, 0));
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts changed", 15), ("contacts new", 1), ("purchase", 2)]));
    assert_eq!((tally.guarded, with_beds(&shop)), (0, 28));
}

#[tokio::test]
async fn only_whom_it_is_about_is_held_back_and_the_tags_are_named() {
    let shop = a_category_goes(&[]).await;
    let rest = counts(&[("contacts changed", 3), ("contacts new", 1), ("purchase", 2)]);
    let (report, records) = shop.plan().await;
    assert_eq!((&report.tally.sent, report.tally.guarded), (&rest, 12));
    assert!(
        report
            .guard
            .unwrap()
            .starts_with("12 of 40 contacts that the account holds would lose tags without gaining one (BEDS 12)")
    );
    assert_eq!(records.iter().filter(|record| record.action == "held back by the guard: contacts changed").count(), 12);

    let summary = shop.try_load().await.unwrap();
    assert_eq!((&summary.tally.sent, summary.tally.guarded), (&rest, 12));
    assert_eq!(summary.tally.calls, report.tally.calls);
    assert_eq!(summary.tally.exit(), Exit::Decision);
    assert!(summary.guarded.unwrap().why[0].contains("(BEDS 12)"));
    assert_eq!(with_beds(&shop), 40);
    assert_eq!(
        shop.value("select count(*) || ' ' || min(array_to_string(reasons, ' ')) from delivery.guarded").await,
        "12 tags changed"
    );

    // Whoever is put right is free again, and what is left is few enough; nobody else is held back for ever.
    for n in 0..9 {
        shop.tags(&format!("c{n}@shop.example"), "category", &["Beds"]).await;
    }
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 3)]));
    assert_eq!(
        (shop.count("delivery.guarded").await, shop.count("delivery.pending").await, with_beds(&shop)),
        (0, 0, 37)
    );
}

#[tokio::test]
async fn a_load_that_was_killed_or_comes_again_takes_nothing_from_the_guard() {
    let shop = a_category_goes(&[]).await;
    shop.target.script(&[Act::DieAfter]);
    assert!(shop.load_that_may_die().await);
    for _ in 0..2 {
        assert_eq!((shop.load().await.guarded, with_beds(&shop)), (12, 40));
    }
    // More of the same, and something else of those who are held back already.
    shop.tags("c13@shop.example", "category", &[]).await;
    shop.contact("c0@shop.example", json!({"city": "Ł"})).await;
    assert_eq!((shop.load().await.guarded, with_beds(&shop)), (13, 40));
    // Killed in the middle of what was allowed, the rest is asked for again if it is still too much.
    shop.target.script(&[Act::Do, Act::DieAfter]);
    let context = shop.context().await;
    let (target, pipeline, patience) = (shop.target.clone(), shop.pipeline.clone(), shop.patience);
    let dies = tokio::spawn(async move {
        let _ = wharf::stage::load::load_as(&context, &pipeline, target, patience, &allowed()).await;
    });
    assert!(dies.await.is_err());
    let left = shop.load().await.guarded;
    assert!((5..=13).contains(&left), "{left}");
    shop.load_as(&allowed()).await.unwrap();
    assert_eq!((with_beds(&shop), shop.count("delivery.guarded").await, shop.load().await.all_calls()), (27, 0, 0));
}

#[tokio::test]
async fn a_saved_plan_holds_what_the_guard_lets_through_or_what_was_allowed() {
    let shop = a_category_goes(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    for (allow_mass_change, beds) in [(false, 40), (true, 28)] {
        let path = folder.path().join(format!("{allow_mass_change}.plan"));
        let options = plan::Options { out: Some(path.clone()), allow_mass_change, ..plan::Options::default() };
        let report = shop.plan_as(&options).await.0;
        let summary = shop.load_as(&Options { plan: Some(path), ..Options::default() }).await.unwrap();
        assert_eq!(summary.tally.sent, report.tally.sent, "{allow_mass_change}");
        assert_eq!(with_beds(&shop), beds, "{allow_mass_change}");
        if !allow_mass_change {
            assert_eq!(shop.load().await.guarded, 12, "the plan has not let them through");
        }
    }
    let tally = shop.load().await;
    assert_eq!((tally.guarded, tally.all_calls(), shop.count("delivery.guarded").await), (0, 0, 0));
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
    let is_held_back = loaded.as_ref().is_ok_and(|summary| summary.tally.guarded > 0);
    assert!(read.is_err() || loaded.is_err() || is_held_back, "nobody has noticed");
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
