//! Lists: parameters, pages, headers, and the quirks of each list (sheet, section 4). May use the shop's state.

use super::answers::{Answer, WpError};
use super::params::{Params, Refusals, trim_fields};
use super::shop::{Entity, Shop};
use super::site::Site;
use crate::sandbox::php::to_bytes;
use crate::sandbox::stock::chance::{Chance, Subject};
use crate::sandbox::table::{Bounds, Filter, OrderBy};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A list as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `/customers`
    Customers,
    /// `/orders`
    Orders,
    /// `/refunds`
    Refunds,
    /// `/orders/{id}/refunds`
    RefundsOf(u64),
    /// `/products`
    Products,
    /// `/products/{id}/variations`
    VariationsOf(u64),
    /// `/products/categories`
    Categories,
    /// `/wp/v2/users`, with all fields or the public ones
    SiteUsers {
        /// Whether e-mails and roles are shown.
        in_full: bool,
    },
}

/// The statuses that orders can be asked for by name; the shop's own come to these.
pub const ORDER_STATUSES: [&str; 12] = [
    "any",
    "trash",
    "auto-draft",
    "pending",
    "processing",
    "on-hold",
    "completed",
    "cancelled",
    "refunded",
    "failed",
    "checkout-draft",
    "shipped",
];

const PRODUCT_STATUSES: [&str; 7] = ["any", "future", "trash", "draft", "pending", "private", "publish"];

const POST_ORDERS: [&str; 6] = ["date", "id", "include", "title", "slug", "modified"];
const PRODUCT_ORDERS: [&str; 10] =
    ["date", "id", "include", "title", "slug", "modified", "price", "popularity", "rating", "menu_order"];

impl List {
    fn entity(self) -> Entity {
        match self {
            List::Customers | List::SiteUsers { .. } => Entity::Users,
            List::Orders => Entity::Orders,
            List::Refunds | List::RefundsOf(_) => Entity::Refunds,
            List::Products => Entity::Products,
            List::VariationsOf(_) => Entity::Variations,
            List::Categories => Entity::Categories,
        }
    }

    fn orders(self) -> (&'static [&'static str], &'static str, &'static str) {
        match self {
            List::Customers => (&["id", "include", "name", "registered_date"], "name", "asc"),
            List::Orders | List::Refunds | List::RefundsOf(_) => (&POST_ORDERS, "date", "desc"),
            List::Products | List::VariationsOf(_) => (&PRODUCT_ORDERS, "date", "desc"),
            List::Categories => {
                (&["id", "include", "name", "slug", "term_group", "description", "count"], "name", "asc")
            }
            List::SiteUsers { .. } => {
                (&["id", "include", "name", "registered_date", "slug", "email", "url"], "name", "asc")
            }
        }
    }

    /// Whether a page past the end says that there is nothing at all.
    fn forgets_totals_past_the_end(self) -> bool {
        matches!(self.entity(), Entity::Orders | Entity::Refunds)
    }

    /// Whether the list knows `after`, `before`, `modified_after`, `modified_before`. The others take no notice of them.
    fn has_dates(self) -> bool {
        !matches!(self.entity(), Entity::Users | Entity::Categories)
    }
}

fn order_by(list: List, name: &str) -> OrderBy {
    match (name, list.entity()) {
        ("include", _) => OrderBy::Include,
        ("date" | "registered_date", _) => OrderBy::Created,
        ("modified", _) => OrderBy::Modified,
        // An order's title is made of its date.
        ("title" | "slug", Entity::Orders | Entity::Refunds) => OrderBy::Created,
        ("title", _) | ("name", Entity::Categories) => OrderBy::Field("name"),
        ("name", _) => OrderBy::Field("username"),
        ("slug", Entity::Users) => OrderBy::Field("username"),
        ("slug", _) => OrderBy::Field("slug"),
        ("email", _) => OrderBy::Field("email"),
        ("price", _) => OrderBy::Field("price"),
        ("count", _) => OrderBy::Field("count"),
        ("description", _) => OrderBy::Field("description"),
        ("menu_order", _) => OrderBy::Field("menu_order"),
        ("popularity", _) => OrderBy::Field("total_sales"),
        ("rating", _) => OrderBy::Field("average_rating"),
        _ => OrderBy::Id,
    }
}

/// A list's parameters, checked before anybody asks who the caller is, as WordPress does.
#[derive(Debug)]
pub struct Asked {
    list: List,
    page: i64,
    per_page: i64,
    offset: Option<i64>,
    order: OrderBy,
    descending: bool,
    created: Bounds,
    modified: Bounds,
    include: Option<Vec<u64>>,
    exclude: Vec<u64>,
    classes: Option<Vec<String>>,
    owners: Option<Vec<u64>>,
    equal: Vec<(&'static str, String)>,
    with_products: bool,
    fields: Option<Vec<String>>,
    decimals: Option<u32>,
}

/// Reads a list's parameters.
///
/// # Errors
/// 400 rest_invalid_param with all that is wrong.
pub fn ask(list: List, params: &Params, shop: &Shop, site: &Site) -> Result<Asked, WpError> {
    let mut refusals = Refusals::default();
    let page = refusals.integer(params, "page", 1, 1, None);
    let per_page = refusals.integer(params, "per_page", 10, 1, Some(100));
    let offset = params.get("offset").is_some().then(|| refusals.integer(params, "offset", 0, 0, None));
    let (known_orders, default_order, default_direction) = list.orders();
    let order = refusals.word(params, "orderby", default_order, known_orders).to_owned();
    let direction = refusals.word(params, "order", default_direction, &["asc", "desc"]).to_owned();
    let include = refusals.ids(params, "include").filter(|ids| !ids.is_empty());
    let exclude = refusals.ids(params, "exclude").unwrap_or_default();

    let dates_are_gmt = params.is_on("dates_are_gmt");
    let (mut created, mut modified) = (Bounds::default(), Bounds::default());
    if list.has_dates() {
        let mut bound = |name| refusals.date(params, name, site, dates_are_gmt);
        created = Bounds { after: bound("after"), before: bound("before") };
        modified = Bounds { after: bound("modified_after"), before: bound("modified_before") };
    }

    let table = shop.table(list.entity());
    let mut owners = None;
    let mut equal = Vec::new();
    let classes = match list {
        List::Orders => {
            owners = refusals.ids(params, "customer");
            Some(order_classes(params, &table.class_names(), &mut refusals))
        }
        List::Products => {
            equal.extend(["sku", "slug", "type"].into_iter().filter_map(|name| equality(params, name)));
            let status = refusals.word(params, "status", "any", &PRODUCT_STATUSES);
            Some(if status == "any" { all_but_trash(&table.class_names()) } else { vec![status.to_owned()] })
        }
        List::Customers => {
            equal.extend(equality(params, "email"));
            match params.get("role").unwrap_or("customer") {
                "all" => None,
                role => Some(vec![role.to_owned()]),
            }
        }
        List::SiteUsers { .. } => params.list("roles").filter(|roles| !roles.is_empty()),
        List::Refunds => {
            owners = refusals.ids(params, "parent_id");
            None
        }
        List::RefundsOf(owner) | List::VariationsOf(owner) => {
            owners = Some(vec![owner]);
            None
        }
        List::Categories => {
            owners = refusals.ids(params, "parent");
            equal.extend(equality(params, "slug"));
            None
        }
    };
    refusals.check()?;
    Ok(Asked {
        list,
        page,
        per_page,
        offset,
        order: order_by(list, &order),
        descending: direction == "desc",
        created,
        modified,
        include,
        exclude,
        classes,
        owners: owners.filter(|owners| !owners.is_empty()),
        equal,
        with_products: params.is_on("hide_empty"),
        fields: params.list("_fields").filter(|fields| !fields.is_empty()),
        decimals: decimals(params),
    })
}

/// The decimals of `dp`, which orders and refunds know.
pub fn decimals(params: &Params) -> Option<u32> {
    params.get("dp").and_then(|text| text.parse().ok()).filter(|decimals| *decimals != 2 && *decimals <= 12)
}

fn equality(params: &Params, name: &'static str) -> Option<(&'static str, String)> {
    params.get(name).filter(|value| !value.is_empty()).map(|value| (name, value.to_owned()))
}

fn all_but_trash(known: &[String]) -> Vec<String> {
    known.iter().filter(|class| *class != "trash").cloned().collect()
}

/// `any` holds drafts and the shop's own statuses and leaves out the trash, also beside `trash`.
fn order_classes(params: &Params, occurring: &[String], refusals: &mut Refusals) -> Vec<String> {
    let wanted = params.list("status").filter(|wanted| !wanted.is_empty()).unwrap_or_else(|| vec!["any".to_owned()]);
    let mut known: Vec<&str> = ORDER_STATUSES.to_vec();
    known.extend(occurring.iter().map(String::as_str).filter(|status| !ORDER_STATUSES.contains(status)));
    for (position, status) in wanted.iter().enumerate() {
        if !known.contains(&status.as_str()) {
            let list = super::params::spoken_list(&known);
            refusals.add("status", "rest_not_in_enum", format!("status[{position}] is not one of {list}."));
        }
    }
    if wanted.iter().any(|status| status == "any") { all_but_trash(occurring) } else { wanted }
}

/// Answers a list.
pub fn answer(asked: &Asked, params: &Params, path: &str, shop: &Shop, site: &Site) -> Answer {
    let list = asked.list;
    let accepts = |row: &Value| {
        let is_equal = |(name, wanted): &(&str, String)| match row.get(name) {
            Some(Value::String(text)) => text.trim().eq_ignore_ascii_case(wanted),
            _ => false,
        };
        asked.equal.iter().all(is_equal) && (!asked.with_products || row["count"].as_u64().unwrap_or_default() > 0)
    };
    let looks_inside = !asked.equal.is_empty() || asked.with_products;
    let filter = Filter {
        classes: asked.classes.clone(),
        created: asked.created,
        modified: asked.modified,
        ids: asked.include.clone(),
        without: asked.exclude.clone(),
        owners: asked.owners.clone(),
        row: looks_inside.then_some(&accepts as &dyn Fn(&Value) -> bool),
        ..Filter::default()
    };
    let per_page = usize::try_from(asked.per_page).unwrap_or(10);
    let page = usize::try_from(asked.page).unwrap_or(1);
    let offset = match asked.offset {
        Some(offset) => usize::try_from(offset).unwrap_or_default(),
        None => page.saturating_sub(1).saturating_mul(per_page),
    };
    let selection = shop.table(list.entity()).select(asked.order, asked.descending, &filter, offset, per_page);

    let is_past_the_end = selection.rows.is_empty() && offset > 0;
    let total = if is_past_the_end && list.forgets_totals_past_the_end() { 0 } else { selection.total };
    let pages = total.div_ceil(per_page);
    let mut body = Vec::with_capacity(selection.rows.iter().map(|row| row.len() + 1).sum::<usize>() + 2);
    body.push(b'[');
    let answer = shop.next_answer();
    for (position, mut row) in selection.rows.into_iter().enumerate() {
        if list == List::Products {
            shuffle_members(&mut row, &mut Chance::new(answer, Subject::Own, selection.ids[position]));
        }
        if position > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&shaped(list, row, selection.ids[position], asked, site));
    }
    body.push(b']');

    let mut answer = Answer::new(body)
        .header("x-wp-total", &total.to_string())
        .header("x-wp-totalpages", &pages.to_string())
        .header("allow", if list == List::Refunds { "GET" } else { "GET, POST" });
    if let Some(link) = link_header(list, params, path, page, pages, is_past_the_end, site) {
        answer = answer.header("link", &link);
    }
    answer
}

/// A product's lists that stand in no order, in an order that is drawn anew for each answer.
fn shuffle_members(row: &mut Vec<u8>, chance: &mut Chance) {
    for name in ["related_ids", "categories", "tags", "brands"] {
        let opening = format!("\"{name}\":[");
        let Some(at) = row.windows(opening.len()).position(|part| part == opening.as_bytes()) else { continue };
        let begin = at + opening.len() - 1;
        let mut lists = serde_json::Deserializer::from_slice(&row[begin..]).into_iter::<Vec<&RawValue>>();
        let Some(Ok(elements)) = lists.next() else { continue };
        let end = begin + lists.byte_offset();
        let mut elements: Vec<&str> = elements.into_iter().map(RawValue::get).collect();
        for last in (1..elements.len()).rev() {
            elements.swap(last, chance.position(last + 1));
        }
        let shuffled = format!("[{}]", elements.join(","));
        row.splice(begin..end, shuffled.into_bytes());
    }
}

fn shaped(list: List, row: Vec<u8>, id: u64, asked: &Asked, site: &Site) -> Vec<u8> {
    let fields = asked.fields.as_deref();
    // A comparison of ids reads millions of these.
    if matches!(fields, Some([only]) if only == "id") && !row.is_empty() && row.first() == Some(&b'{') {
        return format!("{{\"id\":{id}}}").into_bytes();
    }
    let is_plain = fields.is_none() && asked.decimals.is_none() && !matches!(list, List::SiteUsers { .. });
    if is_plain {
        return row;
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(&row) else { return row };
    if let List::SiteUsers { in_full } = list {
        value = site_user(&value, in_full, site);
    }
    if let (Some(decimals), Entity::Orders | Entity::Refunds) = (asked.decimals, list.entity()) {
        round_amounts(&mut value, decimals);
    }
    if let Some(fields) = fields {
        value = trim_fields(&value, fields);
    }
    to_bytes(&value)
}

/// Writes all amounts of an order or refund with so many decimals.
pub fn round_amounts(value: &mut Value, decimals: u32) {
    const AMOUNTS: [&str; 13] = [
        "discount_total",
        "discount_tax",
        "shipping_total",
        "shipping_tax",
        "cart_tax",
        "total",
        "total_tax",
        "subtotal",
        "subtotal_tax",
        "amount",
        "tax_total",
        "shipping_tax_total",
        "discount",
    ];
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match field {
                    Value::String(text) if AMOUNTS.contains(&name.as_str()) => *text = with_decimals(text, decimals),
                    Value::Object(_) | Value::Array(_) => round_amounts(field, decimals),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| round_amounts(item, decimals)),
        _ => {}
    }
}

/// A decimal number with so many decimals, rounded half away from nought; without floating point.
fn with_decimals(text: &str, decimals: u32) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let decimals = decimals as usize;
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let mut kept: Vec<u8> = whole.bytes().chain(fraction.bytes().take(decimals)).collect();
    kept.resize(whole.len() + decimals, b'0');
    if fraction.as_bytes().get(decimals).is_some_and(|next| *next >= b'5') {
        let mut position = kept.len();
        loop {
            if position == 0 {
                kept.insert(0, b'1');
                break;
            }
            position -= 1;
            if kept[position] == b'9' {
                kept[position] = b'0';
            } else {
                kept[position] += 1;
                break;
            }
        }
    }
    let split = kept.len() - decimals;
    let (whole, fraction) = kept.split_at(split);
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    if decimals == 0 { format!("{sign}{}", text(whole)) } else { format!("{sign}{}.{}", text(whole), text(fraction)) }
}

/// A user as the site itself gives it.
pub fn site_user(customer: &Value, in_full: bool, site: &Site) -> Value {
    let text = |name: &str| customer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = customer["id"].clone();
    let (login, role) = (text("username"), text("role"));
    let name = format!("{} {}", text("first_name"), text("last_name"));
    let root = format!("{}/wp-json/wp/v2/users", site.home);
    let mut user = json!({
        "id": id,
        "name": if name.trim().is_empty() { login.clone() } else { name.trim().to_owned() },
        "url": "",
        "description": "",
        "link": format!("{}/author/{login}/", site.home),
        "slug": login,
        "avatar_urls": {
            "24": "https://secure.gravatar.com/avatar/0?s=24",
            "48": "https://secure.gravatar.com/avatar/0?s=48",
            "96": "https://secure.gravatar.com/avatar/0?s=96",
        },
        "meta": if in_full { json!({ "persisted_preferences": [] }) } else { json!([]) },
        "_links": { "self": [{ "href": format!("{root}/{id}") }], "collection": [{ "href": root }] },
    });
    if in_full {
        user["username"] = json!(login);
        user["first_name"] = json!(text("first_name"));
        user["last_name"] = json!(text("last_name"));
        user["email"] = json!(text("email"));
        user["locale"] = json!("pl_PL");
        user["nickname"] = json!(login);
        user["roles"] = json!([role]);
        user["registered_date"] = json!(format!("{}+00:00", text("date_created_gmt")));
        user["capabilities"] = json!({ "read": true, role.clone(): true });
        user["extra_capabilities"] = json!({ role: true });
    }
    user
}

const LINKED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn link_header(
    list: List,
    params: &Params,
    path: &str,
    page: usize,
    pages: usize,
    is_past_the_end: bool,
    site: &Site,
) -> Option<String> {
    let mut links = Vec::new();
    if page > 1 {
        links.push(format!(
            "<{}>; rel=\"prev\"",
            page_url(list, params, path, (page - 1).min(pages), is_past_the_end, site)
        ));
    }
    if page < pages {
        links.push(format!("<{}>; rel=\"next\"", page_url(list, params, path, page + 1, is_past_the_end, site)));
    }
    (!links.is_empty()).then(|| links.join(", "))
}

/// The address of another page. Orders show what the shop made of the parameters: statuses as a list at the end.
fn page_url(list: List, params: &Params, path: &str, page: usize, is_past_the_end: bool, site: &Site) -> String {
    const NOT_SHOWN: [&str; 2] = ["consumer_key", "consumer_secret"];
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut statuses = Vec::new();
    for (name, value) in &params.0 {
        let is_status = name == "status" || name.starts_with("status[");
        if list == List::Orders && is_status {
            statuses.extend(value.split(',').map(str::to_owned));
        } else if value == "false" || NOT_SHOWN.contains(&name.as_str()) || name.starts_with("oauth_") {
            continue;
        } else if list == List::Orders && name == "dates_are_gmt" {
            pairs.push((name.clone(), "1".to_owned()));
        } else if name != "page" {
            pairs.push((name.clone(), value.clone()));
        } else {
            pairs.push((name.clone(), page.to_string()));
        }
    }
    if params.get("page").is_none() {
        pairs.push(("page".to_owned(), page.to_string()));
    }
    for (position, status) in statuses.into_iter().enumerate() {
        pairs.push((format!("status[{position}]"), status));
    }
    if list == List::Orders && !is_past_the_end {
        if params.get("dp").is_none() {
            pairs.push(("dp".to_owned(), "2".to_owned()));
        }
        pairs.push(("context".to_owned(), "view".to_owned()));
    }
    let query: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", utf8_percent_encode(name, LINKED), utf8_percent_encode(value, LINKED)))
        .collect();
    format!("{}{path}?{}", site.home, query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_no_order_are_shuffled_and_keep_what_they_hold() {
        let row = br#"{"id":7,"related_ids":[1,2,3,4,5],"categories":[{"id":1},{"id":2}],"tags":[]}"#;
        let shuffled = |answer| {
            let mut row = row.to_vec();
            shuffle_members(&mut row, &mut Chance::new(answer, Subject::Own, 7));
            row
        };
        assert!((0..10).any(|answer| shuffled(answer) != row.to_vec()));
        for answer in 0..10 {
            let value: Value = serde_json::from_slice(&shuffled(answer)).unwrap();
            let mut related: Vec<u64> = serde_json::from_value(value["related_ids"].clone()).unwrap();
            related.sort_unstable();
            assert_eq!((related, &value["tags"]), (vec![1, 2, 3, 4, 5], &json!([])));
            assert_eq!(value["categories"].as_array().unwrap().len(), 2);
        }
    }

    #[test]
    fn amounts_are_rounded_without_floating_point() {
        assert_eq!(with_decimals("12.345", 2), "12.35");
        assert_eq!(with_decimals("12.5", 0), "13");
        assert_eq!(with_decimals("-9.995", 2), "-10.00");
        assert_eq!(with_decimals("7", 6), "7.000000");
        assert_eq!(with_decimals("", 2), "");
    }
}
