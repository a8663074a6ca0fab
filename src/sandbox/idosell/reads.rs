//! The gates of people and orders that read. May use the state.
//!
//! Each gate has faults and spellings of its own: camelCase with `results` or `Results` or `clientsResults`, snake_case
//! with `clients`; an empty page is fault 2 on most, and no gate says how many rows there are in the same type twice.

use super::gate::Refusal;
use super::orders::UNFINISHED;
use super::params::{Page, Params, Query, list, numbers, object, only, text, texts, wrapped};
use super::people::Channel;
use super::people_rows::{self, news_class_is};
use super::shop::Shop;
use super::zone::{Precision, Window, Zone};
use crate::sandbox::php::to_bytes;
use crate::sandbox::table::{Bounds, Filter, Head, OrderBy, Selection, Table};
use serde_json::{Value, json};

/// What a gate answers.
pub type Answer = Result<Vec<u8>, Refusal>;

/// Which of a row's times a window is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// When it was made.
    Created,
    /// When it was changed.
    Modified,
    /// The third one: a payment, a quantity, an end.
    Settled,
}

/// A window laid over a list.
pub struct Within<'a> {
    zone: &'a Zone,
    window: Window,
    time: Time,
}

impl<'a> Within<'a> {
    /// A window over one of the times.
    pub fn new(zone: &'a Zone, window: Window, time: Time) -> Self {
        Self { zone, window, time }
    }

    /// Whether a row lies in it.
    pub fn holds(&self, head: &Head) -> bool {
        let at = match self.time {
            Time::Created => head.created,
            Time::Modified => head.modified,
            Time::Settled => head.settled,
        };
        self.zone.holds_exactly(&self.window, at)
    }

    /// Whether it has to be asked row by row.
    pub fn is_exact_needed(&self) -> bool {
        self.window.is_exact_needed()
    }

    /// Lays its bounds over a filter.
    pub fn bound(&self, filter: &mut Filter<'_>) {
        let bounds = match self.time {
            Time::Created => &mut filter.created,
            Time::Modified => &mut filter.modified,
            Time::Settled => &mut filter.settled,
        };
        *bounds = narrowed(*bounds, self.window.bounds);
    }
}

fn narrowed(one: Bounds, other: Bounds) -> Bounds {
    let later = |one: Option<i64>, other: Option<i64>| one.max(other);
    let earlier = |one: Option<i64>, other: Option<i64>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Bounds { after: later(one.after, other.after), before: earlier(one.before, other.before) }
}

/// Reads a window; what is no date is refused.
///
/// # Errors
/// 422.
pub fn window(zone: &Zone, begin: Option<&str>, end: Option<&str>, precision: Precision) -> Result<Window, Refusal> {
    zone.window(begin, end, precision).map_err(|text| Refusal::unreadable(&text))
}

/// A page of a list, by its numbers.
pub fn select(table: &Table, filter: &Filter<'_>, page: Page) -> Selection {
    table.select(OrderBy::Id, false, filter, page.offset(), page.limit)
}

/// The two spellings of a page's figures, and the name of its rows.
pub enum Shape {
    /// `resultsPage`
    Camel(&'static str),
    /// `results_page`
    Snake(&'static str),
}

/// An answer of rows: figures and the rows themselves.
pub fn answer(shape: &Shape, total: usize, page: Page, rows: &[Vec<u8>], between: &str) -> Vec<u8> {
    let (names, list) = match shape {
        Shape::Camel(list) => (["resultsNumberAll", "resultsNumberPage", "resultsPage", "resultsLimit"], list),
        Shape::Snake(list) => (["results_number_all", "results_number_page", "results_page", "results_limit"], list),
    };
    // On every second page it is a text.
    let quote = if page.page % 2 == 1 { "\"" } else { "" };
    let pages = total.div_ceil(page.limit);
    let mut out = Vec::with_capacity(rows.iter().map(Vec::len).sum::<usize>() + 256);
    let figures = format!(
        "{{\"{}\":{quote}{total}{quote},\"{}\":{pages},\"{}\":{},\"{}\":{},{between}\"{list}\":[",
        names[0], names[1], names[2], page.page, names[3], page.limit
    );
    out.extend_from_slice(figures.as_bytes());
    for (position, row) in rows.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        out.extend_from_slice(row);
    }
    out.extend_from_slice(b"]}");
    out
}

/// Leaves of every row what was asked for, and its key.
pub fn trimmed(rows: Vec<Vec<u8>>, wanted: Option<&[String]>, keeps: impl Fn(&str, &[String]) -> bool) -> Vec<Vec<u8>> {
    let Some(wanted) = wanted else { return rows };
    let trim = |row: Vec<u8>| match serde_json::from_slice::<Value>(&row) {
        Ok(Value::Object(mut fields)) => {
            fields.retain(|name, _| keeps(name, wanted));
            to_bytes(&Value::Object(fields))
        }
        _ => row,
    };
    rows.into_iter().map(trim).collect()
}

const EMPTY: u32 = 2;
const NO_PARAMETERS: u32 = 3;
const BLOCKED: u32 = 4;
const BLOCKED_TEXT: &str = "Sklep został zablokowany z powodu nieopłaconych faktur";

/// A panel that was blocked for unpaid invoices, as a gate says it.
pub fn blocked(path: &str) -> Refusal {
    match path {
        "products/products/search" | "products/products" => Refusal::spelt_fault(5, BLOCKED_TEXT),
        "products/categories" | "shops/currencies" | "shops/languages" => Refusal::spelt_fault(2, BLOCKED_TEXT),
        "system/config" | "system/serverTime" => Refusal::fault(2, BLOCKED_TEXT),
        "payments/forms" => Refusal::spelt_fault(6, BLOCKED_TEXT),
        _ => Refusal::fault(BLOCKED, BLOCKED_TEXT),
    }
}

fn empty(what: &str) -> Refusal {
    Refusal::fault(EMPTY, &format!("{what}: zwrócono pusty wynik"))
}

/// A call without parameters.
pub fn no_parameters(what: &str) -> Refusal {
    Refusal::fault(NO_PARAMETERS, &format!("{what}: nie podano żadnych parametrów"))
}

const CLIENT_PARAMS: [&str; 12] = [
    "clientsIds",
    "clientCodesExternal",
    "clientTextSearch",
    "clientIsActive",
    "clientLastPurchaseDate",
    "clientsLastModificationDate",
    "clientRegistrationDate",
    "returnElements",
    "resultsPage",
    "resultsLimit",
    "shopId",
    "clientHasTradeCredit",
];

/// `GET /clients/clients`
pub fn clients(shop: &mut Shop, query: &Query) -> Answer {
    const WHAT: &str = "Wyszukiwarka klientów";
    query.only(&CLIENT_PARAMS)?;
    if query.is_empty() {
        return Err(no_parameters(WHAT));
    }
    let page = Page::of(query, "resultsPage", "resultsLimit")?;
    let days = |name: &str| (query.inner(name, &format!("{name}Begin")), query.inner(name, &format!("{name}End")));
    let bought = days("clientLastPurchaseDate");
    let last: Option<std::collections::BTreeMap<u64, i64>> = match bought {
        (None, None) => None,
        _ => Some(shop.purchases().iter().map(|(client, bought)| (*client, bought.last)).collect()),
    };
    let zone = &shop.panel.zone;
    let (begin, end) = days("clientsLastModificationDate");
    let modified = Within::new(zone, window(zone, begin, end, Precision::Seconds)?, Time::Modified);
    let (begin, end) = days("clientRegistrationDate");
    let registered = Within::new(zone, window(zone, begin, end, Precision::Days)?, Time::Created);
    let (begin, end) = bought;
    let purchased = window(zone, begin, end, Precision::Days)?;
    let exact = |head: &Head| modified.holds(head) && registered.holds(head);
    let codes = query.list("clientCodesExternal");
    let sought = query.get("clientTextSearch").map(str::to_lowercase);
    let wanted_shop = match query.get("shopId") {
        Some(id) => Some(id.parse::<usize>().map_err(|_| Refusal::unreadable("shopId"))?),
        None => None,
    };
    // Everybody is active in every shop of the panel.
    if wanted_shop.is_some_and(|shop_id| shop_id == 0 || shop_id > shop.panel.shops) {
        return Err(empty(WHAT));
    }
    let accepts = |row: &Value| {
        let code = row["clientCodeExternal"].as_str().unwrap_or_default();
        let bought_then = last.as_ref().is_none_or(|last| {
            let at = row["clientId"].as_u64().and_then(|id| last.get(&id)).copied().unwrap_or_default();
            at != 0
                && purchased.bounds.after.is_none_or(|after| at > after)
                && purchased.bounds.before.is_none_or(|before| at < before)
        });
        codes.as_ref().is_none_or(|codes| !code.is_empty() && codes.iter().any(|wanted| wanted == code))
            && sought.as_ref().is_none_or(|sought| row.to_string().to_lowercase().contains(sought))
            && bought_then
    };
    let classes: &[&str] = match query.get("clientIsActive") {
        Some("yes") => &["account", "guest"],
        Some("no") => &["inactive"],
        Some(_) => return Err(Refusal::unreadable("clientIsActive")),
        None => &["account", "guest", "inactive"],
    };
    let looks_inside = codes.is_some() || sought.is_some() || last.is_some();
    let is_exact = modified.is_exact_needed() || registered.is_exact_needed();
    let mut filter = Filter {
        classes: Some(classes.iter().map(|class| (*class).to_owned()).collect()),
        ids: query.numbers("clientsIds")?,
        head: is_exact.then_some(&exact as &dyn Fn(&Head) -> bool),
        row: looks_inside.then_some(&accepts as &dyn Fn(&Value) -> bool),
        ..Filter::default()
    };
    modified.bound(&mut filter);
    registered.bound(&mut filter);
    let selection = select(&shop.clients, &filter, page);
    if selection.rows.is_empty() {
        return Err(empty(WHAT));
    }
    let elements = query.list("returnElements");
    let rows = trimmed(selection.rows, elements.as_deref(), keeps_of_client);
    Ok(answer(&Shape::Camel("results"), selection.total, page, &rows, ""))
}

/// The elements of a client that can be asked for are those of the inner objects, too.
fn keeps_of_client(name: &str, wanted: &[String]) -> bool {
    let inner: &[&str] = match name {
        "clientId" => return true,
        "clientBillingAddress" => &[
            "clientFirstName",
            "clientLastName",
            "clientNip",
            "clientFirm",
            "clientStreet",
            "clientZipCode",
            "clientCity",
            "clientCountryId",
            "clientRegionId",
            "clientProvinceId",
            "clientPhone1",
            "clientPhone2",
        ],
        "clientPersonalData" => &["clientBirthDate"],
        "clientPreferences" => &["langId", "currencyId", "clientIsWholesaler", "clientVatPreferences"],
        "clientActiveInShops" => &["shops"],
        _ => &[],
    };
    wanted.iter().any(|one| one == name || inner.contains(&one.as_str()))
}

/// `POST /clients/newsletter/{email,sms}/search`
pub fn newsletter(shop: &Shop, channel: Channel, body: &Value) -> Answer {
    const WHAT: &str = "Newsletter";
    let params = wrapped(body).ok_or_else(|| no_parameters(WHAT))?;
    only(params, &["shops", "language", "date", "return_elements", "results_page", "results_limit"])?;
    let page = Page::snake(params)?;
    let zone = &shop.panel.zone;
    let dates = object(params, "date")?;
    let (begin, end) = match dates {
        Some(dates) => (text(dates, "from")?, text(dates, "to")?),
        None => (None, None),
    };
    let modified = Within::new(zone, window(zone, begin, end, Precision::Seconds)?, Time::Modified);
    let exact = |head: &Head| modified.holds(head);
    let table = shop.newsletter(channel);
    let mut sought = Vec::new();
    for wanted in list(params, "shops")?.into_iter().flatten() {
        let wanted = wanted.as_object().ok_or_else(|| Refusal::unreadable("shops"))?;
        only(wanted, &["shop_id", "approval", "registered"])?;
        let at = match wanted.get("shop_id") {
            None => None,
            Some(id) => {
                Some(id.as_u64().filter(|id| *id > 0).ok_or_else(|| Refusal::unreadable("shop_id"))? as usize - 1)
            }
        };
        let word = |name: &str| match text(wanted, name)? {
            word @ (None | Some("y" | "n")) => Ok(word),
            Some(_) => Err(Refusal::unreadable(name)),
        };
        sought.push((at, word("approval")?, word("registered")?));
    }
    let is_dated = !modified.window.is_open();
    let classes = table
        .class_names()
        .into_iter()
        .filter(|class| match sought.is_empty() {
            true => news_class_is(class, None, None, None),
            false => sought.iter().any(|(at, approval, registered)| news_class_is(class, *at, *approval, *registered)),
        })
        // Who never said anything has no date.
        .filter(|class| !is_dated || class.split_once('|').is_some_and(|(said, _)| said.contains(['y', 'n'])))
        .collect();
    let language = text(params, "language")?;
    let speaks = |row: &Value| language.is_none_or(|language| row["language"] == json!(language));
    let mut filter = Filter {
        classes: Some(classes),
        head: modified.is_exact_needed().then_some(&exact as &dyn Fn(&Head) -> bool),
        row: language.is_some().then_some(&speaks as &dyn Fn(&Value) -> bool),
        ..Filter::default()
    };
    modified.bound(&mut filter);
    let selection = select(table, &filter, page);
    if selection.rows.is_empty() {
        return Err(empty(WHAT));
    }
    let elements = texts(params, "return_elements")?;
    let keeps = |name: &str, wanted: &[String]| name == "client_number" || wanted.iter().any(|one| one == name);
    let rows = trimmed(selection.rows, elements.as_deref(), keeps);
    Ok(answer(&Shape::Snake("clients"), selection.total, page, &rows, ""))
}

/// `POST /clients/crm/search`
pub fn crm(shop: &mut Shop, body: &Value) -> Answer {
    const WHAT: &str = "CRM";
    let params = wrapped(body).ok_or_else(|| no_parameters(WHAT))?;
    only(
        params,
        &[
            "clientLogin",
            "clientEmail",
            "clientRegistrationDate",
            "returnElements",
            "resultsPage",
            "resultsLimit",
            "orders",
        ],
    )?;
    let page = Page::camel(params)?;
    let zone = shop.panel.zone.clone();
    let (begin, end) = match object(params, "clientRegistrationDate")? {
        Some(dates) => (text(dates, "clientRegistrationDateBegin")?, text(dates, "clientRegistrationDateEnd")?),
        None => (None, None),
    };
    let registered = Within::new(&zone, window(&zone, begin, end, Precision::Days)?, Time::Created);
    let exact = |head: &Head| registered.holds(head);
    let has_orders =
        match object(params, "orders")?.map(|orders| text(orders, "clientHasOrders")).transpose()?.flatten() {
            None => None,
            Some("yes") => Some(true),
            Some("no") => Some(false),
            Some(_) => return Err(Refusal::unreadable("clientHasOrders")),
        };
    let purchases = shop.purchases().clone();
    let (login, email) = (text(params, "clientLogin")?, text(params, "clientEmail")?);
    let accepts = |row: &Value| {
        let is = |name: &str, wanted: Option<&str>| wanted.is_none_or(|wanted| row[name] == json!(wanted));
        let bought = row["clientId"].as_u64().is_some_and(|id| purchases.contains_key(&id));
        is("clientLogin", login) && is("clientEmail", email) && has_orders.is_none_or(|wanted| wanted == bought)
    };
    let looks_inside = login.is_some() || email.is_some() || has_orders.is_some();
    let mut filter = Filter {
        classes: Some(["account", "guest", "inactive"].map(str::to_owned).to_vec()),
        head: registered.is_exact_needed().then_some(&exact as &dyn Fn(&Head) -> bool),
        row: looks_inside.then_some(&accepts as &dyn Fn(&Value) -> bool),
        ..Filter::default()
    };
    registered.bound(&mut filter);
    let selection = select(&shop.clients, &filter, page);
    if selection.rows.is_empty() {
        return Err(empty(WHAT));
    }
    let rows = selection.ids.iter().filter_map(|id| shop.person(*id)).map(|client| {
        let mut row = Vec::new();
        people_rows::crm(&mut row, &client, purchases.get(&client.id).copied().unwrap_or_default(), &shop.panel);
        row
    });
    let elements = texts(params, "returnElements")?;
    let keeps = |name: &str, wanted: &[String]| name == "clientId" || wanted.iter().any(|one| one == name);
    let rows = trimmed(rows.collect(), elements.as_deref(), keeps);
    Ok(answer(&Shape::Camel("clientsResults"), selection.total, page, &rows, ""))
}

const ORDERS: &str = "Wyszukiwarka zamówień";

const ORDER_PARAMS: [&str; 12] = [
    "orderPrepaidStatus",
    "ordersStatuses",
    "orderPaymentType",
    "orderType",
    "ordersIds",
    "ordersSerialNumbers",
    "clients",
    "ordersRange",
    "orderSource",
    "orderExternalId",
    "resultsPage",
    "resultsLimit",
];

/// `POST /orders/orders/search` and `POST /orders/unfinished/search`
pub fn orders(shop: &Shop, body: &Value, unfinished: bool) -> Answer {
    let params = wrapped(body).ok_or_else(|| no_parameters(ORDERS))?;
    only(params, &ORDER_PARAMS)?;
    let page = Page::camel(params)?;
    // There is no "everything": a page is no parameter.
    if !params.keys().any(|name| !name.starts_with("results")) {
        return Err(no_parameters(ORDERS));
    }
    let zone = &shop.panel.zone;
    let nothing = Params::new();
    let range = object(params, "ordersRange")?.unwrap_or(&nothing);
    let mut within = Within::new(zone, Window::default(), Time::Modified);
    let mut dispatched = None;
    if let Some(dates) = object(range, "ordersDateRange")? {
        only(dates, &["ordersDateType", "ordersDateBegin", "ordersDateEnd"])?;
        let (begin, end) = (text(dates, "ordersDateBegin")?, text(dates, "ordersDateEnd")?);
        let window = window(zone, begin, end, Precision::Seconds)?;
        match text(dates, "ordersDateType")? {
            Some("add") => within = Within::new(zone, window, Time::Created),
            Some("modified") => within = Within::new(zone, window, Time::Modified),
            Some("payment" | "last_payments_operation" | "declared_payments") => {
                within = Within::new(zone, window, Time::Settled);
            }
            Some("dispatch") => dispatched = Some(window),
            _ => return Err(Refusal::unreadable("ordersDateType")),
        }
    }
    let mut serials = (0, u64::MAX);
    if let Some(numbers) = object(range, "ordersSerialNumberRange")? {
        let number = |name: &str, usual| match numbers.get(name) {
            None => Ok(usual),
            Some(value) => value.as_u64().ok_or_else(|| Refusal::unreadable(name)),
        };
        serials = (number("ordersSerialNumberBegin", 0)?, number("ordersSerialNumberEnd", u64::MAX)?);
    }
    let exact = |head: &Head| within.holds(head) && (serials.0..=serials.1).contains(&head.id);
    let is_exact = within.is_exact_needed() || serials != (0, u64::MAX);

    let conditions = OrderConditions::read(params, dispatched.is_some())?;
    let accepts = |row: &Value| {
        let sent =
            row.pointer("/orderDetails/orderDispatchDate").and_then(Value::as_str).and_then(|text| zone.read(text));
        let was_sent = dispatched.as_ref().is_none_or(|window| {
            sent.is_some_and(|at| {
                window.bounds.after.is_none_or(|after| at > after)
                    && window.bounds.before.is_none_or(|before| at < before)
            })
        });
        was_sent && conditions.hold(row)
    };
    let statuses = texts(params, "ordersStatuses")?;
    let classes = match (unfinished, statuses) {
        (true, _) => vec![UNFINISHED.to_owned()],
        (false, Some(statuses)) => statuses.into_iter().filter(|status| status != UNFINISHED).collect(),
        (false, None) => shop.orders.class_names().into_iter().filter(|class| class != UNFINISHED).collect(),
    };
    let mut filter = Filter {
        classes: Some(classes),
        ids: numbers(params, "ordersSerialNumbers")?,
        head: is_exact.then_some(&exact as &dyn Fn(&Head) -> bool),
        owners: conditions.owners.clone(),
        row: conditions.look_inside.then_some(&accepts as &dyn Fn(&Value) -> bool),
        ..Filter::default()
    };
    within.bound(&mut filter);
    let selection = select(&shop.orders, &filter, page);
    if selection.rows.is_empty() {
        return Err(empty(ORDERS));
    }
    Ok(answer(&Shape::Camel("Results"), selection.total, page, &selection.rows, ""))
}

/// What only a look into an order tells.
struct OrderConditions {
    look_inside: bool,
    owners: Option<Vec<u64>>,
    logins: Vec<String>,
    emails: Vec<String>,
    shops: Option<Vec<u64>>,
    prepaid: Option<String>,
    types: Option<&'static [&'static str]>,
    payment: Option<String>,
    external: Option<String>,
    ids: Option<Vec<String>>,
}

impl OrderConditions {
    fn read(params: &Params, look_inside: bool) -> Result<Self, Refusal> {
        let (mut owners, mut logins, mut emails) = (Vec::new(), Vec::new(), Vec::new());
        for client in list(params, "clients")?.into_iter().flatten() {
            let client = client.as_object().ok_or_else(|| Refusal::unreadable("clients"))?;
            only(client, &["clientLogin", "clientId", "clientEmail", "type"])?;
            owners.extend(client.get("clientId").and_then(Value::as_u64));
            logins.extend(text(client, "clientLogin")?.map(str::to_owned));
            emails.extend(text(client, "clientEmail")?.map(str::to_owned));
        }
        let types: Option<&'static [&'static str]> = match text(params, "orderType")? {
            None => None,
            Some("wholesale") => Some(&["p", "t"]),
            Some("retail") => Some(&["n", "r"]),
            Some("dropshipping" | "deliverer") => Some(&[]),
            Some(_) => return Err(Refusal::unreadable("orderType")),
        };
        let prepaid = text(params, "orderPrepaidStatus")?.map(str::to_owned);
        if prepaid.as_deref().is_some_and(|word| !["unpaid", "restored", "waiting"].contains(&word)) {
            return Err(Refusal::unreadable("orderPrepaidStatus"));
        }
        let source = object(params, "orderSource")?;
        let shops = source.map(|source| numbers(source, "shopsIds")).transpose()?.flatten();
        let payment = text(params, "orderPaymentType")?.map(str::to_owned);
        let external = text(params, "orderExternalId")?.map(str::to_owned);
        let ids = texts(params, "ordersIds")?;
        let look_inside = look_inside
            || !logins.is_empty()
            || !emails.is_empty()
            || shops.is_some()
            || prepaid.is_some()
            || types.is_some()
            || payment.is_some()
            || external.is_some()
            || ids.is_some();
        let owners = Some(owners).filter(|owners| !owners.is_empty());
        Ok(Self { look_inside, owners, logins, emails, shops, prepaid, types, payment, external, ids })
    }

    fn hold(&self, row: &Value) -> bool {
        let account = |name: &str| row.pointer(&format!("/clientResult/clientAccount/{name}")).and_then(Value::as_str);
        let among = |wanted: &[String], name: &str| {
            wanted.is_empty() || account(name).is_some_and(|known| wanted.iter().any(|one| one == known))
        };
        let details = &row["orderDetails"];
        let payments = details["prepaids"].as_array().map(Vec::as_slice).unwrap_or_default();
        let has = |name: &str, word: &str| payments.iter().any(|payment| payment[name] == json!(word));
        let prepaid = match self.prepaid.as_deref() {
            Some("unpaid") => !has("paymentStatus", "y"),
            Some("restored") => has("paymentType", "repayment"),
            Some(_) => has("paymentStatus", "n"),
            None => true,
        };
        let is_text = |wanted: &Option<String>, value: &Value| {
            wanted.as_ref().is_none_or(|wanted| value.as_str() == Some(wanted.as_str()))
        };
        let shop = details.pointer("/orderSourceResults/shopId").and_then(Value::as_u64);
        let external = details.pointer("/orderSourceResults/orderSourceDetails/orderExternalId");
        among(&self.logins, "clientLogin")
            && among(&self.emails, "clientEmail")
            && prepaid
            && self.shops.as_ref().is_none_or(|shops| shop.is_some_and(|shop| shops.contains(&shop)))
            && self.types.is_none_or(|types| row["orderType"].as_str().is_some_and(|word| types.contains(&word)))
            && is_text(&self.payment, &details["payments"]["orderPaymentType"])
            && is_text(&self.external, external.unwrap_or(&Value::Null))
            && self
                .ids
                .as_ref()
                .is_none_or(|ids| row["orderId"].as_str().is_some_and(|id| ids.iter().any(|one| one == id)))
    }
}

/// `GET /orders/orders`
pub fn orders_by_number(shop: &Shop, query: &Query) -> Answer {
    query.only(&["ordersSerialNumbers", "ordersIds", "orderExternalId"])?;
    if query.is_empty() {
        return Err(no_parameters(ORDERS));
    }
    let external = query.get("orderExternalId").map(str::to_owned);
    let ids = query.list("ordersIds");
    let accepts = |row: &Value| {
        let found = row.pointer("/orderDetails/orderSourceResults/orderSourceDetails/orderExternalId");
        external.as_deref().is_none_or(|wanted| found.and_then(Value::as_str) == Some(wanted))
            && ids.as_ref().is_none_or(|ids| row["orderId"].as_str().is_some_and(|id| ids.iter().any(|one| one == id)))
    };
    let classes = shop.orders.class_names().into_iter().filter(|class| class != UNFINISHED).collect();
    let filter = Filter {
        classes: Some(classes),
        ids: query.numbers("ordersSerialNumbers")?,
        row: (external.is_some() || ids.is_some()).then_some(&accepts as &dyn Fn(&Value) -> bool),
        ..Filter::default()
    };
    let page = Page { page: 0, limit: super::params::MOST };
    let selection = select(&shop.orders, &filter, page);
    if selection.rows.is_empty() {
        return Err(empty(ORDERS));
    }
    Ok(answer(&Shape::Camel("Results"), selection.total, page, &selection.rows, ""))
}

/// `GET /orders/history`
pub fn history(shop: &Shop, query: &Query) -> Answer {
    query.only(&["orderSerialNumber"])?;
    let id = query.numbers("orderSerialNumber")?.and_then(|ids| ids.first().copied());
    let id = id.ok_or_else(|| Refusal::unreadable("orderSerialNumber"))?;
    let row = shop.order(id).ok_or_else(|| empty("Historia zamówienia"))?;
    let details = &row["orderDetails"];
    let mut events = vec![json!({
        "eventDate": details["orderAddDate"], "username": "", "eventDetails": "Złożono zamówienie",
    })];
    if details["orderChangeDate"] != details["orderAddDate"] {
        let status = details["orderStatus"].as_str().unwrap_or_default();
        events.push(json!({
            "eventDate": details["orderChangeDate"],
            "username": "operator",
            "eventDetails": format!("Zmiana statusu: {status}"),
        }));
    }
    Ok(to_bytes(&json!({ "historyEvents": events })))
}

/// `GET /returns/returns`
pub fn returns(shop: &Shop, query: &Query) -> Answer {
    const WHAT: &str = "Zwroty";
    query.only(&[
        "order_sn",
        "return_id",
        "return_ids",
        "range",
        "status",
        "stock_id",
        "results_page",
        "results_limit",
    ])?;
    let page = Page::of(query, "results_page", "results_limit")?;
    let date = |name: &str| query.get(&format!("range[date][{name}]"));
    let (order, id, ids) = (query.numbers("order_sn")?, query.numbers("return_id")?, query.numbers("return_ids")?);
    let is_filtered = order.is_some()
        || id.is_some()
        || ids.is_some()
        || date("date_begin").is_some()
        || date("date_end").is_some()
        || query.get("status").is_some()
        || query.get("stock_id").is_some();
    if !is_filtered {
        return Err(no_parameters(WHAT));
    }
    let zone = &shop.panel.zone;
    let time = match date("dates_type") {
        None | Some("date_add") => Time::Created,
        Some("date_end") => Time::Settled,
        Some(_) => return Err(Refusal::unreadable("dates_type")),
    };
    let within = Within::new(zone, window(zone, date("date_begin"), date("date_end"), Precision::Seconds)?, time);
    let exact = |head: &Head| within.holds(head);
    // All there are were accepted, and lie in the first stock.
    let is_theirs = |name: &str, own: &str| query.get(name).is_none_or(|wanted| wanted == own);
    let mut filter = Filter {
        ids: ids.or(id),
        owners: order,
        head: within.is_exact_needed().then_some(&exact as &dyn Fn(&Head) -> bool),
        ..Filter::default()
    };
    within.bound(&mut filter);
    let selection = select(&shop.returns, &filter, page);
    if selection.rows.is_empty() || !is_theirs("status", "2") || !is_theirs("stock_id", "1") {
        return Err(empty(WHAT));
    }
    Ok(answer(&Shape::Snake("returns"), selection.total, page, &selection.rows, ""))
}

/// `GET /clients/tags`
pub fn tags(shop: &Shop, query: &Query) -> Answer {
    query.only(&["clientId"])?;
    let id = query.numbers("clientId")?.and_then(|ids| ids.first().copied());
    let id = id.ok_or_else(|| no_parameters("Tagi"))?;
    shop.person(id).ok_or_else(|| empty("Tagi"))?;
    let tags = shop.tags.get(&id).map(Vec::as_slice).unwrap_or_default();
    let tags: Vec<Value> =
        tags.iter().map(|(tag, name, value)| json!({ "tagName": name, "tagId": tag, "tagValue": value })).collect();
    Ok(to_bytes(&json!({ "results": tags })))
}
