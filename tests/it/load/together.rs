//! Several calls at once, and several loads of one account: in which order things arrive.

use super::counts;
use crate::support::canonical::{Shop, contact_id, pipeline};
use crate::support::fake_target::{FakeTarget, Held};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use wharf::stage::load::tally::Tally;
use wharf::stage::load::{self, Options};
use wharf::store::Outcome;
use wharf::target::Target;

/// A load of `shop` as a task.
async fn start(shop: &Shop, options: Options) -> JoinHandle<wharf::Result<Tally>> {
    let context = shop.context().await;
    let target: Arc<dyn Target> = shop.target.clone();
    let (pipeline, patience) = (shop.pipeline.clone(), shop.patience);
    tokio::spawn(async move {
        let result = load::load_as(&context, &pipeline, target, patience, &options).await;
        context.run.finish(Outcome::Done, result.as_ref().err()).await?;
        result.map(|summary| summary.tally)
    })
}

/// Takes one of the calls that wait, chosen by `roll`; most often once several do.
async fn next_held(target: &FakeTarget, work: &JoinHandle<wharf::Result<Tally>>, roll: usize) -> Option<(Held, usize)> {
    let mut patience = 60;
    loop {
        let aloft = target.state(|state| state.held.as_ref().map_or(0, Vec::len));
        if aloft >= 3 || (aloft > 0 && patience == 0) {
            return target.state(|state| {
                let held = state.held.as_mut()?;
                assert_disjoint(held);
                Some((held.swap_remove(roll % aloft), aloft))
            });
        }
        if work.is_finished() {
            return None;
        }
        patience = if aloft > 0 { patience - 1 } else { 60 };
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn assert_disjoint(held: &[Held]) {
    let mut seen = HashSet::new();
    for call in held {
        let contacts: HashSet<_> = call.contacts.iter().collect();
        assert!(contacts.into_iter().all(|contact| seen.insert(*contact)), "two calls aloft carry one contact");
    }
}

#[tokio::test]
async fn calls_that_are_answered_in_any_order_never_overtake_each_other_for_a_contact() {
    for seed in 1..=4usize {
        let shop = Shop::new(json!({"load": {"parallel": 4}})).await;
        let emails: Vec<String> = (0..8).map(|n| format!("c{n}@shop.example")).collect();
        let contacts: Vec<(&str, Value)> = emails.iter().map(|email| (email.as_str(), json!({}))).collect();
        shop.contacts(&contacts).await;
        let keys: Vec<(usize, String)> = (0..32).map(|n| (n % 8, format!("{}-{}", n % 8, n / 8))).collect();
        let orders: Vec<(&str, &str, Value)> = keys
            .iter()
            .map(|(contact, key)| {
                // Clumped, so that one contact's orders stand next to each other.
                let placed = format!("2024-05-{:02}T10:00:0{}Z", contact / 2 + 1, key.rsplit('-').next().unwrap());
                (emails[*contact].as_str(), key.as_str(), json!({"placed_at": placed}))
            })
            .collect();
        shop.orders(&orders).await;
        shop.target.state(|state| {
            state.batch = 2;
            state.held = Some(Vec::new());
        });
        let work = start(&shop, Options::default()).await;
        let (mut roll, mut most) = (seed, 0);
        while let Some((held, aloft)) = next_held(&shop.target, &work, roll).await {
            most = most.max(aloft);
            roll = roll.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 7;
            held.go();
        }
        let tally = work.await.unwrap().unwrap();
        assert_eq!(tally.sent, counts(&[("contacts new", 8), ("purchase", 32)]));
        assert!(most >= 3, "seed {seed}: never more than {most} calls aloft");
        let arrived: Vec<String> = shop.target.state(|state| {
            state.events.iter().map(|(_, event)| event["externalId"].as_str().unwrap().to_owned()).collect()
        });
        for contact in 0..8 {
            let own: Vec<&String> = arrived.iter().filter(|key| key.starts_with(&format!("{contact}-"))).collect();
            assert!(own.is_sorted(), "seed {seed}: {own:?}");
        }
    }
}

#[tokio::test]
async fn a_back_fill_lets_the_changes_of_another_pipeline_go_first() {
    let mut shop = Shop::new(json!({"load": {"parallel": 1}})).await;
    let emails: Vec<String> = (0..400).map(|n| format!("c{n}@shop.example")).collect();
    let contacts: Vec<(&str, Value)> = emails.iter().map(|email| (email.as_str(), json!({}))).collect();
    shop.contacts(&contacts).await;
    shop.target.state(|state| state.batch = 50);
    shop.load().await;
    shop.target.take_calls();

    // A second pipeline gives everybody a tag; its first call waits for its answer.
    let live = shop.pipeline.clone();
    shop.pipeline =
        pipeline(&json!({"name": "fill", "load": {"parallel": 1}, "contacts": {"tags": {"always": ["vip"]}}}));
    shop.patience.others = Duration::ZERO;
    shop.target.state(|state| {
        state.batch = 10;
        state.held = Some(Vec::new());
    });
    let options = Options { allow_mass_change: true, ..Options::default() };
    let filling = start(&shop, options).await;
    while shop.target.state(|state| state.held.as_ref().is_none_or(Vec::is_empty)) {
        assert!(!filling.is_finished(), "{:?}", filling.await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut last = emails.clone();
    last.sort_by_key(|email| contact_id(email));
    shop.contact(&last[0], json!({"city": "Kraków"})).await;
    shop.pipeline = live;
    let changing = start(&shop, Options::default()).await;
    while shop.value("select count(wanted_at) from ops.leases where name = 'target:crm'").await == "0" {
        assert!(!changing.is_finished(), "{:?}", changing.await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let held = shop.target.state(|state| state.held.take()).unwrap();
    held.into_iter().for_each(Held::go);
    assert_eq!(changing.await.unwrap().unwrap().sent, counts(&[("contacts changed", 1)]));
    filling.await.unwrap().unwrap();

    let calls = shop.target.take_calls();
    let is_fill = |request: &Value| request["tags"].as_array().is_some_and(|tags| tags.contains(&json!("VIP")));
    let change = calls.iter().position(|call| !is_fill(&call.requests[0])).unwrap();
    assert_eq!(calls[change].requests[0]["contact"]["address"]["city"], "Kraków");
    let after = calls.len() - change - 1;
    assert!(after > 0 && change > 0, "the change went as call {change} of {}", calls.len());
    let cards = shop.target.state(|state| state.cards.values().filter(|card| card.tags == ["VIP"]).count());
    // The other pipeline knows nothing of the tag, and took it from the one card that it wrote.
    assert_eq!(cards, 399, "the back-fill went on to its end");
}
