//! `contacts.fields`: expressions of the pipeline file.

use crate::support::canonical::Shop;
use serde_json::json;
use wharf::Kind;
use wharf::stage::load::feed::Baseline;
use wharf::stage::load::fields;

#[tokio::test]
async fn fields_are_worked_out_from_the_contact_and_its_scores() {
    let shop = Shop::new(json!({"contacts": {"fields": {
        "size": "extra->>'size'", "town": "upper(c.city)", "orders": "rfm.frequency", "segment": "rfm.segment",
        "nothing": "null", "it's": "'a' || '''' || 'b'"
    }}}))
    .await;
    shop.contact("a@shop.example", json!({"city": "Łódź", "extra": {"size": "M"}})).await;
    shop.contact("b@shop.example", json!({})).await;
    shop.order("a@shop.example", "1", json!({})).await;
    shop.order("a@shop.example", "2", json!({})).await;
    // Another currency with fewer orders does not count.
    shop.order("a@shop.example", "3", json!({"currency": "EUR"})).await;
    shop.load().await;
    let requests = shop.target.take_calls().into_iter().flat_map(|call| call.requests).collect::<Vec<_>>();
    let of = |email: &str| {
        requests.iter().find(|request| request["contact"]["email"] == email).unwrap()["properties"].clone()
    };
    let properties = of("a@shop.example");
    assert_eq!((&properties["size"], &properties["town"]), (&json!("M"), &json!("ŁÓDŹ")));
    assert_eq!((&properties["orders"], &properties["it's"]), (&json!("2"), &json!("a'b")));
    assert!(properties["segment"].is_string() && properties.get("nothing").is_none());
    assert_eq!(of("b@shop.example"), json!({"it's": "a'b"}));
}

#[tokio::test]
async fn scores_are_compared_once_a_day_though_nothing_changed() {
    let shop = Shop::new(json!({"contacts": {"fields": {"recency": "rfm.recency_days"}}})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.load().await;
    assert_eq!(shop.try_load().await.unwrap().baseline, None);
    shop.change("update delivery.consumers set full_at = now() - interval '25 hours'").await;
    let summary = shop.try_load().await.unwrap();
    assert_eq!((summary.baseline, summary.tally.unchanged), (Some(Baseline::Rfm), 1));
}

#[tokio::test]
async fn fields_may_read_what_is_canonical_and_the_marts() {
    let shop = Shop::new(json!({"contacts": {"fields": {
        "orders": "(select count(*) from canonical.orders o where o.contact_id = c.contact_id)",
        "spent": "(select sum(gross) from marts.rfm r where r.contact_id = c.contact_id)",
        "role": "current_user",
    }}}))
    .await;
    shop.contact("a@shop.example", json!({})).await;
    shop.order("a@shop.example", "1", json!({"total": 12.5})).await;
    shop.load().await;
    let requests = shop.target.take_calls().into_iter().flat_map(|call| call.requests).collect::<Vec<_>>();
    let properties = &requests.iter().find(|request| request["contact"].is_object()).unwrap()["properties"];
    assert_eq!((&properties["orders"], &properties["role"]), (&json!("1"), &json!("wharf_fields")));
    assert!(properties["spent"].as_str().unwrap().starts_with("12.5"), "{properties}");
}

#[tokio::test]
async fn a_wrong_expression_is_named_with_what_postgres_says() {
    for (expression, said) in [
        ("no_such_column", "column \"no_such_column\" does not exist"),
        ("city +", "syntax error"),
        ("segment", "column \"segment\" does not exist"),
        ("first_name::integer", "invalid input syntax"),
        ("(select 1) from canonical.contacts where (true)", "syntax error"),
        ("1; drop table canonical.contacts", "semicolon"),
        ("nextval('ops.runs_run_id_seq')", "permission denied"),
        ("pg_read_file('/etc/hostname')", "permission denied"),
        ("(select count(*) from staging.customers)", "permission denied"),
        ("(select holder from ops.runs limit 1)", "permission denied"),
        ("(select count(*) from delivery.ledger)", "permission denied"),
        ("(select payload from pg_temp.deliver_desired limit 1)", "permission denied"),
        ("query_to_xml('select * from staging.customers', true, true, '')", "permission denied"),
    ] {
        let mut shop = Shop::new(json!({})).await;
        shop.pipeline.contacts.fields =
            [("fine".to_owned(), "city".to_owned()), ("odd".to_owned(), expression.to_owned())].into();
        shop.contact("a@shop.example", json!({"first_name": "Anna"})).await;
        let error = shop.try_load().await.unwrap_err();
        assert_eq!(error.kind(), Kind::PipelineFile, "{expression}: {error}");
        assert!(error.detail().contains("contacts.fields.odd") && error.detail().contains(said), "{error}");
        assert!(shop.target.take_calls().is_empty());
        // What only a row can show is not found without one.
        let found = fields::problems(&shop.test.db, &shop.pipeline.contacts.fields).await;
        let names = found.map(|problems| problems.into_iter().map(|problem| problem.name).collect::<Vec<_>>());
        match expression {
            // What is refused when it is evaluated, and not when it is read.
            "first_name::integer" => assert!(names.unwrap().is_empty(), "{expression}"),
            _ if expression.starts_with("query_to_xml") => assert!(names.unwrap().is_empty(), "{expression}"),
            "1; drop table canonical.contacts" => assert_eq!(names.unwrap_err().kind(), Kind::PipelineFile),
            _ => assert_eq!(names.unwrap(), ["odd"], "{expression}"),
        }
    }
}
