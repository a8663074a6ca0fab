//! The stock's rows in WooCommerce's shape, every field of it (sheet, section 4 and its samples). May use the stock and the
//! site's settings.

use super::site::Site;
use crate::sandbox::php::{Object, object};
use crate::sandbox::stock::catalogue::{Catalogue, Category, Product, Variation};
use crate::sandbox::stock::orders::{Line, Order, Refund, Status};
use crate::sandbox::stock::people::{Currency, Person};
use crate::sandbox::stock::{Role, User};

/// How many products a product is said to be related to.
const RELATED: usize = 5;

/// The version the shop says it has.
pub const VERSION: &str = "9.9.5";

/// The name of a role.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Administrator => "administrator",
        Role::ShopManager => "shop_manager",
        Role::Customer => "customer",
        Role::Subscriber => "subscriber",
    }
}

/// The name of a status.
pub fn status_name(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Processing => "processing",
        Status::OnHold => "on-hold",
        Status::Completed => "completed",
        Status::Cancelled => "cancelled",
        Status::Refunded => "refunded",
        Status::Failed => "failed",
        Status::Draft => "checkout-draft",
        Status::Trash => "trash",
        Status::Shipped => "shipped",
    }
}

/// A name as WordPress gives it out: `&` as an entity, the rest as it is.
fn escaped(name: &str) -> String {
    name.replace('&', "&amp;")
}

/// An amount in the currency's smallest unit as WooCommerce writes it.
fn money(units: i64, currency: Currency) -> String {
    if currency.decimals == 0 {
        return units.to_string();
    }
    cents(units)
}

fn cents(units: i64) -> String {
    let sign = if units < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", units.abs() / 100, units.abs() % 100)
}

/// A price of the catalogue in the shop's own currency (PLN), without needless noughts.
fn price(euro_cents: i64) -> String {
    let text = cents(euro_cents * 430 / 100);
    text.strip_suffix(".00").map(str::to_owned).unwrap_or(text)
}

fn dates(row: &mut Object<'_>, site: &Site, name: &str, moment: Option<i64>) {
    let gmt_name = format!("{name}_gmt");
    match moment {
        Some(moment) => {
            row.text(name, &site.local(moment)).text(&gmt_name, &Site::gmt(moment));
        }
        None => {
            row.raw(name, "null").raw(&gmt_name, "null");
        }
    }
}

fn links(row: &mut Object<'_>, site: &Site, own: &str, collection: &str, others: &[(&str, String)]) {
    let root = format!("{}/wp-json", site.home);
    row.object("_links", |links| {
        links.objects("self", [own], |link, path| {
            link.text("href", &format!("{root}{path}"));
        });
        links.objects("collection", [collection], |link, path| {
            link.text("href", &format!("{root}{path}"));
        });
        for (name, path) in others {
            links.objects(name, [path], |link, path| {
                link.text("href", &format!("{root}{path}"));
            });
        }
    });
}

fn address(row: &mut Object<'_>, name: &str, person: Option<&Person>, is_billing: bool) {
    row.object(name, |address| {
        let field = |pick: fn(&Person) -> &str| person.map(pick).unwrap_or_default().to_owned();
        address
            .text("first_name", &field(|person| &person.first))
            .text("last_name", &field(|person| &person.last))
            .text("company", &field(|person| &person.company))
            .text("address_1", &field(|person| &person.street))
            .text("address_2", &field(|person| &person.street_2))
            .text("city", &field(|person| &person.city))
            .text("state", &field(|person| person.region))
            .text("postcode", &field(|person| &person.postal_code))
            .text("country", &field(|person| person.country.code));
        if is_billing {
            address.text("email", &field(|person| &person.email));
        }
        address.text("phone", &field(|person| &person.phone));
    });
}

fn meta(row: &mut Object<'_>, first_id: u64, entries: &[(String, String)]) {
    row.objects("meta_data", entries.iter().enumerate(), |entry, (position, (key, value))| {
        entry.number("id", first_id + position as u64).text("key", key).text("value", value);
    });
}

/// A customer.
pub fn customer(out: &mut Vec<u8>, user: &User, site: &Site) {
    let person = &user.person;
    let address_of = user.has_address.then_some(person);
    let mut entries: Vec<(String, String)> = Vec::new();
    if let Some(birthday) = &user.birthday {
        entries.push(("birthday".to_owned(), birthday.clone()));
    }
    if let Some((agreed, moment)) = user.consent {
        entries.push(("marketing_consent".to_owned(), if agreed { "yes" } else { "no" }.to_owned()));
        entries.push(("marketing_consent_date".to_owned(), format!("{}Z", Site::gmt(moment))));
    }
    object(out, |row| {
        row.number("id", user.id);
        dates(row, site, "date_created", Some(user.created));
        dates(row, site, "date_modified", user.modified);
        // The account's e-mail may lack where the person's is wrong: WordPress itself accepts only an empty one.
        row.text("email", person.email.trim())
            .text("first_name", &person.first)
            .text("last_name", &person.last)
            .text("role", role_name(user.role))
            .text("username", &person.login);
        address(row, "billing", address_of, true);
        row.object("shipping", |shipping| {
            for name in ["first_name", "last_name", "company", "address_1", "address_2"] {
                shipping.text(name, "");
            }
            for name in ["city", "state", "postcode", "country", "phone"] {
                shipping.text(name, "");
            }
        });
        row.flag("is_paying_customer", user.has_address)
            .text("avatar_url", &format!("https://secure.gravatar.com/avatar/{:032x}?s=96&d=mm&r=g", user.id));
        meta(row, user.id * 20, &entries);
        let own = format!("/wc/v3/customers/{}", user.id);
        links(row, site, &own, "/wc/v3/customers", &[]);
    });
}

/// An order with its refund, if it has one.
pub fn order(out: &mut Vec<u8>, order: &Order, refund: Option<&Refund>, site: &Site) {
    let amount = |units| money(units, order.currency);
    let key = format!("wc_order_{:013x}", order.id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12);
    let line_id = order.id * 10;
    object(out, |row| {
        row.number("id", order.id)
            .number("parent_id", 0)
            .text("status", status_name(order.status))
            .text("currency", order.currency.code)
            .text("version", VERSION)
            .flag("prices_include_tax", true);
        dates(row, site, "date_created", Some(order.created));
        dates(row, site, "date_modified", Some(order.modified));
        row.text("discount_total", &amount(order.discount_total))
            .text("discount_tax", &amount(order.discount_tax))
            .text("shipping_total", &amount(order.shipping_total))
            .text("shipping_tax", &amount(order.shipping_tax))
            .text("cart_tax", &amount(order.total_tax - order.shipping_tax))
            .text("total", &amount(order.total))
            .text("total_tax", &amount(order.total_tax))
            .number("customer_id", order.customer)
            .text("order_key", &key);
        address(row, "billing", Some(&order.buyer), true);
        address(row, "shipping", order.shipping.map(|_| &order.buyer), false);
        row.text("payment_method", order.payment.0)
            .text("payment_method_title", order.payment.1)
            .text("transaction_id", &order.paid.map(|_| format!("tx_{}", order.id)).unwrap_or_default())
            .text("customer_ip_address", &format!("203.0.113.{}", order.id % 254 + 1))
            .text("customer_user_agent", "Mozilla/5.0")
            .text("created_via", if order.status == Status::Draft { "store-api" } else { "checkout" })
            .text("customer_note", order.note);
        dates(row, site, "date_completed", order.completed);
        dates(row, site, "date_paid", order.paid);
        row.text("cart_hash", "").text("number", &order.id.to_string());
        meta(row, order.id * 30, &order_meta(order));
        row.objects("line_items", order.lines.iter().enumerate(), |item, (position, line)| {
            order_line(item, line, line_id + position as u64, order.currency);
        });
        let tax_lines = (order.total_tax > 0).then_some(order.buyer.country);
        row.objects("tax_lines", tax_lines, |item, country| {
            item.number("id", line_id + 8)
                .text("rate_code", &format!("{}-VAT-1", country.code))
                .number("rate_id", 1)
                .text("label", "VAT")
                .flag("compound", false)
                .text("tax_total", &amount(order.total_tax - order.shipping_tax))
                .text("shipping_tax_total", &amount(order.shipping_tax))
                .number("rate_percent", country.tax)
                .raw("meta_data", "[]");
        });
        row.objects("shipping_lines", order.shipping, |item, (method, title)| {
            item.number("id", line_id + 6)
                .text("method_title", title)
                .text("method_id", method)
                .text("instance_id", "5")
                .text("total", &amount(order.shipping_total))
                .text("total_tax", &amount(order.shipping_tax))
                .raw("taxes", "[]")
                .text("tax_status", "taxable")
                .raw("meta_data", "[]");
        });
        row.raw("fee_lines", "[]");
        row.objects("coupon_lines", order.coupon, |item, code| {
            item.number("id", line_id + 7)
                .text("code", code)
                .text("discount", &amount(order.discount_total))
                .text("discount_tax", &amount(order.discount_tax))
                .raw("meta_data", "[]")
                .text("discount_type", "percent")
                .number("nominal_amount", 10)
                .flag("free_shipping", false);
        });
        row.objects("refunds", refund, |item, refund| {
            item.number("id", refund.id)
                .text("reason", refund.reason)
                .text("total", &format!("-{}", amount(refund.amount)));
        });
        let needs_payment = matches!(order.status, Status::Pending | Status::Failed);
        row.text(
            "payment_url",
            &format!("{}/checkout/order-pay/{}/?pay_for_order=true&key={key}", site.home, order.id),
        )
        .flag("is_editable", matches!(order.status, Status::Pending | Status::OnHold))
        .flag("needs_payment", needs_payment)
        .flag("needs_processing", true)
        .text("currency_symbol", order.currency.symbol);
        let customer = (order.customer != 0).then(|| ("customer", format!("/wc/v3/customers/{}", order.customer)));
        let own = format!("/wc/v3/orders/{}", order.id);
        links(row, site, &own, "/wc/v3/orders", customer.as_slice());
    });
}

fn order_meta(order: &Order) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    if let Some(origin) = &order.origin {
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                entries.push((format!("_wc_order_attribution_{name}"), value.to_owned()));
            }
        };
        add("source_type", Some(origin.kind));
        add("utm_source", Some(origin.source));
        add("utm_medium", origin.medium);
        add("utm_campaign", origin.campaign);
        add("device_type", Some(if order.id.is_multiple_of(3) { "Desktop" } else { "Mobile" }));
    }
    if let Some(agreed) = order.consent {
        entries.push(("marketing_consent".to_owned(), if agreed { "yes" } else { "no" }.to_owned()));
        entries.push(("marketing_consent_date".to_owned(), format!("{}Z", Site::gmt(order.created))));
    }
    if order.status == Status::Shipped {
        entries.push(("ttn".to_owned(), format!("2045{:010}", order.id)));
    }
    entries
}

fn order_line(item: &mut Object<'_>, line: &Line, id: u64, currency: Currency) {
    let amount = |units| money(units, currency);
    item.number("id", id)
        .text("name", &escaped(&line.name))
        .number("product_id", line.product)
        .number("variation_id", line.variation)
        .number("quantity", line.quantity)
        .text("tax_class", "")
        .text("subtotal", &amount(line.subtotal))
        .text("subtotal_tax", &amount(line.subtotal_tax))
        .text("total", &amount(line.total))
        .text("total_tax", &amount(line.total_tax));
    item.objects("taxes", (line.total_tax > 0).then_some(()), |tax, ()| {
        tax.number("id", 1).text("total", &amount(line.total_tax)).text("subtotal", &amount(line.subtotal_tax));
    });
    item.raw("meta_data", "[]");
    match &line.sku {
        Some(sku) => item.text("sku", sku),
        None => item.raw("sku", "null"),
    };
    item.raw("price", &net_price(line, currency));
    item.object("image", |image| {
        image.text("id", "").text("src", "");
    });
    match &line.parent_name {
        Some(name) => item.text("parent_name", &escaped(name)),
        None => item.raw("parent_name", "null"),
    };
}

/// Net price of a piece, not rounded; a whole number stands as one.
fn net_price(line: &Line, currency: Currency) -> String {
    let units = if currency.decimals == 0 { 1.0 } else { 100.0 };
    let price = line.total as f64 / units / line.quantity as f64;
    if price.fract() == 0.0 { format!("{price:.0}") } else { price.to_string() }
}

/// A refund of an order.
pub fn refund(out: &mut Vec<u8>, refund: &Refund, order: &Order, site: &Site) {
    let amount = |units| money(units, order.currency);
    let own = format!("/wc/v3/orders/{}/refunds/{}", refund.order, refund.id);
    let collection = format!("/wc/v3/orders/{}/refunds", refund.order);
    object(out, |row| {
        row.number("id", refund.id).number("parent_id", refund.order);
        dates(row, site, "date_created", Some(refund.created));
        row.text("amount", &amount(refund.amount))
            .text("reason", refund.reason)
            .number("refunded_by", 1)
            .flag("refunded_payment", false)
            .raw("meta_data", "[]");
        row.objects("line_items", &refund.lines, |item, (position, pieces, net, tax)| {
            let Some(line) = order.lines.get(*position) else { return };
            let negative = |units: i64| amount(-units);
            item.number("id", refund.id * 10 + *position as u64)
                .text("name", &escaped(&line.name))
                .number("product_id", line.product)
                .number("variation_id", line.variation)
                .number("quantity", -pieces)
                .text("tax_class", "")
                .text("subtotal", &negative(*net))
                .text("subtotal_tax", &negative(*tax))
                .text("total", &negative(*net))
                .text("total_tax", &negative(*tax))
                .raw("taxes", "[]");
            item.objects("meta_data", [refund.order * 10 + *position as u64], |entry, sold| {
                entry
                    .number("id", refund.id * 30 + *position as u64)
                    .text("key", "_refunded_item_id")
                    .text("value", &sold.to_string());
            });
            match &line.sku {
                Some(sku) => item.text("sku", sku),
                None => item.raw("sku", "null"),
            };
            item.raw("price", &net_price(line, order.currency)).raw("parent_name", "null");
        });
        row.raw("shipping_lines", "[]").raw("tax_lines", "[]").raw("fee_lines", "[]");
        links(row, site, &own, &collection, &[("up", format!("/wc/v3/orders/{}", refund.order))]);
    });
}

/// When the catalogue's rows were made and changed.
#[derive(Debug, Clone, Copy)]
pub struct Stamps {
    /// Made (UTC seconds).
    pub created: i64,
    /// Changed (UTC seconds).
    pub modified: i64,
}

fn image(row: &mut Object<'_>, id: u64, slug: &str, stamps: Stamps, site: &Site) {
    row.number("id", id);
    dates(row, site, "date_created", Some(stamps.created));
    dates(row, site, "date_modified", Some(stamps.created));
    row.text("src", &format!("{}/wp-content/uploads/2024/01/{slug}.jpg", site.home)).text("name", slug).text("alt", "");
}

/// A product.
pub fn product(out: &mut Vec<u8>, product: &Product, catalogue: &Catalogue, stamps: Stamps, site: &Site) {
    let is_variable = !product.variations.is_empty();
    let regular = if is_variable { String::new() } else { price(product.regular_price) };
    let is_on_sale = product.price != product.regular_price;
    let sale = if is_on_sale && !is_variable { price(product.price) } else { String::new() };
    object(out, |row| {
        row.number("id", product.id)
            .text("name", &escaped(&product.name))
            .text("slug", &product.slug)
            .text("permalink", &format!("{}/produkt/{}/", site.home, product.slug));
        dates(row, site, "date_created", Some(stamps.created));
        dates(row, site, "date_modified", Some(stamps.modified));
        row.text("type", if is_variable { "variable" } else { "simple" })
            .text("status", product.status)
            .flag("featured", product.id.is_multiple_of(96))
            .text("catalog_visibility", "visible")
            .text("description", &format!("<p>{} — „opis”</p>\n", escaped(&product.name)))
            .text("short_description", "")
            .text("sku", &product.sku)
            .text("global_unique_id", "")
            .text("price", &price(product.price))
            .text("regular_price", &regular)
            .text("sale_price", &sale);
        for name in ["date_on_sale_from", "date_on_sale_to"] {
            dates(row, site, name, None);
        }
        row.flag("on_sale", is_on_sale)
            .flag("purchasable", product.status == "publish")
            .number("total_sales", 0)
            .flag("virtual", false)
            .flag("downloadable", false)
            .raw("downloads", "[]")
            .number("download_limit", -1)
            .number("download_expiry", -1)
            .text("external_url", "")
            .text("button_text", "")
            .text("tax_status", "taxable")
            .text("tax_class", "");
        stock_fields(row, product.pieces);
        row.raw("low_stock_amount", "null").flag("sold_individually", false).text("weight", "");
        no_dimensions(row);
        row.flag("shipping_required", true)
            .flag("shipping_taxable", true)
            .text("shipping_class", "")
            .number("shipping_class_id", 0)
            .flag("reviews_allowed", true)
            .text("average_rating", "0.00")
            .number("rating_count", 0)
            .raw("upsell_ids", "[]")
            .raw("cross_sell_ids", "[]")
            .number("parent_id", 0)
            .text("purchase_note", "");
        let categories = product.categories.iter().filter_map(|id| catalogue.categories.iter().find(|c| c.id == *id));
        row.objects("categories", categories, |item, category| {
            item.number("id", category.id).text("name", &escaped(&category.name)).text("slug", &category.slug);
        });
        row.raw("brands", "[]").raw("tags", "[]");
        row.objects("images", (product.image != 0).then_some(product.image), |item, id| {
            image(item, id, &product.slug, stamps, site);
        });
        let attributes: [(&str, Vec<&str>); 2] = [
            ("Kolor", product.variations.first().map(|variation| variation.colour).into_iter().collect()),
            ("Rozmiar", product.variations.iter().map(|variation| variation.size).collect()),
        ];
        let attributes = attributes.iter().enumerate().filter(|_| is_variable);
        row.objects("attributes", attributes, |item, (position, (name, options))| {
            let options: Vec<String> =
                options.iter().map(|option| serde_json::Value::from(*option).to_string()).collect();
            item.number("id", position as u64 + 1)
                .text("name", name)
                .text("slug", &format!("pa_{}", name.to_lowercase()))
                .number("position", position as u64)
                .flag("visible", true)
                .flag("variation", true)
                .raw("options", &format!("[{}]", options.join(",")));
        });
        row.raw("default_attributes", "[]")
            .numbers("variations", product.variations.iter().map(|variation| variation.id))
            .raw("grouped_products", "[]")
            .number("menu_order", 0)
            .text("price_html", "")
            .numbers("related_ids", related(product, catalogue))
            .raw("meta_data", "[]")
            .text("stock_status", if product.pieces == Some(0) { "outofstock" } else { "instock" })
            .flag("has_options", is_variable)
            .text("post_password", "");
        links(row, site, &format!("/wc/v3/products/{}", product.id), "/wc/v3/products", &[]);
    });
}

/// Other products of the same category.
fn related<'a>(product: &'a Product, catalogue: &'a Catalogue) -> impl Iterator<Item = u64> + 'a {
    let shares = |other: &&Product| {
        other.id != product.id && other.categories.iter().any(|category| product.categories.contains(category))
    };
    catalogue.products.iter().filter(shares).take(RELATED).map(|other| other.id)
}

fn stock_fields(row: &mut Object<'_>, pieces: Option<i64>) {
    row.flag("manage_stock", pieces.is_some());
    match pieces {
        Some(pieces) => row.number("stock_quantity", pieces),
        None => row.raw("stock_quantity", "null"),
    };
    row.text("backorders", "no").flag("backorders_allowed", false).flag("backordered", false);
}

fn no_dimensions(row: &mut Object<'_>) {
    row.object("dimensions", |dimensions| {
        dimensions.text("length", "").text("width", "").text("height", "");
    });
}

/// A variation of a product.
pub fn variation(out: &mut Vec<u8>, product: &Product, variation: &Variation, stamps: Stamps, site: &Site) {
    let collection = format!("/wc/v3/products/{}/variations", product.id);
    object(out, |row| {
        row.number("id", variation.id).text("type", "variation");
        dates(row, site, "date_created", Some(stamps.created));
        dates(row, site, "date_modified", Some(stamps.modified));
        row.text("description", "")
            .text(
                "permalink",
                &format!("{}/produkt/{}/?attribute_pa_rozmiar={}", site.home, product.slug, variation.size),
            )
            .text("sku", &variation.sku)
            .text("global_unique_id", "")
            .text("price", &price(variation.price))
            .text("regular_price", &price(variation.price))
            .text("sale_price", "");
        for name in ["date_on_sale_from", "date_on_sale_to"] {
            dates(row, site, name, None);
        }
        row.flag("on_sale", false)
            .text("status", "publish")
            .flag("purchasable", true)
            .flag("virtual", false)
            .flag("downloadable", false)
            .raw("downloads", "[]")
            .number("download_limit", -1)
            .number("download_expiry", -1)
            .text("tax_status", "taxable")
            .text("tax_class", "");
        stock_fields(row, Some(variation.pieces));
        row.text("stock_status", if variation.pieces == 0 { "outofstock" } else { "instock" })
            .raw("low_stock_amount", "null")
            .text("weight", "");
        no_dimensions(row);
        row.text("shipping_class", "").number("shipping_class_id", 0).raw("image", "null");
        let attributes = [(1_u64, "Kolor", variation.colour), (2, "Rozmiar", variation.size)];
        row.objects("attributes", attributes, |item, (id, name, option)| {
            item.number("id", id)
                .text("name", name)
                .text("slug", &format!("pa_{}", name.to_lowercase()))
                .text("option", option);
        });
        row.number("menu_order", 0)
            .raw("meta_data", "[]")
            .text("name", &format!("{}, {}", variation.colour, variation.size))
            .number("parent_id", product.id);
        let own = format!("{collection}/{}", variation.id);
        links(row, site, &own, &collection, &[("up", format!("/wc/v3/products/{}", product.id))]);
    });
}

/// A category with the number of its products.
pub fn category(out: &mut Vec<u8>, category: &Category, count: usize, site: &Site) {
    object(out, |row| {
        row.number("id", category.id)
            .text("name", &escaped(&category.name))
            .text("slug", &category.slug)
            .number("parent", category.parent)
            .text("description", "")
            .text("display", "default")
            .raw("image", "null")
            .number("menu_order", 0)
            .number("count", count as u64);
        let up = (category.parent != 0).then(|| ("up", format!("/wc/v3/products/categories/{}", category.parent)));
        let own = format!("/wc/v3/products/categories/{}", category.id);
        links(row, site, &own, "/wc/v3/products/categories", up.as_slice());
    });
}
