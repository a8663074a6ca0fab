//! Orders of the stock in the platform's shape, finished and unfinished ones, and where they come from. May use the panel
//! and nothing of the state.
//!
//! An order has no total: it is the sum of products, delivery, surcharge for the payment and insurance. Products that are
//! gifts or paid with points, parts of sets and fractions of a unit occur, as do marketplace orders whose buyer has but a
//! relay address and orders at the till with none at all.

use super::people::{Client, Panel, Who};
use super::people_rows::{amount, shop_name};
use super::zone::ZERO_TIME;
use crate::sandbox::php::{Object, object};
use crate::sandbox::stock::orders::{Order, Status};
use crate::sandbox::stock::people::Currency;
use crate::sandbox::table::{Base, Head};
use serde_json::Value;
use std::sync::Arc;

/// The class of orders that were begun and not finished; another gate has them.
pub const UNFINISHED: &str = "(unfinished)";
/// So long after an order its payment is noted.
const PAYMENT_NOTED: i64 = 300;
/// A product that was deleted for good.
const GONE_PRODUCT: u64 = 7;

/// Where an order comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the platform's own words")]
pub enum Source {
    Shop,
    Auction,
    Marketplace,
    Pos,
    Panel,
    Api,
}

impl Source {
    /// Where the order at a position comes from. Only buyers without an account come from elsewhere.
    pub fn of(panel: &Panel, order: u64) -> Self {
        if !panel.stock.is_by_guest(order) {
            return Source::Shop;
        }
        match panel.chance(4, order).below(100) {
            0..12 => Source::Auction,
            12..18 => Source::Marketplace,
            18..24 => Source::Pos,
            24..28 => Source::Panel,
            28..32 => Source::Api,
            _ => Source::Shop,
        }
    }

    /// Whether the shop was told the buyer's own e-mail.
    pub fn knows_email(self) -> bool {
        !matches!(self, Source::Auction | Source::Marketplace | Source::Pos)
    }

    fn name(self) -> &'static str {
        match self {
            Source::Shop => "shop",
            Source::Auction => "auction",
            Source::Marketplace => "marketplace",
            Source::Pos => "pos",
            Source::Panel => "self_added",
            Source::Api => "api",
        }
    }
}

/// The status of the order at a position, in the platform's words.
pub fn status(panel: &Panel, order: u64) -> &'static str {
    let mut chance = panel.chance(5, order);
    match panel.stock.status(order) {
        Status::Pending => chance.pick::<&str>(&["new", "payment_waiting"]),
        Status::Processing => {
            chance.pick::<&str>(&["on_order", "on_order", "packed", "packed_ready", "ready", "wait_for_dispatch"])
        }
        Status::OnHold => chance.pick::<&str>(&["delivery_waiting", "suspended"]),
        Status::Completed | Status::Refunded if chance.per_mille(30) => "finished_ext",
        Status::Completed | Status::Refunded => "finished",
        Status::Cancelled => "canceled",
        Status::Failed => chance.pick::<&str>(&["false", "lost", "missing"]),
        Status::Draft => UNFINISHED,
        Status::Trash => "joined",
        Status::Shipped => "packed_fulfillment",
    }
}

/// A line as it is sold here. Amounts are in the currency's smallest unit.
struct Item<'a> {
    product: u64,
    name: &'a str,
    code: &'a str,
    size: (String, &'a str),
    size_code: String,
    /// In tenths.
    quantity: i64,
    unit: i64,
    bundle: u64,
    mode: &'static str,
}

/// What an order costs, in the currency's smallest unit.
struct Costs {
    products: i64,
    delivery: i64,
    payform: i64,
    insurance: i64,
}

impl Costs {
    fn total(&self) -> i64 {
        self.products + self.delivery + self.payform + self.insurance
    }
}

fn items<'a>(panel: &'a Panel, index: u64, order: &'a Order) -> Vec<Item<'a>> {
    let mut chance = panel.chance(6, index);
    let mut items = Vec::with_capacity(order.lines.len() + 1);
    for line in &order.lines {
        let product = panel.stock.catalogue.product(line.product);
        let variation = product.and_then(|product| {
            product.variations.iter().find(|variation| variation.id == line.variation).map(|found| (product, found))
        });
        let gross = line.total + line.total_tax;
        let mut item = Item {
            product: if line.product == 0 { GONE_PRODUCT } else { line.product },
            name: &line.name,
            code: product.map_or("", |product| product.sku.as_str()),
            size: ("uniw".to_owned(), "uniwersalny"),
            size_code: line.sku.clone().unwrap_or_default(),
            quantity: line.quantity * 10,
            unit: gross / line.quantity.max(1),
            bundle: 0,
            mode: "money",
        };
        if let Some((product, variation)) = variation {
            item.name = &product.name;
            item.size = (super::goods::size_id(product.id, variation.id), variation.size);
        }
        match chance.below(1000) {
            // Sold by the metre: half a unit more, at a price that halves without a rest.
            0..20 => {
                item.quantity += 5;
                item.unit += item.unit % 2;
            }
            20..40 => item.bundle = 900 + chance.below(9),
            _ => {}
        }
        items.push(item);
    }
    let gift = if chance.per_mille(30) { items.first() } else { None };
    if let Some(first) = gift {
        let mode = if chance.per_mille(300) { "points" } else { "gift" };
        let gift = Item {
            product: first.product,
            name: "Gratis: próbka",
            code: "GRATIS",
            size: ("uniw".to_owned(), "uniwersalny"),
            size_code: "GRATIS".to_owned(),
            quantity: 10,
            unit: 0,
            bundle: 0,
            mode,
        };
        items.push(gift);
    }
    items
}

fn costs(panel: &Panel, index: u64, order: &Order, items: &[Item<'_>]) -> Costs {
    let mut chance = panel.chance(7, index);
    Costs {
        products: items.iter().map(|item| item.unit * item.quantity / 10).sum(),
        delivery: order.shipping_total + order.shipping_tax,
        payform: if order.payment.0 == "cod" { order.currency.per_euro * 116 / 100 } else { 0 },
        insurance: if chance.per_mille(20) { order.currency.per_euro / 2 } else { 0 },
    }
}

/// An amount in hundredths of the panel's currency.
fn in_base(amount: i64, currency: Currency) -> i64 {
    amount * 430 / currency.per_euro
}

/// The rate of a currency to the panel's: by how many units, and for how much.
fn rate(currency: Currency) -> (i64, String) {
    let smallest = 10_i64.pow(currency.decimals);
    let scale = if currency.code == "PLN" || currency.code == "EUR" { 1 } else { 100 };
    // In millionths of the panel's currency.
    let rate = scale * smallest * 4_300_000 / currency.per_euro;
    (scale, amount(rate, 6))
}

/// What the order at a position is worth, in hundredths of the panel's currency, and how many pieces it has.
pub fn worth(panel: &Panel, index: u64) -> (i64, u32) {
    let order = panel.stock.order(index);
    let items = items(panel, index, &order);
    let pieces = items.iter().map(|item| item.quantity / 10).sum::<i64>();
    (in_base(costs(panel, index, &order, &items).total(), order.currency), pieces as u32)
}

fn country_name(code: &str) -> &'static str {
    match code {
        "PL" => "Polska",
        "UA" => "Ukraina",
        "DE" => "Niemcy",
        "GR" => "Grecja",
        "CZ" => "Czechy",
        "FR" => "Francja",
        "CN" => "Chiny",
        "AE" => "Zjednoczone Emiraty Arabskie",
        "JP" => "Japonia",
        _ => "Irlandia",
    }
}

/// The client of the order at a position.
fn buyer(panel: &Panel, index: u64, order: &Order) -> Option<Client> {
    let who = match order.customer {
        0 if panel.stock.is_by_guest(index) => Who::Guest(index),
        0 => return None,
        customer => Who::User(customer - 1),
    };
    let position = panel.client_position(panel.id_of(who)?)?;
    Some(panel.client(position))
}

/// Writes the order at a position as the gate of finished or of unfinished orders gives it.
pub fn write(panel: &Panel, index: u64, out: &mut Vec<u8>) {
    let order = panel.stock.order(index);
    let is_finished = order.status != Status::Draft;
    let client = buyer(panel, index, &order);
    let source = Source::of(panel, index);
    let items = items(panel, index, &order);
    let costs = costs(panel, index, &order, &items);
    let shop = if panel.shops > 1 && panel.chance(8, index).per_mille(200) { 2 } else { 1 };
    let login = client.as_ref().map_or("", |client| client.login.as_str());
    let word = match status(panel, index) {
        UNFINISHED => "new",
        word => word,
    };
    object(out, |row| {
        row.text("orderId", &format!("{login}-{}", order.id))
            .text("orderBridgeNote", "")
            .number("orderSerialNumber", order.id)
            .text(
                "orderType",
                match (order.buyer.company.is_empty(), source) {
                    (false, Source::Shop) => "t",
                    (true, Source::Panel) => "r",
                    (false, _) => "p",
                    _ => "n",
                },
            )
            .object("clientResult", |result| people(result, panel, index, &order, client.as_ref(), source))
            .object("orderDetails", |details| {
                let zone = &panel.zone;
                details
                    .text("apiFlag", "none")
                    .text("orderStatus", word)
                    .text("dropshippingOrderStatus", "")
                    .text("orderConfirmation", "email")
                    .text("orderAddDate", &zone.time(order.created));
                match (order.completed, index % 2) {
                    (Some(at), _) => details.text("orderDispatchDate", &zone.time(at)),
                    (None, 0) => details.raw("orderDispatchDate", "0"),
                    (None, _) => details.raw("orderDispatchDate", "null"),
                };
                if is_finished {
                    let received = order.completed.filter(|_| !index.is_multiple_of(4)).map(|_| order.modified);
                    details.text("receivedDate", &received.map(|at| zone.time(at)).unwrap_or_default());
                }
                details
                    .number("orderPrepareTime", 86_400)
                    .text("clientNoteToOrder", order.note)
                    .text("clientNoteToCourier", "")
                    .object("payments", |payments| money(payments, &order, &costs, is_finished));
                prepaids(details, panel, &order, costs.total());
                details.object("orderSourceResults", |results| source_of(results, &order, source, shop, is_finished));
                auction(details, index, source, is_finished);
                details.object("dispatch", |dispatch| {
                    let (id, name) = courier(order.shipping.map(|(method, _)| method));
                    dispatch
                        .number("courierId", id)
                        .text("courierName", name)
                        .flag("courierWebserviceOnly", false)
                        .text("deliveryPackageId", "")
                        .text("deliveryDate", "")
                        .text("deliveryDateAdditional", "")
                        .text("estimatedDeliveryDate", "")
                        .number("deliveryWeight", 600);
                });
                details.objects("productsResults", items.iter().enumerate(), |line, (place, item)| {
                    product(line, place, item, &order, is_finished);
                });
                details
                    .text("productRemovedInStock", "y")
                    .number("stockId", 1)
                    .text("clientRequestInvoice", "n")
                    .number("clientDeliveryAddressId", order.id + 20)
                    .text("orderNote", "")
                    .text("orderOperatorLogin", "")
                    .raw("orderPackingPersonLogin", "null");
                if is_finished {
                    details
                        .text("purchaseDate", &zone.date(order.created))
                        .text("orderChangeDate", &zone.time(order.modified));
                }
                details.number("subscriptionId", 0);
                if let Some(coupon) = order.coupon {
                    details.object("discountCode", |code| {
                        code.text("campaignId", "12")
                            .text("discountCodeName", coupon)
                            .text("discountCodeValue", "0.00");
                    });
                }
                if panel.chance(9, index).per_mille(20) {
                    details.object("discountCard", |card| {
                        card.text("discountCardName", "Karta stałego klienta");
                    });
                }
            });
        if panel.chance(10, index).per_mille(3) {
            row.objects("errors", [()], |error, ()| {
                error.number("faultCode", 1).text("faultString", "Nie udało się odczytać dokumentów sprzedaży");
            });
        } else {
            row.raw("errors", "[]");
        }
    });
}

fn people(result: &mut Object<'_>, panel: &Panel, index: u64, order: &Order, client: Option<&Client>, source: Source) {
    let person = &order.buyer;
    let is_finished = order.status != Status::Draft;
    let street = [person.street.as_str(), person.street_2.as_str()].join(" ").trim_end().to_owned();
    let country = person.country.code;
    let is_pickup = order.shipping.is_some_and(|(method, _)| method == "inpost" || method == "local_pickup");
    result.object("clientBillingAddress", |address| {
        address
            .text("clientFirstName", &person.first)
            .text("clientLastName", &person.last)
            .text("clientNip", client.map_or("", |client| client.nip.as_str()))
            .text("clientFirm", &person.company)
            .text("clientStreet", &street)
            .text("clientZipCode", &person.postal_code)
            .text("clientCity", &person.city)
            .text("clientCountryName", country_name(country))
            .raw("clientNipUeVerified", "null")
            .text("clientCountryId", &country.to_ascii_lowercase())
            .text("clientPhone1", &person.phone)
            .text("clientPhone2", "")
            .text("clientProvinceId", "")
            .text("clientProvince", "");
    });
    result.object("clientDeliveryAddress", |address| {
        let street = if is_pickup { "Paczkomat WAW123M, ul. Długa 1" } else { street.as_str() };
        address
            .text("clientDeliveryAddressId", &(order.id + 20).to_string())
            .text("clientDeliveryAddressFirstName", &person.first)
            .text("clientDeliveryAddressLastName", &person.last)
            .text("clientDeliveryAddressFirm", &person.company)
            .text("clientDeliveryAddressStreet", street)
            .text("clientDeliveryAddressZipCode", &person.postal_code)
            .text("clientDeliveryAddressCity", &person.city)
            .text("clientDeliveryAddressCountry", country_name(country))
            // Upper case here, lower case above.
            .text("clientDeliveryAddressCountryId", country)
            .text("clientDeliveryAddressPhone1", &person.phone)
            .text("clientDeliveryAddressPhone2", "")
            .text("clientDeliveryAddressProvinceId", "")
            .text("clientDeliveryAddressProvince", "")
            .text("clientDeliveryAddressType", if is_pickup { "pickupPoint" } else { "client" })
            .number("clientDeliveryAddressPickupPointInternalId", if is_pickup { 8801 } else { 0 });
    });
    if is_pickup && is_finished {
        result.object("clientPickupPointAddress", |point| {
            point
                .number("pickupPointId", 8801)
                .text("externalPickupPointId", "WAW123M")
                .text("city", "Warszawa")
                .text("street", "ul. Długa 1")
                .text("zipCode", "00-238")
                .text("description", "przy sklepie")
                .raw("latitude", "52.24")
                .raw("longitude", "21.01")
                .text("name", "WAW123M");
        });
    }
    if !person.company.is_empty() && panel.chance(11, index).per_mille(300) {
        result.object("payerAddress", |payer| {
            payer
                .text("payerAddressId", &(order.id + 21).to_string())
                .text("payerAddressFirstName", &person.first)
                .text("payerAddressLastName", &person.last)
                .text("payerAddressFirm", &person.company)
                .text("payerAddressNip", "1111111111")
                .text("payerAddressStreet", &street)
                .text("payerAddressZipCode", &person.postal_code)
                .text("payerAddressCity", &person.city)
                .text("payerAddressCountry", country_name(country))
                .text("payerAddressCountryId", country)
                .text("payerAddressPhone", &person.phone);
        });
    }
    // A buyer whom the panel does not know as a client has an e-mail all the same.
    let email = match client {
        Some(client) => client.email.as_str(),
        None if source.knows_email() => person.email.as_str(),
        None => "",
    };
    result.object("clientAccount", |account| {
        account_of(
            account,
            client.map_or(0, |client| client.id),
            client.map_or("", |client| client.login.as_str()),
            email,
            client.map_or("", |client| client.phone.as_str()),
            client.map_or("", |client| client.code.as_str()),
        );
    });
    if is_finished {
        result.object("endClientAccount", |account| account_of(account, 0, "", "", "", ""));
    }
}

fn account_of(account: &mut Object<'_>, id: u64, login: &str, email: &str, phone: &str, code: &str) {
    account
        .number("clientId", id)
        .text("clientLogin", login)
        .text("clientEmail", email)
        .text("clientPhone1", phone)
        .text("clientPhone2", "")
        .text("clientCodeExternal", code);
}

fn money(payments: &mut Object<'_>, order: &Order, costs: &Costs, is_finished: bool) {
    let currency = order.currency;
    let kind = match order.payment.0 {
        "cod" => "cash_on_delivery",
        "bacs" if !order.buyer.company.is_empty() => "tradecredit",
        _ => "prepaid",
    };
    payments.text("orderPaymentType", kind);
    if is_finished {
        payments.number("orderPaymentDays", if kind == "tradecredit" { 14 } else { 0 });
    }
    let (scale, rate) = rate(currency);
    payments.number("orderRebatePercent", if order.coupon.is_some() { 10 } else { 0 });
    payments.object("orderCurrency", |own| {
        let amount = |value| amount(value, currency.decimals);
        own.text("currencyId", currency.code)
            .raw("orderCurrencyValue", &rate)
            .number("orderCurrencyScale", scale)
            .number(if is_finished { "billingCurrencyRate" } else { "orderCurrencyPanelRate" }, 1)
            .raw("orderProductsCost", &amount(costs.products))
            .raw("orderDeliveryCost", &amount(costs.delivery))
            .raw("orderPayformCost", &amount(costs.payform))
            .raw("orderInsuranceCost", &amount(costs.insurance));
    });
    payments.object("orderBaseCurrency", |base| {
        let amount = |value| amount(in_base(value, currency), 2);
        let tax = order.buyer.country.tax;
        base.text(if is_finished { "billingCurrency" } else { "currencyId" }, "PLN")
            .raw("orderProductsCost", &amount(costs.products))
            .raw("orderDeliveryCost", &amount(costs.delivery))
            .number("orderDeliveryVat", tax)
            .raw("orderPayformCost", &amount(costs.payform))
            .number("orderPayformVat", tax)
            .raw("orderInsuranceCost", &amount(costs.insurance))
            .number("orderInsuranceVat", tax);
    });
    payments.text("orderWorthCalculateType", "gross");
    payments.text("orderVatExists", if order.buyer.country.tax == 0 { "n" } else { "y" });
}

fn prepaids(details: &mut Object<'_>, panel: &Panel, order: &Order, total: i64) {
    let noted = order.created + PAYMENT_NOTED;
    let mut payments = Vec::new();
    match (order.paid, order.status) {
        _ if order.payment.0 == "cod" && order.paid.is_none() => {}
        (_, Status::Cancelled | Status::Failed) => payments.push(("payment", "c", total)),
        // Half before, half after: what is paid is a sum.
        (Some(_), _) if order.id.is_multiple_of(9) => {
            payments.push(("advance", "y", total / 2));
            payments.push(("payment", "y", total - total / 2));
        }
        (Some(_), _) => payments.push(("payment", "y", total)),
        (None, _) => payments.push(("payment", "n", total)),
    }
    if order.status == Status::Refunded {
        payments.push(("repayment", "y", total));
    }
    details.objects("prepaids", payments.into_iter().enumerate(), |payment, (place, (kind, status, value))| {
        let at = panel.zone.time(noted);
        payment
            .number("prepaidId", order.id * 10 + place as u64)
            .number("paymentOrdinalNumber", place as u64 + 1)
            .text("paymentNumber", &format!("{}-{}", order.id, place + 1))
            .text("paymentAddDate", &at)
            .text("paymentModifiedDateByClient", ZERO_TIME)
            .text("paymentModifiedDateByShop", &at)
            .text("paymentStatus", status)
            .text("paymentType", kind)
            .number("payformId", if order.payment.0 == "cod" { 1 } else { 21 })
            .text("payformName", order.payment.1)
            .text("payformAccount", "")
            .raw("paymentValue", &amount(value, order.currency.decimals))
            .text("currencyId", order.currency.code);
    });
}

fn source_of(results: &mut Object<'_>, order: &Order, source: Source, shop: u64, is_finished: bool) {
    results.text("orderSourceType", source.name()).number("shopId", shop);
    match source {
        Source::Auction => results.text("auctionsServiceName", "allegro"),
        _ => results.raw("auctionsServiceName", "null"),
    };
    results.object("orderSourceDetails", |details| {
        details
            .text("orderSourceType", source.name())
            .text("orderSourceName", &shop_name(shop))
            .number("orderSourceTypeId", 2)
            .number("orderSourceId", 1)
            .number("entryProductIdBeforeOrder", order.lines.first().map_or(0, |line| line.product))
            .text("sourcePageUrl", order.origin.as_ref().map_or("", |_| "https://www.google.com/"));
        if is_finished {
            match source {
                Source::Api | Source::Marketplace => {
                    details.text("orderExternalId", &format!("EXT-{}", order.id));
                }
                _ => {
                    details.raw("orderExternalId", "null");
                }
            }
            details.text("fresh", "n").text("fulfillment", "n");
        }
    });
    results.raw("preorderSourcesDetails", "[]");
}

fn auction(details: &mut Object<'_>, index: u64, source: Source, is_finished: bool) {
    if !matches!(source, Source::Auction | Source::Marketplace) {
        details.raw("auctionInfo", "{}");
        return;
    }
    details.object("auctionInfo", |info| {
        info.text("auctionClientId", &(40_000 + index).to_string())
            .text("auctionClientLogin", &format!("kupujacy_{index}"));
        if is_finished {
            info.objects("auctionItemsIds", [index], |item, id| {
                item.text("auctionItemId", &(90_000_000 + id).to_string());
            })
            .text("auctionClientEmail", &format!("k{index}+{:x}@relay.marketplace.example", index * 7919));
        } else {
            info.number("auctionItemId", 90_000_000 + index);
        }
    });
}

/// Couriers: number and name.
pub const COURIERS: [(u64, &str, bool); 4] = [
    (100_001, "Kurier DPD", false),
    (100_002, "Nova Poshta", true),
    (100_003, "Odbiór osobisty", true),
    (100_148, "InPost Paczkomaty", true),
];

fn courier(method: Option<&str>) -> (u64, &'static str) {
    let place = match method {
        Some("nova_poshta") => 1,
        Some("local_pickup") => 2,
        Some("inpost") => 3,
        _ => 0,
    };
    (COURIERS[place].0, COURIERS[place].1)
}

fn product(line: &mut Object<'_>, place: usize, item: &Item<'_>, order: &Order, is_finished: bool) {
    let currency = order.currency;
    let tax = order.buyer.country.tax;
    let net = |gross: i64| (gross * 200 + 100 + tax) / (2 * (100 + tax));
    let base = in_base(item.unit, currency);
    line.number("productId", item.product)
        .text("productName", item.name)
        .text("productCode", item.code)
        .text("sizeId", &item.size.0)
        .text("sizePanelName", item.size.1)
        .text("productSizeCodeExternal", &item.size_code)
        .number("stockId", 1)
        .raw("productQuantity", &amount(item.quantity, 1))
        .number("productWeight", 300)
        .number("productVat", tax)
        .text("productVatFree", "n")
        .raw("productPanelPrice", &amount(base, 2))
        .raw("productPanelPriceNet", &amount(net(base), 2))
        .raw("productOrderPrice", &amount(item.unit, currency.decimals))
        .raw("productOrderPriceNet", &amount(net(item.unit), currency.decimals));
    if is_finished {
        line.raw("productOrderPriceBaseCurrency", &amount(base, 2))
            .raw("productOrderPriceNetBaseCurrency", &amount(net(base), 2));
    }
    line.text("remarksToProduct", "")
        .text("orderSalesMode", item.mode)
        .number("bundleId", item.bundle)
        .text("productSerialNumbers", "")
        .text("productOrderAdditional", "")
        .number("basketPosition", place as u64 + 1);
}

/// All orders, unfinished ones in a class of their own.
pub struct Orders(pub Arc<Panel>);

impl Base for Orders {
    fn rows(&self) -> usize {
        self.0.stock.orders() as usize
    }

    fn head(&self, position: usize) -> Head {
        let (stock, index) = (&self.0.stock, position as u64);
        let created = stock.placed(index);
        let settled = created + PAYMENT_NOTED;
        Head { id: stock.order_id(index), created, modified: stock.order_modified(index), settled }
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.0.stock.order_index(id).map(|index| index as usize)
    }

    fn class(&self, position: usize) -> String {
        status(&self.0, position as u64).to_owned()
    }

    fn owner(&self, position: usize) -> u64 {
        let index = position as u64;
        let who = match self.0.stock.order_customer(index) {
            0 if self.0.stock.is_by_guest(index) => Who::Guest(index),
            0 => return 0,
            customer => Who::User(customer - 1),
        };
        self.0.id_of(who).unwrap_or_default()
    }

    fn owned(&self, _owner: u64) -> Option<Vec<usize>> {
        None
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        write(&self.0, position as u64, out);
    }

    fn is_in_step(&self) -> bool {
        true
    }
}

/// The head of an order as its row says it.
pub fn head_of(row: &Value, panel: &Panel) -> Head {
    let moment = |pointer: &str| row.pointer(pointer).and_then(Value::as_str).and_then(|text| panel.zone.read(text));
    let created = moment("/orderDetails/orderAddDate").unwrap_or_default();
    let payments = row.pointer("/orderDetails/prepaids").and_then(Value::as_array);
    let settled = payments
        .into_iter()
        .flatten()
        .filter_map(|payment| payment["paymentModifiedDateByShop"].as_str())
        .filter_map(|text| panel.zone.read(text))
        .max();
    Head {
        id: row["orderSerialNumber"].as_u64().unwrap_or_default(),
        created,
        modified: moment("/orderDetails/orderChangeDate").unwrap_or(created),
        settled: settled.unwrap_or_default(),
    }
}

/// What an order costs by its own row, in its currency's hundredths; for tests.
pub fn total_of(row: &Value) -> Option<i64> {
    let costs = row.pointer("/orderDetails/payments/orderCurrency")?;
    let hundredths = |name: &str| Some((costs[name].as_f64()? * 100.0).round() as i64);
    Some(
        hundredths("orderProductsCost")?
            + hundredths("orderDeliveryCost")?
            + hundredths("orderPayformCost")?
            + hundredths("orderInsuranceCost")?,
    )
}
