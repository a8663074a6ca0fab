//! The gates of products, categories, menus, dictionaries and the system that read. May use the state.

use super::gate::Refusal;
use super::goods::{self, Asked, Goods};
use super::orders::COURIERS;
use super::params::{MOST, Page, Params, Query, list, object, only, text, texts, wrapped};
use super::people_rows::{amount, shop_name};
use super::reads::{Answer, Shape, Time, Within, answer, select, trimmed, window};
use super::shop::Shop;
use super::zone::Precision;
use crate::sandbox::php::to_bytes;
use crate::sandbox::stock::people::CURRENCIES;
use crate::sandbox::table::{Filter, Head};
use serde_json::{Value, json};

const EMPTY: &str = "Wyszukiwarka towarów: zwrócono pusty wynik";
const NO_PARAMETERS: &str = "Wyszukiwarka towarów: nie podano żadnych parametrów";

const PARAMS: [&str; 12] = [
    "returnProducts",
    "returnElements",
    "skipDefaultProduct",
    "showPromotionsPrices",
    "productDate",
    "productParams",
    "productIsVisible",
    "productSearchingLangId",
    "productSearchingCurrencyId",
    "returnPricesCurrency",
    "resultsPage",
    "resultsLimit",
];

/// Elements of a product by the names under which they are asked for.
const ELEMENTS: [(&str, &str); 26] = [
    ("lang_data", "productDescriptionsLangData"),
    ("adding_time", "productAddingTime"),
    ("deleted", "productIsDeleted"),
    ("code", "productDisplayedCode"),
    ("producer_id", "producerId"),
    ("producer_name", "producerName"),
    ("category_id", "categoryId"),
    ("category_name", "categoryName"),
    ("modification_time", "productModificationTime"),
    ("currency", "currencyId"),
    ("retail_price", "productRetailPrice"),
    ("retail_price", "productPromoRetailPrice"),
    ("wholesale_price", "productWholesalePrice"),
    ("strikethrough_retail_price", "productStrikethroughRetailPrice"),
    ("vat", "productVat"),
    ("weight", "productWeight"),
    ("visible", "productIsVisible"),
    ("icon", "productIcon"),
    ("pictures", "productImages"),
    ("unit", "productUnit"),
    ("version_data", "productVersion"),
    ("shops", "productShops"),
    ("quantities", "productStocksData"),
    ("sizes_attributes", "productSizesAttributes"),
    ("sizes", "productSizes"),
    ("menu", "productMenu"),
];

const FURTHER_ELEMENTS: [(&str, &str); 5] = [
    ("parameters", "productParameters"),
    ("product_type", "productType"),
    ("price_changed_time", "productPriceChangedTime"),
    ("quantity_changed_time", "productQuantityChangedTime"),
    ("vat_free", "productVatFree"),
];

fn keeps(name: &str, wanted: &[String]) -> bool {
    let by_names = |(short, long): &(&str, &str)| *long == name && wanted.iter().any(|one| one == short);
    name == "productId"
        || wanted.iter().any(|one| one == name)
        || ELEMENTS.iter().chain(&FURTHER_ELEMENTS).any(by_names)
}

/// `POST /products/products/search`
pub fn products(shop: &Shop, body: &Value) -> Answer {
    let params = wrapped(body).ok_or_else(|| Refusal::spelt_fault(3, NO_PARAMETERS))?;
    only(params, &PARAMS)?;
    let page = Page::camel(params)?;
    let mut asked = Asked { promotions: text(params, "showPromotionsPrices")? == Some("y"), ..Asked::default() };
    for name in ["returnPricesCurrency", "productSearchingCurrencyId"] {
        let Some(currency) = text(params, name)? else { continue };
        if !CURRENCIES.iter().any(|known| known.code == currency) {
            return Err(Refusal::spelt_fault(4, "Wyszukiwarka towarów: nieznana waluta zwracanych cen"));
        }
        if name == "returnPricesCurrency" {
            asked.currency = currency.to_owned();
        }
    }
    let class = match text(params, "returnProducts")? {
        None | Some("active") => "active",
        Some("deleted") => "deleted",
        Some("in_trash") => "in_trash",
        Some(_) => return Err(Refusal::unreadable("returnProducts")),
    };
    let zone = &shop.panel.zone;
    let mut within = Within::new(zone, super::zone::Window::default(), Time::Modified);
    if let Some(dates) = object(params, "productDate")? {
        only(dates, &["productDateMode", "productDateBegin", "productDateEnd"])?;
        let (begin, end) = (text(dates, "productDateBegin")?, text(dates, "productDateEnd")?);
        let time = match text(dates, "productDateMode")? {
            Some("added") => Time::Created,
            Some("modified" | "price_changed") => Time::Modified,
            Some("quantity_changed" | "modified_and_quantity_changed" | "finished" | "resumed") => Time::Settled,
            _ => return Err(Refusal::unreadable("productDateMode")),
        };
        within = Within::new(zone, window(zone, begin, end, Precision::Days)?, time);
    }
    let exact = |head: &Head| within.holds(head);
    let visible = text(params, "productIsVisible")?.map(|word| word == "y");
    let seen = |row: &Value| {
        let goods = row.as_u64().and_then(|id| shop.product(id));
        goods.is_some_and(|goods| visible.is_none_or(|wanted| wanted == goods.visible))
    };
    let mut filter = Filter {
        classes: Some(vec![class.to_owned()]),
        ids: sought(params)?,
        head: within.is_exact_needed().then_some(&exact as &dyn Fn(&Head) -> bool),
        row: visible.is_some().then_some(&seen as &dyn Fn(&Value) -> bool),
        ..Filter::default()
    };
    within.bound(&mut filter);
    // The template stands before all others where nobody leaves it out, and at some panels whatever is asked for.
    let is_wanted = shop.lists_template || text(params, "skipDefaultProduct")? != Some("y");
    let has_template = is_wanted && class == "active" && filter.ids.is_none();
    let mut rows = Vec::new();
    let (mut offset, mut limit) = (page.offset(), page.limit);
    if has_template {
        if offset == 0 {
            let mut row = Vec::new();
            goods::template(&mut row);
            rows.push(row);
            limit -= 1;
        } else {
            offset -= 1;
        }
    }
    let selection = shop.products.select(crate::sandbox::table::OrderBy::Id, false, &filter, offset, limit);
    rows.extend(selection.ids.iter().filter_map(|id| shop.product(*id)).map(|goods| row_of(shop, &goods, &asked)));
    if rows.is_empty() {
        return Err(Refusal::spelt_fault(2, EMPTY));
    }
    let elements = texts(params, "returnElements")?;
    let rows = trimmed(rows, elements.as_deref(), keeps);
    Ok(answer(&Shape::Camel("results"), selection.total + usize::from(has_template), page, &rows, ""))
}

fn sought(params: &Params) -> Result<Option<Vec<u64>>, Refusal> {
    let Some(products) = list(params, "productParams")? else { return Ok(None) };
    let ids = products.iter().map(|one| one["productId"].as_u64().ok_or_else(|| Refusal::unreadable("productParams")));
    ids.collect::<Result<_, _>>().map(Some)
}

fn row_of(shop: &Shop, product: &Goods, asked: &Asked) -> Vec<u8> {
    let mut row = Vec::with_capacity(3072);
    goods::product(&mut row, product, &shop.panel, &shop.tree, asked);
    row
}

/// `GET /products/products`
pub fn products_by_number(shop: &Shop, query: &Query) -> Answer {
    query.only(&["productIds"])?;
    let ids = query.numbers("productIds")?.ok_or_else(|| Refusal::spelt_fault(3, NO_PARAMETERS))?;
    let rows: Vec<Vec<u8>> = ids
        .iter()
        .filter_map(|id| shop.product(*id))
        .filter(|goods| goods.class == "active")
        .map(|goods| row_of(shop, &goods, &Asked::default()))
        .collect();
    if rows.is_empty() {
        return Err(Refusal::spelt_fault(2, EMPTY));
    }
    let page = Page { page: 0, limit: MOST };
    Ok(answer(&Shape::Camel("results"), rows.len(), page, &rows, ""))
}

/// `GET /products/stocks`
pub fn stocks(shop: &Shop, query: &Query) -> Answer {
    query.only(&["identType", "products"])?;
    if query.get("identType") != Some("id") {
        return Err(Refusal::unreadable("identType"));
    }
    let ids = query.numbers("products")?.ok_or_else(|| Refusal::fault(3, NO_PARAMETERS))?;
    let results: Vec<Value> = ids
        .iter()
        .map(|id| {
            let ident = json!({ "identType": "id", "identValue": id.to_string() });
            let Some(goods) = shop.product(*id) else {
                let error = json!({ "faultCode": 1, "faultString": "Nie znaleziono towaru" });
                return json!({ "ident": ident, "error": error });
            };
            let sizes: Vec<Value> = goods
                .sizes
                .iter()
                .filter_map(|size| {
                    let quantity: Value = serde_json::from_str(&amount(size.pieces?, 1)).ok()?;
                    Some(json!({
                        "size_id": size.id, "size_name": size.name, "product_sizecode": size.code, "quantity": quantity,
                    }))
                })
                .collect();
            json!({ "ident": ident, "quantities": { "stocks": [{ "stock_id": 1, "sizes": sizes }] } })
        })
        .collect();
    Ok(to_bytes(&json!({ "results": results })))
}

/// `GET /products/categories`
pub fn categories(shop: &Shop, query: &Query) -> Answer {
    query.only(&["ids", "languages", "results_page", "results_limit", "return_last_changed_time"])?;
    let page = Page::of(query, "results_page", "results_limit")?;
    let ids = query.numbers("ids")?;
    let languages = query.list("languages").unwrap_or_default();
    let found: Vec<_> = shop.tree.0.iter().filter(|one| ids.as_ref().is_none_or(|ids| ids.contains(&one.id))).collect();
    let rows: Vec<Vec<u8>> = found
        .iter()
        .skip(page.offset())
        .take(page.limit)
        .map(|category| {
            let sold = &shop.panel.sold_products().products;
            let count = sold.iter().filter(|product| product.categories.first() == Some(&category.id)).count();
            let mut row = Vec::new();
            goods::category(&mut row, category, count, &shop.panel, &languages);
            row
        })
        .collect();
    // A time that is spelt as no other.
    let changed = shop.panel.zone.time(shop.tree_changed).replace(':', "-");
    let between = format!("\"last_changed_time\":\"{changed}\",");
    Ok(answer(&Shape::Snake("categories"), found.len(), page, &rows, &between))
}

/// `GET /menu/menu`
pub fn menu(shop: &Shop, query: &Query) -> Answer {
    query.only(&["shop_id", "menu_id", "lang_id", "textid_separator"])?;
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let shop_id = number("shop_id").filter(|id| (1..=shop.panel.shops as u64).contains(id));
    let shop_id = shop_id.ok_or_else(|| Refusal::spelt_fault(2, "Niepoprawny identyfikator sklepu"))?;
    let lang = query.get("lang_id").filter(|lang| ["pol", "eng"].contains(lang));
    let lang = lang.ok_or_else(|| Refusal::spelt_fault(3, "Niepoprawny identyfikator języka"))?;
    if number("menu_id") != Some(1) {
        return Err(Refusal::spelt_fault(4, "Niepoprawny identyfikator menu"));
    }
    let separator = query.get("textid_separator").unwrap_or("\\");
    let mut out = b"{\"result\":[".to_vec();
    for (place, category) in shop.tree.0.iter().filter(|one| goods::is_in_menu(one.id)).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        goods::menu_node(&mut out, category, &shop.tree, shop_id, lang, separator);
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// The dictionaries and what the system says of itself.
pub fn dictionary(shop: &Shop, path: &str, version: u32, query: &Query, overloaded: bool) -> Answer {
    let shops = || (1..=shop.panel.shops as u64).map(|id| (id, shop_name(id)));
    let answered = match path {
        "payments/forms" => {
            query.only(&["activeOnly"])?;
            let forms = json!([{ "id": 21, "name": "Przelewy24" }, { "id": 1, "name": "Pobranie" }]);
            json!({ "result": { "payment_forms": forms } })
        }
        "couriers/couriers" => {
            query.only(&["countryCode", "resultsPage", "resultsLimit"])?;
            query.get("countryCode").ok_or_else(|| Refusal::unreadable("countryCode"))?;
            let page = Page::of(query, "resultsPage", "resultsLimit")?;
            let rows: Vec<Vec<u8>> = COURIERS
                .iter()
                .skip(page.offset())
                .take(page.limit)
                .map(|(id, name, has_points)| {
                    to_bytes(&json!({ "courierId": id.to_string(), "name": name, "hasPickupPoints": has_points }))
                })
                .collect();
            return Ok(answer(&Shape::Camel("result"), COURIERS.len(), page, &rows, ""));
        }
        "deliveries/profiles" => {
            query.only(&["resultsPage", "resultsLimit"])?;
            let page = Page::of(query, "resultsPage", "resultsLimit")?;
            let row = to_bytes(&json!({ "id": 1, "name": "Domyślny" }));
            let rows = if page.page == 0 { vec![row] } else { Vec::new() };
            return Ok(answer(&Shape::Camel("deliveryProfiles"), 1, page, &rows, ""));
        }
        "shops/currencies" => {
            let currencies: Vec<Value> = CURRENCIES
                .iter()
                .map(|currency| json!({ "currency": currency.code, "allowedForOrders": true }))
                .collect();
            let shops: Vec<Value> = shops()
                .map(|(id, name)| {
                    json!({ "shopId": id, "shopName": name, "inherited": id > 1, "currencies": currencies })
                })
                .collect();
            json!({ "shops": shops })
        }
        "shops/languages" => {
            let languages = json!([
                { "id": "pol", "name": "polski", "isoCode": "pl", "enabled": true, "isDefault": true },
                { "id": "eng", "name": "English", "isoCode": "en", "enabled": true, "isDefault": false },
            ]);
            let shops: Vec<Value> = shops()
                .map(
                    |(id, name)| json!({ "shopId": id, "shopName": name, "inherited": id > 1, "languages": languages }),
                )
                .collect();
            json!({ "shops": shops })
        }
        "orders/statuses" if version >= 7 => json!({ "statuses": [
            { "id": 1, "parentId": null, "panelName": "nieobsłużone" },
            { "id": 6, "parentId": null, "panelName": "w realizacji" },
            { "id": 101, "parentId": 6, "panelName": "w realizacji - grawer" },
        ] }),
        "system/config" => {
            let shops: Vec<Value> = shops()
                .map(|(id, name)| {
                    json!({ "shop_id": id, "shop_name": name, "shop_lang_id_default": "pol", "currency_id": "PLN" })
                })
                .collect();
            json!({
                "client_id": 0,
                "dedicated_server": false,
                "languages": [
                    { "lang_id": "pol", "lang_name": "polski" }, { "lang_id": "eng", "lang_name": "English" },
                ],
                "panel_lang_id_default": "pol",
                "panel_basecurrency_id": "PLN",
                "stocks": [{ "stock_id": 1, "stock_name": "M1" }],
                "shops": shops,
            })
        }
        "system/serverTime" => json!({ "time": shop.now() }),
        "system/serverLoad" => json!({ "serverLoadStatus": if overloaded { "overloaded" } else { "normal" } }),
        _ => return Err(Refusal::not_found()),
    };
    Ok(to_bytes(&answered))
}

/// A page of products by their list alone; for figures.
pub fn active_products(shop: &Shop) -> usize {
    let filter = Filter { classes: Some(vec!["active".to_owned()]), ..Filter::default() };
    select(&shop.products, &filter, Page { page: 0, limit: 1 }).total
}
