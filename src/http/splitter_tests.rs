//! Properties of the splitter: exactly the elements, whatever the borders; an error, never a record, for what is cut.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Everything a body gives when it arrives in `chunks`.
fn split(selector: Selector, chunks: &[&[u8]], max_record: usize) -> (Vec<Bytes>, Result<()>) {
    let mut splitter = Splitter::new(selector, max_record);
    let mut records = Vec::new();
    for at in 0..=chunks.len() {
        match chunks.get(at) {
            Some(chunk) => splitter.push(chunk),
            None => splitter.end(),
        }
        loop {
            match splitter.take() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(error) => {
                    assert!(matches!(splitter.take(), Ok(None)), "nothing comes after an error");
                    return (records, Err(error));
                }
            }
        }
    }
    (records, Ok(()))
}

fn values(records: &[Bytes]) -> Vec<Value> {
    records.iter().map(|record| serde_json::from_slice(record).unwrap()).collect()
}

fn kind(selector: Selector, body: &str) -> Kind {
    split(selector, &[body.as_bytes()], 1 << 20).1.unwrap_err().kind()
}

fn cut_at<'a>(body: &'a [u8], borders: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = borders.iter().map(|border| border.index(body.len() + 1)).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect()
}

/// Values with everything that could confuse a byte walker: brackets, quotes and backslashes in texts, all letters.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1.0e300..1.0e300f64).prop_map(Value::from),
        "[\\[\\]{}\",:\\\\a-cé\u{1F600}\u{0}\n ]{0,12}".prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[\\[\\]{}\"a-c]{0,4}", inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn rendered(value: &Value, pretty: bool) -> String {
    if pretty { serde_json::to_string_pretty(value).unwrap() } else { value.to_string() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_array_split_anywhere_gives_exactly_its_elements(
        elements in prop::collection::vec(any_value(), 0..6),
        pretty: bool,
        borders in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let body = rendered(&Value::from(elements.clone()), pretty);
        let (records, end) = split(Selector::array(), &cut_at(body.as_bytes(), &borders), 1 << 20);
        prop_assert!(end.is_ok(), "{:?}", end);
        prop_assert_eq!(values(&records), elements);
        prop_assert!(records.iter().all(|record| body.contains(std::str::from_utf8(record).unwrap())), "as received");
    }

    #[test]
    fn a_list_deep_in_an_object_is_found_beside_anything(
        before in any_value(), elements in prop::collection::vec(any_value(), 0..4), after in any_value(), pretty: bool,
        borders in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let inner = json!({"a": before, "orders": elements, "z": after});
        let body = rendered(&json!({"aa": {"orders": [1]}, "data": inner, "orders": [2], "zz": 3}), pretty);
        let (records, end) = split(Selector::at("data.orders"), &cut_at(body.as_bytes(), &borders), 1 << 20);
        prop_assert!(end.is_ok(), "{:?}", end);
        prop_assert_eq!(values(&records), elements);
    }

    #[test]
    fn one_object_is_one_record(value in prop::collection::btree_map(".{0,4}", any_value(), 0..5), pretty: bool,
        borders in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let body = rendered(&json!(value), pretty);
        let (records, end) = split(Selector::single(), &cut_at(body.as_bytes(), &borders), 1 << 20);
        prop_assert!(end.is_ok(), "{:?}", end);
        prop_assert_eq!(values(&records), vec![json!(value)]);
    }

    #[test]
    fn a_cut_list_is_an_error_and_gives_only_records_that_are_in_it(
        elements in prop::collection::vec(any_value(), 1..6), pretty: bool, cut in any::<prop::sample::Index>(),
        member: bool, borders in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (selector, value) = match member {
            true => (Selector::at("data"), json!({"count": 7, "data": elements, "pages": 2})),
            false => (Selector::array(), json!(elements)),
        };
        let body = rendered(&value, pretty);
        let cut = &body.as_bytes()[..cut.index(body.len())];
        let (records, end) = split(selector, &cut_at(cut, &borders), 1 << 20);
        let error = end.expect_err("a cut list is never whole");
        prop_assert_eq!(error.kind(), Kind::Truncated);
        prop_assert!(elements.starts_with(&values(&records)));
    }

    #[test]
    fn garbage_never_panics_and_never_gives_what_is_no_json(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}\",:\\\\ a1tn<>\u{feff}]{0,80}".prop_map(String::into_bytes),
        ],
        selector in prop::sample::select(vec![Selector::array(), Selector::at("a"), Selector::at("a.a"), Selector::single()]),
        borders in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (records, _) = split(selector.clone(), &cut_at(&body, &borders), 64);
        let (whole, _) = split(selector, &[&body], 64);
        prop_assert_eq!(&records, &whole, "borders change nothing");
        for record in records {
            prop_assert!(record.len() <= 64);
            prop_assert!(serde_json::from_slice::<IgnoredAny>(&record).is_ok());
        }
    }
}

#[test]
fn notices_and_marks_before_and_a_caches_comment_behind_are_skipped() {
    let body = "\u{feff}<br />\n<b>Notice</b>: x in <b>/a.php</b> on line <b>3</b><br />\n[{\"id\":1},\n {\"id\":2}]\n<!-- cached -->";
    for size in 1..body.len() {
        let chunks: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
        let (records, end) = split(Selector::array(), &chunks, 1 << 20);
        assert_eq!((values(&records), end.is_ok()), (vec![json!({"id": 1}), json!({"id": 2})], true), "{size}");
    }
}

#[test]
fn what_is_no_list_is_told_apart() {
    assert_eq!(kind(Selector::array(), "{\"code\":\"x\"}"), Kind::Protocol);
    assert_eq!(kind(Selector::at("data.orders"), "{\"data\":[]}"), Kind::Protocol);
    assert_eq!(kind(Selector::at("data.orders"), "{\"data\":{\"orders\":null}}"), Kind::Protocol);
    assert_eq!(kind(Selector::at("orders"), "{\"data\":[]}"), Kind::Protocol);
    assert_eq!(kind(Selector::array(), "<html><title>Down</title>"), Kind::NotJson);
    assert_eq!(kind(Selector::array(), ""), Kind::Truncated);
    assert_eq!(kind(Selector::array(), "[1]]"), Kind::NotJson);
    assert_eq!(kind(Selector::array(), "[1,]"), Kind::NotJson);
    assert_eq!(kind(Selector::array(), "[1 2]"), Kind::NotJson);
    assert_eq!(kind(Selector::array(), "[{\"a\":01}]"), Kind::NotJson);
    assert_eq!(kind(Selector::array(), "[{\"a\":[}]]"), Kind::NotJson);
}

#[test]
fn a_record_over_the_limit_is_an_error_before_it_was_held() {
    let mut splitter = Splitter::new(Selector::array(), 1000);
    splitter.push(b"[\"");
    let mut pushed = 0;
    let error = loop {
        splitter.push(&[b'x'; 100]);
        pushed += 100;
        match splitter.take() {
            Ok(None) => assert!(pushed <= 1100, "held {pushed} bytes"),
            Ok(Some(_)) => panic!("a record without an end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::TooLarge);
}

#[test]
fn what_lies_beside_the_list_is_not_held() {
    let mut splitter = Splitter::new(Selector::at("data"), 1000);
    splitter.push(b"{\"junk\":[\"");
    for _ in 0..1000 {
        splitter.push(&[b'x'; 1000]);
        assert!(matches!(splitter.take(), Ok(None)));
        assert!(splitter.buffer.len() <= 1000);
    }
    splitter.push(b"\"],\"data\":[1]}");
    splitter.end();
    assert_eq!(splitter.take().unwrap().as_deref(), Some(&b"1"[..]));
    assert!(matches!(splitter.take(), Ok(None)));
}

#[test]
fn hostile_nesting_is_an_error() {
    assert_eq!(kind(Selector::array(), &"[".repeat(100_000)), Kind::Protocol);
    assert_eq!(kind(Selector::at("a"), &format!("{{\"b\":{}", "[".repeat(100_000))), Kind::Protocol);
}

#[test]
fn texts_that_are_no_utf_8_pass_as_received() {
    let (records, end) = split(Selector::array(), &[b"[\"\xff\xfe\"]"], 100);
    assert!(end.is_ok());
    assert_eq!(records[0].as_ref(), b"\"\xff\xfe\"");
}

#[test]
fn the_whole_of_a_large_record_is_walked_once() {
    // A walker that began anew with every chunk would take minutes here.
    let record = format!("[{{\"text\":\"{}\"}}]", "x".repeat(8 << 20));
    let chunks: Vec<&[u8]> = record.as_bytes().chunks(64).collect();
    let (records, end) = split(Selector::array(), &chunks, 16 << 20);
    assert!(end.is_ok() && records.len() == 1);
}
