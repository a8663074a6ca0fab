//! Consent that has no time of its own: when it counts as given, and what it may lift. The rule of the frame is one function of
//! SQL (`canonical.consent_time`); what follows from it is tried on records that land and are mapped.

use crate::support::staged::{StagedShop, customer, order, with};
use serde_json::{Value, json};

/// State, its own time, that of the record, what was known and since when, whether it was understood so, the last sight; and
/// when it counts as said. Days.
type Case =
    (&'static str, Option<u32>, Option<u32>, Option<(&'static str, Option<u32>)>, bool, Option<u32>, Option<u32>);

/// What a shop says with and without a date, by a meta key of its plug-in.
fn settings() -> Value {
    json!({"consent_meta_keys": [{
        "key": "marketing_consent", "channel": "email", "accepted": ["yes"], "refused": ["no"], "date_key": "said_at"
    }]})
}

/// A customer who says yes or no, at a time or none.
fn saying(id: u32, email: &str, word: &str, said_at: Option<&str>) -> Value {
    let date = said_at.map(|at| json!({"key": "said_at", "value": at}));
    let said = [Some(json!({"key": "marketing_consent", "value": word})), date];
    let meta: Vec<Value> = said.into_iter().flatten().collect();
    with(customer(id, email), json!({"meta_data": meta, "date_modified_gmt": "2024-06-01T00:00:00"}))
}

/// A complete walk through the customers begins, and ends with the records that are staged after it.
async fn walk(shop: &StagedShop, connection: &str) {
    let began = "insert into ops.cursors (connection, stream, full_at) values ($1, 'customers', clock_timestamp())
        on conflict (connection, stream) do update set full_at = excluded.full_at";
    shop.client().await.execute(began, &[&connection]).await.unwrap();
}

/// State and date of the contact with an address; `-` where there is no date.
async fn said(shop: &StagedShop, email: &str) -> String {
    let query = format!(
        "select email_consent || ' ' || coalesce(to_char(email_consent_at at time zone 'UTC', 'YYYY-MM-DD'), '-')
         from canonical.contacts where email = '{email}'"
    );
    shop.value(&query).await
}

/// `state, said, recorded, known state and time, observed, last sight` → the time. Days of January 2024; now is the 20th.
#[tokio::test]
async fn an_agreement_is_dated_at_the_beginning_and_a_withdrawal_at_the_end() {
    const YES: &str = "opt_in";
    const NO: &str = "opt_out";
    const NONE: &str = "unknown";
    let cases: &[Case] = &[
        // First sight: its own time, or none for an agreement; a refusal keeps what the record says.
        (YES, Some(5), Some(9), None, false, Some(3), Some(5)),
        (YES, None, Some(9), None, false, Some(3), None),
        (NO, Some(5), Some(9), None, false, Some(3), Some(5)),
        (NO, None, Some(9), None, false, Some(3), Some(9)),
        (NO, None, None, None, false, None, Some(20)),
        (NO, None, Some(25), None, false, None, Some(20)),
        (NONE, Some(5), Some(9), None, true, Some(3), None),
        // A future time within a day is now, one beyond it none.
        (YES, Some(21), None, None, false, None, Some(20)),
        (YES, Some(22), None, None, false, None, None),
        (YES, Some(22), None, Some((NO, Some(4))), true, Some(3), Some(3)),
        (NO, Some(30), None, None, false, None, Some(20)),
        // The same again: the latest time that was given.
        (YES, None, Some(9), Some((YES, Some(5))), true, Some(8), Some(5)),
        (YES, None, Some(9), Some((YES, None)), true, Some(8), None),
        (YES, Some(7), Some(9), Some((YES, None)), true, Some(8), Some(7)),
        (YES, Some(7), Some(9), Some((YES, Some(5))), true, Some(8), Some(7)),
        (YES, Some(4), Some(9), Some((YES, Some(5))), true, Some(8), Some(5)),
        (NO, None, Some(9), Some((NO, Some(5))), true, Some(8), Some(5)),
        (NO, Some(7), Some(9), Some((NO, Some(5))), true, Some(8), Some(7)),
        // Changed without a later time: early for an agreement, late for a withdrawal.
        (YES, None, Some(9), Some((NO, Some(5))), true, Some(8), Some(8)),
        (YES, Some(5), Some(9), Some((NO, Some(5))), true, Some(8), Some(8)),
        (YES, Some(5), Some(9), Some((NO, Some(6))), true, Some(3), Some(3)),
        (YES, None, Some(9), Some((NO, Some(5))), true, None, None),
        (YES, None, Some(9), Some((NONE, None)), true, Some(8), Some(8)),
        (NO, None, Some(9), Some((YES, Some(5))), true, Some(8), Some(20)),
        (NO, Some(5), Some(9), Some((YES, Some(5))), true, Some(8), Some(20)),
        (NO, None, Some(9), Some((YES, None)), true, Some(8), Some(20)),
        (NO, None, Some(9), Some((NONE, None)), true, Some(8), Some(20)),
        // Changed with a later time: that.
        (YES, Some(7), Some(9), Some((NO, Some(5))), true, Some(3), Some(7)),
        (NO, Some(7), Some(9), Some((YES, Some(5))), true, Some(3), Some(7)),
        (NO, Some(7), Some(9), Some((YES, None)), true, Some(3), Some(7)),
        (YES, Some(7), Some(9), Some((NONE, None)), true, Some(8), Some(7)),
        // Understood otherwise than before, which is no change at the shop.
        (YES, None, Some(9), Some((NONE, None)), false, Some(8), None),
        (YES, None, Some(9), Some((NO, Some(5))), false, Some(8), None),
        (NO, None, Some(9), Some((NONE, None)), false, Some(8), Some(9)),
        (NO, None, Some(9), Some((YES, Some(5))), false, Some(8), Some(20)),
    ];
    let test = crate::support::database().await;
    let client = test.db.client().await.unwrap();
    let day = |day: Option<u32>| day.map_or("null".to_owned(), |day| format!("timestamptz '2024-01-{day:02} 00:00Z'"));
    for case in cases {
        let (state, said_at, recorded, known, observed, sight, expected) = *case;
        let (known_state, known_at) = known.map_or(("null".to_owned(), None), |(state, at)| (format!("'{state}'"), at));
        let query = format!(
            "select canonical.consent_time('{state}', {}, {}, {known_state}, {}, {observed}, {}, {})
                is not distinct from {}",
            day(said_at),
            day(recorded),
            day(known_at),
            day(sight),
            day(Some(20)),
            day(expected),
        );
        let is_right: bool = client.query_one(&query, &[]).await.unwrap().get(0);
        assert!(is_right, "{case:?}");
    }
}

#[tokio::test]
async fn an_agreement_without_a_date_is_older_than_every_dated_statement() {
    let refusal = saying(1, "a@example.com", "no", Some("2019-01-01T00:00:00"));
    let agreement = saying(1, "a@example.com", "yes", None);
    for agrees_first in [true, false] {
        let shop = StagedShop::new(settings()).await;
        shop.connection("other", &settings()).await;
        let mut steps = [("shop", &refusal), ("other", &agreement)];
        if agrees_first {
            steps.reverse();
        }
        for (connection, record) in steps {
            walk(&shop, connection).await;
            shop.stage(connection, "customers", std::slice::from_ref(record)).await;
            shop.transform_all(&["shop", "other"], false).await;
        }
        assert_eq!(said(&shop, "a@example.com").await, "opt_out 2019-01-01", "agrees first: {agrees_first}");

        // Nothing of it changes when all is mapped again, and a date that comes late counts.
        shop.transform_all(&["shop", "other"], true).await;
        assert_eq!(said(&shop, "a@example.com").await, "opt_out 2019-01-01");
        let dated = saying(1, "a@example.com", "yes", Some("2020-01-01T00:00:00"));
        shop.stage("other", "customers", &[dated]).await;
        shop.transform_all(&["shop", "other"], false).await;
        assert_eq!(said(&shop, "a@example.com").await, "opt_in 2020-01-01");
    }
}

#[tokio::test]
async fn an_agreement_without_a_date_opts_in_somebody_of_whom_nothing_else_is_known() {
    let shop = StagedShop::new(settings()).await;
    shop.stage("shop", "customers", &[saying(1, "a@example.com", "yes", None)]).await;
    shop.transform().await;
    assert_eq!(said(&shop, "a@example.com").await, "opt_in -");
    assert_eq!(shop.value("select stated_at = '-infinity' from canonical.consent_statements").await, "true");
    let run = shop.transform_all(&["shop"], true).await;
    let changes = format!("select count(*) from canonical.changes where run_id = {run}");
    assert_eq!(shop.value(&changes).await, "0", "unchanged writes nothing");
}

#[tokio::test]
async fn a_record_that_changed_its_mind_is_compared_by_the_last_walk_that_saw_the_former() {
    let shop = StagedShop::new(settings()).await;
    shop.connection("other", &settings()).await;
    walk(&shop, "shop").await;
    let first_walk = shop.value("select clock_timestamp()").await;
    shop.stage("shop", "customers", &[saying(1, "a@example.com", "no", None)]).await;
    shop.stage("shop", "customers", &[saying(2, "b@example.com", "no", None)]).await;
    shop.transform_all(&["shop", "other"], false).await;
    assert_eq!(said(&shop, "a@example.com").await, "opt_out 2024-06-01");

    // One withdraws at the other shop before the second walk, which still sees the former value here, one after it.
    let now = "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')";
    let before = shop.value(now).await;
    shop.stage("other", "customers", &[saying(1, "a@example.com", "no", Some(&before))]).await;
    walk(&shop, "shop").await;
    // Nothing has changed here, and yet it was seen.
    shop.transform_all(&["shop", "other"], false).await;
    let after = shop.value(now).await;
    shop.stage("other", "customers", &[saying(2, "b@example.com", "no", Some(&after))]).await;
    walk(&shop, "shop").await;
    let agree = [saying(1, "a@example.com", "yes", None), saying(2, "b@example.com", "yes", None)];
    shop.stage("shop", "customers", &agree).await;
    shop.transform_all(&["shop", "other"], false).await;
    assert!(said(&shop, "a@example.com").await.starts_with("opt_in"), "the agreement is later");
    assert!(said(&shop, "b@example.com").await.starts_with("opt_out"), "which was first is not known");
    let dated = format!(
        "select email_consent_at > '{first_walk}' and email_consent_at < '{after}Z' from canonical.contacts
         where email = 'a@example.com'"
    );
    assert_eq!(shop.value(&dated).await, "true", "at the beginning of the second walk");
}

#[tokio::test]
async fn a_withdrawal_of_the_same_record_is_taken_back_whatever_its_date() {
    let shop = StagedShop::new(settings()).await;
    walk(&shop, "shop").await;
    shop.stage("shop", "customers", &[saying(1, "a@example.com", "yes", None)]).await;
    shop.transform().await;
    shop.stage("shop", "customers", &[saying(1, "a@example.com", "no", None)]).await;
    shop.transform().await;
    assert!(said(&shop, "a@example.com").await.starts_with("opt_out 20"), "on the day it was seen");
    shop.stage("shop", "customers", &[saying(1, "a@example.com", "yes", None)]).await;
    shop.transform().await;
    assert!(said(&shop, "a@example.com").await.starts_with("opt_in 20"), "as of the walk that began before both");
    assert_eq!(
        shop.value("select count(*) from canonical.consent_statements where taken_back_run is not null").await,
        "1"
    );
    // The account goes, and with it nothing of what it said last.
    shop.delete("customers", "1").await;
    shop.stage("shop", "orders", &[order(100, 0, "a@example.com", 50)]).await;
    shop.transform().await;
    assert!(said(&shop, "a@example.com").await.starts_with("opt_in 20"));
}

#[tokio::test]
async fn another_reading_of_the_same_record_is_no_change() {
    let shop = StagedShop::new(json!({})).await;
    walk(&shop, "shop").await;
    let records = [saying(1, "a@example.com", "yes", None), saying(2, "b@example.com", "no", None)];
    shop.stage("shop", "customers", &records).await;
    shop.transform().await;
    walk(&shop, "shop").await;
    shop.transform().await;
    shop.connection("shop", &settings()).await;
    shop.transform().await;
    assert_eq!(said(&shop, "a@example.com").await, "opt_in -");
    assert_eq!(said(&shop, "b@example.com").await, "opt_out 2024-06-01");
}
