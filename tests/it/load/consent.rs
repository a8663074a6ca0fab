//! Consent: every combination of what the shop says, what was sent, and what the card shows.

use super::counts;
use crate::support::canonical::{Shop, contact_id};
use crate::support::fake_target::Card;
use jiff::Timestamp;
use serde_json::{Value, json};

const STATES: [&str; 3] = ["unknown", "opt_in", "opt_out"];
/// Moments, in order; a statement or a change of a card happens at one of them.
const MOMENTS: [&str; 3] = ["2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"];

/// A statement: what, and when.
type Statement = (&'static str, Option<usize>);

/// The rule, written down a second time: `(in, out, kept)`.
fn expected(shop: Statement, sent: Option<Statement>, card: Option<(bool, usize)>) -> (bool, bool, bool) {
    let (state, at) = shop;
    match (state, sent) {
        ("unknown", _) => (false, false, false),
        ("opt_out", Some(("opt_out", sent_at))) => (false, at != sent_at, false),
        ("opt_out", _) => (false, true, false),
        (_, sent) => {
            // An agreement without a date is older than every other.
            let is_news = sent.is_none_or(|(state, sent_at)| state == "unknown" || at > sent_at);
            let is_withdrawn_since = card.is_some_and(|(opted_out, changed)| opted_out && at <= Some(changed));
            (is_news && !is_withdrawn_since, false, is_news && is_withdrawn_since)
        }
    }
}

fn statements() -> Vec<Statement> {
    let mut statements = vec![("unknown", None), ("opt_in", None)];
    for state in &STATES[1..] {
        statements.extend((0..3).map(|moment| (*state, Some(moment))));
    }
    statements
}

fn payload_of((state, at): Statement) -> Value {
    match at {
        Some(at) => json!({"state": state, "at": MOMENTS[at].replace('Z', ".000000Z")}),
        None => json!({"state": state}),
    }
}

/// All combinations for one channel, in one load.
async fn every_combination(channel: &str, force_in: &str, force_out: &str) {
    let no_guard = json!({"guard": {"max_removed_share": 1.0, "max_changed_share": 1.0}});
    let shop = Shop::new(json!({"contacts": {"consent": "all"}, "load": no_guard})).await;
    let mut cases = Vec::new();
    let mut cards = vec![None];
    for opted_out in [false, true] {
        cards.extend((0..3).map(|moment| Some((opted_out, moment))));
    }
    for (number, said) in statements().into_iter().enumerate() {
        for (sent_number, sent) in std::iter::once(None).chain(statements().into_iter().map(Some)).enumerate() {
            for (card_number, card) in cards.iter().enumerate() {
                cases.push((format!("c{number}-{sent_number}-{card_number}@shop.example"), said, sent, *card));
            }
        }
    }
    let rows: Vec<(&str, Value)> = cases
        .iter()
        .map(|(email, (state, at), ..)| {
            let mut row = json!({"email_consent": "unknown", "email_consent_at": null, "first_name": "New"});
            row[format!("{channel}_consent")] = json!(state);
            row[format!("{channel}_consent_at")] = json!(at.map(|at| MOMENTS[at]));
            (email.as_str(), row)
        })
        .collect();
    shop.contacts(&rows).await;
    let mut ledger = String::new();
    for (email, _, sent, card) in &cases {
        if let Some(sent) = sent {
            let mut payload = json!({"email": email, "tags": [], "consent": {"email": {"state": "unknown"},
                "sms": {"state": "unknown"}}});
            payload["consent"][channel] = payload_of(*sent);
            ledger.push_str(&format!(
                "insert into delivery.ledger (target, object, key, contact_id, payload, state, run_id)
                 values ('crm', 'contact', '{0}', '{0}', '{payload}', 'acknowledged', 0);",
                contact_id(email)
            ));
        }
        if let Some((opted_out, changed)) = card {
            let modified_at: Timestamp = MOMENTS[*changed].parse().unwrap();
            let card = Card {
                email_opted_out: *opted_out,
                sms_opted_out: *opted_out,
                modified_at: Some(modified_at),
                ..Card::default()
            };
            shop.target.state(|state| state.cards.insert(email.clone(), card));
        }
    }
    shop.change(&ledger).await;
    let tally = shop.load().await;
    let requests = shop.target.take_contact_requests();
    assert_eq!(requests.len(), cases.len(), "everybody has a new name");
    let mut kept = 0;
    for (email, said, sent, card) in cases {
        let (wants_in, wants_out, keeps) = expected(said, sent, card);
        let request = &requests[&email];
        let flags = (request[force_in] == true, request[force_out] == true);
        assert_eq!(flags, (wants_in, wants_out), "the shop says {said:?}, sent was {sent:?}, the card shows {card:?}");
        let others: Vec<_> = ["forceOptIn", "forceOptOut", "forcePhoneOptIn", "forcePhoneOptOut"]
            .into_iter()
            .filter(|name| *name != force_in && *name != force_out)
            .collect();
        assert!(others.iter().all(|name| request[name] == false), "the other channel is left alone");
        kept += u64::from(keeps);
    }
    assert!(kept > 0);
    assert_eq!(tally.opt_outs_kept, kept);
    assert_eq!(shop.count("delivery.rejects where code = 'opt-out-kept'").await, i64::try_from(kept).unwrap());
    assert!(tally.rejected.is_empty(), "a note is no reject");
}

#[tokio::test]
async fn e_mail_consent_follows_the_table_in_every_combination() {
    every_combination("email", "forceOptIn", "forceOptOut").await;
}

#[tokio::test]
async fn text_message_consent_follows_the_table_in_every_combination() {
    every_combination("sms", "forcePhoneOptIn", "forcePhoneOptOut").await;
}

#[tokio::test]
async fn an_opt_out_that_was_kept_stays_kept_until_a_later_statement() {
    let shop = Shop::new(json!({})).await;
    let card =
        Card { email_opted_out: true, modified_at: Some("2024-06-01T00:00:00Z".parse().unwrap()), ..Card::default() };
    shop.target.state(|state| state.cards.insert("a@shop.example".into(), card));
    shop.contact("a@shop.example", json!({})).await;
    assert_eq!(shop.load().await.opt_outs_kept, 1);
    assert!(shop.target.state(|state| state.cards["a@shop.example"].email_opted_out));
    assert_eq!(shop.rejects().await, [("contact".into(), "opt-out-kept".into())]);

    shop.contact("a@shop.example", json!({"city": "Kraków"})).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 1)]));
    assert!(shop.target.state(|state| state.cards["a@shop.example"].email_opted_out), "still the same statement");
    assert_eq!(shop.rejects().await.len(), 1, "the note stays as long as the statement");

    // Our own writing has changed the card by now; what the shop says next is later than that.
    shop.contact("a@shop.example", json!({"email_consent_at": Timestamp::now().to_string()})).await;
    shop.load().await;
    assert!(!shop.target.state(|state| state.cards["a@shop.example"].email_opted_out));
    assert!(shop.rejects().await.is_empty());
}

#[tokio::test]
async fn who_subscribed_and_left_at_the_target_is_not_opted_in_by_an_older_statement() {
    for sent in ["unknown", "opt_out"] {
        let shop = Shop::new(json!({"contacts": {"consent": "all"}})).await;
        shop.contact("a@shop.example", json!({"email_consent": sent, "email_consent_at": "2024-01-01T00:00:00Z"}))
            .await;
        shop.load().await;
        // Subscribed by a form of the target, and left again by its own link.
        shop.target.state(|state| {
            let card = state.cards.get_mut("a@shop.example").unwrap();
            card.email_opted_out = true;
            card.modified_at = Some("2024-06-01T00:00:00Z".parse().unwrap());
        });
        // The shop's statement was always there, and is read only now.
        shop.contact("a@shop.example", json!({"email_consent": "opt_in", "email_consent_at": "2024-02-01T00:00:00Z"}))
            .await;
        assert_eq!(shop.load().await.opt_outs_kept, 1, "after {sent}");
        assert!(shop.target.state(|state| state.cards["a@shop.example"].email_opted_out), "after {sent}");
        let later = json!({"email_consent": "opt_in", "email_consent_at": Timestamp::now().to_string()});
        shop.contact("a@shop.example", later).await;
        shop.load().await;
        assert!(!shop.target.state(|state| state.cards["a@shop.example"].email_opted_out), "after {sent}");
    }
}

#[tokio::test]
async fn without_check_existing_no_card_is_looked_at() {
    let shop = Shop::new(json!({})).await;
    shop.target.state(|state| {
        state.check_existing = false;
        state.cards.insert("a@shop.example".into(), Card { email_opted_out: true, ..Card::default() })
    });
    shop.contact("a@shop.example", json!({})).await;
    shop.load().await;
    assert_eq!(shop.target.state(|state| state.looks), 0);
    assert!(!shop.target.state(|state| state.cards["a@shop.example"].email_opted_out));
}

/// A time between two things that were done by the clock.
fn now() -> Timestamp {
    std::thread::sleep(std::time::Duration::from_millis(5));
    let now = Timestamp::now();
    std::thread::sleep(std::time::Duration::from_millis(5));
    now
}

#[tokio::test]
async fn a_card_that_wharf_made_and_nobody_opted_in_shows_no_withdrawal() {
    let shop = Shop::new(json!({"contacts": {"consent": "all"}})).await;
    let unknown = json!({"email_consent": "unknown", "email_consent_at": null});
    let with = |city: &str| json!({"email_consent": "unknown", "email_consent_at": null, "city": city});
    for email in ["made@shop.example", "touched@shop.example", "again@shop.example"] {
        shop.contact(email, unknown.clone()).await;
    }
    let met = Card { email_opted_out: true, created_at: Some(now()), modified_at: Some(now()), ..Card::default() };
    shop.target.state(|state| state.cards.insert("met@shop.example".into(), met));
    shop.contact("met@shop.example", unknown.clone()).await;
    shop.load().await;
    // They agree at the shop, which is heard of only after the card was written to once more.
    let agreed_at = now();
    for email in ["made@shop.example", "touched@shop.example", "again@shop.example", "met@shop.example"] {
        shop.contact(email, with("Sopot")).await;
    }
    shop.order("made@shop.example", "1", json!({})).await;
    shop.load().await;
    // Somebody else has changed this one since.
    shop.target.state(|state| {
        state.cards.get_mut("touched@shop.example").unwrap().modified_at = Some(now());
    });
    for email in ["made@shop.example", "touched@shop.example", "again@shop.example", "met@shop.example"] {
        shop.contact(email, json!({"email_consent_at": agreed_at.to_string(), "city": "Sopot"})).await;
    }
    let tally = shop.load().await;
    let is_out = |email: &str| shop.target.state(|state| state.cards[email].email_opted_out);
    assert!(!is_out("made@shop.example") && !is_out("again@shop.example"), "nobody had withdrawn");
    assert!(is_out("touched@shop.example"), "who changed it, and why, is not known");
    assert!(is_out("met@shop.example"), "the card was there before");
    assert_eq!(tally.opt_outs_kept, 2);

    // What is kept once stays so, whatever is written to the card, until there is a later statement.
    shop.contact("touched@shop.example", json!({"email_consent_at": agreed_at.to_string(), "city": "Hel"})).await;
    shop.load().await;
    assert!(is_out("touched@shop.example"));
}

#[tokio::test]
async fn a_person_decides_what_nothing_tells() {
    let shop = Shop::new(json!({})).await;
    let left_at = now();
    for email in ["a@shop.example", "b@shop.example"] {
        let card = Card { email_opted_out: true, modified_at: Some(left_at), ..Card::default() };
        shop.target.state(|state| state.cards.insert(email.into(), card));
        shop.contact(email, json!({})).await;
    }
    assert_eq!(shop.load().await.opt_outs_kept, 2);
    let filter = |key: Option<String>, code: Option<&str>| wharf::stage::rejects::Filter {
        key,
        code: code.map(str::to_owned),
        ..Default::default()
    };
    let db = &shop.test.db;
    let retried = wharf::stage::rejects::retry(db, &filter(None, Some("opt-out-kept"))).await.unwrap();
    assert_eq!(retried.delivery, 0, "the same would come of it");
    let a = contact_id("a@shop.example");
    assert_eq!(wharf::stage::rejects::opt_in(db, &filter(Some(a.to_string()), None)).await.unwrap(), 1);
    assert!(wharf::stage::rejects::opt_in(db, &filter(None, Some("refused"))).await.is_err());
    shop.load().await;
    let is_out = |email: &str| shop.target.state(|state| state.cards[email].email_opted_out);
    assert!(!is_out("a@shop.example") && is_out("b@shop.example"));
    assert_eq!(shop.rejects().await.len(), 1);
    assert_eq!(shop.count("delivery.consent_decisions where channel = 'email'").await, 1);

    // A decision is about what was there: who leaves after it has left.
    shop.target.state(|state| {
        let card = state.cards.get_mut("a@shop.example").unwrap();
        card.email_opted_out = true;
        card.modified_at = Some(now());
    });
    shop.change("delete from delivery.ledger").await;
    shop.contact("a@shop.example", json!({"city": "Hel"})).await;
    shop.load().await;
    assert!(is_out("a@shop.example"));
}

#[tokio::test]
async fn the_opt_out_of_a_deleted_card_counts() {
    let shop = Shop::new(json!({})).await;
    for (email, opted_out) in [("left@shop.example", true), ("in@shop.example", false)] {
        let card = Card {
            email_opted_out: opted_out,
            modified_at: Some("2024-06-01T00:00:00Z".parse().unwrap()),
            is_deleted: true,
            ..Card::default()
        };
        shop.target.state(|state| state.cards.insert(email.into(), card));
        shop.contact(email, json!({})).await;
    }
    assert_eq!(shop.load().await.opt_outs_kept, 1);
    let requests = shop.target.take_contact_requests();
    assert_eq!(requests["left@shop.example"]["forceOptIn"], false);
    assert_eq!(requests["in@shop.example"]["forceOptIn"], true);
    shop.contact("left@shop.example", json!({"email_consent_at": "2024-06-02T00:00:00Z"})).await;
    // The card is younger by now: ours is its last change, and what it covers is not known.
    assert_eq!(shop.load().await.opt_outs_kept, 1);
    shop.contact("left@shop.example", json!({"email_consent_at": now().to_string()})).await;
    assert_eq!(shop.load().await.opt_outs_kept, 0);
}
