//! Orders by Add orders and by events: sums, statuses, dates, and what the platform would ignore without a word.

use super::{Act, Value, counts, json, pair};
use crate::support::canonical::{Shop, order_id};
use crate::support::fake_esputnik::FakeESputnik;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

const MAIL: &str = "a@shop.example";

fn item(name: &str, quantity: f64, total: f64) -> Value {
    json!({"sku": name, "name": name, "quantity": quantity, "line_total": total, "url": "https://shop.example/p",
        "image_url": "https://shop.example/i"})
}

/// A shop with a contact that the account has, and whose first load is over.
async fn settled(more: Value) -> (Shop, FakeESputnik) {
    let (shop, account) = pair(json!({})).await;
    shop.contact(MAIL, json!({"phone": "+380501112233"})).await;
    account.load(&shop, more).await.unwrap();
    account.take("");
    (shop, account)
}

fn parameters(event: &Value) -> BTreeMap<String, Value> {
    let parameters = event["params"].as_array().into_iter().flatten();
    parameters.map(|one| (one["name"].as_str().unwrap().to_owned(), one["value"].clone())).collect()
}

fn kinds(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["eventTypeKey"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_order_is_added_with_prices_that_add_up_and_again_only_when_it_changed() {
    let (shop, account) = settled(json!({})).await;
    let order = json!({"currency": "UAH", "total": "1210.5", "shipping": "70.5", "discount": "60",
        "placed_at": "2026-03-01T08:14:40Z", "source_status": "completed", "utm": {"source": "google"},
        "items": [item("TEA", 3.0, 1200.0)]});
    shop.order(MAIL, "1001-A", order.clone()).await;
    let sent = account.load(&shop, json!({})).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("order", 1)]));
    let piece = |quantity: u32, cost: Value| {
        json!({"externalItemId": "TEA", "name": "TEA", "quantity": quantity, "cost": cost,
            "url": "https://shop.example/p", "imageUrl": "https://shop.example/i"})
    };
    assert_eq!(
        account.take("v1/orders"),
        [json!({"orders": [{
            "externalOrderId": "1001-A", "externalCustomerId": MAIL, "email": MAIL, "phone": "380501112233",
            "totalCost": 1210.5, "status": "DELIVERED", "date": "2026-03-01T10:14:40+02:00", "currency": "UAH",
            "shipping": 70.5, "discount": 60, "statusDescription": "completed", "storeId": "shop", "source": "online",
            "additionalInfo": {"utm_source": "google"}, "items": [piece(3, json!(380))],
        }]})]
    );
    shop.order(MAIL, "1001-A", order).await;
    assert_eq!(account.load(&shop, json!({})).await.unwrap().tally.all_sent(), 0);
    shop.order(MAIL, "1001-A", json!({"currency": "UAH", "total": "10", "items": [item("TEA", 3.0, 10.0)]})).await;
    account.load(&shop, json!({})).await.unwrap();
    let again = account.take("v1/orders");
    assert_eq!(again[0]["orders"][0]["items"], json!([piece(2, json!(3.33)), piece(1, json!(3.34))]));
}

#[tokio::test]
async fn items_and_shipping_add_up_to_the_total_whatever_the_order() {
    for rule in ["beside", "as_item", "in_items"] {
        let mut chance = StdRng::seed_from_u64(7);
        let (shop, account) = settled(json!({"shipping": rule})).await;
        let cents = |chance: &mut StdRng, most: u32| f64::from(chance.random_range(0..most)) / 100.0;
        let orders: Vec<(String, Value)> = (0..250)
            .map(|n| {
                let lines = chance.random_range(1..6);
                let items: Vec<Value> = (0..lines)
                    .map(|line| {
                        let whole = f64::from(chance.random_range(1..9_u32));
                        let quantity = if chance.random_range(0..6) == 0 { whole / 4.0 } else { whole };
                        let total = if chance.random_range(0..8) == 0 { 0.0 } else { cents(&mut chance, 100_000) };
                        item(&format!("s{line}"), quantity, total)
                    })
                    .collect();
                let total = if n % 9 == 0 { 0.0 } else { cents(&mut chance, 300_000) };
                let currency = if n % 3 == 0 { "PLN" } else { "UAH" };
                let shipping = cents(&mut chance, 5_000);
                let order = json!({"currency": currency, "total": total, "shipping": shipping, "items": items});
                (format!("o{n}"), order)
            })
            .collect();
        let rows: Vec<(&str, &str, Value)> =
            orders.iter().map(|(key, order)| (MAIL, key.as_str(), order.clone())).collect();
        shop.orders(&rows).await;
        let tally = account.load(&shop, json!({"shipping": rule})).await.unwrap().tally;
        assert_eq!(tally.sent, counts(&[("order", 250)]), "{rule}: {tally:?}");
        let in_cents = |value: &Value| (value.as_f64().unwrap_or(0.0) * 100.0).round() as i64;
        for (key, order) in &orders {
            let sent = account.state(|state| state.orders[key].clone());
            let factor = if order["currency"] == "PLN" { 10 } else { 1 };
            assert_eq!(in_cents(&sent["totalCost"]), in_cents(&order["total"]) * factor, "{key}");
            let items: f64 = sent["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["quantity"].as_f64().unwrap() * item["cost"].as_f64().unwrap() * 100.0)
                .sum();
            let beside = if rule == "beside" { in_cents(&sent["shipping"]) } else { 0 };
            assert_eq!(items.round() as i64 + beside, in_cents(&sent["totalCost"]), "{rule} {key}: {sent}");
            assert!((items - items.round()).abs() < 1e-6, "no broken cents: {sent}");
        }
    }
}

#[tokio::test]
async fn status_events_come_once_and_other_changes_as_updates() {
    let events = json!({"orders_via": "events"});
    let (shop, account) = settled(events.clone()).await;
    let order = |status: &str, total: &str| json!({"status": status, "source_status": status, "currency": "UAH", "total": total});
    for (status, total, expected) in [
        ("INITIALIZED", "10", vec!["orderCreated"]),
        ("IN_PROGRESS", "10", vec!["orderUpdated"]),
        ("DELIVERED", "10", vec!["orderDelivered"]),
        ("DELIVERED", "12", vec!["orderUpdated"]),
        ("IN_PROGRESS", "12", vec!["orderUpdated"]),
        ("DELIVERED", "12", vec!["orderUpdated"]),
        ("CANCELLED", "13", vec!["orderUpdated", "orderCancelled"]),
        ("CANCELLED", "13", vec![]),
    ] {
        shop.order(MAIL, "1", order(status, total)).await;
        account.load(&shop, events.clone()).await.unwrap();
        let sent = account.take("v2/event");
        assert_eq!(kinds(&sent), expected, "{status} {total}");
        for event in &sent {
            let parameters = parameters(event);
            assert_eq!((&parameters["externalOrderId"], &parameters["email"]), (&json!("1"), &json!(MAIL)));
        }
        if let [updated, _] = sent.as_slice() {
            assert_eq!(parameters(updated)["status"], "DELIVERED", "the status of before");
        }
    }
}

#[tokio::test]
async fn an_order_is_not_sent_again_because_of_its_catalogue_or_its_buyers_phone() {
    let both = json!({"orders_via": "both"});
    let (shop, account) = settled(both.clone()).await;
    let order = |status: &str, url: &str| {
        let mut tea = item("TEA", 1.0, 10.0);
        tea["url"] = json!(format!("https://shop.example/{url}"));
        tea["image_url"] = json!(format!("https://shop.example/{url}.png"));
        json!({"status": status, "currency": "UAH", "total": "10", "items": [tea]})
    };
    shop.order(MAIL, "1", order("DELIVERED", "tea")).await;
    let sent = account.load(&shop, both.clone()).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("order", 1), ("orderCreated", 1)]));
    shop.contact(MAIL, json!({"phone": "+380501112299"})).await;
    shop.order(MAIL, "1", order("DELIVERED", "black-tea")).await;
    let sent = account.load(&shop, both.clone()).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("contacts changed", 1)]));
    account.take("");
    // What is sent for another reason says all as it is now.
    shop.order(MAIL, "1", order("CANCELLED", "green-tea")).await;
    let sent = account.load(&shop, both).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("order", 1), ("orderCancelled", 1)]), "nothing but the status has changed");
    let added = account.take("v1/orders");
    let (order, item) = (&added[0]["orders"][0], &added[0]["orders"][0]["items"][0]);
    assert_eq!((&order["phone"], &item["url"]), (&json!("380501112299"), &json!("https://shop.example/green-tea")));
}

#[tokio::test]
async fn both_ways_add_the_order_first() {
    let both = json!({"orders_via": "both"});
    let (shop, account) = settled(both.clone()).await;
    shop.order(MAIL, "1", json!({"status": "INITIALIZED", "currency": "UAH"})).await;
    let sent = account.load(&shop, both.clone()).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("order", 1), ("orderCreated", 1)]));
    let writes = |paths: Vec<String>| -> Vec<String> {
        paths.into_iter().filter(|path| path.ends_with("orders") || path.ends_with("event")).collect()
    };
    assert_eq!(writes(account.take_paths()), ["v1/orders", "v2/event"]);
    shop.order(MAIL, "1", json!({"status": "CANCELLED", "currency": "UAH"})).await;
    account.load(&shop, both.clone()).await.unwrap();
    assert_eq!(kinds(&account.state(|state| state.events.clone())), ["orderCreated", "orderCancelled"]);
    assert_eq!(account.state(|state| state.orders["1"]["status"].clone()), "CANCELLED");
    assert_eq!(account.load(&shop, both).await.unwrap().tally.all_sent(), 0);
}

#[tokio::test]
async fn each_version_nests_items_its_own_way() {
    for (version, path) in [("v1", "v1/event"), ("v2", "v2/event"), ("v3", "v3/event")] {
        let settings = json!({"orders_via": "events", "event_version": version});
        let (shop, account) = settled(settings.clone()).await;
        let mut tea = item("200600", 2.0, 991.0);
        tea["name"] = json!("Чайник \"Ранок\"");
        let order = json!({"currency": "UAH", "total": "991", "placed_at": "2026-07-01T21:30:05Z", "items": [tea]});
        shop.order(MAIL, "1", order).await;
        account.load(&shop, settings).await.unwrap();
        let sent = account.take(path);
        let parameters = parameters(&sent[0]);
        let items: Value = match &parameters["items"] {
            Value::String(text) if version == "v1" => serde_json::from_str(text).unwrap(),
            items if version != "v1" => items.clone(),
            other => panic!("{version}: {other}"),
        };
        assert_eq!((&items[0]["name"], &items[0]["cost"]), (&json!("Чайник \"Ранок\""), &json!(495.5)), "{version}");
        assert_eq!(parameters["totalCost"], "991");
        assert_eq!(parameters["date"], "2026-07-02T00:30:05", "the account's zone, without offset");
        assert_eq!(sent[0]["keyValue"], MAIL);
    }
}

#[tokio::test]
async fn history_goes_by_past_events_and_what_changes_later_by_updates_that_create() {
    let events = json!({"orders_via": "events"});
    let (shop, account) = pair(json!({})).await;
    shop.contact(MAIL, json!({})).await;
    shop.order(MAIL, "1", json!({"currency": "UAH", "status": "IN_PROGRESS", "placed_at": "2024-01-31T23:30:00Z"}))
        .await;
    let sent = account.load(&shop, events.clone()).await.unwrap().tally.sent;
    assert_eq!(sent, counts(&[("contacts new", 1), ("past event", 1)]));
    let past = account.take("v2/past_events");
    assert_eq!(past[0]["events"][0]["occurred"], "2024-02-01T01:30");
    shop.order(MAIL, "1", json!({"currency": "UAH", "status": "DELIVERED", "placed_at": "2024-01-31T23:30:00Z"})).await;
    account.load(&shop, events).await.unwrap();
    assert_eq!(kinds(&account.take("v2/event")), ["orderUpdated"], "orderDelivered would be ignored");
}

#[tokio::test]
async fn old_orders_start_no_workflow_whatever_new_ones_go_by_unless_that_is_asked_for() {
    let old = |status: &str| json!({"currency": "UAH", "status": status, "placed_at": "2024-01-31T23:30:00Z"});
    for (via, choice, sent, later) in [
        ("orders", json!(null), vec![("past event", 1)], vec![("order", 1)]),
        ("events", json!(null), vec![("past event", 1)], vec![("orderUpdated", 1)]),
        // By then Add orders has told it the order.
        ("both", json!(null), vec![("past event", 1)], vec![("order", 1), ("orderDelivered", 1)]),
        ("orders", json!("leave_out"), vec![], vec![]),
        ("both", json!("leave_out"), vec![], vec![]),
        ("orders", json!("as_new"), vec![("order", 1)], vec![("order", 1)]),
        ("events", json!("as_new"), vec![("orderCreated", 1)], vec![("orderDelivered", 1)]),
    ] {
        let mut settings = json!({"orders_via": via});
        if !choice.is_null() {
            settings["old_orders"] = choice.clone();
        }
        let (shop, account) = pair(json!({})).await;
        shop.contact(MAIL, json!({})).await;
        shop.order(MAIL, "1", old("IN_PROGRESS")).await;
        let first = account.load(&shop, settings.clone()).await.unwrap();
        let said = first.first_load_starts.unwrap();
        assert_eq!(said.contains("START THE WORKFLOWS"), choice == "as_new", "{said}");
        let with_contact: Vec<(&str, u64)> = [("contacts new", 1)].into_iter().chain(sent.clone()).collect();
        assert_eq!(first.tally.sent, counts(&with_contact), "{via} {choice}");
        let is_live = |path: &&String| path.starts_with("v1/orders") || path.starts_with("v2/event");
        let live = account.take_paths().iter().filter(is_live).count();
        assert_eq!(live, if choice == "as_new" { 1 } else { 0 }, "{via} {choice}");
        assert_eq!(account.load(&shop, settings.clone()).await.unwrap().tally.all_sent(), 0, "{via} {choice}");

        // An order that could not be sent by then is as old as the others.
        shop.order(MAIL, "0", json!({"currency": "UAH", "placed_at": "2023-01-31T23:30:00Z"})).await;
        assert_eq!(account.load(&shop, settings.clone()).await.unwrap().tally.sent, counts(&sent), "{via} {choice}");
        // What happens to an old order now is news, and so is an order that is placed now.
        account.take("");
        shop.order(MAIL, "1", old("DELIVERED")).await;
        assert_eq!(account.load(&shop, settings.clone()).await.unwrap().tally.sent, counts(&later), "{via} {choice}");
        shop.order(MAIL, "2", json!({"currency": "UAH", "placed_at": "2026-11-30T12:00:00Z"})).await;
        let new = match via {
            "orders" => vec![("order", 1)],
            "events" => vec![("orderCreated", 1)],
            _ => vec![("order", 1), ("orderCreated", 1)],
        };
        assert_eq!(account.load(&shop, settings.clone()).await.unwrap().tally.sent, counts(&new), "{via} {choice}");
    }
}

#[tokio::test]
async fn what_the_platform_would_ignore_is_a_reject_with_its_reason() {
    let (shop, account) = settled(json!({})).await;
    let bare = json!({"item_url": "", "item_image_url": "", "orders_via": "events"});
    let good = || json!([item("x", 1.0, 1.0)]);
    let nameless = json!([{"sku": "x", "quantity": 1, "url": "https://shop.example/p"}]);
    for (key, order) in [
        ("no-total", json!({"total": null, "currency": "UAH", "items": good()})),
        ("no-date", json!({"placed_at": null, "currency": "UAH", "items": good()})),
        ("no-currency", json!({"currency": null, "items": good()})),
        ("currency-not-taken", json!({"currency": "CZK", "items": good()})),
        ("item-incomplete", json!({"currency": "UAH", "items": nameless})),
    ] {
        shop.order(MAIL, key, order).await;
    }
    shop.order(MAIL, "fine", json!({"currency": "UAH", "items": good()})).await;
    shop.order(MAIL, "cart", json!({"status": "ABANDONED_SHOPPING_CART", "currency": "UAH"})).await;
    shop.order(MAIL, "unmapped", json!({"status": null, "currency": "UAH"})).await;
    let tally = account.load(&shop, bare).await.unwrap().tally;
    assert_eq!((&tally.sent, &tally.skipped), (&counts(&[("orderCreated", 1)]), &counts(&[("cart", 1)])));
    assert_eq!(tally.held, counts(&[("unmapped-status", 1)]));
    let codes: Vec<String> = shop.rejects().await.into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["currency-not-taken", "item-incomplete", "no-currency", "no-date", "no-total"]);
    let reason = shop.value("select reason from delivery.rejects where code = 'item-incomplete'").await;
    assert!(reason.starts_with("line 1 lacks name, imageUrl;"), "{reason}");
}

#[tokio::test]
async fn an_event_fits_into_20_kb_and_still_adds_up() {
    for version in ["v1", "v2"] {
        let settings = json!({"orders_via": "events", "event_version": version});
        let (shop, account) = settled(settings.clone()).await;
        let items: Vec<Value> = (0..300)
            .map(|n| {
                let mut item = item(&format!("sku-{n}"), 1.0, 3.35);
                item["name"] = json!(format!("{n} {}", "Довга назва \"товару\" ".repeat(6)));
                item
            })
            .collect();
        shop.order(MAIL, "1", json!({"currency": "UAH", "total": "1005", "items": items})).await;
        account.load(&shop, settings).await.unwrap();
        let event = account.take(&format!("{version}/event")).remove(0);
        let bytes = event.to_string().len();
        assert!(bytes <= 20_000 && bytes > 15_000, "{version}: {bytes}");
        let parameters = parameters(&event);
        let items: Value = parameters["items"]
            .as_str()
            .map_or(parameters["items"].clone(), |text| serde_json::from_str(text).unwrap());
        let items = items.as_array().unwrap();
        let sum: f64 =
            items.iter().map(|item| item["cost"].as_f64().unwrap() * item["quantity"].as_f64().unwrap()).sum();
        assert!((sum - 1005.0).abs() < 0.001, "{version}: {sum}");
        assert!(items.last().unwrap()["name"].as_str().unwrap().starts_with('+'), "{:?}", items.last());
    }
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_held_and_goes_on_when_a_person_has_decided() {
    use wharf::stage::rejects::{self, Filter};
    let (shop, account) = settled(json!({})).await;
    shop.order(MAIL, "1", json!({"currency": "UAH", "status": "INITIALIZED"})).await;
    account.load(&shop, json!({})).await.unwrap();
    account.state(|state| state.script.insert("v1/orders", [Act::LoseAfter].into()));
    shop.order(MAIL, "1", json!({"currency": "UAH", "status": "IN_PROGRESS"})).await;
    account.load(&shop, json!({})).await.unwrap();
    assert_eq!(shop.rejects().await, [("order".into(), "outcome-unknown".into())]);
    shop.order(MAIL, "1", json!({"currency": "UAH", "status": "DELIVERED"})).await;
    assert_eq!(account.load(&shop, json!({})).await.unwrap().tally.held, counts(&[("outcome-unknown", 1)]));
    // Sent again.
    rejects::retry(&shop.test.db, &Filter::default()).await.unwrap();
    assert_eq!(account.load(&shop, json!({})).await.unwrap().tally.sent, counts(&[("order", 1)]));
    assert_eq!(account.state(|state| state.orders["1"]["status"].clone()), "DELIVERED");
    // Left: what comes after it goes on.
    account.state(|state| state.script.insert("v1/orders", [Act::LoseAfter].into()));
    shop.order(MAIL, "1", json!({"currency": "UAH", "status": "CANCELLED"})).await;
    account.load(&shop, json!({})).await.unwrap();
    rejects::drop(&shop.test.db, &Filter::default()).await.unwrap();
    account.take("");
    assert_eq!(account.load(&shop, json!({})).await.unwrap().tally.all_sent(), 0);
    shop.order(MAIL, "1", json!({"currency": "UAH", "status": "DELIVERED"})).await;
    assert_eq!(account.load(&shop, json!({})).await.unwrap().tally.sent, counts(&[("order", 1)]));
    assert_eq!(order_id("1").to_string(), shop.value("select key from delivery.ledger where object = 'order'").await);
}

#[tokio::test]
async fn of_orders_that_were_refused_the_one_is_named_and_the_others_stand() {
    let (shop, account) = settled(json!({})).await;
    for key in ["1", "2"] {
        shop.order(MAIL, key, json!({"currency": "UAH"})).await;
    }
    let failed = json!({"failedOrders": {"order": {"externalOrderId": "2"}, "error": "no, thanks"}}).to_string();
    account.state(|state| state.script.insert("v1/orders", [Act::Answer(200, failed)].into()));
    let tally = account.load(&shop, json!({})).await.unwrap().tally;
    assert_eq!((tally.sent, tally.rejected), (counts(&[("order", 1)]), counts(&[("refused", 1)])));
    assert_eq!(shop.value("select reason from delivery.rejects").await, "no, thanks");
}

#[tokio::test]
async fn a_repeated_request_is_done_only_if_that_body_was_the_last_accepted() {
    let events = json!({"orders_via": "events"});
    let (shop, account) = settled(events.clone()).await;
    account.state(|state| state.script.insert("v2/event", [Act::Answer(409, "Duplicated request".into())].into()));
    shop.order(MAIL, "1", json!({"currency": "UAH"})).await;
    account.load(&shop, events.clone()).await.unwrap();
    assert_eq!(
        shop.rejects().await,
        [("event".into(), "outcome-unknown".into())],
        "this process has sent no such body"
    );
}

#[tokio::test]
async fn a_validation_that_is_no_json_is_a_reject_in_its_words() {
    let events = json!({"orders_via": "events"});
    let (shop, account) = settled(events.clone()).await;
    let words = "The event should have the following params: [\n    {\"name\": \"Phone\", \"required\": true}\n]";
    account.state(|state| state.script.insert("v2/event", [Act::Answer(400, words.into())].into()));
    shop.order(MAIL, "1", json!({"currency": "UAH"})).await;
    assert_eq!(account.load(&shop, events).await.unwrap().tally.rejected, counts(&[("refused", 1)]));
    assert_eq!(shop.value("select reason from delivery.rejects").await, words);
}

#[tokio::test]
async fn a_plan_says_what_a_load_does_step_by_step_and_how_many_delivered_orders_there_will_be() {
    use tokio_util::sync::CancellationToken;
    use wharf::progress::Progress;
    use wharf::stage::plan::{self, Delivered};
    let both = json!({"orders_via": "both"});
    let (shop, account) = pair(json!({"contacts": {"consent": "all"}})).await;
    shop.contacts(&[(MAIL, json!({})), ("out@shop.example", json!({"email_consent": "opt_out"}))]).await;
    for (key, status) in [("1", "DELIVERED"), ("2", "IN_PROGRESS"), ("3", "DELIVERED")] {
        shop.order(MAIL, key, json!({"currency": "UAH", "status": status})).await;
    }
    let mut pipeline = shop.pipeline.clone();
    pipeline.target.platform = "esputnik".into();
    let (progress, stop) = (Progress::silent(), CancellationToken::new());
    let target = account.target(both.clone());
    let report = plan::plan(&shop.test.db, &pipeline, &*target, &progress, &stop, |_| Ok(())).await.unwrap();
    assert_eq!(account.take_paths(), ["v1/account/info"], "no field is mapped, so nothing else is asked");
    assert_eq!(report.delivered, Some(Delivered { held: 0, after: 2 }));
    let load = account.load(&shop, both.clone()).await.unwrap().tally;
    assert_eq!(report.tally.sent, load.sent);
    assert_eq!(load.sent, counts(&[("contacts new", 2), ("contacts opt out", 1), ("past event", 3)]));
    let report = plan::plan(&shop.test.db, &pipeline, &*target, &progress, &stop, |_| Ok(())).await.unwrap();
    assert_eq!((report.delivered, report.tally.all_sent()), (Some(Delivered { held: 2, after: 2 }), 0));
}

#[tokio::test]
async fn a_verification_reads_cards_back_and_says_that_orders_cannot_be() {
    use tokio_util::sync::CancellationToken;
    use wharf::progress::Progress;
    use wharf::stage::verify::{Extent, verify};
    let (shop, account) = settled(json!({})).await;
    shop.contact("b@shop.example", json!({"first_name": "Анна"})).await;
    shop.order(MAIL, "1", json!({"currency": "UAH"})).await;
    account.load(&shop, json!({})).await.unwrap();
    account.state(|state| state.contacts.get_mut("b@shop.example").unwrap()["firstName"] = json!("Ганна"));
    shop.client().await.execute("update delivery.ledger set sent_at = now() - interval '1 day'", &[]).await.unwrap();
    let mut pipeline = shop.pipeline.clone();
    pipeline.target.platform = "esputnik".into();
    let target = account.target(json!({}));
    let report = verify(&shop.test.db, &pipeline, target, Extent::All, &Progress::silent(), &CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((report.same, report.cannot_tell.values().sum::<u64>(), report.findings.len()), (1, 1, 1));
    assert_eq!(report.findings[0].differences[0].field, "first_name");
}

#[tokio::test]
async fn an_order_keeps_the_id_under_which_it_was_sent() {
    for way in ["orders", "events"] {
        let (shop, account) = pair(json!({"contacts": {"consent": "all"}})).await;
        shop.contact("a@shop.example", json!({})).await;
        shop.order("a@shop.example", "1", json!({"number": "A-1", "status": "IN_PROGRESS"})).await;
        let more = json!({"orders_via": way});
        account.load(&shop, more.clone()).await.unwrap();
        shop.order("a@shop.example", "1", json!({"number": "2024/1", "status": "IN_PROGRESS"})).await;
        assert_eq!(
            account.load(&shop, more.clone()).await.unwrap().tally.all_sent(),
            0,
            "{way}: a new number is no change"
        );
        shop.order("a@shop.example", "1", json!({"number": "2024/1", "status": "CANCELLED"})).await;
        assert_eq!(account.load(&shop, more).await.unwrap().tally.all_sent(), 1, "{way}");
        let sent = account.state(|state| json!([state.orders, state.events])).to_string();
        assert!(sent.contains("A-1") && !sent.contains("2024/1"), "{way}: {sent}");
    }
}
