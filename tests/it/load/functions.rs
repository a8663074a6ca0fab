//! The functions that cut at byte limits, against the same in Rust.

use crate::support::database;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn cut(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn fitting(items: &[String], separator: &str, max: usize) -> usize {
    (0..=items.len()).rev().find(|n| *n == 0 || items[..*n].join(separator).len() <= max).unwrap()
}

/// Texts of letters of one to four bytes.
fn texts() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just('a'), Just('ż'), Just('字'), Just('🛏'), any::<char>()], 0..40)
        .prop_map(|letters| letters.into_iter().filter(|letter| *letter != '\0').collect())
}

fn examples<S: Strategy>(strategy: &S, n: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::default();
    (0..n).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test]
async fn texts_are_cut_between_letters() {
    let test = database().await;
    let client = test.db.client().await.unwrap();
    let cases = examples(&(texts(), 0_i32..60), 600);
    let (inputs, limits): (Vec<String>, Vec<i32>) = cases.into_iter().unzip();
    let rows = client
        .query(
            "select delivery.cut_bytes(text, n) from unnest($1::text[], $2::integer[]) with ordinality as c (text, n, o)
             order by o",
            &[&inputs, &limits],
        )
        .await
        .unwrap();
    for ((row, text), max) in rows.iter().zip(&inputs).zip(&limits) {
        assert_eq!(row.get::<_, &str>(0), cut(text, usize::try_from(*max).unwrap()), "{text:?} at {max}");
    }
    assert_eq!(rows.len(), 600);
}

#[tokio::test]
async fn lists_are_cut_between_items() {
    let test = database().await;
    let client = test.db.client().await.unwrap();
    for (items, max) in examples(&(proptest::collection::vec(texts(), 0..12), 0_i32..120), 200) {
        let row = client
            .query_one("select delivery.fitting($1, ',', $2), delivery.cut_list($1, ',', $2)", &[&items, &max])
            .await
            .unwrap();
        let limit = usize::try_from(max).unwrap();
        let fit = fitting(&items, ",", limit);
        assert_eq!(usize::try_from(row.get::<_, i32>(0)).unwrap(), fit, "{items:?} at {max}");
        let joined = match (fit, items.first()) {
            (0, None) => None,
            (0, Some(first)) => Some(cut(first, limit).to_owned()).filter(|text| !text.is_empty()),
            _ => Some(items[..fit].join(",")),
        };
        assert_eq!(row.get::<_, Option<String>>(1), joined, "{items:?} at {max}");
    }
}
