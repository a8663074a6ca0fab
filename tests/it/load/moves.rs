//! Contacts that become others, and contacts that are no more.

use super::counts;
use crate::support::canonical::{Shop, contact_id};
use crate::support::fake_target::{Act, Card};
use serde_json::json;

#[tokio::test]
async fn a_changed_e_mail_renames_the_card_and_takes_its_orders_along() {
    let shop = Shop::new(json!({})).await;
    shop.contact("old@shop.example", json!({"language": "pl"})).await;
    shop.tags("old@shop.example", "category", &["Beds"]).await;
    shop.order("old@shop.example", "1", json!({})).await;
    shop.load().await;
    shop.target.take_calls();

    shop.moves("old@shop.example", "new@shop.example").await;
    shop.order("new@shop.example", "1", json!({"status": "CANCELLED"})).await;
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts rename", 1), ("cancellation", 1)]));
    let calls = shop.target.take_calls();
    let rename = &calls[0].requests[0];
    assert_eq!(calls[0].operation, "rename contact");
    assert_eq!(
        (&rename["contact"]["email"], &rename["newEmail"], &rename["lang"]),
        (&json!("old@shop.example"), &json!("new@shop.example"), &json!("PL"))
    );
    assert_eq!(rename["forceOptIn"], false, "the same statement is not made twice");
    assert_eq!(rename["removeTags"], json!(["BEDS"]), "what no longer holds goes with the rename");
    let cards = shop.target.state(|state| state.cards.keys().cloned().collect::<Vec<_>>());
    assert_eq!(cards, ["new@shop.example"], "no second person");
    let addressed = shop.target.state(|state| state.events.last().unwrap().0.clone());
    assert_eq!(addressed, "new@shop.example");
    let of_old = format!("delivery.ledger where contact_id = '{}'", contact_id("old@shop.example"));
    assert_eq!((shop.count(&of_old).await, shop.count("delivery.ledger").await), (0, 3));
    assert_eq!(shop.load().await.all_calls(), 0);
}

#[tokio::test]
async fn a_chain_of_changed_e_mails_is_one_rename() {
    let shop = Shop::new(json!({})).await;
    shop.contact("one@shop.example", json!({})).await;
    shop.load().await;
    shop.moves("one@shop.example", "two@shop.example").await;
    shop.moves("two@shop.example", "three@shop.example").await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts rename", 1)]));
    let cards = shop.target.state(|state| state.cards.keys().cloned().collect::<Vec<_>>());
    assert_eq!(cards, ["three@shop.example"]);
}

#[tokio::test]
async fn where_both_are_there_the_old_card_loses_its_tags() {
    let shop = Shop::new(json!({"contacts": {"tags": {"always": ["shop"]}}})).await;
    shop.contacts(&[("old@shop.example", json!({})), ("new@shop.example", json!({}))]).await;
    shop.load().await;
    shop.moves("old@shop.example", "new@shop.example").await;
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts untag", 1)]));
    let tags = shop.target.state(|state| (state.cards["old@shop.example"].tags.clone(), state.cards.len()));
    assert_eq!(tags, (Vec::new(), 2));
    assert!(!shop.target.state(|state| state.cards["old@shop.example"].email_opted_out), "consent is left alone");
}

#[tokio::test]
async fn a_deleted_contact_is_treated_as_the_pipeline_says() {
    for (choice, sent, tags, opted_out) in [
        ("untag", counts(&[("contacts untag", 1)]), Vec::new(), false),
        ("keep", counts(&[]), vec!["SHOP".to_owned()], false),
        ("opt_out", counts(&[("contacts opt out", 1)]), Vec::new(), true),
    ] {
        let shop = Shop::new(json!({"contacts": {"deleted": choice, "tags": {"always": ["shop"]}}})).await;
        shop.contact("a@shop.example", json!({})).await;
        shop.load().await;
        shop.deletes("a@shop.example").await;
        assert_eq!(shop.load().await.sent, sent, "{choice}");
        let card = shop.target.state(|state| state.cards["a@shop.example"].clone());
        assert_eq!((card.tags, card.email_opted_out), (tags, opted_out), "{choice}");
        assert_eq!(shop.load().await.all_calls(), 0, "{choice}");
    }
}

#[tokio::test]
async fn a_contact_that_comes_back_is_not_opted_in_by_an_old_statement() {
    let shop = Shop::new(json!({"contacts": {"deleted": "opt_out", "tags": {"always": ["shop"]}}})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.load().await;
    shop.deletes("a@shop.example").await;
    shop.load().await;
    shop.contact("a@shop.example", json!({})).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 1)]));
    let card = shop.target.state(|state| state.cards["a@shop.example"].clone());
    assert_eq!((card.tags, card.email_opted_out), (vec!["SHOP".to_owned()], true));
    let now = jiff::Timestamp::now().to_string();
    shop.contact("a@shop.example", json!({"email_consent_at": now})).await;
    shop.load().await;
    assert!(!shop.target.state(|state| state.cards["a@shop.example"].email_opted_out));
}

fn cards(shop: &Shop) -> Vec<String> {
    shop.target.state(|state| state.cards.keys().cloned().collect())
}

/// A contact with a tag and an order at the account, whose rename from `a` to `b` ends as `act` says, in a process that dies.
async fn renamed_and_killed(act: Act) -> Shop {
    let shop = Shop::new(json!({"contacts": {"consent": "all", "tags": {"always": ["shop"]}}})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.order("a@shop.example", "1", json!({})).await;
    shop.load().await;
    shop.moves("a@shop.example", "b@shop.example").await;
    shop.target.script(&[act]);
    assert!(shop.load_that_may_die().await);
    shop
}

#[tokio::test]
async fn a_rename_that_was_killed_and_another_change_of_address_leave_one_card() {
    for (act, addressed) in [(Act::DieAfter, "b@shop.example"), (Act::DieBefore, "a@shop.example")] {
        let shop = renamed_and_killed(act).await;
        shop.target.take_calls();
        let out = json!({"email_consent": "opt_out", "email_consent_at": "2024-06-01T00:00:00Z"});
        shop.moves("b@shop.example", "c@shop.example").await;
        shop.contact("c@shop.example", out).await;
        shop.order("c@shop.example", "2", json!({})).await;
        let tally = shop.load().await;
        assert_eq!(tally.sent.get("contacts rename"), Some(&1), "{act:?}: {tally:?}");
        let calls = shop.target.take_calls();
        assert_eq!(
            calls[0].requests[0]["contact"]["email"], addressed,
            "{act:?}: what became of it was looked at first"
        );
        assert_eq!(cards(&shop), ["c@shop.example"], "{act:?}");
        let card = shop.target.state(|state| state.cards["c@shop.example"].clone());
        assert!(card.email_opted_out, "{act:?}: the withdrawal reaches the card that there is");
        assert_eq!(shop.target.events().len(), 2, "{act:?}: no event twice, none lost");
        assert_eq!(shop.count("delivery.batches where finished_at is null").await, 0, "{act:?}");
        assert_eq!(shop.load().await.all_calls(), 0, "{act:?}");
    }
}

#[tokio::test]
async fn renames_killed_one_after_the_other_leave_one_card() {
    for (first, second) in
        [(Act::DieAfter, Act::DieAfter), (Act::DieAfter, Act::DieBefore), (Act::DieBefore, Act::DieAfter)]
    {
        let shop = renamed_and_killed(first).await;
        shop.moves("b@shop.example", "c@shop.example").await;
        shop.target.script(&[second]);
        assert!(shop.load_that_may_die().await, "{first:?} {second:?}");
        shop.moves("c@shop.example", "d@shop.example").await;
        shop.load().await;
        assert_eq!(cards(&shop), ["d@shop.example"], "{first:?} {second:?}");
        assert_eq!((shop.target.events().len(), shop.count("delivery.ledger").await), (1, 2), "{first:?} {second:?}");
        assert_eq!(shop.load().await.all_calls(), 0, "{first:?} {second:?}");
    }
}

#[tokio::test]
async fn an_address_that_comes_back_after_a_killed_rename_is_given_back() {
    for act in [Act::DieAfter, Act::DieBefore] {
        let shop = renamed_and_killed(act).await;
        shop.moves("b@shop.example", "a@shop.example").await;
        shop.change(&format!(
            "delete from canonical.contact_moves where contact_id = '{}'",
            contact_id("a@shop.example")
        ))
        .await;
        shop.load().await;
        assert_eq!(cards(&shop), ["a@shop.example"], "{act:?}");
        assert_eq!(shop.load().await.all_calls(), 0, "{act:?}");
        assert_eq!(shop.target.events().len(), 1, "{act:?}");
    }
}

#[tokio::test]
async fn somebody_else_at_the_new_address_is_not_taken_for_a_rename_that_was_done() {
    let shop = renamed_and_killed(Act::DieBefore).await;
    shop.target.state(|state| state.cards.insert("b@shop.example".into(), Card::default()));
    shop.moves("b@shop.example", "c@shop.example").await;
    shop.load().await;
    assert_eq!(cards(&shop), ["b@shop.example", "c@shop.example"], "theirs stays theirs");
    assert_eq!(shop.load().await.all_calls(), 0);
}

#[tokio::test]
async fn a_rename_whose_answer_is_lost_is_looked_for_in_the_same_load() {
    for act in [Act::LoseAfter, Act::LoseBefore] {
        let shop = Shop::new(json!({})).await;
        shop.contact("a@shop.example", json!({})).await;
        shop.load().await;
        shop.moves("a@shop.example", "b@shop.example").await;
        shop.target.script(&[act]);
        shop.load().await;
        assert_eq!(
            (cards(&shop), shop.count("delivery.ledger").await),
            (vec!["b@shop.example".to_owned()], 1),
            "{act:?}"
        );
        assert_eq!(shop.load().await.all_calls(), 0, "{act:?}");
    }
}

#[tokio::test]
async fn a_new_card_whose_call_was_killed_moves_along_with_its_person() {
    let shop = Shop::new(json!({})).await;
    shop.contact("other@shop.example", json!({})).await;
    shop.load().await;
    shop.contact("a@shop.example", json!({})).await;
    shop.target.script(&[Act::DieAfter]);
    assert!(shop.load_that_may_die().await);
    shop.moves("a@shop.example", "b@shop.example").await;
    shop.load().await;
    assert_eq!(cards(&shop), ["b@shop.example", "other@shop.example"]);
    assert_eq!(shop.count("delivery.ledger").await, 2);
    assert_eq!(shop.load().await.all_calls(), 0);
}
