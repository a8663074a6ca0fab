//! A first load that is spread over a time: it takes that time whatever its calls carry, and what comes later is not held up.

use super::counts;
use crate::support::canonical::Shop;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// So many are sent, in calls of [`BATCH`].
const NEW: u64 = 60;
const BATCH: usize = 10;
/// So many are left out.
const OLD: u64 = 60;

#[tokio::test]
async fn a_spread_first_load_takes_its_time_also_where_many_records_take_no_call() {
    let shop = Shop::new(json!({"contacts": {"created_after": "2024-03-01"}, "load": {"spread": "3s"}})).await;
    let created = |n: u64| if n < OLD { "2024-02-01T00:00:00Z" } else { "2024-04-01T00:00:00Z" };
    let people: Vec<(String, Value)> =
        (0..OLD + NEW).map(|n| (format!("c{n}@shop.example"), json!({"created_at": created(n)}))).collect();
    let people: Vec<(&str, Value)> = people.iter().map(|(email, more)| (email.as_str(), more.clone())).collect();
    shop.contacts(&people).await;
    shop.target.state(|state| state.batch = BATCH);

    let began = Instant::now();
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts new", NEW)]));
    assert_eq!(tally.skipped, counts(&[("created", OLD)]));
    // The first call goes at once, the other five a sixth of the time after one another.
    assert!(began.elapsed() >= Duration::from_millis(2400), "{:?}", began.elapsed());
}
