//! Orders as events: which, once, in what order, and with what in them.

use super::counts;
use crate::support::canonical::Shop;
use crate::support::fake_target::Act;
use serde_json::{Value, json};

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(order, kind)| ((*order).to_owned(), (*kind).to_owned())).collect()
}

#[tokio::test]
async fn each_status_calls_for_its_event() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    let orders = [
        ("initialized", json!({"status": "INITIALIZED"})),
        ("unpaid", json!({"status": "IN_PROGRESS", "payment_status": "unpaid"})),
        ("unknown-payment", json!({"status": "IN_PROGRESS"})),
        ("paid", json!({"status": "IN_PROGRESS", "payment_status": "paid"})),
        ("delivered", json!({"status": "DELIVERED"})),
        ("cancelled", json!({"status": "CANCELLED", "payment_status": "paid"})),
        ("abandoned", json!({"status": "ABANDONED_SHOPPING_CART"})),
        ("unmapped", json!({"status": null, "payment_status": "paid"})),
    ];
    let rows: Vec<(&str, &str, Value)> =
        orders.iter().map(|(key, more)| ("a@shop.example", *key, more.clone())).collect();
    shop.orders(&rows).await;
    let tally = shop.load().await;
    assert_eq!(shop.target.events(), pairs(&[("delivered", "PURCHASE"), ("paid", "PURCHASE")]));
    assert_eq!(tally.held, counts(&[("unmapped-status", 1)]));
    assert_eq!(tally.skipped, counts(&[("never-purchased", 1), ("no-event", 2), ("not-paid", 2)]));
    assert_eq!(shop.count("delivery.pending").await, 0);

    // What was paid is cancelled, what was unpaid is paid, what was delivered is sent back, what was unmapped is mapped.
    shop.order("a@shop.example", "paid", json!({"status": "CANCELLED", "cancelled_at": "2024-05-03T00:00:00Z"})).await;
    shop.order("a@shop.example", "unpaid", json!({"status": "DELIVERED"})).await;
    let returned = json!({"status": "CANCELLED", "extra": {"returned": true, "refunded": "12.50"}});
    shop.order("a@shop.example", "delivered", returned).await;
    shop.order("a@shop.example", "unmapped", json!({"status": "IN_PROGRESS", "payment_status": "paid"})).await;
    shop.load().await;
    assert_eq!(
        shop.target.events(),
        pairs(&[
            ("delivered", "PURCHASE"),
            ("delivered", "RETURN"),
            ("paid", "CANCELLATION"),
            ("paid", "PURCHASE"),
            ("unmapped", "PURCHASE"),
            ("unpaid", "PURCHASE"),
        ])
    );
    let (cancelled_at, value, refunded) = shop.target.state(|state| {
        let of =
            |kind: &str| state.events.iter().find(|(_, event)| event["contactExtEventType"] == kind).unwrap().1.clone();
        (of("CANCELLATION")["date"].clone(), of("CANCELLATION")["value"].clone(), of("RETURN")["value"].clone())
    });
    assert_eq!((cancelled_at, value, refunded), (json!(1_714_694_400_000_i64), json!(99.9), json!(12.5)));

    // Back and forth: nothing is said twice.
    shop.order("a@shop.example", "paid", json!({"status": "DELIVERED"})).await;
    shop.order("a@shop.example", "delivered", json!({"status": "CANCELLED"})).await;
    assert_eq!(shop.load().await.all_sent(), 0);
}

#[tokio::test]
async fn an_event_carries_what_the_sheet_says() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({"language": "pl"})).await;
    shop.order(
        "a@shop.example",
        "77",
        json!({"number": "2024/77", "total": "259.9700", "currency": "PLN", "payment_method": "Przelewy24",
        "delivery_method": "Kurier", "discount": "10.0000", "shipping": "0.0000", "pickup_place": "WAW01",
        "utm": {"source": "google", "campaign": "wiosna"},
        "items": [
            {"sku": "SKU-11", "product_key": "11", "name": "Telewizor 32\", biały", "quantity": 1},
            {"product_key": "22", "variation_key": "221", "name": "Kabel", "quantity": "2.5"},
            {"name": "Opłata", "quantity": 1},
        ]}),
    )
    .await;
    shop.load().await;
    let (address, event) = shop.target.state(|state| state.events[0].clone());
    assert_eq!(address, "a@shop.example");
    assert_eq!(
        event,
        json!({
            "contactExtEventType": "PURCHASE", "date": 1_714_644_000_000_i64, "products": "SKU-11,22", "value": 259.97,
            "location": "shop_pl", "shopDomain": "shop.example", "description": "Przelewy24", "externalId": "2024/77",
            "detail1": "Telewizor 32\" biały,Kabel", "detail2": "77", "detail3": "1/2.5", "detail4": "Kurier",
            "detail5": "10", "detail6": "11,22", "detail7": ",221", "detail8": "pl", "detail9": "PLN",
            "detail11": "WAW01", "detail12": "google", "detail14": "wiosna",
        })
    );
}

#[tokio::test]
async fn lists_of_an_event_stay_within_their_bytes_and_beside_each_other() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    let items: Vec<Value> = (0..100)
        .map(|n| json!({"sku": format!("SKU-{n:04}"), "name": format!("Łóżko {n}"), "quantity": n + 1}))
        .collect();
    shop.order("a@shop.example", "many", json!({"items": items})).await;
    let long = "ż".repeat(400);
    shop.order(
        "a@shop.example",
        "long",
        json!({"items": [{"sku": "x".repeat(600), "name": long, "quantity": 1}],
        "payment_method": "ż".repeat(2000), "number": "ż".repeat(200)}),
    )
    .await;
    shop.load().await;
    let events = shop.target.state(|state| state.events.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>());
    for event in &events {
        for (name, max) in
            [("products", 512), ("description", 2048), ("externalId", 255), ("detail1", 255), ("detail3", 255)]
        {
            assert!(event[name].as_str().unwrap_or_default().len() <= max, "{name}");
        }
    }
    let many = events.iter().find(|event| event["externalId"] == "many").unwrap();
    let products: Vec<_> = many["products"].as_str().unwrap().split(',').collect();
    let names: Vec<_> = many["detail1"].as_str().unwrap().split(',').collect();
    let quantities: Vec<_> = many["detail3"].as_str().unwrap().split('/').collect();
    assert_eq!(products.len(), 57, "57 ids of 8 bytes and the commas between them are 512");
    assert!(quantities.len() <= products.len() && names.len() <= products.len() && names.len() > 15);
    for (n, product) in products.iter().enumerate() {
        assert_eq!(*product, format!("SKU-{n:04}"));
        assert!(names.get(n).is_none_or(|name| *name == format!("Łóżko {n}")));
        assert!(quantities.get(n).is_none_or(|quantity| *quantity == (n + 1).to_string()));
    }
    let long = events.iter().find(|event| event["externalId"] != "many").unwrap();
    assert_eq!((long["products"].as_str().unwrap().len(), long["detail1"].as_str().unwrap().len()), (512, 254));
}

#[tokio::test]
async fn events_go_oldest_first() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    for (key, day) in [("c", 3), ("a", 9), ("b", 1), ("d", 5)] {
        shop.order("a@shop.example", key, json!({"placed_at": format!("2024-05-0{day}T00:00:00Z")})).await;
    }
    shop.load().await;
    let order =
        shop.target.state(|state| state.events.iter().map(|(_, event)| event["detail2"].clone()).collect::<Vec<_>>());
    assert_eq!(order, [json!("b"), json!("c"), json!("d"), json!("a")]);
}

#[tokio::test]
async fn filters_leave_orders_out_but_not_the_cancellation_of_one_that_was_sent() {
    let mut shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.order("a@shop.example", "sent", json!({"placed_at": "2024-01-31T23:59:59Z"})).await;
    shop.load().await;
    shop.pipeline.orders.placed_after = Some("2024-02-01".parse().unwrap());
    shop.pipeline.orders.placed_before = Some("2024-03-01".parse().unwrap());
    for (key, placed) in
        [("early", "2024-01-31T23:59:59Z"), ("in", "2024-02-01T00:00:00Z"), ("late", "2024-03-01T00:00:00Z")]
    {
        shop.order("a@shop.example", key, json!({"placed_at": placed})).await;
    }
    shop.order("a@shop.example", "sent", json!({"placed_at": "2024-01-31T23:59:59Z", "status": "CANCELLED"})).await;
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("cancellation", 1), ("purchase", 1)]));
    assert_eq!(tally.skipped, counts(&[("placed", 2)]));
    assert_eq!(shop.target.events(), pairs(&[("in", "PURCHASE"), ("sent", "CANCELLATION"), ("sent", "PURCHASE")]));
}

#[tokio::test]
async fn orders_of_people_left_out_wait_for_their_consent() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({"email_consent": "unknown", "email_consent_at": null})).await;
    shop.order("a@shop.example", "1", json!({})).await;
    let tally = shop.load().await;
    assert_eq!((tally.all_sent(), tally.skipped), (0, counts(&[("consent", 2)])));
    shop.contact("a@shop.example", json!({})).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts new", 1), ("purchase", 1)]));
    // Opted out, they order: nothing is told. Opted in again, it is.
    shop.contact("a@shop.example", json!({"email_consent": "opt_out", "email_consent_at": "2024-06-01T00:00:00Z"}))
        .await;
    shop.order("a@shop.example", "2", json!({})).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 1)]));
    shop.contact("a@shop.example", json!({"email_consent_at": "2024-07-01T00:00:00Z"})).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts changed", 1), ("purchase", 1)]));
}

#[tokio::test]
async fn orders_without_consent_are_sent_where_the_pipeline_says_so() {
    let shop = Shop::new(json!({"orders": {"without_consent": "send"}})).await;
    for (email, consent) in [("unknown@shop.example", "unknown"), ("out@shop.example", "opt_out")] {
        shop.contact(email, json!({"email_consent": consent})).await;
        shop.order(email, email, json!({})).await;
    }
    shop.contact("never-bought@shop.example", json!({"email_consent": "unknown"})).await;
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts new", 2), ("purchase", 2)]));
    let requests = shop.target.take_contact_requests();
    assert!(requests.values().all(|request| request["forceOptIn"] == false));
    assert!(shop.target.state(|state| state.cards.values().all(|card| card.email_opted_out)));
}

#[tokio::test]
async fn a_record_refused_for_another_reason_is_listed_with_that_one_alone() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({"email": null})).await;
    shop.load().await;
    let refused = |code: &str| vec![("contact".to_owned(), code.to_owned())];
    assert_eq!(shop.rejects().await, refused("no-email"));
    shop.target.state(|state| state.spoiled = vec!["a@shop.example".into()]);
    shop.contact("a@shop.example", json!({"email": "a@shop.example"})).await;
    let summary = shop.try_load().await.unwrap();
    assert_eq!(shop.rejects().await, refused("refused"));
    assert_eq!((summary.rejects.new, summary.rejects.standing), (1, 1), "another reason is news");
    let summary = shop.load_as(&wharf::stage::load::Options { full: true, ..Default::default() }).await.unwrap();
    assert_eq!((summary.rejects.new, summary.rejects.standing), (0, 1));
    shop.target.state(|state| state.spoiled.clear());
    shop.contact("a@shop.example", json!({"city": "Kraków"})).await;
    shop.load().await;
    assert!(shop.rejects().await.is_empty());
}

#[tokio::test]
async fn an_empty_order_and_one_without_date_are_rejects() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.order("a@shop.example", "empty", json!({"items": [], "total": null})).await;
    shop.order("a@shop.example", "value-only", json!({"items": []})).await;
    shop.order("a@shop.example", "dateless", json!({"placed_at": null})).await;
    let tally = shop.load().await;
    assert_eq!(tally.rejected, counts(&[("empty-order", 1), ("no-date", 1)]));
    assert_eq!(shop.target.events(), pairs(&[("value-only", "PURCHASE")]));
}

#[tokio::test]
async fn events_of_a_refused_contact_are_refused_until_it_is_taken() {
    let shop = Shop::new(json!({})).await;
    shop.contacts(&[("good@shop.example", json!({})), ("bad@shop.example", json!({}))]).await;
    for email in ["good@shop.example", "bad@shop.example"] {
        shop.order(email, email, json!({})).await;
    }
    shop.target.state(|state| state.spoiled = vec!["bad@shop.example".into()]);
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts new", 1), ("purchase", 1)]));
    assert_eq!(tally.rejected, counts(&[("contact-rejected", 1), ("refused", 1)]));
    shop.target.state(|state| state.spoiled.clear());
    shop.contact("bad@shop.example", json!({"city": "Kraków"})).await;
    assert_eq!(shop.load().await.sent, counts(&[("contacts new", 1), ("purchase", 1)]));
    assert!(shop.rejects().await.is_empty());
}

#[tokio::test]
async fn events_wait_for_a_contact_that_does_not_appear_and_give_up_after_many_loads() {
    let mut shop = Shop::new(json!({})).await;
    shop.patience.appear = std::time::Duration::from_millis(40);
    shop.contacts(&[("a@shop.example", json!({})), ("slow@shop.example", json!({}))]).await;
    shop.order("a@shop.example", "1", json!({})).await;
    shop.order("slow@shop.example", "2", json!({})).await;
    shop.target.state(|state| state.invisible = vec!["slow@shop.example".into()]);
    let tally = shop.load().await;
    assert_eq!(tally.sent, counts(&[("contacts new", 2), ("purchase", 1)]));
    assert_eq!(tally.waiting, counts(&[("contact not at the target yet", 1)]));
    assert_eq!(tally.exit(), wharf::error::Exit::Stopped);
    for _ in 2..shop.patience.loads {
        assert_eq!(shop.load().await.waiting.len(), 1);
    }
    assert_eq!(shop.load().await.rejected, counts(&[("contact-not-there", 1)]));
    shop.target.state(|state| state.invisible.clear());
    assert_eq!(shop.load().await.all_sent(), 0, "a reject waits for a person");
    let all = wharf::stage::rejects::Filter::default();
    wharf::stage::rejects::retry(&shop.test.db, &all).await.unwrap();
    assert_eq!(shop.load().await.sent, counts(&[("purchase", 1)]));
}

#[tokio::test]
async fn what_the_target_cannot_take_yet_is_offered_again() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.load().await;
    shop.order("a@shop.example", "1", json!({})).await;
    shop.target.script(&[Act::Later, Act::Later]);
    assert_eq!(shop.load().await.sent, counts(&[("purchase", 1)]));
    shop.order("a@shop.example", "2", json!({})).await;
    shop.target.script(&[Act::Later; 3]);
    let tally = shop.load().await;
    assert_eq!((tally.all_sent(), tally.waiting.len()), (0, 1));
    assert_eq!(
        shop.count("delivery.ledger where object = 'purchase'").await,
        1,
        "what was not taken is not in the ledger"
    );
    assert_eq!(shop.load().await.sent, counts(&[("purchase", 1)]));
    assert_eq!(shop.target.events(), pairs(&[("1", "PURCHASE"), ("2", "PURCHASE")]));
}

#[tokio::test]
async fn what_undoes_an_order_names_it_as_its_purchase_did_whatever_its_number_is_by_now() {
    let shop = Shop::new(json!({})).await;
    shop.contact("a@shop.example", json!({})).await;
    shop.order("a@shop.example", "1", json!({"number": "A-1"})).await;
    shop.order("a@shop.example", "2", json!({"number": "A-2"})).await;
    shop.load().await;
    shop.order("a@shop.example", "1", json!({"number": "2024/1", "status": "CANCELLED", "extra": {"returned": true}}))
        .await;
    shop.order("a@shop.example", "2", json!({"number": "2024/2", "status": "CANCELLED"})).await;
    shop.load().await;
    let all = [("A-1", "PURCHASE"), ("A-1", "RETURN"), ("A-2", "CANCELLATION"), ("A-2", "PURCHASE")];
    assert_eq!(shop.target.events(), pairs(&all));
}
