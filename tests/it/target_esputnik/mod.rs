//! The eSputnik target against an account in the test's memory: contacts in jobs, consent, orders and events.

mod contacts;
mod orders;
mod sandbox;
mod specification;

use crate::load::counts;
use crate::support::canonical::Shop;
use crate::support::fake_esputnik::{Act, FakeESputnik};
use serde_json::{Value, json};
use wharf::Kind;

/// A shop with one contact of each kind of consent, and the account.
async fn pair(more: Value) -> (Shop, FakeESputnik) {
    (Shop::new(more).await, FakeESputnik::start().await)
}

#[tokio::test]
async fn a_check_names_the_key_that_is_not_taken_and_the_field_that_is_not_there() {
    let (_shop, account) = pair(json!({})).await;
    let wrong = account.target(json!({"api_key": "other"})).check().await;
    assert!(!wrong[0].ok && wrong[0].detail.contains("90 days"), "{}", wrong[0].detail);
    let all_well = account.target(json!({})).check().await;
    assert!(all_well.iter().all(|finding| finding.ok), "{all_well:?}");
    let missing = account.target(json!({"field_map": {"company": "Firm"}})).check().await;
    let last = missing.last().unwrap();
    assert!(!last.ok && last.detail.contains("`Firm`") && last.detail.contains("Additional fields"), "{}", last.detail);
}

#[tokio::test]
async fn a_key_that_is_switched_off_stops_a_load_and_nothing_is_lost() {
    let (shop, account) = pair(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    let error = account.load(&shop, json!({"api_key": "other"})).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
    let sent = account.load(&shop, json!({})).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("contacts new", 1)]));
}

#[tokio::test]
async fn a_call_that_is_throttled_is_made_again_also_where_it_may_not_be_repeated() {
    let (shop, account) = pair(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    account.state(|state| state.script.insert("v1/contacts", [Act::Answer(429, "slower".into())].into()));
    let sent = account.load(&shop, json!({})).await.unwrap().tally.sent;
    assert_eq!((sent, account.state(|state| state.jobs)), (counts(&[("contacts new", 1)]), 1));
}
