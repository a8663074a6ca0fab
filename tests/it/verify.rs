//! `wharf verify`: what the account holds is read back, and every planted difference is found.

use crate::support::pipeline::WholeWay;
use serde_json::json;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;
use wharf::progress::Progress;
use wharf::sandbox::Platform;
use wharf::sandbox::woocommerce::Options;
use wharf::stage::verify::{Extent, Report, verify};
use wharf::target::{Item, registry};

const SHOP: &str = "    auth: basic";

const REST: &str = "contacts: {consent: all}";

async fn read_back(way: &WholeWay, extent: Extent) -> Report {
    let target = registry::build(&way.pipeline.target, &way.pipeline.load).unwrap();
    verify(&way.test.db, &way.pipeline, target, extent, &Progress::silent(), &CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn what_was_sent_reads_back_alike_and_each_planted_difference_is_found() {
    let shop = Options { customers: 60, orders: 120, ..Options::default() };
    let way = WholeWay::open(shop, SHOP, REST).await;
    let (_, loaded) = way.run().await;
    assert!(loaded.tally.sent.contains_key("purchase"), "{}", loaded.tally);
    let client = way.test.db.client().await.unwrap();
    // What was sent a moment ago may not show yet, so differences in it are no findings.
    client.batch_execute("update delivery.ledger set sent_at = sent_at - interval '1 hour'").await.unwrap();
    let report = read_back(&way, Extent::All).await;
    let checked: u64 = report.checked.values().sum();
    let held: i64 = client
        .query_one("select count(*) from delivery.ledger where state = 'acknowledged'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(checked, u64::try_from(held).unwrap());
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert!(report.not_shown.iter().any(|field| field == "contact.lang"));

    // The same seed reads the same records.
    let sample = read_back(&way, Extent::Sample { rows: 10, seed: 5 }).await;
    assert_eq!(sample.checked.values().sum::<u64>(), 10);

    let rows = client
        .query(
            "select contact.key, contact.payload ->> 'email'
             from delivery.ledger as contact
             where contact.object = 'contact' and contact.payload ? 'name'
                 and not exists (
                    select from delivery.ledger as event
                    where event.contact_id = contact.contact_id and event.object <> 'contact')
             order by contact.key limit 2",
            &[],
        )
        .await
        .unwrap();
    let (edited, edited_email): (uuid::Uuid, String) = (rows[0].get(0), rows[0].get(1));
    let (deleted, deleted_email): (uuid::Uuid, String) = (rows[1].get(0), rows[1].get(1));

    // A card edited by hand, a card deleted, an event that the account has lost.
    let target = registry::build(&way.pipeline.target, &way.pipeline.load).unwrap();
    let upsert = target.operations().into_iter().find(|operation| operation.name == "upsert contacts").unwrap();
    let request = json!({"contact": {"email": edited_email, "name": "Somebody Else"}, "forceOptIn": false,
        "forceOptOut": false, "forcePhoneOptIn": false, "forcePhoneOptOut": false});
    let item = Item {
        key: edited,
        contact_id: edited,
        address: edited_email,
        envelope: serde_json::Value::Null.into(),
        request: request.into(),
    };
    target.send(&upsert, &[item], false).await.unwrap();
    way.account().change(&json!({"settle": {}})).unwrap();
    way.account().change(&json!({"delete": {"email": deleted_email}})).unwrap();
    let lost: uuid::Uuid = client
        .query_one(
            "update delivery.ledger set payload = payload || '{\"externalId\": \"never-arrived\"}'
             where (contact_id, key) = (select contact_id, key from delivery.ledger where object = 'purchase' order by key limit 1)
                 and object = 'purchase'
             returning key",
            &[],
        )
        .await
        .unwrap()
        .get(0);

    let report = read_back(&way, Extent::All).await;
    let found: BTreeSet<(uuid::Uuid, bool)> =
        report.findings.iter().map(|finding| (finding.key, finding.missing)).collect();
    assert_eq!(found, BTreeSet::from([(edited, false), (deleted, true), (lost, true)]), "{:#?}", report.findings);
    let edited = report.findings.iter().find(|finding| finding.key == edited).unwrap();
    assert_eq!(edited.differences[0].field, "name");
    assert_eq!(edited.differences[0].target.as_deref(), Some("Somebody Else"));
}

#[tokio::test]
async fn people_who_moved_or_left_at_the_account_are_no_differences_and_a_card_that_was_forgotten_is_one() {
    let shop = Options { customers: 60, orders: 120, ..Options::default() };
    let keys = "    auth: basic\n    consent_meta_keys: [{key: marketing_consent, date_key: marketing_consent_date}]";
    let way = WholeWay::open(shop, keys, REST).await;
    way.run().await;
    let client = way.test.db.client().await.unwrap();
    // A customer with an account at the shop who has bought something.
    let buyer = client
        .query_one(
            "select source.source_key, contact.payload ->> 'email'
             from delivery.ledger as event
             join delivery.ledger as contact on contact.contact_id = event.contact_id and contact.object = 'contact'
             join canonical.contact_sources as source on source.contact_id = event.contact_id and source.kind = 'account'
             where event.object = 'purchase'
             order by event.key limit 1",
            &[],
        )
        .await
        .unwrap();
    let (customer, old): (String, String) = (buyer.get(0), buyer.get(1));
    let customer: u64 = customer.rsplit(':').next().unwrap().parse().unwrap();
    let email = "moved@walk-in.example";
    let moves = json!({"update": {"entity": "customers", "id": customer,
        "fields": {"email": email, "billing": {"email": email}}}});
    way.sandbox.woocommerce().unwrap().change(&moves).unwrap();
    way.read_all().await;
    let loaded = way.load().await;
    assert_eq!(loaded.tally.sent.get("contacts rename"), Some(&1), "{}", loaded.tally);
    let leaves: String = client
        .query_one(
            "select payload ->> 'email' from delivery.ledger
             where object = 'contact' and payload #>> '{consent,email,state}' = 'opt_in' and payload ->> 'email' <> $1
             order by key limit 1",
            &[&email],
        )
        .await
        .unwrap()
        .get(0);
    way.account().change(&json!({"settle": {}})).unwrap();
    way.account().change(&json!({"consent": {"email": leaves, "opted_out": true}})).unwrap();
    client.batch_execute("update delivery.ledger set sent_at = sent_at - interval '1 hour'").await.unwrap();
    let report = read_back(&way, Extent::All).await;
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.withdrawn, 1);

    // Somebody whom we opted out is opted in there, the event of who moved is lost, and a call whose answer nobody knows
    // has left a card at an address of before.
    client
        .batch_execute(
            "update delivery.ledger set payload = jsonb_set(payload, '{consent,email,state}', '\"opt_out\"')
             where key = (
                select key from delivery.ledger
                where object = 'contact' and payload #>> '{consent,email,state}' = 'opt_in' order by key desc limit 1);
             update delivery.ledger set payload = payload || '{\"externalId\": \"never-arrived\"}'
             where object = 'purchase' and contact_id = (
                select contact_id from delivery.ledger
                where object = 'contact' and payload ->> 'email' = 'moved@walk-in.example');
             update delivery.batches set state = 'superseded'",
        )
        .await
        .unwrap();
    let target = registry::build(&way.pipeline.target, &way.pipeline.load).unwrap();
    let upsert = target.operations().into_iter().find(|operation| operation.name == "upsert contacts").unwrap();
    let item = Item {
        key: uuid::Uuid::nil(),
        contact_id: uuid::Uuid::nil(),
        address: old.clone(),
        envelope: serde_json::Value::Null.into(),
        request: json!({"contact": {"email": old}, "forceOptIn": false}).into(),
    };
    target.send(&upsert, &[item], false).await.unwrap();
    way.account().change(&json!({"settle": {}})).unwrap();
    let found: Vec<String> = read_back(&way, Extent::All)
        .await
        .findings
        .into_iter()
        .map(|finding| match finding.differences.first() {
            Some(difference) => difference.field.clone(),
            None => format!("no {}", finding.object),
        })
        .collect();
    let kinds: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(kinds, BTreeSet::from(["card", "consent.email.state", "no purchase"]), "{found:?}");
}
