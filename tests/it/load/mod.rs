//! Loading: what is sent, what is not, and what becomes of it when something goes wrong on the way.

mod audit;
mod consent;
mod events;
mod fields;
mod first;
mod functions;
mod guard;
mod long;
mod moves;
mod program;
mod saved;
mod spread;
mod together;
mod two_pipelines;
mod unhappy;

use crate::support::canonical::{Shop, contact_id, order_id};
use serde_json::{Value, json};
use wharf::stage::load::feed::Baseline;
use wharf::stage::load::tally::Counts;
use wharf::store::{Outcome, Run};

pub fn counts(of: &[(&str, u64)]) -> Counts {
    of.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

#[tokio::test]
async fn a_contact_is_sent_as_the_sheet_says_and_the_ledger_knows_it() {
    let shop = Shop::new(json!({"contacts": {"tags": {"always": ["My shop, the best"]}}})).await;
    shop.contact(
        "anna@shop.example",
        json!({"first_name": "Anna", "last_name": "Żak", "phone": "+48601000101", "company": "ACME",
            "street": "Długa 1", "postal_code": "00-001", "city": "Łódź", "country": "PL", "region": "łódzkie",
            "birthday": "1985-06-07", "language": "pl_PL", "sms_consent": "opt_out",
            "sms_consent_at": "2024-05-02T00:00:00Z"}),
    )
    .await;
    shop.tags("anna@shop.example", "registered", &["rejestracja"]).await;
    shop.tags("anna@shop.example", "newsletter", &["newsletter"]).await;
    shop.tags("anna@shop.example", "category", &["Dom i ogród", "Łóżka"]).await;
    let summary = shop.try_load().await.unwrap();
    assert_eq!(summary.tally.sent, counts(&[("contacts new", 1)]));
    assert_eq!(
        shop.target.take_contact_requests()["anna@shop.example"],
        json!({
            "contact": {
                "email": "anna@shop.example", "name": "Anna Żak", "phone": "+48601000101", "company": "ACME",
                "externalId": "anna@shop.example", "state": "CUSTOMER",
                "address": {"streetAddress": "Długa 1", "zipCode": "00-001", "city": "Łódź", "country": "PL"}
            },
            "province": "łódzkie", "birthday": "19850607",
            "tags": ["DOM_I_OGRÓD", "MY_SHOP_THE_BEST", "REJESTRACJA", "ŁÓŻKA"],
            "forceOptIn": true, "forceOptOut": false, "forcePhoneOptIn": false, "forcePhoneOptOut": true,
        })
    );
    let ledger = shop.value("select payload->'consent'->'email'->>'state' || ' ' || state from delivery.ledger").await;
    assert_eq!(ledger, "opt_in acknowledged");
    assert_eq!(shop.count("delivery.pending").await, 0);
    assert_eq!(shop.value("select state from delivery.batches").await, "acknowledged");
}

#[tokio::test]
async fn empty_fields_are_left_out() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({"registered": false, "first_name": " ", "street": ""})).await;
    shop.load().await;
    let request = shop.target.take_contact_requests().remove("a@shop.example").unwrap();
    let names: Vec<&String> = request.as_object().unwrap().keys().collect();
    assert_eq!(names, ["contact", "forceOptIn", "forceOptOut", "forcePhoneOptIn", "forcePhoneOptOut"]);
    assert_eq!(
        request["contact"],
        json!({"email": "a@shop.example", "externalId": "a@shop.example", "state": "PROSPECT"})
    );
}

#[tokio::test]
async fn only_what_changed_is_sent_again_and_then_nothing() {
    let shop = Shop::new(json!({})).await;
    let emails: Vec<String> = (0..10).map(|n| format!("c{n}@shop.example")).collect();
    let all: Vec<(&str, Value)> = emails.iter().map(|email| (email.as_str(), json!({}))).collect();
    shop.contacts(&all).await;
    let orders: Vec<(&str, &str, Value)> =
        emails.iter().map(|email| (email.as_str(), email.split('@').next().unwrap(), json!({}))).collect();
    shop.orders(&orders).await;
    let first = shop.try_load().await.unwrap();
    assert_eq!(first.tally.sent, counts(&[("contacts new", 10), ("purchase", 10)]));
    assert_eq!((first.baseline, first.first_load), (Some(Baseline::First), true));
    let calls = shop.target.take_calls();
    assert_eq!(calls.len(), 4 + 4, "full batches of three");
    assert!(calls.iter().all(|call| call.first_load), "automations stay still");

    shop.contact("c3@shop.example", json!({"city": "Gdańsk"})).await;
    shop.order("c4@shop.example", "new", json!({})).await;
    let second = shop.try_load().await.unwrap();
    assert_eq!(second.tally.sent, counts(&[("contacts changed", 1), ("purchase", 1)]));
    assert_eq!((second.baseline, second.first_load), (None, false));
    // c4 is looked at because it ordered, and its card is the same.
    assert_eq!((second.tally.unchanged, second.taken_over), (1, 3));
    shop.target.take_calls();

    let third = shop.try_load().await.unwrap();
    assert_eq!((third.tally.all_sent(), third.tally.all_calls(), third.taken_over), (0, 0, 0));
    assert!(shop.target.take_calls().is_empty());
}

#[tokio::test]
async fn a_change_that_makes_no_difference_is_not_sent() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.load().await;
    shop.contact("a@shop.example", json!({"updated_at": "2025-01-01T00:00:00Z"})).await;
    let tally = shop.load().await;
    assert_eq!((tally.unchanged, tally.all_sent()), (1, 0));
    assert_eq!(shop.count("delivery.pending").await, 0);
}

#[tokio::test]
async fn a_change_in_what_no_field_is_mapped_from_makes_no_call() {
    let mut shop = Shop::new(json!({"contacts": {"fields": {"size": "extra->>'size'"}}})).await;
    shop.contact("a@shop.example", json!({"extra": {"size": "M", "shoe": "42"}})).await;
    shop.load().await;
    shop.target.take_calls();
    shop.target.state(|state| state.looks = 0);
    let elsewhere = json!({"extra": {"size": "M", "shoe": "43"}, "updated_at": "2025-01-01T00:00:00Z",
        "created_at": "2020-01-01T00:00:00Z"});
    shop.contact("a@shop.example", elsewhere.clone()).await;
    let (report, _) = shop.plan().await;
    assert_eq!((report.contacts, report.calls, report.tally.unchanged), (1, 0, 1));
    assert_eq!(shop.load().await.all_calls(), 0);
    assert!(shop.target.take_calls().is_empty() && shop.target.state(|state| state.looks) == 0);

    shop.pipeline.contacts.fields.insert("shoe".into(), "extra->>'shoe'".into());
    let (report, records) = shop.plan().await;
    assert_eq!(
        (report.changed_settings, report.changed_fields),
        (vec!["fields.shoe".into()], counts(&[("properties.shoe", 1)]))
    );
    assert_eq!(records[0].fields[0].new.as_deref(), Some("43"));
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 1)]));
}

#[tokio::test]
async fn tags_that_no_longer_hold_are_removed_and_those_of_others_stay() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.tags("a@shop.example", "category", &["Beds", "Chairs"]).await;
    shop.load().await;
    shop.target.state(|state| state.cards.get_mut("a@shop.example").unwrap().tags.push("BY_HAND".into()));
    shop.tags("a@shop.example", "category", &["Chairs", "Tables"]).await;
    shop.load().await;
    let tags = shop.target.state(|state| state.cards["a@shop.example"].tags.clone());
    assert_eq!(tags, ["BY_HAND", "CHAIRS", "TABLES"]);
}

#[tokio::test]
async fn the_newsletter_tag_is_only_for_those_without_account() {
    let shop = Shop::new(json!({"contacts": {"tags": {"registered": "konto", "newsletter": "gazetka"}}})).await;
    shop.contact("with@shop.example", json!({"newsletter": true})).await;
    shop.contact("without@shop.example", json!({"registered": false, "newsletter": true})).await;
    shop.tags("with@shop.example", "registered", &["rejestracja"]).await;
    for email in ["with@shop.example", "without@shop.example"] {
        shop.tags(email, "newsletter", &["newsletter"]).await;
    }
    shop.load().await;
    let requests = shop.target.take_contact_requests();
    assert_eq!(requests["with@shop.example"]["tags"], json!(["KONTO"]));
    assert_eq!(requests["without@shop.example"]["tags"], json!(["GAZETKA"]));
}

#[tokio::test]
async fn filters_decide_who_enters_and_opt_outs_of_those_inside_always_get_through() {
    let shop = Shop::new(json!({"contacts": {"created_after": "2024-03-01", "created_before": "2024-05-01"}})).await;
    shop.contact("in@shop.example", json!({})).await;
    shop.contact("early@shop.example", json!({"created_at": "2024-02-29T23:59:59Z"})).await;
    shop.contact("late@shop.example", json!({"created_at": "2024-05-01T00:00:00Z"})).await;
    shop.contact("unknown@shop.example", json!({"email_consent": "unknown", "email_consent_at": null})).await;
    shop.contact("out@shop.example", json!({"email_consent": "opt_out"})).await;
    shop.contact("no-mail", json!({"email": null, "phone": "+48601000101"})).await;
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts new", 1)]));
    assert_eq!(tally.skipped, counts(&[("consent", 2), ("created", 2)]));
    assert_eq!(tally.rejected, counts(&[("no-email", 1)]));
    assert_eq!(shop.rejects().await, [("contact".into(), "no-email".into())]);
    shop.target.take_calls();

    let later = json!({"email_consent": "opt_out", "email_consent_at": "2024-06-01T00:00:00Z",
        "created_at": "2020-01-01T00:00:00Z"});
    shop.contact("in@shop.example", later).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 1)]));
    assert_eq!(shop.target.take_contact_requests()["in@shop.example"]["forceOptOut"], true);
}

#[tokio::test]
async fn everybody_is_sent_when_the_pipeline_says_so() {
    let shop = Shop::new(json!({"contacts": {"consent": "all"}})).await;
    shop.contact("unknown@shop.example", json!({"email_consent": "unknown", "email_consent_at": null})).await;
    shop.contact("out@shop.example", json!({"email_consent": "opt_out"})).await;
    shop.load().await;
    let requests = shop.target.take_contact_requests();
    let flags = |email: &str| (requests[email]["forceOptIn"].clone(), requests[email]["forceOptOut"].clone());
    assert_eq!(flags("unknown@shop.example"), (json!(false), json!(false)));
    assert_eq!(flags("out@shop.example"), (json!(false), json!(true)));
}

#[tokio::test]
async fn changed_settings_compare_everything_once() {
    let mut shop = Shop::new(json!({})).await;
    shop.contacts(&[("a@shop.example", json!({})), ("b@shop.example", json!({}))]).await;
    shop.load().await;
    shop.pipeline.contacts.tags.always = vec!["vip".into()];
    let summary = shop.try_load().await.unwrap();
    assert_eq!(summary.baseline, Some(Baseline::Settings));
    assert_eq!(summary.tally.sent, counts(&[("contacts changed", 2)]));
    let again = shop.try_load().await.unwrap();
    assert_eq!((again.baseline, again.tally.all_sent()), (None, 0));
}

#[tokio::test]
async fn changes_of_a_run_that_may_still_write_wait_for_it() {
    let shop = Shop::new(json!({})).await;
    shop.load().await;
    let slow = Run::begin(&shop.test.db, "other", "transform").await.unwrap();
    shop.contact("fast@shop.example", json!({})).await;
    assert_eq!(shop.load().await.all_sent(), 0, "the slow run may commit below what would be taken over");
    // The slow run commits now, with a number below those that were finished before.
    let text = format!(
        "insert into canonical.changes (run_id, entity, key, contact_id, op)
         values ({}, 'contacts', 'x', '{}', 'update')",
        slow.id,
        contact_id("fast@shop.example")
    );
    shop.client().await.batch_execute(&text).await.unwrap();
    slow.finish(Outcome::Done, None).await.unwrap();
    assert_eq!(shop.load().await.sent, counts(&[("contacts new", 1)]));
}

#[tokio::test]
async fn a_run_that_loads_holds_nobody_up() {
    let shop = Shop::new(json!({})).await;
    shop.load().await;
    let whole = Run::begin(&shop.test.db, "other", "run").await.unwrap();
    let step = whole.step("load", "crm/contacts").await.unwrap();
    let load_alone = Run::begin(&shop.test.db, "other", "load").await.unwrap();
    shop.contact("a@shop.example", json!({})).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts new", 1)]));
    step.finish(json!({})).await.unwrap();
    whole.finish(Outcome::Done, None).await.unwrap();
    load_alone.finish(Outcome::Done, None).await.unwrap();
}

#[tokio::test]
async fn contacts_and_orders_of_other_shops_are_left_alone() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.order("a@shop.example", "1", json!({"connection": "other"})).await;
    shop.contact("b@shop.example", json!({})).await;
    shop.change("update canonical.contact_sources set connection = 'other' where email = 'b@shop.example'").await;
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts new", 1)]));
    shop.change(&format!(
        "insert into canonical.changes (run_id, entity, key, contact_id, op)
         values ($run, 'contacts', 'b', '{}', 'update'), ($run, 'orders', '{}', '{}', 'update')",
        contact_id("b@shop.example"),
        order_id("1"),
        contact_id("a@shop.example")
    ))
    .await;
    assert_eq!(shop.try_load().await.unwrap().taken_over, 1, "a's card alone");
}

#[tokio::test]
async fn a_plan_says_what_a_load_then_does_and_writes_nothing() {
    let mut shop = Shop::new(json!({"contacts": {"consent": "all"}, "load": {"rate": "1/s"}})).await;
    for n in 0..7 {
        shop.contact(&format!("c{n}@shop.example"), json!({})).await;
        shop.order(&format!("c{n}@shop.example"), &format!("o{n}"), json!({})).await;
    }
    shop.contact("no-mail", json!({"email": null})).await;
    shop.order("no-mail", "of-no-mail", json!({})).await;
    shop.order("c1@shop.example", "cancelled", json!({"status": "CANCELLED"})).await;
    shop.order("c1@shop.example", "unmapped", json!({"status": null})).await;
    let before = shop.value("select count(*) || ' ' || coalesce(max(run_id), 0) from ops.runs").await;
    let (report, records) = shop.plan().await;
    assert_eq!(shop.value("select count(*) || ' ' || coalesce(max(run_id), 0) from ops.runs").await, before);
    for table in ["delivery.pending", "delivery.consumers", "delivery.ledger", "delivery.batches", "delivery.rejects"] {
        assert_eq!(shop.count(table).await, 0, "{table}");
    }
    assert!(shop.target.take_calls().is_empty() && shop.target.state(|state| state.looks) == 0);
    assert_eq!(records.len(), 8 + 10);
    assert_eq!(report.tally.held, counts(&[("unmapped-status", 1)]));
    assert_eq!(report.seconds, Some(report.calls as f64 - 1.0));

    let load = shop.load().await;
    assert_eq!(report.tally, load, "calls included");

    // The next change: a rename, an opt-out, a cancellation, a deletion.
    shop.moves("c2@shop.example", "c2-new@shop.example").await;
    shop.deletes("c6@shop.example").await;
    shop.contact("c3@shop.example", json!({"email_consent": "opt_out", "email_consent_at": "2024-07-01T00:00:00Z"}))
        .await;
    shop.order("c4@shop.example", "o4", json!({"status": "CANCELLED"})).await;
    shop.pipeline.contacts.tags.always = vec!["vip".into()];
    let (report, records) = shop.plan().await;
    let load = shop.load().await;
    assert_eq!(report.tally.sent, load.sent);
    assert_eq!(report.tally, load);
    assert_eq!(load.sent["contacts rename"], 1);
    assert_eq!(load.sent["cancellation"], 1);
    assert_eq!(load.sent["contacts untag"], 1);
    let opted_out = records.iter().find(|record| record.address == "c3@shop.example").unwrap();
    let changed: Vec<_> = opted_out.fields.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(changed, ["consent.email.at", "consent.email.state", "tags"]);
}

#[tokio::test]
async fn rejects_come_back_by_retry_or_when_they_change() {
    use wharf::stage::rejects::{self, Filter, Stage};
    let shop = Shop::new(json!({})).await;
    shop.contacts(&[("a@shop.example", json!({})), ("bad@shop.example", json!({}))]).await;
    shop.target.state(|state| state.spoiled = vec!["bad@shop.example".into()]);
    shop.load().await;
    assert_eq!(shop.rejects().await, [("contact".into(), "refused".into())]);
    assert_eq!(shop.load().await.all_calls(), 0, "a reject is not tried by itself");

    let filter = Filter { stage: Some(Stage::Delivery), code: Some("refused".into()), key: None };
    let of_others = Filter { code: Some("other".into()), ..filter.clone() };
    assert_eq!(rejects::retry(&shop.test.db, &of_others).await.unwrap().delivery, 0);
    assert_eq!(rejects::retry(&shop.test.db, &filter).await.unwrap().delivery, 1);
    assert_eq!(shop.load().await.rejected, counts(&[("refused", 1)]));
    shop.target.state(|state| state.spoiled.clear());
    shop.contact("bad@shop.example", json!({"city": "Kraków"})).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts new", 1)]));
    assert!(shop.rejects().await.is_empty(), "what was sent is no reject any more");

    shop.contact("no-mail", json!({"email": null})).await;
    shop.load().await;
    assert_eq!(
        rejects::drop(&shop.test.db, &Filter { stage: Some(Stage::Delivery), ..Filter::default() }).await.unwrap(),
        1
    );
    assert!(shop.rejects().await.is_empty());
}
