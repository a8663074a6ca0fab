//! What raw WooCommerce records come to mean, and that only what changed is written.

use crate::support::staged::{StagedShop, category, customer, order, product, with};
use serde_json::{Value, json};

async fn small_shop() -> StagedShop {
    let shop = StagedShop::new(json!({"default_country": "PL"})).await;
    shop.stage(
        "shop",
        "categories",
        &[category(1, 0, "Dom &amp; Ogród"), category(2, 1, "Kuchnia"), category(3, 2, "Kubki")],
    )
    .await;
    shop.stage("shop", "products", &[product(50, &[3])]).await;
    shop.stage("shop", "customers", &[customer(7, " Anna@Example.com ")]).await;
    shop.stage(
        "shop",
        "orders",
        &[
            order(100, 7, "other@example.com", 50),
            order(101, 0, "guest@example.com", 50),
            order(102, 0, "anna@example.com", 50),
        ],
    )
    .await;
    shop.transform().await;
    shop
}

#[tokio::test]
async fn an_account_and_a_guest_of_one_address_are_one_contact() {
    let shop = small_shop().await;
    assert_eq!(shop.column("select email from canonical.contacts").await, ["anna@example.com", "guest@example.com"]);
    assert_eq!(
        shop.column("select source_key from canonical.orders o join canonical.contacts c using (contact_id) where email = 'anna@example.com'")
            .await,
        ["100", "102"],
        "the account's order belongs to the account, whatever address it bears"
    );
    assert_eq!(
        shop.value("select phone from canonical.contacts where email = 'anna@example.com'").await,
        "+48601000101"
    );
    // The guest order is newer than the account: its name and street win, and the account's phone stays.
    assert_eq!(
        shop.value("select first_name || ' ' || last_name from canonical.contacts where email = 'anna@example.com'")
            .await,
        "Jan Nowak"
    );
}

#[tokio::test]
async fn lines_are_gross_and_find_their_product() {
    let shop = small_shop().await;
    assert_eq!(
        shop.value(
            "select concat_ws('|', quantity, unit_price, line_total, url, image_url) from canonical.order_items i
             join canonical.orders o using (contact_id, order_id) where o.source_key = '100'"
        )
        .await,
        "2.0000|6.150000|12.3000|https://shop.example/p/50|https://shop.example/i/50.jpg"
    );
}

#[tokio::test]
async fn a_product_three_levels_down_gives_its_buyer_three_tags() {
    let shop = small_shop().await;
    assert_eq!(
        shop.column("select tag from canonical.contact_tags join canonical.contacts using (contact_id) where email = 'anna@example.com'").await,
        ["Dom & Ogród", "Kubki", "Kuchnia", "rejestracja"]
    );
}

#[tokio::test]
async fn a_second_transform_writes_nothing() {
    let shop = small_shop().await;
    let run = shop.transform().await;
    assert_eq!(shop.value(&format!("select count(*) from canonical.changes where run_id = {run}")).await, "0");
    let run = shop.transform_all(&["shop"], true).await;
    assert_eq!(
        shop.value(&format!("select count(*) from canonical.changes where run_id = {run}")).await,
        "0",
        "mapping everything again finds everything equal"
    );
}

#[tokio::test]
async fn a_renamed_category_tags_the_buyers_of_everything_below_it_anew() {
    let shop = small_shop().await;
    shop.stage("shop", "categories", &[category(1, 0, "Home")]).await;
    let run = shop.transform().await;
    assert_eq!(
        shop.column("select distinct tag from canonical.contact_tags where origin = 'category'").await,
        ["Home", "Kubki", "Kuchnia"]
    );
    assert_eq!(
        shop.column(&format!("select distinct entity from canonical.changes where run_id = {run}")).await,
        ["categories", "contact_tags"],
        "orders, items and contacts are left alone"
    );
    assert_eq!(
        shop.value("select path from canonical.categories where source_key = '3'").await,
        "{Home,Kuchnia,Kubki}"
    );
}

#[tokio::test]
async fn a_changed_address_moves_the_account_and_its_orders_to_the_new_contact() {
    let shop = StagedShop::new(json!({})).await;
    shop.stage("shop", "customers", &[customer(7, "old@example.com")]).await;
    shop.stage("shop", "orders", &[order(100, 7, "old@example.com", 50)]).await;
    shop.transform().await;
    let old = shop.value("select contact_id from canonical.contacts").await;

    shop.stage("shop", "customers", &[customer(7, "new@example.com")]).await;
    let run = shop.transform().await;
    assert_eq!(shop.column("select email from canonical.contacts").await, ["new@example.com"]);
    let new = shop.value("select contact_id from canonical.contacts").await;
    assert_ne!(old, new);
    assert_eq!(shop.value("select contact_id from canonical.orders").await, new);
    assert_eq!(shop.value("select contact_id from canonical.order_items").await, new);
    assert_eq!(
        shop.value("select concat_ws('|', contact_id, moved_to, email) from canonical.contact_moves").await,
        format!("{old}|{new}|old@example.com")
    );
    assert_eq!(
        shop.value(&format!("select op || ' ' || (old ->> 'contact_id') from canonical.changes where run_id = {run} and entity = 'orders'")).await,
        format!("update {old}"),
        "a move is one update in the feed, with the contact it left"
    );

    shop.stage("shop", "customers", &[customer(7, "old@example.com")]).await;
    shop.transform().await;
    assert_eq!(
        shop.value("select contact_id from canonical.contacts").await,
        old,
        "the same identity is the same contact again"
    );
    assert_eq!(shop.value("select moved_to from canonical.contact_moves").await, old);
}

#[tokio::test]
async fn an_unmapped_status_holds_the_order_until_the_pipeline_says_what_it_means() {
    let shop = StagedShop::new(json!({})).await;
    shop.stage("shop", "orders", &[with(order(100, 0, "a@example.com", 50), json!({"status": "shipped"}))]).await;
    shop.transform().await;
    assert_eq!(shop.value("select status from canonical.orders").await, "");
    assert_eq!(shop.value("select code || ' ' || value from canonical.rejects").await, "unmapped-status shipped");

    shop.connection("shop", &json!({"statuses": {"shipped": "IN_PROGRESS"}})).await;
    shop.transform().await;
    assert_eq!(shop.value("select status from canonical.orders").await, "IN_PROGRESS");
    assert_eq!(shop.value("select count(*) from canonical.rejects").await, "0", "what is solved is no longer listed");
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_raw_and_reported_and_the_rest_flows() {
    let shop = StagedShop::new(json!({"default_country": "PL"})).await;
    let odd = with(
        order(100, 0, "not an address", 50),
        json!({
            "total": "twelve", "date_created_gmt": "2024-02-30T10:00:00", "line_items": "none", "meta_data": {"a": 1},
            "shipping_lines": null, "refunds": {}, "billing": "somewhere"
        }),
    );
    let phone = with(customer(8, "b@example.com"), json!({"billing": {"phone": "call me maybe", "country": "Poland"}}));
    shop.stage("shop", "orders", &[odd, order(101, 0, "c@@example.com", 50)]).await;
    shop.stage("shop", "customers", &[phone]).await;
    shop.transform().await;
    assert_eq!(
        shop.column("select concat_ws(' ', entity, key, field, code, value) from canonical.rejects").await,
        [
            "contacts account:8 phone bad-phone call me maybe",
            "contacts order:101 email bad-email c@@example.com",
            "orders 100 placed_at bad-date 2024-02-30T10:00:00",
            "orders 100 total bad-number twelve",
        ]
    );
    assert_eq!(shop.value("select count(*) from canonical.orders").await, "2");
    assert_eq!(
        shop.value("select raw_phone from canonical.contact_sources where source_key = 'account:8'").await,
        "call me maybe"
    );
}

#[tokio::test]
async fn totals_that_do_not_add_up_are_reported_and_kept() {
    let shop = StagedShop::new(json!({})).await;
    let fee = json!({"fee_lines": [{"total": "1.00", "total_tax": "0.23"}], "total": "13.53"});
    shop.stage(
        "shop",
        "orders",
        &[
            with(order(100, 0, "a@example.com", 50), fee),
            with(order(101, 0, "a@example.com", 50), json!({"total": "99.00"})),
        ],
    )
    .await;
    shop.transform().await;
    assert_eq!(shop.column("select key || ' ' || code from canonical.rejects").await, ["101 totals-differ"]);
    assert_eq!(shop.value("select total from canonical.orders where source_key = '101'").await, "99.0000");
}

fn consenting(id: u32, value: &str, modified: &str) -> Value {
    with(
        customer(id, "a@example.com"),
        json!({"meta_data": [{"key": "marketing_consent", "value": value}], "date_modified_gmt": modified}),
    )
}

fn consent_settings() -> Value {
    json!({"consent_meta_keys": [{
        "key": "marketing_consent", "channel": "email", "accepted": ["yes", "1"], "refused": ["no", "0"], "date_key": "consent_date"
    }]})
}

#[tokio::test]
async fn without_configured_keys_consent_is_unknown() {
    let shop = StagedShop::new(json!({})).await;
    shop.stage("shop", "customers", &[consenting(7, "yes", "2024-01-02T10:00:00")]).await;
    shop.transform().await;
    assert_eq!(shop.value("select email_consent from canonical.contacts").await, "unknown");
}

#[tokio::test]
async fn a_withdrawal_that_touches_no_date_wins_over_what_was_said_before() {
    let shop = StagedShop::new(consent_settings()).await;
    shop.stage("shop", "customers", &[consenting(7, "yes", "2024-01-02T10:00:00")]).await;
    let ticked = json!({"meta_data": [{"key": "marketing_consent", "value": "yes"}]});
    shop.stage("shop", "orders", &[with(order(100, 7, "a@example.com", 50), ticked)]).await;
    shop.transform().await;
    assert_eq!(
        shop.value("select email_consent || ' ' || to_char(email_consent_at, 'YYYY-MM-DD') from canonical.contacts")
            .await,
        "opt_in 2024-02-01",
        "the order's statement is the later one"
    );

    // A plug-in wrote the meta value and left the modification time as it was.
    shop.stage("shop", "customers", &[consenting(7, "no", "2024-01-02T10:00:00")]).await;
    shop.transform().await;
    assert_eq!(shop.value("select email_consent from canonical.contacts").await, "opt_out");
}

#[tokio::test]
async fn an_unticked_box_at_the_checkout_is_no_withdrawal_and_a_later_tick_lifts_one() {
    let shop = StagedShop::new(consent_settings()).await;
    let said = |value: &str| json!({"meta_data": [{"key": "marketing_consent", "value": value}]});
    shop.stage("shop", "customers", &[consenting(7, "no", "2024-01-02T10:00:00")]).await;
    shop.stage("shop", "orders", &[with(order(100, 7, "a@example.com", 50), said("no"))]).await;
    shop.transform().await;
    assert_eq!(
        shop.value("select email_consent || ' ' || to_char(email_consent_at, 'YYYY-MM-DD') from canonical.contacts")
            .await,
        "opt_out 2024-01-02"
    );
    shop.stage("shop", "orders", &[with(order(101, 7, "a@example.com", 50), said("yes"))]).await;
    shop.transform().await;
    assert_eq!(shop.value("select email_consent from canonical.contacts").await, "opt_in");
}

#[tokio::test]
async fn an_opt_out_outlives_the_record_that_stated_it() {
    let shop = StagedShop::new(consent_settings()).await;
    shop.stage("shop", "customers", &[consenting(7, "no", "2024-01-02T10:00:00")]).await;
    shop.stage("shop", "orders", &[order(100, 0, "a@example.com", 50)]).await;
    shop.transform().await;
    shop.delete("customers", "7").await;
    shop.transform().await;
    assert_eq!(shop.value("select email_consent || ' ' || registered from canonical.contacts").await, "opt_out false");
    assert_eq!(shop.value("select count(*) from canonical.contact_tags where origin = 'registered'").await, "0");
}

#[tokio::test]
async fn an_opt_out_moves_with_the_person_to_a_new_address() {
    let shop = StagedShop::new(consent_settings()).await;
    shop.stage("shop", "customers", &[consenting(7, "no", "2024-01-02T10:00:00")]).await;
    shop.transform().await;
    let moved = with(consenting(7, "", "2024-03-01T10:00:00"), json!({"email": "new@example.com"}));
    shop.stage("shop", "customers", &[moved]).await;
    shop.transform().await;
    assert_eq!(
        shop.value("select email || ' ' || email_consent from canonical.contacts").await,
        "new@example.com opt_out"
    );
}

#[tokio::test]
async fn a_statement_dated_in_the_future_cannot_outrank_everything_after_it() {
    let shop = StagedShop::new(consent_settings()).await;
    let future = with(
        customer(7, "a@example.com"),
        json!({"meta_data": [{"key": "marketing_consent", "value": "yes"}, {"key": "consent_date", "value": "2999-01-01T00:00:00"}]}),
    );
    shop.stage("shop", "customers", &[future]).await;
    shop.transform().await;
    assert_eq!(
        shop.value("select concat_ws('|', email_consent, email_consent_at) from canonical.contacts").await,
        "opt_in",
        "what is no time dates nothing"
    );
    shop.stage("shop", "customers", &[consenting(7, "no", "2024-01-02T10:00:00")]).await;
    shop.transform().await;
    assert_eq!(shop.value("select email_consent from canonical.contacts").await, "opt_out");
}

#[tokio::test]
async fn a_guest_who_gives_no_more_than_a_country_keeps_it() {
    let shop = StagedShop::new(json!({})).await;
    let guest = |id: u32, billing: Value, shipping: Value| {
        let email = format!("g{id}@example.com");
        let billing = with(json!({"email": email, "address_1": "", "city": ""}), billing);
        with(order(id, 0, &email, 50), json!({"billing": billing, "shipping": shipping}))
    };
    let elsewhere = json!({"address_1": "Hauptstraße 1", "city": "Berlin", "country": "DE"});
    let orders = [
        guest(1, json!({"country": "PL"}), json!({"address_1": "", "city": "", "country": ""})),
        guest(2, json!({"country": "PL", "postcode": "00-001"}), json!({})),
        guest(3, json!({"country": "PL"}), elsewhere),
        guest(4, json!({"country": ""}), json!({"address_1": "", "city": "", "country": "CZ"})),
    ];
    shop.stage("shop", "orders", &orders).await;
    shop.transform().await;
    assert_eq!(
        shop.column("select concat_ws('|', email, street, postal_code, city, country) from canonical.contacts").await,
        [
            "g1@example.com|PL",
            "g2@example.com|00-001|PL",
            "g3@example.com|Hauptstraße 1|Berlin|DE",
            "g4@example.com|CZ",
        ]
    );
}

#[tokio::test]
async fn a_deleted_account_leaves_its_orders_to_the_buyer_named_on_them() {
    let shop = StagedShop::new(json!({})).await;
    shop.stage("shop", "customers", &[customer(7, "a@example.com")]).await;
    shop.stage("shop", "orders", &[order(100, 7, "b@example.com", 50)]).await;
    shop.transform().await;
    shop.delete("customers", "7").await;
    shop.transform().await;
    assert_eq!(shop.column("select email from canonical.contacts").await, ["b@example.com"]);
    assert_eq!(
        shop.value("select email from canonical.orders join canonical.contacts using (contact_id)").await,
        "b@example.com"
    );
}

#[tokio::test]
async fn loops_and_missing_parents_of_categories_are_reported_and_break_nothing() {
    let shop = StagedShop::new(json!({})).await;
    shop.stage(
        "shop",
        "categories",
        &[category(1, 2, "A"), category(2, 1, "B"), category(3, 99, "C"), category(4, 3, "D")],
    )
    .await;
    shop.transform().await;
    assert_eq!(
        shop.column("select source_key || path::text from canonical.categories").await,
        ["1{A}", "2{B}", "3{C}", "4{C,D}"]
    );
    assert_eq!(
        shop.column("select key || ' ' || code from canonical.rejects").await,
        ["1 category-loop", "2 category-loop", "3 missing-parent"]
    );
}

#[tokio::test]
async fn two_shops_with_a_common_customer_have_one_contact_and_tags_of_both() {
    let shop = StagedShop::new(json!({"tags": {"registered": "shop-a"}})).await;
    shop.connection("second", &json!({"tags": {"registered": null, "always": ["second-shop"]}})).await;
    shop.stage("shop", "customers", &[customer(7, "a@example.com")]).await;
    shop.stage(
        "second",
        "customers",
        &[with(
            customer(1, "A@example.com"),
            json!({"first_name": "Ania", "date_modified_gmt": "2025-01-01T00:00:00"}),
        )],
    )
    .await;
    shop.transform_all(&["shop", "second"], false).await;
    assert_eq!(shop.column("select first_name from canonical.contacts").await, ["Ania"], "the newest value wins");
    assert_eq!(shop.column("select tag from canonical.contact_tags").await, ["second-shop", "shop-a"]);
    let told = "select sum((entity ->> 'inserted')::int + (entity ->> 'updated')::int + (entity ->> 'deleted')::int)
                from ops.run_steps, jsonb_array_elements(counts -> 'entities') as entity";
    let changes = shop.value("select count(*) from canonical.changes").await;
    assert_eq!(shop.value(told).await, changes, "what is told of both adds up");
}

#[tokio::test]
async fn changed_tag_names_reach_every_contact_of_the_connection() {
    let shop = StagedShop::new(json!({})).await;
    shop.stage("shop", "customers", &[customer(7, "a@example.com"), customer(8, "b@example.com")]).await;
    shop.transform().await;
    shop.connection("shop", &json!({"tags": {"registered": "account"}})).await;
    shop.transform().await;
    assert_eq!(shop.column("select tag from canonical.contact_tags").await, ["account", "account"]);
}

#[tokio::test]
async fn an_order_that_was_cancelled_has_bought_nothing() {
    let shop = small_shop().await;
    shop.stage("shop", "orders", &[with(order(101, 0, "guest@example.com", 50), json!({"status": "cancelled"}))]).await;
    shop.transform().await;
    assert_eq!(
        shop.value("select count(*) from canonical.contact_tags join canonical.contacts using (contact_id) where email = 'guest@example.com'").await,
        "0"
    );
    let first = shop.value("select cancelled_at from canonical.orders where source_key = '101'").await;
    let saved_again = json!({"status": "cancelled", "date_modified_gmt": "2025-05-05T00:00:00"});
    shop.stage("shop", "orders", &[with(order(101, 0, "guest@example.com", 50), saved_again)]).await;
    shop.transform().await;
    assert_eq!(shop.value("select cancelled_at from canonical.orders where source_key = '101'").await, first);
}

#[tokio::test]
async fn rfm_counts_delivered_orders_only_and_never_adds_currencies() {
    let shop = StagedShop::new(json!({})).await;
    shop.stage(
        "shop",
        "orders",
        &[
            order(1, 0, "a@example.com", 50),
            order(2, 0, "a@example.com", 50),
            with(order(3, 0, "a@example.com", 50), json!({"currency": "EUR"})),
            with(order(4, 0, "a@example.com", 50), json!({"status": "processing"})),
            with(order(5, 0, "a@example.com", 50), json!({"status": "refunded"})),
        ],
    )
    .await;
    shop.transform().await;
    assert_eq!(
        shop.column("select concat_ws(' ', currency, frequency, monetary) from marts.rfm").await,
        ["EUR 1 12.3000", "PLN 2 24.6000"]
    );
}

#[tokio::test]
async fn revenue_is_net_of_partial_refunds_and_never_below_nothing() {
    let shop = StagedShop::new(json!({})).await;
    let refunds = |totals: &[&str]| json!({"refunds": totals.iter().enumerate().map(|(id, total)| json!({"id": id, "total": total})).collect::<Vec<_>>()});
    shop.stage(
        "shop",
        "orders",
        &[
            order(1, 0, "a@example.com", 50),
            with(order(2, 0, "a@example.com", 50), refunds(&["-2.30", "-1.00"])),
            with(order(3, 0, "b@example.com", 50), refunds(&["-15.00"])),
            with(order(4, 0, "b@example.com", 50), refunds(&["no number"])),
        ],
    )
    .await;
    shop.transform().await;
    assert_eq!(
        shop.column("select concat_ws(' ', frequency, monetary, gross) from marts.rfm").await,
        ["2 12.3000 24.6000", "2 21.3000 24.6000"]
    );
    assert_eq!(
        shop.column("select concat_ws(' ', orders, revenue, gross) from marts.revenue_by_month").await,
        ["4 33.6000 49.2000"]
    );
}

#[tokio::test]
async fn equal_buyers_have_equal_scores_and_the_scores_above_many_of_them_are_empty() {
    let shop = StagedShop::new(json!({})).await;
    let mut orders = Vec::new();
    for (buyer, bought) in [1, 1, 1, 1, 1, 1, 1, 2, 2, 3].into_iter().enumerate() {
        for _ in 0..bought {
            let id = u32::try_from(orders.len()).unwrap() + 1;
            orders.push(order(id, 0, &format!("b{buyer}@example.com"), 50));
        }
    }
    shop.stage("shop", "orders", &orders).await;
    shop.transform().await;
    // Below who bought twice are 7 of 9 others, below who bought three times all 9.
    assert_eq!(
        shop.column("select concat_ws(' ', frequency, f, count(*)) from marts.rfm group by frequency, f").await,
        ["1 1 7", "2 4 2", "3 5 1"]
    );
    assert_eq!(shop.column("select distinct r::text from marts.rfm").await, ["1"], "all bought on the same day");
}

#[tokio::test]
async fn a_product_with_a_new_page_shows_it_on_the_lines_that_sold_it() {
    let shop = small_shop().await;
    shop.stage("shop", "products", &[with(product(50, &[3]), json!({"permalink": "https://shop.example/new"}))]).await;
    shop.transform().await;
    assert_eq!(shop.column("select distinct url from canonical.order_items").await, ["https://shop.example/new"]);
    shop.stage(
        "shop",
        "products",
        &[with(product(50, &[3]), json!({"permalink": "https://shop.example/new", "price": "7.00"}))],
    )
    .await;
    let run = shop.transform().await;
    assert_eq!(
        shop.column(&format!("select entity || ' ' || old::text from canonical.changes where run_id = {run}")).await,
        ["products {\"price\": 6.1500}"],
        "a price alone touches no order"
    );
}

#[tokio::test]
async fn a_transform_that_is_stopped_has_written_nothing() {
    use wharf::stage::{Context, transform};
    let shop = StagedShop::new(json!({})).await;
    shop.stage("shop", "customers", &[customer(7, "a@example.com")]).await;
    let run = wharf::store::Run::begin(&shop.test.db, "test", "transform").await.unwrap();
    let ctx = Context {
        db: shop.test.db.clone(),
        run,
        progress: wharf::progress::Progress::silent(),
        stop: Default::default(),
    };
    ctx.stop.cancel();
    let error = transform::run(&ctx, &["shop".into()], false).await.unwrap_err();
    assert_eq!(error.kind(), wharf::Kind::Interrupted);
    assert_eq!(shop.value("select count(*) from canonical.changes").await, "0");
    assert_eq!(shop.value("select mapped_run from ops.connections").await, "0");
}

/// Autovacuum counts none of the rows that a transform has not committed yet, and what follows would be planned for empty
/// tables; so a transform takes the statistics of what it has filled itself.
#[tokio::test]
async fn what_a_transform_fills_has_its_statistics() {
    let shop = small_shop().await;
    assert_eq!(
        shop.column(
            "select relname::text from pg_class
             where relnamespace = 'canonical'::regnamespace and relkind = 'r' and reltuples > 0"
        )
        .await,
        [
            "categories",
            "contact_sources",
            "contact_tags",
            "contacts",
            "decoded_texts",
            "order_items",
            "orders",
            "phones",
            "product_categories",
            "products",
        ]
    );
}
