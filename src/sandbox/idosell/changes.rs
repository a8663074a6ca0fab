//! What the panel goes through by itself, and what a test asks of it past the interface. May use the state.

use super::gate::Right;
use super::orders::{UNFINISHED, total_of};
use super::people::{Channel, Client, Kind};
use super::people_rows::shop_name;
use super::shop::Shop;
use super::writes::{blank_client, set_status};
use super::zone::{UNDATED, ZERO_TIME};
use crate::sandbox::stock::chance::{Chance, Subject};
use serde_json::{Value, json};

/// Does what `POST /_sandbox/change` asks:
///
/// - `{"share": 0.01, "seed": 7}`: about one row in a hundred changes; the same share and seed on the same panel change
///   the same rows;
/// - `{"place_order": {"client": 41, "shop": 1, "status": "new", "items": [{"product": 100, "quantity": 2, "price": 19.5}],
///   "delivery": 12.99}}`: an order; without `client` by somebody without an account, whose `email`, `first`, `last`,
///   `phone` may be given; `unfinished` for the other gate;
/// - `{"order_status": {"id": 10000, "status": "finished"}}`, `{"edit_order": {"id": 10000, "fields": {"/pointer": value},
///   "touch": false}}`, `{"remove_order": 10000}`;
/// - `{"create_client": {"login": "…", "email": "…", …}}`, `{"edit_client": {"id": 41, "email": "…", …}}`,
///   `{"delete_client": 41}`, `{"subscribe": {"email": "…", "shop": 1}}` (somebody without an account);
/// - `{"consent": {"client": 41, "channel": "email", "shop": 1, "agreed": false}}`, with `at` for another time than the
///   panel's present (`"2026-02-14 09:12:30"`; `"0000-00-00 00:00:00"` for a statement without a date);
/// - `{"edit_product": {"id": 100, "price": 19.5, "pieces": 3, "name": "…", "categories": [16], "class": "deleted",
///   "visible": false}}`, `{"rename_category": {"id": 16, "name": "…"}}`;
/// - `{"advance_seconds": 3600}`: the clock;
/// - `{"rights": {"crm": "r"}}` (`none`, `r`, `rw`), `{"expire_tokens": true}`, `{"blocked": true}`,
///   `{"overloaded": 2}` (so many times the server says that it is);
/// - `{"template": true}`: the template of products is listed although nobody asks for it;
/// - `{"offer": "full"}`: all files of the offer are made anew, `{"offer": "changes"}`: one of what changed since.
///
/// # Errors
/// A sentence that says what is wrong with the request.
pub fn change(shop: &mut Shop, request: &Value) -> Result<Value, String> {
    let known = |name: &&&str| request.get(**name).is_some();
    let verb =
        VERBS.iter().find(known).ok_or_else(|| format!("nothing to change: give one of {}", VERBS.join(", ")))?;
    let wanted = &request[*verb];
    match *verb {
        "share" => {
            let share = wanted.as_f64().filter(|share| (0.0..=1.0).contains(share));
            let share = share.ok_or("`share` is a number from 0 to 1")?;
            let changes = change_about(shop, share, request.get("seed").and_then(Value::as_u64).unwrap_or(1));
            Ok(json!({ "changed": changes.len(), "changes": changes }))
        }
        "place_order" => place_order(shop, wanted),
        "order_status" => {
            let status = wanted["status"].as_str().ok_or("`status` is a text")?;
            let mut row = order(shop, &wanted["id"])?;
            set_status(shop, &mut row, status);
            shop.save_order(row.clone(), true);
            Ok(row)
        }
        "edit_order" => {
            let mut row = order(shop, &wanted["id"])?;
            for (pointer, value) in wanted["fields"].as_object().into_iter().flatten() {
                *row.pointer_mut(pointer).ok_or(format!("an order has no {pointer}"))? = value.clone();
            }
            shop.save_order(row.clone(), wanted["touch"] != json!(false));
            Ok(row)
        }
        "remove_order" => {
            let id = wanted.as_u64().ok_or("`remove_order` is a number")?;
            if shop.remove_order(id) { Ok(json!({ "removed": id })) } else { Err(format!("there is no order {id}")) }
        }
        "create_client" => {
            let now = shop.now();
            let mut client = blank_client(shop.next_client(), Kind::Account, now);
            client.login = format!("client{}", client.id);
            fill(&mut client, wanted)?;
            consents(shop, &mut client, wanted)?;
            let shown = shown(&client);
            shop.save_person(client, true);
            Ok(shown)
        }
        "edit_client" => {
            let mut client = person(shop, &wanted["id"])?;
            fill(&mut client, wanted)?;
            let shown = shown(&client);
            shop.save_person(client, true);
            Ok(shown)
        }
        "delete_client" => {
            let id = wanted.as_u64().ok_or("`delete_client` is a number")?;
            if shop.remove_person(id) { Ok(json!({ "deleted": id })) } else { Err(format!("there is no client {id}")) }
        }
        "subscribe" => {
            let now = shop.now();
            let mut client = blank_client(shop.next_client(), Kind::Subscriber, now);
            client.email = wanted["email"].as_str().ok_or("`email` is a text")?.to_owned();
            client.phone = wanted["phone"].as_str().unwrap_or_default().to_owned();
            let at = shop_place(shop, wanted)?;
            client.state(Channel::Email, at, wanted["agreed"] != json!(false), now);
            let shown = shown(&client);
            shop.save_person(client, true);
            Ok(shown)
        }
        "consent" => {
            let mut client = person(shop, &wanted["client"])?;
            let channel = match wanted["channel"].as_str() {
                None | Some("email") => Channel::Email,
                Some("sms") => Channel::Sms,
                Some(_) => return Err("`channel` is `email` or `sms`".to_owned()),
            };
            let agreed = wanted["agreed"].as_bool().ok_or("`agreed` is true or false")?;
            let place = shop_place(shop, wanted)?;
            let at = match wanted.get("at") {
                None => shop.now(),
                Some(at) if at == ZERO_TIME => UNDATED,
                Some(at) => at.as_str().and_then(|text| shop.panel.zone.read(text)).ok_or("`at` is a time")?,
            };
            client.state(channel, place, agreed, at);
            let shown = shown(&client);
            shop.save_person(client, false);
            Ok(shown)
        }
        "edit_product" => edit_product(shop, wanted),
        "rename_category" => {
            let id = wanted["id"].as_u64().ok_or("`id` is a number")?;
            let name = wanted["name"].as_str().ok_or("`name` is a text")?;
            rename_category(shop, id, name).ok_or(format!("there is no category {id}"))
        }
        "advance_seconds" => {
            let seconds = wanted.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
            shop.advance(seconds.ok_or("`advance_seconds` is a whole number")?);
            Ok(json!({ "now": shop.panel.zone.time(shop.now()) }))
        }
        "rights" => {
            for (module, right) in wanted.as_object().ok_or("`rights` are given by module")? {
                let right = right.as_str().and_then(Right::named).ok_or("a right is `none`, `r` or `rw`")?;
                if !shop.access.set(module, right) {
                    return Err(format!("there is no module `{module}`: {}", super::gate::MODULES.join(", ")));
                }
            }
            Ok(wanted.clone())
        }
        "expire_tokens" => {
            shop.access.expire_tokens();
            Ok(json!({ "expired": true }))
        }
        "blocked" => {
            shop.blocked = wanted.as_bool().ok_or("`blocked` is true or false")?;
            Ok(json!({ "blocked": shop.blocked }))
        }
        "template" => {
            shop.lists_template = wanted.as_bool().ok_or("`template` is true or false")?;
            Ok(json!({ "template": shop.lists_template }))
        }
        "overloaded" => {
            let times = wanted.as_u64().ok_or("`overloaded` says how many times")?;
            shop.overloaded = times;
            Ok(json!({ "overloaded": times }))
        }
        _ => match wanted.as_str() {
            Some("full") => {
                let now = shop.now();
                shop.feed.make(&shop.panel, &shop.tree, &shop.goods, now);
                Ok(json!({ "made": shop.panel.zone.time(now) }))
            }
            Some("changes") => {
                let now = shop.now();
                Ok(json!({ "products": shop.feed.make_changes(&shop.goods, now) }))
            }
            _ => Err("`offer` is `full` or `changes`".to_owned()),
        },
    }
}

const VERBS: [&str; 19] = [
    "share",
    "place_order",
    "order_status",
    "edit_order",
    "remove_order",
    "create_client",
    "edit_client",
    "delete_client",
    "subscribe",
    "consent",
    "edit_product",
    "rename_category",
    "advance_seconds",
    "rights",
    "expire_tokens",
    "blocked",
    "overloaded",
    "template",
    "offer",
];

fn order(shop: &Shop, id: &Value) -> Result<Value, String> {
    let id = id.as_u64().ok_or("`id` is a number")?;
    shop.order(id).ok_or_else(|| format!("there is no order {id}"))
}

fn person(shop: &Shop, id: &Value) -> Result<Client, String> {
    let id = id.as_u64().ok_or("a client is given by number")?;
    shop.person(id).ok_or_else(|| format!("there is no client {id}"))
}

fn shop_place(shop: &Shop, wanted: &Value) -> Result<usize, String> {
    let id = wanted.get("shop").map_or(Some(1), Value::as_u64);
    let id = id.filter(|id| (1..=shop.panel.shops as u64).contains(id)).ok_or("there is no such shop")?;
    Ok(id as usize - 1)
}

/// Statements that a new client makes: `"email_news": true`, `"sms_news": false`, at the first shop.
fn consents(shop: &Shop, client: &mut Client, wanted: &Value) -> Result<(), String> {
    for (name, channel) in [("email_news", Channel::Email), ("sms_news", Channel::Sms)] {
        if let Some(agreed) = wanted.get(name) {
            let agreed = agreed.as_bool().ok_or(format!("`{name}` is true or false"))?;
            client.state(channel, shop_place(shop, wanted)?, agreed, shop.now());
        }
    }
    Ok(())
}

fn fill(client: &mut Client, wanted: &Value) -> Result<(), String> {
    let fields: [(&str, &mut String); 15] = [
        ("login", &mut client.login),
        ("email", &mut client.email),
        ("first", &mut client.first),
        ("last", &mut client.last),
        ("company", &mut client.company),
        ("nip", &mut client.nip),
        ("street", &mut client.street),
        ("zip", &mut client.zip),
        ("city", &mut client.city),
        ("country", &mut client.country),
        ("phone", &mut client.phone),
        ("birthday", &mut client.birthday),
        ("lang", &mut client.lang),
        ("currency", &mut client.currency),
        ("code", &mut client.code),
    ];
    let known: Vec<&str> = fields.iter().map(|(name, _)| *name).chain(OTHER_FIELDS).collect();
    if let Some(name) =
        wanted.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| !known.contains(&name.as_str()))
    {
        return Err(format!("a client has no `{name}`: {}", known.join(", ")));
    }
    for (name, field) in fields {
        if let Some(value) = wanted.get(name) {
            *field = value.as_str().ok_or(format!("`{name}` is a text"))?.to_owned();
        }
    }
    Ok(())
}

/// What a request may hold that is no field of the person.
const OTHER_FIELDS: [&str; 4] = ["id", "email_news", "sms_news", "shop"];

fn shown(client: &Client) -> Value {
    json!({ "id": client.id, "login": client.login, "email": client.email })
}

fn edit_product(shop: &mut Shop, wanted: &Value) -> Result<Value, String> {
    let id = wanted["id"].as_u64().ok_or("`id` is a number")?;
    let mut goods = shop.product(id).map(|goods| (*goods).clone()).ok_or(format!("there is no product {id}"))?;
    let now = shop.now();
    if let Some(price) = wanted.get("price") {
        let price = (price.as_f64().ok_or("`price` is a number")? * 100.0).round() as i64;
        goods.price = price;
        goods.normal_price = goods.normal_price.max(price);
        goods.sizes.iter_mut().for_each(|size| size.price = price);
        (goods.price_changed, goods.modified) = (now, now);
    }
    if let Some(pieces) = wanted.get("pieces") {
        let pieces = (pieces.as_f64().ok_or("`pieces` is a number")? * 10.0).round() as i64;
        goods.sizes.iter_mut().for_each(|size| size.pieces = Some(pieces));
        goods.quantity_changed = now;
    }
    if let Some(name) = wanted.get("name") {
        goods.name = name.as_str().ok_or("`name` is a text")?.to_owned();
        goods.modified = now;
    }
    if let Some(visible) = wanted.get("visible") {
        goods.visible = visible.as_bool().ok_or("`visible` is true or false")?;
        goods.modified = now;
    }
    if let Some(categories) = wanted.get("categories") {
        let ids = categories.as_array().into_iter().flatten().filter_map(Value::as_u64).collect::<Vec<_>>();
        if let Some(id) = ids.iter().find(|id| shop.tree.find(**id).is_none()) {
            return Err(format!("there is no category {id}"));
        }
        goods.categories = ids;
        goods.modified = now;
    }
    if let Some(class) = wanted.get("class") {
        goods.class = match class.as_str() {
            Some("active") => "active",
            Some("deleted") => "deleted",
            Some("in_trash") => "in_trash",
            _ => return Err("`class` is `active`, `deleted` or `in_trash`".to_owned()),
        };
        goods.modified = now;
    }
    shop.save_product(goods);
    Ok(json!({ "id": id }))
}

/// Renames a category: what products and menus show changes, and no product is touched.
fn rename_category(shop: &mut Shop, id: u64, name: &str) -> Option<Value> {
    let now = shop.now();
    let category = shop.tree.0.iter_mut().find(|category| category.id == id)?;
    let old = std::mem::replace(&mut category.name, name.to_owned());
    shop.tree_changed = now;
    Some(json!({ "id": id, "old": old, "new": name }))
}

fn hundredths(value: &Value, name: &str) -> Result<i64, String> {
    Ok((value.as_f64().ok_or(format!("`{name}` is a number"))? * 100.0).round() as i64)
}

/// Lines of a new order and what they cost together, in hundredths.
fn lines(shop: &Shop, items: &Value) -> Result<(Vec<Value>, i64), String> {
    let usual = json!([{ "product": crate::sandbox::stock::catalogue::Catalogue::product_id(0), "quantity": 1 }]);
    let items = if items.is_null() { &usual } else { items };
    let mut lines = Vec::new();
    let mut cost = 0;
    for (place, item) in items.as_array().ok_or("`items` is a list")?.iter().enumerate() {
        let id = item["product"].as_u64().ok_or("`product` is a number")?;
        let goods = shop.product(id).ok_or(format!("there is no product {id}"))?;
        let size = goods.sizes.first().ok_or("a product has a size")?;
        let quantity = item.get("quantity").map_or(Ok(100), |quantity| hundredths(quantity, "quantity"))?;
        let price = item.get("price").map_or(Ok(size.price), |price| hundredths(price, "price"))?;
        cost += price * quantity / 100;
        let net = super::goods::Goods::net(price);
        let (price, net, quantity) = (price as f64 / 100.0, net as f64 / 100.0, quantity as f64 / 100.0);
        lines.push(json!({
            "productId": id, "productName": goods.name, "productCode": goods.code, "sizeId": size.id,
            "sizePanelName": size.name, "productSizeCodeExternal": size.code, "stockId": 1,
            "productQuantity": quantity, "productWeight": 300, "productVat": 23, "productVatFree": "n",
            "productPanelPrice": price, "productPanelPriceNet": net,
            "productOrderPrice": price, "productOrderPriceNet": net,
            "productOrderPriceBaseCurrency": price, "productOrderPriceNetBaseCurrency": net,
            "remarksToProduct": "", "orderSalesMode": "money", "bundleId": 0, "productSerialNumbers": "",
            "productOrderAdditional": "", "basketPosition": place + 1,
        }));
    }
    Ok((lines, cost))
}

fn place_order(shop: &mut Shop, wanted: &Value) -> Result<Value, String> {
    let (lines, cost) = lines(shop, &wanted["items"])?;
    let delivery = wanted.get("delivery").map_or(Ok(0), |value| hundredths(value, "delivery"))?;
    let shop_id = shop_place(shop, wanted)? as u64 + 1;
    let now = shop.now();
    let client = match wanted.get("client") {
        Some(id) => person(shop, id)?,
        None => {
            let mut client = blank_client(shop.next_client(), Kind::Guest, now);
            client.login = format!("{:06x}-unreg", client.id);
            let mut fields = wanted.clone();
            if let Some(fields) = fields.as_object_mut() {
                fields.retain(|name, _| {
                    ["email", "first", "last", "phone", "city", "street", "zip"].contains(&name.as_str())
                });
            }
            fill(&mut client, &fields)?;
            shop.save_person(client.clone(), true);
            client
        }
    };
    let id = shop.next_order();
    let at = shop.panel.zone.time(now);
    let status = wanted["status"].as_str().unwrap_or("new");
    let is_unfinished = wanted["unfinished"] == json!(true);
    let (products, shipping) = (cost as f64 / 100.0, delivery as f64 / 100.0);
    let total = (cost + delivery) as f64 / 100.0;
    let account = |client: Option<&Client>| {
        json!({
            "clientId": client.map_or(0, |client| client.id),
            "clientLogin": client.map_or("", |client| client.login.as_str()),
            "clientEmail": client.map_or("", |client| client.email.as_str()),
            "clientPhone1": client.map_or("", |client| client.phone.as_str()),
            "clientPhone2": "", "clientCodeExternal": "",
        })
    };
    let mut row = json!({
        "orderId": format!("{}-{id}", client.login), "orderBridgeNote": "", "orderSerialNumber": id, "orderType": "n",
        "clientResult": {
            "clientBillingAddress": {
                "clientFirstName": client.first, "clientLastName": client.last, "clientNip": client.nip,
                "clientFirm": client.company, "clientStreet": client.street, "clientZipCode": client.zip,
                "clientCity": client.city, "clientCountryName": "Polska", "clientNipUeVerified": null,
                "clientCountryId": client.country, "clientPhone1": client.phone, "clientPhone2": "",
                "clientProvinceId": "", "clientProvince": "",
            },
            "clientDeliveryAddress": {
                "clientDeliveryAddressId": (id + 20).to_string(), "clientDeliveryAddressFirstName": client.first,
                "clientDeliveryAddressLastName": client.last, "clientDeliveryAddressFirm": client.company,
                "clientDeliveryAddressStreet": client.street, "clientDeliveryAddressZipCode": client.zip,
                "clientDeliveryAddressCity": client.city, "clientDeliveryAddressCountry": "Polska",
                "clientDeliveryAddressCountryId": client.country.to_uppercase(),
                "clientDeliveryAddressPhone1": client.phone, "clientDeliveryAddressPhone2": "",
                "clientDeliveryAddressProvinceId": "", "clientDeliveryAddressProvince": "",
                "clientDeliveryAddressType": "client", "clientDeliveryAddressPickupPointInternalId": 0,
            },
            "clientAccount": account(Some(&client)),
            "endClientAccount": account(None),
        },
        "orderDetails": {
            "apiFlag": "none", "orderStatus": "new", "dropshippingOrderStatus": "", "orderConfirmation": "email",
            "orderAddDate": at, "orderDispatchDate": 0, "receivedDate": "", "orderPrepareTime": 86_400,
            "clientNoteToOrder": "", "clientNoteToCourier": "",
            "payments": {
                "orderPaymentType": "prepaid", "orderPaymentDays": 0, "orderRebatePercent": 0,
                "orderCurrency": {
                    "currencyId": "PLN", "orderCurrencyValue": 1, "orderCurrencyScale": 1, "billingCurrencyRate": 1,
                    "orderProductsCost": products, "orderDeliveryCost": shipping, "orderPayformCost": 0,
                    "orderInsuranceCost": 0,
                },
                "orderBaseCurrency": {
                    "billingCurrency": "PLN", "orderProductsCost": products, "orderDeliveryCost": shipping,
                    "orderDeliveryVat": 23, "orderPayformCost": 0, "orderPayformVat": 23, "orderInsuranceCost": 0,
                    "orderInsuranceVat": 23,
                },
                "orderWorthCalculateType": "gross", "orderVatExists": "y",
            },
            "prepaids": [{
                "prepaidId": id * 10, "paymentOrdinalNumber": 1, "paymentNumber": format!("{id}-1"),
                "paymentAddDate": at, "paymentModifiedDateByClient": ZERO_TIME, "paymentModifiedDateByShop": at,
                "paymentStatus": "n", "paymentType": "payment", "payformId": 21, "payformName": "Przelewy24",
                "payformAccount": "", "paymentValue": total, "currencyId": "PLN",
            }],
            "orderSourceResults": {
                "orderSourceType": "shop", "shopId": shop_id, "auctionsServiceName": null,
                "orderSourceDetails": {
                    "orderSourceType": "shop", "orderSourceName": shop_name(shop_id), "orderSourceTypeId": 2,
                    "orderSourceId": 1, "entryProductIdBeforeOrder": 0, "sourcePageUrl": "", "orderExternalId": null,
                    "fresh": "n", "fulfillment": "n",
                },
                "preorderSourcesDetails": [],
            },
            "auctionInfo": {},
            "dispatch": {
                "courierId": 100_001, "courierName": "Kurier DPD", "courierWebserviceOnly": false,
                "deliveryPackageId": "", "deliveryDate": "", "deliveryDateAdditional": "",
                "estimatedDeliveryDate": "", "deliveryWeight": 600,
            },
            "productsResults": lines,
            "productRemovedInStock": "y", "stockId": 1, "clientRequestInvoice": "n",
            "clientDeliveryAddressId": id + 20, "orderNote": "", "orderOperatorLogin": "",
            "orderPackingPersonLogin": null, "purchaseDate": shop.panel.zone.date(now), "orderChangeDate": at,
            "subscriptionId": 0,
        },
        "errors": [],
    });
    debug_assert_eq!(total_of(&row), Some(cost + delivery));
    set_status(shop, &mut row, if is_unfinished { UNFINISHED } else { status });
    shop.save_order(row.clone(), false);
    Ok(row)
}

/// About this share of the panel changes: orders are placed and move on, people change their minds, their address, or
/// leave, a category is renamed, a product changes.
fn change_about(shop: &mut Shop, share: f64, seed: u64) -> Vec<Value> {
    let mut chance = Chance::new(seed, Subject::Change, 0);
    let part =
        |rows: usize, share: f64| if rows == 0 { 0 } else { ((rows as f64 * share).round() as usize).clamp(1, rows) };
    let (orders, people) = (shop.orders.base_rows(), shop.panel.people());
    let mut changes: Vec<Value> = Vec::new();
    let mut draw = |what: &str, wanted: usize, shop: &mut Shop, attempt: &mut Attempt<'_>| {
        let until = changes.len() + wanted;
        // A small panel may have none left.
        for _ in 0..wanted * 40 + 200 {
            if changes.len() >= until {
                break;
            }
            if let Some(done) = attempt(shop, &mut chance) {
                let id = done.get("orderSerialNumber").or(done.get("id")).cloned().unwrap_or(done);
                changes.push(json!({ "what": what, "id": id }));
            }
        }
    };
    draw("order placed", part(orders, share * 0.4), shop, &mut |shop, chance| {
        let status = *chance.pick(&["new", "payment_waiting", "on_order", "finished"]);
        let mut wanted = json!({ "status": status, "items": [item(shop, chance)] });
        match account_at(shop, chance.position(people.max(1))) {
            Some(client) if !chance.per_mille(250) => wanted["client"] = json!(client),
            _ => wanted["email"] = json!(format!("gosc.{}@example.com", chance.below(1 << 30))),
        }
        place_order(shop, &wanted).ok()
    });
    draw("order status", part(orders, share * 0.6), shop, &mut |shop, chance| {
        // The newest fifth, where most are still on their way.
        let position = orders - 1 - chance.position((orders / 5).max(1));
        let id = shop.orders.untouched(position)?;
        let next = match shop.orders.class_of(id).as_deref() {
            Some("new" | "payment_waiting") => "on_order",
            Some("finished" | "finished_ext" | "joined" | "canceled" | UNFINISHED) | None => return None,
            Some("on_order") if chance.per_mille(100) => "canceled",
            Some(_) => "finished",
        };
        change(shop, &json!({ "order_status": { "id": id, "status": next } })).ok()
    });
    draw("consent", part(people, share * 0.5), shop, &mut |shop, chance| {
        let id = shop.clients.untouched(chance.position(people))?;
        let agreed = chance.per_mille(300);
        change(shop, &json!({ "consent": { "client": id, "agreed": agreed } })).ok()
    });
    draw("e-mail changed", part(people, share * 0.3), shop, &mut |shop, chance| {
        let id = account_at(shop, chance.position(people))?;
        let email = format!("nowy.{id}@example.com");
        change(shop, &json!({ "edit_client": { "id": id, "email": email } })).ok()
    });
    draw("client deleted", part(people, share * 0.1), shop, &mut |shop, chance| {
        let id = account_at(shop, chance.position(people))?;
        change(shop, &json!({ "delete_client": id })).ok()
    });
    draw("category renamed", 1, shop, &mut |shop, chance| {
        let category = shop.tree.0[chance.position(shop.tree.0.len())].clone();
        rename_category(shop, category.id, &format!("{} – nowość", category.name))
    });
    draw("price changed", part(shop.panel.products as usize, share), shop, &mut |shop, chance| {
        let id = crate::sandbox::stock::catalogue::Catalogue::product_id(chance.below(shop.panel.products));
        let price = 5.0 + chance.below(500) as f64;
        change(shop, &json!({ "edit_product": { "id": id, "price": price } })).ok()
    });
    changes
}

/// Something that may happen to whatever is drawn.
type Attempt<'a> = dyn FnMut(&mut Shop, &mut Chance) -> Option<Value> + 'a;

fn item(shop: &Shop, chance: &mut Chance) -> Value {
    let products = &shop.panel.sold_products().products;
    json!({ "product": products[chance.position(products.len())].id, "quantity": 1 + chance.below(3) })
}

fn account_at(shop: &Shop, position: usize) -> Option<u64> {
    let id = shop.clients.untouched(position)?;
    (shop.clients.class_of(id).as_deref() == Some("account")).then_some(id)
}
