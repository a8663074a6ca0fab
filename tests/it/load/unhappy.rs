//! Lost answers, refusals, a process that dies at any point: nothing twice, nothing lost.

use super::counts;
use crate::support::canonical::Shop;
use crate::support::fake_target::Act;
use serde_json::{Value, json};
use std::time::Duration;
use wharf::Kind;
use wharf::stage::rejects::{self, Filter, Stage};

/// Seven contacts with an order each: three calls for contacts, three for purchases.
async fn seven() -> Shop {
    let shop = Shop::new(json!({})).await;
    let emails: Vec<String> = (0..7).map(|n| format!("c{n}@shop.example")).collect();
    let contacts: Vec<(&str, Value)> = emails.iter().map(|email| (email.as_str(), json!({}))).collect();
    shop.contacts(&contacts).await;
    let keys: Vec<String> = (0..7).map(|n| format!("o{n}")).collect();
    let orders: Vec<(&str, &str, Value)> = emails
        .iter()
        .zip(&keys)
        .enumerate()
        .map(|(n, (email, key))| {
            (email.as_str(), key.as_str(), json!({"placed_at": format!("2024-05-0{}T10:00:00Z", n + 1)}))
        })
        .collect();
    shop.orders(&orders).await;
    shop
}

async fn assert_everything_is_there_once(shop: &Shop) {
    let events = shop.target.events();
    let expected: Vec<_> = (0..7).map(|n| (format!("o{n}"), "PURCHASE".to_owned())).collect();
    assert_eq!(events, expected);
    assert_eq!(shop.target.state(|state| state.cards.len()), 7);
    assert_eq!(shop.count("delivery.ledger where state = 'acknowledged'").await, 14);
    assert_eq!(shop.count("delivery.ledger where state <> 'acknowledged'").await, 0);
    assert_eq!(shop.count("delivery.pending").await, 0);
    assert_eq!(shop.count("delivery.batches where finished_at is null").await, 0);
}

#[tokio::test]
async fn a_process_that_dies_at_any_call_sends_nothing_twice_and_loses_nothing() {
    for death in [Act::DieBefore, Act::DieAfter] {
        for call in 0..6 {
            let shop = seven().await;
            let mut script = vec![Act::Do; call];
            script.push(death);
            shop.target.script(&script);
            assert!(shop.load_that_may_die().await, "{death:?} at call {call}");
            let tally = shop.load().await;
            assert_eq!(tally.exit(), wharf::error::Exit::Done, "{death:?} at call {call}: {tally}");
            assert_everything_is_there_once(&shop).await;
        }
    }
}

#[tokio::test]
async fn a_process_that_dies_over_and_over_gets_there() {
    let shop = seven().await;
    for (n, death) in [Act::DieAfter, Act::DieBefore].repeat(4).into_iter().enumerate() {
        let mut script = vec![Act::Do; n % 3];
        script.push(death);
        shop.target.script(&script);
        shop.load_that_may_die().await;
        shop.target.state(|state| state.script.clear());
    }
    shop.load().await;
    assert_everything_is_there_once(&shop).await;
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_in_the_same_load() {
    for (lost, looked_up) in [(Act::LoseAfter, "found"), (Act::LoseBefore, "sent again")] {
        let shop = seven().await;
        shop.target.script(&[Act::Do, Act::Do, Act::Do, Act::Do, lost]);
        let tally = shop.load().await;
        assert_eq!(tally.sent, counts(&[("contacts new", 7), ("purchase", 7)]), "{looked_up}");
        assert_everything_is_there_once(&shop).await;
        let found = shop.count("delivery.ledger where target_id like 'found-%'").await;
        assert_eq!(found, if lost == Act::LoseAfter { 3 } else { 0 });
    }
}

#[tokio::test]
async fn what_is_absent_is_sent_again_only_after_the_grace() {
    let mut shop = seven().await;
    shop.patience.grace = Duration::from_secs(3600);
    // Of several calls in flight, all would die with the process.
    shop.pipeline.load.parallel = Some(1);
    shop.target.script(&[Act::Do, Act::Do, Act::Do, Act::DieBefore]);
    assert!(shop.load_that_may_die().await);
    // The call may still take effect, so its three records are neither sent nor given up; the load waits for them at its
    // end, and is asked to stop there.
    let context = wharf::stage::Context {
        db: shop.test.db.clone(),
        run: wharf::store::Run::begin(&shop.test.db, "test", "load").await.unwrap(),
        progress: wharf::progress::Progress::silent(),
        stop: tokio_util::sync::CancellationToken::new(),
    };
    let stop = context.stop.clone();
    let target: std::sync::Arc<dyn wharf::target::Target> = shop.target.clone();
    let (pipeline, patience) = (shop.pipeline.clone(), shop.patience);
    let work = tokio::spawn(async move {
        let result = wharf::stage::load::load_with(&context, &pipeline, target, patience).await;
        context.run.finish(wharf::store::Outcome::Stopped, None).await.unwrap();
        result
    });
    while shop.target.events().len() < 4 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    let error = work.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
    assert_eq!(shop.target.events().len(), 4, "the others were sent meanwhile");
    assert_eq!(shop.count("delivery.ledger where state = 'sending'").await, 3);

    shop.patience.grace = Duration::ZERO;
    shop.load().await;
    assert_everything_is_there_once(&shop).await;
}

#[tokio::test]
async fn where_the_target_cannot_tell_a_person_decides() {
    let shop = seven().await;
    shop.target.state(|state| state.cannot_tell = true);
    shop.target.script(&[Act::Do, Act::Do, Act::Do, Act::LoseBefore]);
    let tally = shop.load().await;
    assert_eq!(tally.held, counts(&[("outcome-unknown", 3)]));
    assert_eq!(shop.count("delivery.ledger where state = 'held'").await, 3);
    assert_eq!(shop.rejects().await, vec![("purchase".to_owned(), "outcome-unknown".to_owned()); 3]);
    assert_eq!(shop.load().await.all_calls(), 0, "never again by itself");
    // A change of the order does not change that.
    shop.order("c0@shop.example", "o0", json!({"status": "CANCELLED"})).await;
    let held_before = shop.target.events().len();
    shop.load().await;
    assert_eq!(shop.target.events().len(), held_before);
    shop.order("c0@shop.example", "o0", json!({})).await;
    assert_eq!(shop.rejects().await.len(), 3);

    let filter = Filter { stage: Some(Stage::Delivery), code: Some("outcome-unknown".into()), key: None };
    assert_eq!(rejects::retry(&shop.test.db, &filter).await.unwrap().delivery, 3);
    shop.load().await;
    assert_everything_is_there_once(&shop).await;
}

#[tokio::test]
async fn a_batch_that_one_record_spoils_is_halved_until_that_is_alone() {
    let shop = seven().await;
    shop.target.state(|state| {
        state.batch = 7;
        state.spoiled = vec!["c4@shop.example".into()];
    });
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts new", 6), ("purchase", 6)]));
    assert_eq!(tally.rejected, counts(&[("contact-rejected", 1), ("refused", 1)]));

    // An order of somebody whose card is there, but the platform will not have the event.
    shop.target.state(|state| state.spoiled.clear());
    let orders: Vec<(String, String)> = (0..6).map(|n| (format!("c{}@shop.example", n % 4), format!("n{n}"))).collect();
    let rows: Vec<(&str, &str, Value)> = orders.iter().map(|(e, k)| (e.as_str(), k.as_str(), json!({}))).collect();
    shop.orders(&rows).await;
    shop.target.state(|state| state.spoiled = vec!["c3@shop.example".into()]);
    let tally = shop.load().await;
    assert_eq!((tally.sent, tally.rejected), (counts(&[("purchase", 5)]), counts(&[("refused", 1)])));
    assert_eq!(shop.count("delivery.ledger where state <> 'acknowledged'").await, 0);
    assert_eq!(shop.target.events().len(), 11);
}

#[tokio::test]
async fn a_target_that_is_down_stops_the_load_and_the_next_continues() {
    for kind in [Kind::Unreachable, Kind::Throttled, Kind::PlatformFailure, Kind::Credentials] {
        let mut shop = seven().await;
        // Of several calls in flight, those beside the failing one are done.
        shop.pipeline.load.parallel = Some(1);
        shop.target.script(&[Act::Do, Act::Do, Act::Do, Act::Do, Act::Fail(kind)]);
        let error = shop.try_load().await.unwrap_err();
        assert_eq!(error.kind(), kind);
        let exit = if kind == Kind::Credentials { wharf::error::Exit::BadInput } else { wharf::error::Exit::Stopped };
        assert_eq!(error.kind().exit(), exit);
        assert_eq!(shop.count("delivery.pending").await, 4);
        assert_eq!(shop.count("delivery.ledger where state = 'sending'").await, 0);
        let counts = shop.value("select counts->'sent' from ops.run_steps where subject = 'crm/events'").await;
        assert_eq!(counts, r#"{"purchase": 3}"#, "what was done is counted");
        shop.load().await;
        assert_everything_is_there_once(&shop).await;
    }
}

#[tokio::test]
async fn a_first_load_that_was_interrupted_is_still_the_first() {
    let shop = seven().await;
    shop.target.script(&[Act::Do, Act::Fail(Kind::Unreachable)]);
    shop.try_load().await.unwrap_err();
    shop.target.take_calls();
    shop.load().await;
    assert!(shop.target.take_calls().iter().all(|call| call.first_load), "automations stay still to the end");
    shop.order("c0@shop.example", "more", json!({})).await;
    shop.load().await;
    assert!(shop.target.take_calls().iter().all(|call| !call.first_load));
}

#[tokio::test]
async fn a_closed_window_stops_the_load_before_any_call() {
    let mut shop = seven().await;
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let hour = |ahead: i64| (now.clone() + jiff::SignedDuration::from_hours(ahead)).strftime("%H:00").to_string();
    shop.pipeline.load.window = Some(format!("{}-{} UTC", hour(2), hour(4)).parse().unwrap());
    let summary = shop.try_load().await.unwrap();
    assert_eq!(summary.exit(true), wharf::error::Exit::Done, "nothing is wrong");
    let closed = summary.window_closed.unwrap();
    assert_eq!((closed.contacts, closed.orders), (7, 7), "what waits is counted");
    assert!(closed.message.contains("7 contacts and 7 orders wait") && closed.opens_at.unwrap() > now.timestamp());
    let (outcome, why) =
        ("(select outcome from ops.runs order by run_id desc limit 1)", "error like 'WH-507: %7 orders%'");
    assert_eq!(shop.value(&outcome.replace("outcome", &format!("outcome || ' ' || ({why})"))).await, "waits true");
    assert!(shop.target.take_calls().is_empty());
    shop.pipeline.load.window = Some(format!("{}-{} UTC", hour(-1), hour(2)).parse().unwrap());
    shop.load().await;
    assert_everything_is_there_once(&shop).await;
}

#[tokio::test]
async fn a_change_while_its_record_is_being_sent_is_sent_by_the_next_load() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.load().await;
    shop.contact("a@shop.example", json!({"city": "Kraków"})).await;
    // As another process's take-over would find it: the row became newer after it was rendered.
    shop.change(
        "create function delivery.newer() returns trigger language plpgsql as
            'begin update delivery.pending set run_id = run_id + 1000; return null; end';
         create trigger newer after insert on delivery.batches for each statement execute function delivery.newer()",
    )
    .await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 1)]));
    assert_eq!(shop.count("delivery.pending").await, 1);
    shop.change("drop trigger newer on delivery.batches").await;
    assert_eq!(shop.load().await.unchanged, 1);
    assert_eq!(shop.count("delivery.pending").await, 0);
}

#[tokio::test]
async fn a_load_whose_lease_was_taken_over_writes_nothing_more() {
    let shop = seven().await;
    shop.change(
        "create function delivery.steal() returns trigger language plpgsql as
            'begin update ops.leases set token = token + 1; return null; end';
         create trigger steal after insert on delivery.batches for each statement execute function delivery.steal()",
    )
    .await;
    let error = shop.try_load().await.unwrap_err();
    assert_eq!(error.kind(), Kind::LeaseLost);
    assert_eq!(shop.count("delivery.ledger").await, 0);
}

/// A shop of `all` contacts of which the account refuses the last `bad` ones, sent one by one in order.
async fn refused_last(all: usize, bad: usize, load: Value) -> Shop {
    let shop = Shop::new(json!({"load": load})).await;
    let mut emails: Vec<String> = (0..all).map(|n| format!("c{n}@shop.example")).collect();
    emails.sort_by_key(|email| crate::support::canonical::contact_id(email));
    let contacts: Vec<(&str, Value)> = emails.iter().map(|email| (email.as_str(), json!({}))).collect();
    shop.contacts(&contacts).await;
    shop.target.state(|state| {
        state.batch = 1;
        state.spoiled = emails[all - bad..].to_vec();
    });
    shop
}

#[tokio::test]
async fn a_load_stops_when_the_account_refuses_more_than_its_share_and_not_before() {
    // A fifth is allowed.
    let alone = |share: Option<f64>| match share {
        Some(share) => json!({"parallel": 1, "max_reject_share": share}),
        None => json!({"parallel": 1}),
    };
    let tally = refused_last(255, 50, alone(None)).await.load().await;
    assert_eq!(tally.rejected, counts(&[("refused", 50)]));
    let shop = refused_last(240, 52, alone(None)).await;
    let error = shop.try_load().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Guard);
    assert!(error.detail().contains("refused 50 of 23"), "{error}");
    assert!(shop.count("delivery.pending").await > 0, "the rest is pending");
    // Few refusals say nothing, whatever their share.
    let tally = refused_last(49, 49, alone(None)).await.load().await;
    assert_eq!(tally.rejected, counts(&[("refused", 49)]));
    assert_eq!(refused_last(60, 60, alone(None)).await.try_load().await.unwrap_err().kind(), Kind::Guard);
    let tally = refused_last(60, 60, alone(Some(1.0))).await.load().await;
    assert_eq!(tally.rejected, counts(&[("refused", 60)]), "who asked for it goes on regardless");
}
