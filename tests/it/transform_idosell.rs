//! What raw IdoSell records come to mean: the odd cases of the sheet, one by one.

use crate::support::staged::StagedShop;
use serde_json::{Value, json};

fn settings(more: Value) -> Value {
    let mut settings = json!({
        "default_country": "PL", "shop_id": 1, "shops": [1], "menu_id": 1, "lang_id": "pol", "currency": "PLN",
        "time_zone": "Europe/Warsaw", "iof_prices": "full", "marketplace": "exclude", "relay_domains": [],
        "unknown_status": "keep", "own_statuses": null, "statuses": {},
    });
    merge(&mut settings, more);
    settings
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn with(mut record: Value, changes: Value) -> Value {
    merge(&mut record, changes);
    record
}

fn client(id: u32, email: &str) -> Value {
    json!({
        "clientId": id, "clientsLastModificationDate": "2026-02-14 09:12:33", "clientLogin": "login", "clientEmail": email,
        "clientType": "female", "isUnregistered": "n",
        "clientBillingAddress": {
            "clientFirstName": "Anna", "clientLastName": "Testowa", "clientNip": "", "clientFirm": "",
            "clientStreet": "Lipowa 5/12", "clientZipCode": "70-001", "clientCity": "Szczecin", "clientCountryId": "pl",
            "clientPhone1": "+48500100101", "clientPhone2": "",
        },
        "clientPersonalData": {"clientBirthDate": "1988-04-23"},
        "clientPreferences": {"langId": "pol", "clientIsWholesaler": "no"},
        "newsletterEmailApprovalsData": [], "newsletterSmsApprovalsData": [],
        "clientRegistrationDate": "2025-11-03",
    })
}

fn subscriber(id: u32, email: &str, registered: &str, shops: Value) -> Value {
    json!({"client_number": id, "login": "", "registered": registered, "language": "pol", "email": email, "shops": shops})
}

fn said(shop: u32, approval: &str, date: &str) -> Value {
    json!({"shop_id": shop, "approval": approval, "date_modification": date})
}

fn order(serial: u32, client: u32, status: &str) -> Value {
    json!({
        "orderId": format!("login-{serial}"), "orderSerialNumber": serial, "orderType": "n",
        "clientResult": {
            "clientBillingAddress": {"clientFirstName": "Jan", "clientCountryId": "pl", "clientPhone1": ""},
            "clientDeliveryAddress": {"clientDeliveryAddressType": "client"},
            "clientAccount": {"clientId": client, "clientEmail": "buyer@example.com", "clientPhone1": "500100103"},
        },
        "orderDetails": {
            "orderStatus": status, "orderAddDate": "2026-07-14 09:12:30", "orderDispatchDate": 0, "receivedDate": "",
            "orderChangeDate": "2026-07-15 13:20:05",
            "payments": {
                "orderPaymentType": "prepaid", "orderRebatePercent": 0,
                "orderCurrency": {
                    "currencyId": "PLN", "orderCurrencyValue": 1, "orderCurrencyScale": 1, "orderProductsCost": 288,
                    "orderDeliveryCost": 12.99, "orderPayformCost": 1, "orderInsuranceCost": "0.50",
                },
                "orderBaseCurrency": {"billingCurrency": "PLN", "orderProductsCost": 288},
                "orderWorthCalculateType": "gross", "orderVatExists": "y",
            },
            "prepaids": [],
            "orderSourceResults": {"orderSourceType": "shop", "shopId": 1, "auctionsServiceName": null},
            "auctionInfo": {}, "dispatch": {"courierName": "InPost &amp; Co"},
            "productsResults": [
                {"productId": 101, "productName": "Sukienka", "productCode": "SUK", "sizeId": "4",
                 "productSizeCodeExternal": "SUK-M", "productQuantity": 1, "productOrderPrice": 189, "productOrderPriceNet": 153.66},
                {"productId": 102, "productName": "Pasek", "productCode": "", "sizeId": "uniw",
                 "productSizeCodeExternal": "", "productQuantity": 2, "productOrderPrice": 49.5, "productOrderPriceNet": 40.24},
            ],
        },
        "errors": [],
    })
}

fn product(id: u32, more: Value) -> Value {
    with(
        json!({
            "productId": id, "productDisplayedCode": "SUK", "productIsDeleted": "n", "productIsVisible": "y",
            "categoryId": 1214, "currencyId": "PLN", "productRetailPrice": 189, "productStrikethroughRetailPrice": 0,
            "productIcon": {"productIconLargeUrl": "https://s.example/icon.jpg"},
            "productImages": [
                {"productImageLargeUrl": "https://s.example/2.jpg", "productImagePriority": 2},
                {"productImageLargeUrl": "https://s.example/1.jpg", "productImagePriority": 1},
            ],
            "productDescriptionsLangData": [
                {"langId": "eng", "productName": "Dress"}, {"langId": "pol", "productName": "Sukienka &amp; co"},
            ],
            "productSizes": [{"sizeId": "3", "sizePanelName": "S"}, {"sizeId": "4", "sizePanelName": "M"}],
            "productSizesAttributes": [{"sizeId": "4", "productSizeCodeExternal": "SUK-M"}],
            "productStocksData": {"productStocksQuantities": [
                {"stockId": 1, "productSizesData": [
                    {"sizeId": "3", "productSizeQuantity": 0}, {"sizeId": "4", "productSizeQuantity": 1.5}]},
                {"stockId": 2, "productSizesData": [{"sizeId": "4", "productSizeQuantity": 1}]},
            ]},
            "productMenu": [
                {"menuItemId": 131, "shopId": 1, "menuId": 1}, {"menuItemId": 900, "shopId": 2, "menuId": 1},
                {"menuItemId": 901, "shopId": 1, "menuId": 2},
            ],
        }),
        more,
    )
}

fn item(id: u32, parent: u32, name: &str, hidden: &str) -> (String, Value) {
    let said = json!([{"lang_id": "eng", "name": "x"}, {"lang_id": "pol", "name": name, "hidden": hidden}]);
    (format!("menu-{id}"), json!({"item_id": id, "parent_id": parent, "lang_data": said}))
}

fn panel(id: u32, parent: u32, name: &str) -> (String, Value) {
    let said = json!([{"lang_id": "pol", "singular_name": "x", "plural_name": name}]);
    (format!("panel-{id}"), json!({"id": id, "parent_id": parent, "lang_data": said}))
}

async fn shop(more: Value) -> StagedShop {
    StagedShop::of("idosell", settings(more)).await
}

async fn stage(shop: &StagedShop, table: &str, rows: &[(&str, Value)]) {
    let rows: Vec<(String, Value)> = rows.iter().map(|(key, record)| ((*key).to_owned(), record.clone())).collect();
    shop.stage_as("shop", table, &rows, None).await;
}

async fn consent(shop: &StagedShop, email: &str) -> String {
    shop.value(&format!(
        "select concat_ws('|', email_consent, email_consent_at at time zone 'UTC') from canonical.contacts where email = '{email}'"
    ))
    .await
}

#[tokio::test]
async fn accounts_buyers_without_one_and_subscribers_alone_are_told_apart() {
    let shop = shop(json!({})).await;
    stage(
        &shop,
        "customers",
        &[
            ("41", client(41, " Anna@Example.com ")),
            (
                "43",
                with(
                    client(43, "jan@example.com"),
                    json!({"isUnregistered": "y", "clientPersonalData": {"clientBirthDate": "0000-00-00"}}),
                ),
            ),
        ],
    )
    .await;
    stage(
        &shop,
        "subscribers",
        &[
            ("email-41", subscriber(41, "anna@example.com", "y", json!({"1": said(1, "y", "2025-11-03 18:40:11")}))),
            ("email-977", subscriber(977, "zofia@example.com", "n", json!({"1": said(1, "y", "2026-02-10 07:05:44")}))),
            ("email-978", subscriber(978, "left@example.com", "n", json!([said(1, "n", "2026-02-11 07:05:44")]))),
        ],
    )
    .await;
    shop.transform().await;
    assert_eq!(
        shop.column(
            "select email || ' ' || tag from canonical.contact_tags join canonical.contacts using (contact_id)"
        )
        .await,
        ["anna@example.com rejestracja", "zofia@example.com newsletter"]
    );
    assert_eq!(
        shop.value(
            "select concat_ws('|', first_name, birthday, phone, street, postal_code, city, country, language, created_at at time zone 'UTC')
             from canonical.contacts where email = 'anna@example.com'"
        )
        .await,
        "Anna|1988-04-23|+48500100101|Lipowa 5/12|70-001|Szczecin|PL|pl|2025-11-02 23:00:00"
    );
    assert_eq!(shop.value("select birthday from canonical.contacts where email = 'jan@example.com'").await, "");
    assert_eq!(consent(&shop, "anna@example.com").await, "opt_in|2025-11-03 17:40:11");
    assert_eq!(consent(&shop, "left@example.com").await, "opt_out|2026-02-11 06:05:44");
    assert_eq!(consent(&shop, "jan@example.com").await, "unknown");
    assert_eq!(shop.value("select count(*) from canonical.rejects").await, "0");
}

#[tokio::test]
async fn a_zero_date_is_no_consent_and_a_real_one_counts_until_the_newsletter_speaks() {
    let shop = shop(json!({})).await;
    let approvals =
        |date: &str| json!({"newsletterEmailApprovalsData": [{"newsletterEmailApprovalDate": date, "shopId": 1}]});
    stage(
        &shop,
        "customers",
        &[
            ("41", with(client(41, "a@example.com"), approvals("2026-01-01 12:00:00"))),
            ("42", with(client(42, "b@example.com"), approvals("0000-00-00 00:00:00"))),
            ("43", with(client(43, "c@example.com"), json!({"newsletterEmailApprovalsData": [{"newsletterEmailApprovalDate": "2026-01-01 12:00:00", "shopId": 2}]}))),
        ],
    )
    .await;
    shop.transform().await;
    assert_eq!(consent(&shop, "a@example.com").await, "opt_in|2026-01-01 11:00:00");
    assert_eq!(consent(&shop, "b@example.com").await, "unknown");
    assert_eq!(consent(&shop, "c@example.com").await, "unknown", "another shop's consent is not this one's");
    // The newsletter's own list says otherwise, and says it earlier.
    stage(
        &shop,
        "subscribers",
        &[("email-41", subscriber(41, "a@example.com", "y", json!({"1": said(1, "n", "2025-06-01 12:00:00")})))],
    )
    .await;
    shop.transform().await;
    assert!(consent(&shop, "a@example.com").await.starts_with("opt_out"));
    let run = shop.transform_all(&["shop"], true).await;
    assert_eq!(shop.value(&format!("select count(*) from canonical.changes where run_id = {run}")).await, "0");
}

#[tokio::test]
async fn who_bought_without_an_account_and_subscribes_carries_the_tag_of_subscribers() {
    let shop = shop(json!({})).await;
    let agreed = || json!({"1": said(1, "y", "2026-01-01 12:00:00")});
    let unregistered = |id: u32, email: &str| with(client(id, email), json!({"isUnregistered": "y"}));
    let tags = "select concat_ws('|', email, tag, (first_at at time zone 'UTC')::date) from canonical.contact_tags
        join canonical.contacts using (contact_id)";
    let list = [
        ("email-1", subscriber(1, "bought@example.com", "n", agreed())),
        ("email-2", subscriber(2, "account@example.com", "y", agreed())),
        ("email-3", subscriber(3, "alone@example.com", "n", agreed())),
        ("email-4", subscriber(4, "silent@example.com", "n", json!({"1": said(1, "n", "0000-00-00 00:00:00")}))),
        // The list may call registered whom the shop's own record does not.
        ("email-5", subscriber(5, "listed@example.com", "y", agreed())),
    ];
    stage(&shop, "subscribers", &list).await;
    shop.transform().await;
    let clients = [
        ("1", unregistered(1, "bought@example.com")),
        ("2", client(2, "account@example.com")),
        ("4", unregistered(4, "silent@example.com")),
        ("5", unregistered(5, "listed@example.com")),
    ];
    stage(&shop, "customers", &clients).await;
    shop.transform().await;
    assert_eq!(
        shop.column(tags).await,
        [
            "account@example.com|rejestracja|2025-11-02",
            "alone@example.com|newsletter|2026-01-01",
            "bought@example.com|newsletter|2026-01-01",
            "listed@example.com|newsletter|2026-01-01",
        ]
    );
    // Whoever makes an account is a subscriber without one no more.
    stage(&shop, "customers", &[("1", client(1, "bought@example.com"))]).await;
    shop.transform().await;
    assert_eq!(
        shop.column(&format!("{tags} where email = 'bought@example.com'")).await,
        ["bought@example.com|rejestracja|2025-11-02"]
    );
}

#[tokio::test]
async fn who_never_agreed_has_not_refused_and_who_had_agreed_has_withdrawn() {
    let shop = shop(json!({})).await;
    let zero = || json!({"1": said(1, "n", "0000-00-00 00:00:00")});
    let agreed = json!({"1": said(1, "y", "2026-01-01 12:00:00")});
    stage(
        &shop,
        "subscribers",
        &[
            ("email-1", subscriber(1, "never@example.com", "n", zero())),
            ("email-2", subscriber(2, "nothing@example.com", "n", json!([]))),
            ("email-3", subscriber(3, "left@example.com", "n", agreed.clone())),
            ("email-4", subscriber(4, "gone@example.com", "n", agreed.clone())),
        ],
    )
    .await;
    shop.transform().await;
    assert_eq!(consent(&shop, "never@example.com").await, "unknown");
    assert_eq!(consent(&shop, "nothing@example.com").await, "unknown");
    stage(
        &shop,
        "subscribers",
        &[
            ("email-3", subscriber(3, "left@example.com", "n", zero())),
            ("email-4", subscriber(4, "gone@example.com", "n", json!([]))),
        ],
    )
    .await;
    shop.transform().await;
    assert!(consent(&shop, "left@example.com").await.starts_with("opt_out"));
    assert!(consent(&shop, "gone@example.com").await.starts_with("opt_out"));
    assert_eq!(
        shop.column("select email from canonical.contacts join canonical.contact_tags using (contact_id)").await,
        Vec::<String>::new()
    );
    // Agreeing again lifts it.
    let later = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(5)).unwrap();
    let later = later.strftime("%Y-%m-%d %H:%M:%S").to_string();
    stage(
        &shop,
        "subscribers",
        &[("email-3", subscriber(3, "left@example.com", "n", json!({"1": said(1, "y", &later)})))],
    )
    .await;
    shop.transform().await;
    assert!(consent(&shop, "left@example.com").await.starts_with("opt_in"));
}

#[tokio::test]
async fn with_all_shops_whoever_agreed_in_one_has_agreed() {
    let shop = shop(json!({"shop_id": "all", "shops": [1, 2]})).await;
    let both = json!({"1": said(1, "n", "2026-02-01 12:00:00"), "2": said(2, "y", "2026-01-01 12:00:00")});
    stage(&shop, "subscribers", &[("email-1", subscriber(1, "a@example.com", "n", both))]).await;
    // Answers that speak of one shop each come to the same.
    stage(
        &shop,
        "subscribers",
        &[
            ("email-2-1", subscriber(2, "b@example.com", "n", json!({"1": said(1, "n", "2026-02-01 12:00:00")}))),
            ("email-2-2", subscriber(2, "b@example.com", "n", json!({"2": said(2, "y", "2026-01-01 12:00:00")}))),
        ],
    )
    .await;
    shop.transform().await;
    assert_eq!(consent(&shop, "a@example.com").await, "opt_in|2026-01-01 11:00:00");
    assert_eq!(consent(&shop, "b@example.com").await, "opt_in|2026-01-01 11:00:00");
    stage(
        &shop,
        "subscribers",
        &[("email-2-2", subscriber(2, "b@example.com", "n", json!({"2": said(2, "n", "2026-03-01 12:00:00")})))],
    )
    .await;
    shop.transform().await;
    assert_eq!(consent(&shop, "b@example.com").await, "opt_out|2026-03-01 11:00:00");
}

#[tokio::test]
async fn a_subscriber_by_sms_is_the_holder_of_the_account() {
    let shop = shop(json!({})).await;
    stage(&shop, "customers", &[("41", client(41, "anna@example.com"))]).await;
    let sms = json!({"client_number": 41, "registered": "y", "phone_cellular": "+48 600 700 800", "shops": {"1": said(1, "y", "2026-01-01 12:00:00")}});
    let alone = json!({"client_number": 50, "registered": "n", "phone_cellular": "600700801", "shops": {"1": said(1, "y", "2026-01-01 12:00:00")}});
    stage(&shop, "subscribers", &[("sms-41", sms), ("sms-50", alone)]).await;
    shop.transform().await;
    assert_eq!(
        shop.column("select concat_ws('|', email, phone, sms_consent, email_consent) from canonical.contacts").await,
        ["+48600700801|opt_in|unknown", "anna@example.com|+48500100101|opt_in|unknown"]
    );
    // The account's address changes, and with it whose consent this is.
    stage(&shop, "customers", &[("41", client(41, "new@example.com"))]).await;
    shop.transform().await;
    assert_eq!(
        shop.value("select sms_consent from canonical.contacts where email = 'new@example.com'").await,
        "opt_in"
    );
    assert_eq!(shop.value("select count(*) from canonical.contacts").await, "2");
}

#[tokio::test]
async fn totals_are_summed_and_times_are_the_shops_own() {
    let shop = shop(json!({})).await;
    stage(&shop, "customers", &[("41", client(41, "anna@example.com"))]).await;
    let point = json!({"clientResult": {"clientPickupPointAddress": {"name": "SZC01A", "street": "ul. Długa 1", "zipCode": "70-002", "city": "Szczecin"}}});
    let paid = json!({"orderDetails": {"receivedDate": "2026-07-16 13:20:05", "prepaids": [
        {"paymentType": "payment", "paymentStatus": "y", "payformName": "Przelewy24", "paymentValue": 350, "currencyId": "PLN"},
        {"paymentType": "repayment", "paymentStatus": "y", "paymentValue": 47.51, "currencyId": "PLN"},
        {"paymentType": "payment", "paymentStatus": "c", "paymentValue": 999, "currencyId": "PLN"},
    ]}});
    stage(
        &shop,
        "orders",
        &[("1045", with(with(order(1045, 41, "finished"), point), paid)), ("1046", order(1046, 0, "on_order"))],
    )
    .await;
    shop.transform().await;
    assert_eq!(
        shop.value(
            "select concat_ws('|', number, status, total, shipping, items_total, extra ->> 'fees', currency, payment_status,
                payment_method, delivery_method, pickup_place, placed_at at time zone 'UTC', delivered_at at time zone 'UTC')
             from canonical.orders where source_key = '1045'"
        )
        .await,
        "login-1045|DELIVERED|302.4900|12.9900|288.0000|1.50|PLN|paid|Przelewy24|InPost & Co|SZC01A, ul. Długa 1, 70-002 Szczecin|2026-07-14 07:12:30|2026-07-16 11:20:05"
    );
    assert_eq!(
        shop.value(
            "select email from canonical.orders join canonical.contacts using (contact_id) where source_key = '1045'"
        )
        .await,
        "anna@example.com"
    );
    assert_eq!(
        shop.value("select concat_ws('|', email, phone, payment_status, delivered_at) from canonical.orders join canonical.contacts using (contact_id) where source_key = '1046'").await,
        "buyer@example.com|+48500100103|unpaid"
    );
    assert_eq!(
        shop.column("select concat_ws('|', line, sku, variation_key, quantity, unit_price) from canonical.order_items where connection = 'shop' and order_id = canonical.order_id('shop', '1045')").await,
        ["1|SUK-M|101-4|1.0000|189.000000", "2|102|2.0000|49.500000"]
    );
    assert_eq!(shop.value("select count(*) from canonical.rejects").await, "0");
}

#[tokio::test]
async fn cash_on_delivery_is_paid_when_the_order_is_finished() {
    let shop = shop(json!({})).await;
    let cash = json!({"orderDetails": {"payments": {"orderPaymentType": "cash_on_delivery"}}});
    stage(
        &shop,
        "orders",
        &[
            ("1", with(order(1, 0, "finished"), cash.clone())),
            ("2", with(order(2, 0, "packed"), cash)),
            ("3", order(3, 0, "finished")),
        ],
    )
    .await;
    shop.transform().await;
    assert_eq!(
        shop.column("select source_key || ' ' || payment_status from canonical.orders").await,
        ["1 paid", "2 unpaid", "3 unpaid"]
    );
}

#[tokio::test]
async fn a_joined_order_is_cancelled_counts_nowhere_and_has_bought_nothing() {
    let shop = shop(json!({})).await;
    stage(&shop, "products", &[("101", product(101, json!({})))]).await;
    shop.stage_as("shop", "categories", &[item(131, 0, "Sukienki", "n")], None).await;
    stage(&shop, "customers", &[("41", client(41, "anna@example.com"))]).await;
    stage(&shop, "orders", &[("1", order(1, 41, "joined")), ("2", order(2, 41, "finished"))]).await;
    shop.transform().await;
    assert_eq!(
        shop.column("select concat_ws('|', source_key, status, extra ->> 'joined') from canonical.orders").await,
        ["1|CANCELLED|true", "2|DELIVERED"]
    );
    assert_eq!(shop.value("select concat_ws('|', frequency, monetary) from marts.rfm").await, "1|302.4900");
    assert_eq!(
        shop.column("select concat_ws('|', status, orders, revenue, gross) from marts.revenue_by_month").await,
        ["DELIVERED|1|302.4900|302.4900"],
        "its lines are in the other order"
    );
    stage(&shop, "orders", &[("2", order(2, 41, "joined"))]).await;
    shop.transform().await;
    assert_eq!(shop.column("select tag from canonical.contact_tags").await, ["rejestracja"]);
}

#[tokio::test]
async fn an_unknown_status_keeps_the_last_one_known_and_is_reported() {
    let shop = shop(json!({"statuses": {"grawer": "IN_PROGRESS", "101": "DELIVERED"}})).await;
    stage(
        &shop,
        "orders",
        &[
            ("1", order(1, 0, "packed")),
            ("2", order(2, 0, "teleported")),
            ("3", order(3, 0, "grawer")),
            ("4", with(order(4, 0, "on_order"), json!({"orderDetails": {"orderStatusId": 101}}))),
        ],
    )
    .await;
    shop.transform().await;
    stage(&shop, "orders", &[("1", order(1, 0, "teleported"))]).await;
    shop.transform().await;
    assert_eq!(
        shop.column("select source_key || ' ' || status from canonical.orders").await,
        ["1 IN_PROGRESS", "2 INITIALIZED", "3 IN_PROGRESS", "4 DELIVERED"]
    );
    assert_eq!(
        shop.column("select key || ' ' || code || ' ' || value from canonical.rejects").await,
        ["1 unmapped-status teleported", "2 unmapped-status teleported"]
    );
}

#[tokio::test]
async fn an_order_begun_and_never_placed_is_an_abandoned_cart_until_it_is_placed() {
    let shop = shop(json!({})).await;
    stage(&shop, "orders", &[("unfinished-7", order(7, 0, "new"))]).await;
    shop.transform().await;
    assert_eq!(
        shop.column("select source_key || ' ' || status from canonical.orders").await,
        ["unfinished-7 ABANDONED_SHOPPING_CART"]
    );
    stage(&shop, "orders", &[("7", order(7, 0, "new"))]).await;
    shop.transform().await;
    assert_eq!(shop.column("select source_key || ' ' || status from canonical.orders").await, ["7 INITIALIZED"]);
}

#[tokio::test]
async fn a_return_is_added_to_its_order() {
    let shop = shop(json!({})).await;
    stage(&shop, "orders", &[("1045", order(1045, 0, "finished"))]).await;
    shop.transform().await;
    let back = |quantity: u32, status: &str| {
        json!({"id": 71, "order_sn": 1045, "status": status,
        "products": [{"id": 102, "quantity": quantity, "order_price": 49.5}]})
    };
    shop.stage_as("shop", "refunds", &[("71".into(), back(1, "accepted"))], Some("1045")).await;
    shop.transform().await;
    assert_eq!(shop.value("select extra ->> 'refunded' from canonical.orders").await, "49.5");
    assert_eq!(shop.value("select extra ->> 'returned' from canonical.orders").await, "");
    shop.stage_as("shop", "refunds", &[("71".into(), back(3, "accepted"))], Some("1045")).await;
    shop.transform().await;
    assert_eq!(shop.value("select extra ->> 'returned' from canonical.orders").await, "true");
    shop.stage_as("shop", "refunds", &[("71".into(), back(3, "canceled"))], Some("1045")).await;
    shop.transform().await;
    assert_eq!(shop.value("select extra ->> 'refunded' from canonical.orders").await, "");
}

#[tokio::test]
async fn net_orders_have_net_lines_where_only_those_add_up() {
    let shop = shop(json!({})).await;
    let net = json!({"orderDetails": {"payments": {"orderWorthCalculateType": "net", "orderVatExists": "n", "orderCurrency": {"orderProductsCost": 234.14}}}});
    stage(
        &shop,
        "orders",
        &[
            ("1", with(order(1, 0, "new"), net)),
            ("2", with(order(2, 0, "new"), json!({"orderDetails": {"payments": {"orderWorthCalculateType": "net"}}}))),
        ],
    )
    .await;
    shop.transform().await;
    assert_eq!(
        shop.column("select source_key || ' ' || items_total from canonical.orders").await,
        ["1 234.1400", "2 288.0000"]
    );
}

#[tokio::test]
async fn buyers_from_marketplaces_cannot_be_written_to_unless_asked_for() {
    for (marketplace, emails) in
        [("exclude", vec![""; 2]), ("include", vec!["buyer@example.com", "x+1@allegromail.pl"])]
    {
        let shop = shop(json!({"marketplace": marketplace})).await;
        let auction = json!({"orderDetails": {"orderSourceResults": {"orderSourceType": "auction", "auctionsServiceName": "allegro"}}});
        stage(&shop, "orders", &[("1", with(order(1, 0, "new"), auction)), ("2", order(2, 44, "new"))]).await;
        stage(&shop, "customers", &[("44", with(client(44, "x+1@allegromail.pl"), json!({"isUnregistered": "y"})))])
            .await;
        shop.transform().await;
        assert_eq!(shop.column("select coalesce(email, '') from canonical.contacts").await, emails, "{marketplace}");
        assert_eq!(shop.value("select count(*) from canonical.orders where contact_id is not null").await, "2");
    }
}

#[tokio::test]
async fn the_menu_gives_the_tags_and_the_panels_categories_stand_in() {
    let shop = shop(json!({})).await;
    let menu = [
        item(150, 140, "Nowości", "n"),
        item(100, 0, "Kobieta", "n"),
        item(120, 100, "Ubrania", "n"),
        item(131, 120, "Sukienki", "n"),
        item(140, 100, "Tajne", "y"),
    ];
    shop.stage_as("shop", "categories", &menu, None).await;
    shop.stage_as("shop", "categories", &[panel(1200, 0, "Moda"), panel(1214, 1200, "Paski")], None).await;
    let hidden = json!({"productMenu": [{"menuItemId": 140, "shopId": 1, "menuId": 1}], "productSizes": [], "productSizesAttributes": [], "productStocksData": []});
    stage(&shop, "products", &[("101", product(101, json!({}))), ("102", product(102, hidden))]).await;
    stage(&shop, "customers", &[("41", client(41, "anna@example.com"))]).await;
    stage(&shop, "orders", &[("1", order(1, 41, "new"))]).await;
    shop.transform().await;
    assert_eq!(
        shop.column("select tag from canonical.contact_tags where origin = 'category'").await,
        ["Kobieta", "Moda", "Paski", "Sukienki", "Ubrania"]
    );
    assert_eq!(
        shop.value("select path from canonical.categories where source_key = 'menu-131'").await,
        "{Kobieta,Ubrania,Sukienki}"
    );
    assert_eq!(
        shop.value("select path from canonical.categories where source_key = 'menu-150'").await,
        "{Kobieta,Nowości}",
        "what hangs on a hidden item hangs on the one above it"
    );
}

#[tokio::test]
async fn a_product_has_its_sizes_stock_prices_and_picture() {
    let shop = shop(json!({})).await;
    stage(&shop, "products", &[("101", product(101, json!({"productPromoRetailPrice": 150})))]).await;
    shop.transform().await;
    let row = "select concat_ws('|', source_key, parent_key, sku, name, price, regular_price, stock, available, image_url) from canonical.products";
    assert_eq!(
        shop.column(row).await,
        [
            "101-3|101|101-3|Sukienka & co - S|150.0000|189.0000|0.0000|f|https://s.example/1.jpg",
            "101-4|101|SUK-M|Sukienka & co - M|150.0000|189.0000|2.5000|t|https://s.example/1.jpg",
            "101|SUK|Sukienka & co|150.0000|189.0000|2.5000|t|https://s.example/1.jpg",
        ]
    );
    // A size goes, and stock is not counted any more.
    let fewer = json!({"productSizes": [{"sizeId": "4", "sizePanelName": "M"}], "productStocksData": {"productStocksQuantities": [
        {"stockId": 1, "productSizesData": [{"sizeId": "4", "productSizeQuantity": -1}]}]}});
    stage(&shop, "products", &[("101", product(101, fewer))]).await;
    shop.transform().await;
    assert_eq!(
        shop.column("select concat_ws('|', source_key, stock, available) from canonical.products").await,
        ["101-4|t", "101|t"]
    );
    let run = shop.transform_all(&["shop"], true).await;
    assert_eq!(shop.value(&format!("select count(*) from canonical.changes where run_id = {run}")).await, "0");
    stage(&shop, "products", &[("101", product(101, json!({"productIsDeleted": "y"})))]).await;
    shop.transform().await;
    assert_eq!(
        shop.value("select concat_ws('|', status, available) from canonical.products where source_key = '101'").await,
        "deleted|f"
    );
}

fn offer(id: &str) -> Value {
    json!({
        "@id": id, "@code_on_card": "SUK", "..": {"@language": "pol", "@currency": "EUR"},
        "category": [{"@id": "1214", "@name": "Moda/Sukienki"}],
        "card": [{"@url": format!("https://s.example/p-{id}.html")}],
        "description": [{"name": [{"@xml:lang": "pol", "#": "Sukienka lniana"}]}],
        "price": [{"@gross": "45.00"}],
        "sizes": [{"size": [{"@id": "uniw", "stock": [{"@id": "1", "@quantity": "-1"}]}]}],
        "images": [{"large": [{"image": [{"@url": "https://s.example/large.jpg"}]}]}],
        "iaiext:navigation": [{"iaiext:site": [{"@id": "1", "iaiext:menu": [{"@id": "1", "iaiext:item": [{"@id": "131"}]}]}]}],
    })
}

#[tokio::test]
async fn the_offer_feed_gives_pages_pictures_and_prices_and_products_of_its_own() {
    let shop = shop(json!({})).await;
    stage(&shop, "products", &[("101", product(101, json!({})))]).await;
    stage(&shop, "offers", &[("101", offer("101")), ("500", offer("500"))]).await;
    stage(
        &shop,
        "offer_categories",
        &[
            ("1200", json!({"@id": "1200", "@name": "Moda"})),
            ("1214", json!({"@id": "1214", "@name": "Moda/Sukienki"})),
        ],
    )
    .await;
    stage(&shop, "customers", &[("41", client(41, "anna@example.com"))]).await;
    stage(&shop, "orders", &[("1", order(1, 41, "new"))]).await;
    shop.transform().await;
    let row = "select concat_ws('|', source_key, name, price, currency, stock, available, url, image_url) from canonical.products where parent_key is null";
    assert_eq!(
        shop.column(row).await,
        [
            "101|Sukienka & co|45.0000|EUR|2.5000|t|https://s.example/p-101.html|https://s.example/large.jpg",
            "500|Sukienka lniana|45.0000|EUR|t|https://s.example/p-500.html|https://s.example/large.jpg",
        ]
    );
    assert_eq!(
        shop.value("select url from canonical.order_items where product_key = '101'").await,
        "https://s.example/p-101.html"
    );
    assert_eq!(
        shop.column("select tag from canonical.contact_tags where origin = 'category'").await,
        ["Moda", "Sukienki"],
        "no menu is known, so the feed's categories stand in"
    );
    stage(&shop, "offer_prices", &[("500", json!({"@id": "500", "price": [{"@gross": "40.00"}], "sizes": [{"size": [{"@id": "uniw", "stock": [{"@id": "1", "@quantity": "0"}]}]}]}))]).await;
    shop.transform().await;
    assert_eq!(
        shop.value("select concat_ws('|', price, stock, available) from canonical.products where source_key = '500'")
            .await,
        "45.0000|0.0000|f"
    );
    shop.connection("shop", &settings(json!({"iof_prices": "light"}))).await;
    shop.transform().await;
    assert_eq!(shop.value("select price from canonical.products where source_key = '500'").await, "40.0000");
    shop.delete("offers", "500").await;
    shop.transform().await;
    assert_eq!(shop.column("select source_key from canonical.products where parent_key is null").await, ["101"]);
}

#[tokio::test]
async fn a_price_of_the_feed_goes_with_the_currency_it_was_made_for() {
    let shop = shop(json!({"iof_prices": "light"})).await;
    stage(
        &shop,
        "offers",
        &[("500", offer("500")), ("501", offer("501")), ("502", with(offer("502"), json!({"price": []})))],
    )
    .await;
    let light =
        |id: &str, price: Value| (id.to_owned(), json!({"@id": id, "price": price, "..": {"@currency": "CZK"}}));
    shop.stage_as(
        "shop",
        "offer_prices",
        &[light("500", json!([{"@gross": "1000.00"}])), light("501", json!([])), light("502", json!([]))],
        None,
    )
    .await;
    stage(&shop, "products", &[("502", product(502, json!({"currencyId": "HUF"})))]).await;
    shop.transform().await;
    assert_eq!(
        shop.column(
            "select concat_ws('|', source_key, price, currency) from canonical.products where parent_key is null"
        )
        .await,
        ["500|1000.0000|CZK", "501|45.0000|EUR", "502|189.0000|HUF"]
    );
}

#[tokio::test]
async fn a_size_that_the_feed_calls_unavailable_cannot_be_bought_whatever_its_pieces() {
    let shop = shop(json!({})).await;
    let size = |id: &str, available: Value, pieces: &str| {
        with(json!({"@id": id, "stock": [{"@id": "1", "@quantity": pieces}]}), available)
    };
    let sizes = json!({"sizes": [{"size": [
        size("3", json!({"@available": "in_stock"}), "2"),
        size("4", json!({"@available": "unavailable"}), "5"),
        size("5", json!({"@available": "in_stock"}), "0"),
        size("6", json!({}), "-1"),
    ]}]});
    let gone = json!({"sizes": [{"size": [size("uniw", json!({"@available": "unavailable"}), "-1")]}]});
    stage(&shop, "offers", &[("500", with(offer("500"), sizes)), ("501", with(offer("501"), gone))]).await;
    shop.transform().await;
    assert_eq!(
        shop.column("select concat_ws('|', source_key, available) from canonical.products").await,
        ["500-3|t", "500-4|f", "500-5|f", "500-6|t", "500|t", "501|f"]
    );
}

#[tokio::test]
async fn a_menu_item_without_a_name_gives_no_tag() {
    let shop = shop(json!({})).await;
    let unnamed = |id: u32, parent: u32, said: Value| {
        (format!("menu-{id}"), json!({"item_id": id, "parent_id": parent, "lang_data": said}))
    };
    let menu = [
        item(100, 0, "Kobieta", "n"),
        unnamed(220, 100, json!([{"lang_id": "pol", "name": ""}])),
        unnamed(
            131,
            220,
            json!([{"lang_id": "pol", "name": "", "hidden": "n"}, {"lang_id": "eng", "name": "Dresses"}]),
        ),
        // Its name is a number, and that of its key.
        unnamed(7, 0, json!([{"lang_id": "pol", "name": "menu-7"}])),
    ];
    shop.stage_as("shop", "categories", &menu, None).await;
    stage(&shop, "products", &[("101", product(101, json!({})))]).await;
    stage(&shop, "customers", &[("41", client(41, "anna@example.com"))]).await;
    stage(&shop, "orders", &[("1", order(1, 41, "new"))]).await;
    for full in [false, true] {
        shop.transform_all(&["shop"], full).await;
        assert_eq!(
            shop.column("select tag from canonical.contact_tags where origin = 'category'").await,
            ["Dresses", "Kobieta"],
            "the other language's name stands in, and what has none is passed over"
        );
        assert_eq!(
            shop.column("select concat_ws(' ', source_key, name, depth, path) from canonical.categories").await,
            [
                "menu-100 Kobieta 1 {Kobieta}",
                "menu-131 Dresses 3 {Kobieta,Dresses}",
                "menu-220 menu-220 2 {Kobieta}",
                "menu-7 menu-7 1 {menu-7}"
            ]
        );
        assert_eq!(shop.column("select key from canonical.rejects where code = 'no-name'").await, ["menu-220"]);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_and_reported() {
    let shop = shop(json!({})).await;
    let broken = json!({"orderDetails": {"orderAddDate": "0000-00-00 00:00:00", "payments": {"orderCurrency": []}, "prepaids": null, "productsResults": []},
        "clientResult": {"clientAccount": []}, "errors": [{"faultCode": 7, "faultString": "coś"}]});
    stage(
        &shop,
        "orders",
        &[
            ("1", with(order(1, 0, "new"), broken)),
            ("2", json!({"orderSerialNumber": 2, "orderDetails": []})),
            ("3", order(3, 0, "new")),
        ],
    )
    .await;
    stage(&shop, "customers", &[("41", with(client(41, "not an address"), json!({"clientPersonalData": {"clientBirthDate": "23 maja"}, "clientBillingAddress": {"clientPhone1": "12"}})))]).await;
    shop.transform().await;
    assert_eq!(shop.value("select count(*) from canonical.orders").await, "3");
    assert_eq!(
        shop.column("select concat_ws(' ', entity, key, field, code) from canonical.rejects").await,
        [
            "contacts account:41 birthday bad-date",
            "contacts account:41 email bad-email",
            "contacts account:41 phone bad-phone",
            "orders 1 currency no-currency",
            "orders 1 errors shop-error",
            "orders 1 placed_at bad-date",
            "orders 1 total bad-number",
            "orders 2 currency no-currency",
            "orders 2 placed_at bad-date",
            "orders 2 status unmapped-status",
            "orders 2 total bad-number",
        ]
    );
}

/// The samples beside the sheet, as an extract would stage them.
#[tokio::test]
async fn the_samples_come_to_what_the_sheet_says() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/platforms/idosell");
    if !folder.is_dir() {
        return;
    }
    let read = |file: &str| -> Value { serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap() };
    let shop = shop(json!({})).await;
    for (file, list, table, key, prefix) in [
        ("clients.json", "results", "customers", "clientId", ""),
        ("clients-newsletter-email-search.json", "clients", "subscribers", "client_number", "email-"),
        ("orders-search.json", "Results", "orders", "orderSerialNumber", ""),
        ("products-search.json", "results", "products", "productId", ""),
        ("products-categories.json", "categories", "categories", "id", "panel-"),
        ("menu.json", "result", "categories", "item_id", "menu-"),
    ] {
        let body = read(file);
        let rows: Vec<(String, Value)> =
            body[list].as_array().unwrap().iter().map(|row| (format!("{prefix}{}", row[key]), row.clone())).collect();
        shop.stage_as("shop", table, &rows, None).await;
    }
    shop.transform().await;
    assert_eq!(shop.value("select count(*) from canonical.rejects").await, "0");
    assert_eq!(
        shop.column(
            "select concat_ws('|', source_key, status, total, items_total, payment_status) from canonical.orders"
        )
        .await,
        ["1045|DELIVERED|300.9900|288.0000|paid", "1046|IN_PROGRESS|1460.0000|1420.0000|unpaid"]
    );
    assert_eq!(
        shop.column("select concat_ws('|', email, email_consent, registered, newsletter) from canonical.contacts")
            .await,
        [
            "anna.testowa@example.com|opt_in|t|f",
            "biuro@przyklad.example.com|unknown|t|f",
            "jan.bezkonta@example.com|unknown|f|f",
            "zofia.newsletter@example.com|opt_in|f|t",
        ]
    );
    assert_eq!(
        shop.column("select distinct tag from canonical.contact_tags join canonical.contacts using (contact_id) where email = 'anna.testowa@example.com'").await,
        ["Akcesoria", "Kobieta", "Mężczyzna", "Paski", "Sukienki", "Ubrania", "rejestracja"]
    );
}
