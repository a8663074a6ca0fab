use super::*;
use serde_json::json;

fn order(id: &str) -> Item {
    Item {
        key: Uuid::nil(),
        contact_id: Uuid::nil(),
        address: String::new(),
        envelope: Value::Null.into(),
        request: json!({ "externalOrderId": id }).into(),
    }
}

fn refused_with(why: &str) -> Outcome {
    Outcome::Refused { code: "refused", reason: why.into() }
}

#[test]
fn failed_orders_are_found_in_every_shape_of_the_answer() {
    let items = [order("1"), order("2")];
    let taken = Outcome::Acknowledged(None);
    for answer in
        [Value::Null, json!({}), json!({"failedOrders": null}), json!({"failedOrders": [], "id": "0"}), json!("OK")]
    {
        assert_eq!(judge_orders(&items, answer.clone()), [taken.clone(), taken.clone()], "{answer}");
    }
    let one = json!({"failedOrders": {"order": {"externalOrderId": 2}, "error": "no"}, "asyncSessionId": ""});
    assert_eq!(judge_orders(&items, one), [taken, refused_with("no")]);
    let nameless = json!({"failedOrders": [{"error": "no"}]});
    let judged = judge_orders(&items, nameless.clone());
    assert!(judged.iter().all(|outcome| matches!(outcome, Outcome::Unknown(_))), "any of them may be it: {judged:?}");
    assert_eq!(judge_orders(&items[..1], nameless), [refused_with("no")]);
}

#[test]
fn past_events_are_judged_one_by_one_and_only_a_failure_of_the_server_is_tried_again() {
    let items = [order("1"), order("2"), order("3")];
    let results =
        json!({"results": [{"status": "ACCEPTED"}, {"status": "SERVER_ERROR"}, {"status": "OCCURRED_TIME_IN_FUTURE"}]});
    let judged = judge_past_events(&items, results);
    assert_eq!(judged[0], Outcome::Acknowledged(None));
    assert!(matches!(judged[1], Outcome::Later(_)));
    assert!(matches!(judged[2], Outcome::Refused { code: "in-the-future", .. }));
    assert_eq!(
        judge_past_events(&items[..1], json!({"results": {"status": "ACCEPTED"}})),
        [Outcome::Acknowledged(None)]
    );
    let counted = judge_past_events(&items, json!({"successCount": "3", "errorCount": "0"}));
    assert_eq!(counted, vec![Outcome::Acknowledged(None); 3]);
    for strange in
        [Value::Null, json!({"successCount": 2, "errorCount": 1}), json!({"results": [{"status": "ACCEPTED"}]})]
    {
        let judged = judge_past_events(&items, strange.clone());
        assert!(judged.iter().all(|outcome| matches!(outcome, Outcome::Unknown(_))), "{strange}");
    }
}
