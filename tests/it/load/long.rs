//! A queue so long that two sessions render it: nothing is lost, doubled or sent out of order between them.

use super::counts;
use crate::support::canonical::Shop;
use crate::support::fake_target::Card;
use serde_json::json;
use std::collections::BTreeMap;

/// More than two slices.
const MANY: u64 = 4600;
/// Who orders; so the orders of each of them lie in all slices.
const BUYERS: u64 = 40;

/// Contacts `cN@shop.example`, and as many orders, the N-th a minute after the one before.
async fn many() -> Shop {
    let shop = Shop::new(json!({})).await;
    shop.contact("c0@shop.example", json!({})).await;
    shop.order("c0@shop.example", "0", json!({"placed_at": "2024-05-02T00:00:00Z"})).await;
    shop.change(&format!(
        "create temporary table copies as
             select n, md5('c' || n)::uuid as contact_id, md5('o' || n)::uuid as order_id,
                md5('c' || n % {BUYERS} + 1)::uuid as buyer_id
             from generate_series(1, {MANY}) as n;
         insert into canonical.contacts
             select (jsonb_populate_record(c, jsonb_build_object('contact_id', copies.contact_id,
                'email', 'c' || n || '@shop.example'))).*
             from copies, canonical.contacts c where c.email = 'c0@shop.example';
         insert into canonical.contact_sources
             select (jsonb_populate_record(s, jsonb_build_object('contact_id', copies.contact_id,
                'email', 'c' || n || '@shop.example', 'source_key', 'account:c' || n))).*
             from copies, canonical.contact_sources s where s.email = 'c0@shop.example';
         insert into canonical.orders
             select (jsonb_populate_record(o, jsonb_build_object('order_id', copies.order_id,
                'contact_id', copies.buyer_id, 'source_key', n, 'number', n,
                'placed_at', '2024-05-02T00:00:00Z'::timestamptz + n * interval '1 minute'))).*
             from copies, canonical.orders o where o.source_key = '0';
         drop table copies;"
    ))
    .await;
    shop.target.state(|state| state.batch = 300);
    shop
}

#[tokio::test]
async fn a_long_queue_is_sent_once_and_each_contacts_events_oldest_first() {
    let shop = many().await;
    // Every seventh has left at the account after what the shop says.
    let left: Vec<String> = (1..=MANY).step_by(7).map(|n| format!("c{n}@shop.example")).collect();
    let later = Some("2024-06-01T00:00:00Z".parse().unwrap());
    shop.target.state(|state| {
        for email in &left {
            state.cards.insert(
                email.clone(),
                Card { email_opted_out: true, sms_opted_out: true, modified_at: later, ..Card::default() },
            );
        }
    });
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts new", MANY + 1), ("purchase", MANY + 1)]));
    assert_eq!(tally.opt_outs_kept, u64::try_from(left.len()).unwrap());
    assert_eq!(shop.count("delivery.pending").await, 0);

    let (events, cards) = shop.target.state(|state| (state.events.clone(), state.cards.clone()));
    let mut by_contact: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (address, event) in events {
        by_contact.entry(address).or_default().push(event["detail2"].as_str().unwrap().parse().unwrap());
    }
    let mut all: Vec<u64> = by_contact.values().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..=MANY).collect::<Vec<_>>(), "each once");
    for (address, numbers) in by_contact {
        assert!(numbers.is_sorted(), "{address}: {numbers:?}");
    }
    let opted_out = cards.iter().filter(|(_, card)| card.email_opted_out).count();
    assert_eq!(opted_out, left.len(), "nobody who left is opted in again");
}
