//! Everything compared with the ledger, as `--full` asks, against what the change feed leads to.

use super::counts;
use crate::support::canonical::{Shop, contact_id};
use crate::support::pipeline::WholeWay;
use serde_json::json;
use std::collections::BTreeMap;
use wharf::sandbox::woocommerce;
use wharf::stage::load::feed::Baseline;
use wharf::stage::load::{self};
use wharf::stage::plan::{self, Record};

const FULL: plan::Options = plan::Options { full: true, out: None, allow_mass_change: false };

fn full_load() -> load::Options {
    load::Options { full: true, ..load::Options::default() }
}

/// What would be sent, record by record.
fn to_send(records: &[Record]) -> BTreeMap<(String, String), String> {
    let idle = ["unchanged", "skip", "hold", "wait", "reject"];
    let sent = records.iter().filter(|record| !idle.contains(&record.action.as_str()));
    sent.map(|record| {
        let fields: Vec<String> = record.fields.iter().map(|change| format!("{change:?}")).collect();
        ((record.object.clone(), record.key.to_string()), format!("{} {}", record.action, fields.join("; ")))
    })
    .collect()
}

#[tokio::test]
async fn an_audit_finds_what_changed_behind_the_feeds_back_and_a_full_load_sends_it() {
    let shop = Shop::new(json!({})).await;
    shop.contacts(&[("a@shop.example", json!({})), ("b@shop.example", json!({}))]).await;
    shop.order("a@shop.example", "1", json!({})).await;
    shop.load().await;
    let audit = shop.plan_as(&FULL).await.0.audit.unwrap();
    assert_eq!((audit.compared, audit.unchanged, audit.differing, audit.missed), (3, 3, 0, 0));
    audit.check().unwrap();

    // Nothing tells of this change.
    shop.client()
        .await
        .batch_execute("update canonical.contacts set city = 'Gdańsk' where email like 'a@%'")
        .await
        .unwrap();
    // This one is in the feed.
    shop.contact("b@shop.example", json!({"city": "Sopot"})).await;
    let (report, records) = shop.plan_as(&FULL).await;
    let audit = report.audit.unwrap();
    assert_eq!((audit.compared, audit.unchanged, audit.differing, audit.missed), (3, 1, 2, 1));
    let key = contact_id("a@shop.example");
    assert_eq!(audit.examples, [format!("contact {key}")]);
    let error = audit.check().unwrap_err();
    assert!(error.detail().contains(&key.to_string()) && error.hint_text().unwrap().contains("load PIPELINE --full"));
    assert_eq!(to_send(&records).len(), 2);
    assert_eq!(to_send(&shop.plan().await.1).len(), 1, "the feed leads to one of them");

    let summary = shop.load_as(&full_load()).await.unwrap();
    assert_eq!((summary.baseline, summary.tally.sent), (Some(Baseline::Asked), counts(&[("contacts changed", 2)])));
    assert_eq!(shop.plan_as(&FULL).await.0.audit.unwrap().differing, 0);
}

#[tokio::test]
async fn what_was_refused_before_and_what_is_on_its_way_is_not_missed() {
    let shop = Shop::new(json!({})).await;
    shop.load().await;
    shop.target.state(|state| state.spoiled = vec!["bad@shop.example".into()]);
    shop.contacts(&[("a@shop.example", json!({})), ("bad@shop.example", json!({}))]).await;
    shop.load().await;
    let audit = shop.plan_as(&FULL).await.0.audit.unwrap();
    assert_eq!((audit.differing, audit.refused_before, audit.missed), (1, 1, 0));

    // A run that has not finished yet has written its changes already.
    let slow = wharf::store::Run::begin(&shop.test.db, "other", "transform").await.unwrap();
    shop.contact("a@shop.example", json!({"city": "Gdańsk"})).await;
    assert_eq!(to_send(&shop.plan().await.1).len(), 0);
    let audit = shop.plan_as(&FULL).await.0.audit.unwrap();
    assert_eq!((audit.differing, audit.missed), (2, 0));
    slow.finish(wharf::store::Outcome::Done, None).await.unwrap();
}

#[tokio::test]
async fn fields_that_move_by_themselves_are_not_missed_and_others_are() {
    let fields = json!({"contacts": {"fields": {"moves": "extract(microsecond from clock_timestamp())::text || txid_current_if_assigned()::text || random()::text", "stays": "city"}}});
    let shop = Shop::new(fields).await;
    shop.contacts(&[("a@shop.example", json!({})), ("b@shop.example", json!({"city": "Sopot"}))]).await;
    shop.load().await;
    // The concatenation with null is null; with the time alone it moves.
    let mut shop = shop;
    shop.pipeline.contacts.fields.insert("moves".into(), "random()".into());
    shop.load_as(&load::Options { allow_mass_change: true, ..load::Options::default() }).await.unwrap();
    let audit = shop.plan_as(&FULL).await.0.audit.unwrap();
    assert_eq!((audit.differing, audit.moving, audit.missed), (2, 2, 0));
    shop.client()
        .await
        .batch_execute("update canonical.contacts set phone = '+48601000101' where email like 'a@%'")
        .await
        .unwrap();
    let audit = shop.plan_as(&FULL).await.0.audit.unwrap();
    assert_eq!((audit.differing, audit.moving, audit.missed), (2, 1, 1));
}

/// Besides what every shop has.
const SHOP: &str = "
    consent_meta_keys: [{key: marketing_consent}]
    max_deleted_share: 1.0
";

const REST: &str = "
contacts:
  consent: opt_in_only
  fields: {town: \"upper(city)\"}
load: {guard: {max_removed_share: 1.0, max_changed_share: 1.0}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_thousands_of_random_changes_the_feed_leads_to_all_that_differs_and_to_nothing_else() {
    let way = WholeWay::open(woocommerce::Options::small(), SHOP, REST).await;
    way.run().await;
    let mut changes = BTreeMap::new();
    let mut sent = 0;
    let mut calls = (0, 0);
    for seed in 1..=3 {
        for change in (0..3).flat_map(|part| way.sandbox.woocommerce().unwrap().change_about(0.9, 10 * seed + part)) {
            *changes.entry(change.what).or_insert(0) += 1;
        }
        way.read_all().await;
        let (estimate, by_feed) = way.plan(&plan::Options::default()).await;
        let (report, by_audit) = way.plan(&FULL).await;
        let audit = report.audit.unwrap();
        assert_eq!((audit.missed, &audit.examples), (0, &Vec::new()), "seed {seed}");
        assert_eq!(to_send(&by_audit), to_send(&by_feed), "seed {seed}");
        assert!(!by_feed.is_empty() && by_audit.len() >= by_feed.len());
        // Rendering everybody finds just that too, so no fingerprint vouched for too much.
        let client = way.test.db.client().await.unwrap();
        let forget = "create table noted as table delivery.fingerprints; delete from delivery.fingerprints";
        client.batch_execute(forget).await.unwrap();
        let by_rendering = way.plan(&FULL).await.1;
        assert_eq!(to_send(&by_rendering), to_send(&by_audit), "seed {seed}");
        let remember = "insert into delivery.fingerprints table noted; drop table noted";
        client.batch_execute(remember).await.unwrap();
        drop(client);
        let loaded = way.load().await;
        sent += loaded.tally.all_sent();
        calls.0 += estimate.calls;
        calls.1 += loaded.tally.all_calls();
        let (report, after) = way.plan(&FULL).await;
        let audit = report.audit.unwrap();
        assert_eq!((to_send(&after).len(), audit.missed), (0, 0), "seed {seed}: {:?}", to_send(&after));
        let in_vain = after.iter().filter(|record| record.object == "contact" && record.action == "unchanged").count();
        assert_eq!(in_vain, 0, "seed {seed}: contacts were rendered although they had just been");
    }
    assert!(changes.values().sum::<u64>() >= 2000 && sent >= 1000, "{changes:?}, {sent} sent");
    for what in [
        "order placed",
        "order status",
        "unsubscribed",
        "subscribed",
        "e-mail changed",
        "customer deleted",
        "category renamed",
    ] {
        assert!(changes.contains_key(what), "{what}: {changes:?}");
    } // Who waits for contacts to appear asks for them more than once, which no plan can count.
    assert!(calls.0.abs_diff(calls.1) * 10 <= calls.1, "{} calls estimated, {} made", calls.0, calls.1);
}

#[tokio::test]
async fn an_audit_renders_only_whom_fingerprints_do_not_vouch_for_and_stays_exact() {
    let shop = Shop::new(json!({"contacts": {"fields": {"size": "extra->>'size'"}}})).await;
    let emails: Vec<String> = (0..7).map(|n| format!("c{n}@shop.example")).collect();
    let all: Vec<_> = emails.iter().map(|email| (email.as_str(), json!({"registered": false}))).collect();
    shop.contacts(&all).await;
    shop.contact("refuses@shop.example", json!({"email_consent": "opt_out"})).await;
    shop.load().await;
    assert_eq!(shop.count("delivery.fingerprints").await, 7, "the account does not hold the eighth");
    let audit = async || {
        let (report, records) = shop.plan_as(&FULL).await;
        let audit = report.audit.unwrap();
        assert_eq!((report.contacts, audit.compared, report.tally.unchanged), (8, 8, audit.unchanged - 1));
        (records.len(), audit.differing, audit.missed)
    };
    assert_eq!(audit().await, (1, 0, 0), "only the eighth is rendered");

    // Notes that are out of date, or were never made, cost a rendering and change no answer.
    let run = async |statement: &str| shop.client().await.batch_execute(statement).await.unwrap();
    let id = |n: usize| contact_id(&emails[n]);
    run(&format!("update delivery.fingerprints set fingerprint = fingerprint + 1 where contact_id = '{}'", id(0)))
        .await;
    run(&format!("delete from delivery.fingerprints where contact_id = '{}'", id(1))).await;
    assert_eq!(audit().await, (3, 0, 0));
    shop.load_as(&full_load()).await.unwrap();
    assert_eq!(audit().await, (1, 0, 0), "a load of everything notes them anew");

    // Whatever rendering reads is noticed although nothing tells of it, and so is a ledger changed by hand.
    for statement in [
        format!("update canonical.contacts set extra = '{{\"size\": \"M\"}}' where contact_id = '{}'", id(0)),
        format!(
            "insert into canonical.contact_tags (contact_id, tag, origin) values ('{}', 'Beds', 'category')",
            id(1)
        ),
        format!("update canonical.contact_sources set source_key = 'account:7' where contact_id = '{}'", id(2)),
        format!(
            "insert into canonical.orders (contact_id, order_id, connection, source_key, status, utm, extra)
             values ('{}', gen_random_uuid(), 'shop', '1', 'INITIALIZED', '{{}}', '{{}}')",
            id(3)
        ),
        format!("update delivery.ledger set payload = payload || '{{\"name\": \"X\"}}' where contact_id = '{}'", id(4)),
        format!("delete from delivery.ledger where contact_id = '{}'", id(5)),
    ] {
        run(&statement).await;
    }
    let (report, records) = shop.plan_as(&FULL).await;
    let audit = report.audit.unwrap();
    assert_eq!((audit.unchanged, audit.differing, audit.missed, to_send(&records).len()), (3, 6, 6, 6), "{records:?}");
}

#[tokio::test]
async fn other_settings_and_fields_that_move_by_themselves_leave_no_fingerprint_to_hold() {
    let shop = Shop::new(json!({"contacts": {"fields": {"age": "(now() - created_at)::text"}}})).await;
    shop.contacts(&[("a@shop.example", json!({}))]).await;
    shop.load().await;
    assert_eq!(shop.count("delivery.fingerprints").await, 0);
    let mut shop = Shop::new(json!({})).await;
    shop.contacts(&[("a@shop.example", json!({}))]).await;
    shop.load().await;
    assert_eq!(shop.plan_as(&FULL).await.1.len(), 0);
    shop.pipeline.contacts.tags.always = vec!["other".into()];
    assert_eq!(to_send(&shop.plan_as(&FULL).await.1).len(), 1);
}
