//! Contacts that become others, and contacts that are no more.

use super::counts;
use crate::support::canonical::{Shop, contact_id};
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
