//! Orders by Add orders, by each version of the events, and by both.

use super::{Way, target};
use crate::support::invariants_esputnik::arrived;
use crate::support::world::Dice;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A first load, changes of every kind, and nothing to do in between.
async fn story(settings: Value, expected: &[&str]) {
    let mut way = Way::open(|_| {}, target(settings)).await;
    let mut dice = Dice::new(11);
    way.world.run_until_done().await.unwrap();
    way.holds("after the first run").await;
    way.is_at_rest("after the first run").await;
    for round in 1..=2 {
        way.world.burst(&mut dice);
        way.world.run_until_done().await.unwrap();
        way.holds(&format!("round {round}")).await;
    }
    way.is_at_rest("at the end").await;
    let vias: BTreeSet<String> =
        arrived(&way.world).into_iter().map(|(_, _, _, via)| via.as_str().unwrap_or_default().to_owned()).collect();
    let vias: Vec<&str> = vias.iter().map(String::as_str).collect();
    for via in expected {
        assert!(vias.contains(via), "nothing went by {via}, but by {vias:?}");
    }
    assert!(way.proxy.passed() > 0 || crate::support::openapi::Specification::esputnik().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_by_add_orders() {
    story(json!({}), &["orders"]).await;
}

/// The account books what would start a workflow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_starts_no_workflow_and_what_comes_later_does() {
    use wharf::sandbox::Platform as _;
    let mut way = Way::open(|_| {}, target(json!({"old_orders": "past_events"}))).await;
    let mut dice = Dice::new(11);
    way.world.run_until_done().await.unwrap();
    way.holds("after the first run").await;
    way.is_at_rest("after the first run").await;
    let workflows = |way: &Way| way.world.sandbox.esputnik().unwrap().state()["workflows"].as_u64().unwrap();
    assert_eq!(workflows(&way), 0);
    assert!(!arrived(&way.world).is_empty(), "the history is there");
    for round in 1..=2 {
        way.world.burst(&mut dice);
        way.world.run_until_done().await.unwrap();
        way.holds(&format!("round {round}")).await;
    }
    assert!(workflows(&way) > 0);
    way.is_at_rest("at the end").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_by_events_of_the_first_version() {
    story(json!({"orders_via": "events", "event_version": "v1"}), &["v1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_by_events_of_the_third_version() {
    story(json!({"orders_via": "events", "event_version": "v3"}), &["v3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_by_both() {
    story(json!({"orders_via": "both"}), &["orders", "v2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_by_both_with_answers_that_did_not_pass_through_xml() {
    let settings = target(json!({"orders_via": "both"}));
    let way = Way::open(
        |options| {
            options.collapse = false;
            options.jobs.mapping = false;
            options.null_when_no_order_failed = true;
        },
        settings,
    )
    .await;
    way.world.run_until_done().await.unwrap();
    way.holds("after the first run").await;
    way.is_at_rest("after the first run").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_platform_refuses_is_named_and_the_rest_arrives() {
    let way = Way::open(|_| {}, target(json!({"orders_via": "both"}))).await;
    // One person's address and one order's number are refused, whatever surrounds them.
    let row = |entity, at: usize| way.world.shop().rows(entity).into_iter().nth(at).unwrap();
    use wharf::sandbox::woocommerce::Entity;
    let email = row(Entity::Users, 5)["email"].as_str().unwrap().trim().to_lowercase();
    let order = row(Entity::Orders, 7)["number"].as_str().unwrap().to_owned();
    for value in [&email, &order] {
        way.world.sandbox.esputnik().unwrap().account().refused.insert(value.clone(), "Internal error 17".into());
    }
    way.world.run_until_done().await.unwrap();
    way.holds("after the first run").await;
    way.is_at_rest("after the first run").await;
    let account = way.world.sandbox.esputnik().unwrap().account();
    assert!(account.orders.find(&order).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_pipeline_runs_as_it_is_written() {
    let way = Way::open(|options| (options.jobs.started, options.jobs.importing) = (0, 0), json!({})).await;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/woocommerce-esputnik.yaml");
    let mut command = way.world.wharf(&["-q", "run", example], "");
    for (platform, url) in way.world.sandbox.platforms() {
        let url = if platform.name() == "esputnik" { &way.proxy.origin } else { url };
        command.env(platform.url_variable(), platform.base_url(url));
        command.envs(platform.credentials());
    }
    let ran = crate::support::world::ended(command.spawn().unwrap()).await;
    assert!(ran.is_done(), "{ran:?}");
    let account = way.world.sandbox.esputnik().unwrap().account();
    assert!(account.cards.len() > 5, "{} contacts", account.cards.len());
    // The shop sells for złoty, which an account does not take unless a rate is given; the few in euro arrive.
    assert!(!account.orders.list.is_empty());
    assert_eq!((ran.code, way.proxy.take_refusals()), (Some(3), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_counts_the_imports_that_are_waited_for() {
    let way = Way::open(|options| (options.jobs.started, options.jobs.importing) = (1, 1), json!({})).await;
    for verb in ["extract", "transform"] {
        assert!(
            crate::support::world::ended(way.world.wharf(&["-q", verb, "world.yaml"], "").spawn().unwrap())
                .await
                .is_done()
        );
    }
    let planned = async || -> Value {
        let output = way.world.wharf(&["--json", "plan", "world.yaml"], "").output().await.unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let plan = planned().await;
    let beside = &plan["beside"];
    assert!(
        beside["calls"]["ask for jobs"].as_u64().unwrap() > 0 && beside["calls"]["read opt-outs"].as_u64().unwrap() > 0
    );
    assert!(plan["estimate"]["working"].as_f64().unwrap() >= beside["job_seconds"].as_f64().unwrap(), "{plan:#}");
    // How often a job is asked for hangs on how long it takes, and here a machine under test is slow.
    let made = || -> u64 {
        let account = way.world.sandbox.esputnik().unwrap().account();
        account.calls.iter().filter(|(call, _)| !call.contains("importstatus")).map(|(_, n)| n).sum()
    };
    let before = made();
    assert!(
        crate::support::world::ended(way.world.wharf(&["-q", "load", "world.yaml"], "").spawn().unwrap())
            .await
            .is_done()
    );
    let foreseen = plan["calls"].as_u64().unwrap() - beside["calls"]["ask for jobs"].as_u64().unwrap();
    let made = made() - before;
    assert!(foreseen * 2 >= made && foreseen <= made * 2, "{foreseen} were foreseen, {made} were made: {plan:#}");
}
