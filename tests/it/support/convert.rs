//! Turns real data into shops in files, as `wharf sandbox --load DIR` serves them: recorded pages of a WooCommerce shop,
//! UCI Online Retail, the Olist part. Rows are in WooCommerce's shape with the fields that a pipeline may read.
//!
//! Where the data leaves a choice, it is made here and documented at the function; every time is taken as UTC, so serve
//! these shops with the zone `UTC` (the recorded one: `Europe/Kyiv`).

use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Where shared test data is, if it is there; says so plainly if it is not.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var("WHARF_SHARED").unwrap_or_else(|_| "../shared".into());
    let found = Path::new(&root).join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!("left out: {} is not here (set WHARF_SHARED to the folder that holds it)", found.display());
    None
}

/// How many rows a conversion wrote.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Converted {
    pub customers: usize,
    pub orders: usize,
    pub lines: usize,
    pub products: usize,
    pub categories: usize,
}

/// One recorded call.
#[derive(Debug, serde::Deserialize)]
pub struct Recorded {
    pub path: String,
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// The recorded calls of a shop.
pub fn recording(file: &Path) -> Vec<Recorded> {
    let reader = BufReader::new(zstd::Decoder::new(File::open(file).unwrap()).unwrap());
    reader.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// Writes the rows of the recorded walks, byte for byte as received. The walks since a moment repeat rows and are left
/// out.
pub fn recorded_shop(calls: &[Recorded], folder: &Path) {
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.status == 200 && !call.path.contains("modified_after")) {
        let route = call.path.split('?').next().unwrap().trim_start_matches("/wp-json/wc/v3/");
        let list = match route {
            "customers" | "orders" | "products" | "refunds" => route,
            "products/categories" => "categories",
            _ if route.ends_with("/variations") => "variations",
            _ => continue,
        };
        let rows: Vec<&RawValue> = serde_json::from_str(&call.body).unwrap();
        files.entry(list).or_default().extend(rows.iter().map(|row| row.get()));
    }
    for (list, rows) in files {
        let mut out = create(folder, list);
        for row in rows {
            writeln!(out, "{row}").unwrap();
        }
        out.flush().unwrap();
    }
}

fn create(folder: &Path, list: &str) -> BufWriter<File> {
    BufWriter::new(File::create(folder.join(format!("{list}.ndjson"))).unwrap())
}

fn write_row(out: &mut impl Write, row: &Value) {
    serde_json::to_writer(&mut *out, row).unwrap();
    out.write_all(b"\n").unwrap();
}

/// `2010-12-01 08:26:00` as both date fields.
fn set_dates(row: &mut Value, name: &str, time: Option<&str>) {
    let time = time.filter(|time| !time.is_empty()).map(|time| time.replacen(' ', "T", 1));
    row[name] = json!(time);
    row[format!("{name}_gmt")] = json!(time);
}

/// A decimal number in thousandths.
fn thousandths(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let padded = format!("{fraction:0<3}");
    assert!(padded.len() == 3, "more than three decimals: {text}");
    sign * (whole.parse::<i64>().unwrap() * 1000 + padded.parse::<i64>().unwrap())
}

/// Thousandths with two decimals, or with three where two would lose something.
fn decimal(thousandths: i64) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let (whole, rest) = (thousandths.abs() / 1000, thousandths.abs() % 1000);
    if rest % 10 == 0 { format!("{sign}{whole}.{:02}", rest / 10) } else { format!("{sign}{whole}.{rest:03}") }
}

fn address(
    country: &str,
    city: &str,
    postcode: &str,
    state: &str,
    first: &str,
    last: &str,
    email: Option<&str>,
) -> Value {
    let mut address = json!({
        "first_name": first, "last_name": last, "company": "", "address_1": "", "address_2": "", "city": city,
        "state": state, "postcode": postcode, "country": country, "phone": "",
    });
    if let Some(email) = email {
        address["email"] = json!(email);
    }
    address
}

fn customer_row(id: u64, email: &str, billing: &Value, created: &str, modified: &str) -> Value {
    let mut row = json!({
        "id": id, "email": email, "first_name": billing["first_name"], "last_name": billing["last_name"],
        "role": "customer", "username": email.split('@').next(), "billing": billing,
        "shipping": address("", "", "", "", "", "", None), "is_paying_customer": true, "meta_data": [],
    });
    set_dates(&mut row, "date_created", Some(created));
    set_dates(&mut row, "date_modified", Some(modified));
    row
}

fn product_row(id: u64, name: &str, sku: &str, price: &str, created: &str, categories: &Value) -> Value {
    let mut row = json!({
        "id": id, "name": name, "slug": format!("product-{id}"), "type": "simple", "status": "publish", "sku": sku,
        "permalink": format!("https://shop.example/product/product-{id}/"), "price": price, "regular_price": price,
        "sale_price": "", "categories": categories, "images": [], "attributes": [], "variations": [], "meta_data": [],
        "stock_quantity": null, "parent_id": 0,
    });
    set_dates(&mut row, "date_created", Some(created));
    set_dates(&mut row, "date_modified", Some(created));
    row
}

fn category_row(id: u64, name: &str, parent: u64) -> Value {
    let name = name.replace('&', "&amp;");
    json!({
        "id": id, "name": name, "slug": format!("category-{id}"), "parent": parent, "description": "",
        "display": "default", "image": null, "menu_order": 0, "count": 1,
    })
}

/// What all orders have.
fn order_row(id: u64, number: &str, status: &str, currency: &str, customer: u64, billing: &Value) -> Value {
    json!({
        "id": id, "parent_id": 0, "number": number, "order_key": format!("wc_order_{id}"), "created_via": "import",
        "status": status, "currency": currency, "prices_include_tax": false, "discount_total": "0.00",
        "discount_tax": "0.00", "shipping_tax": "0.00", "cart_tax": "0.00", "total_tax": "0.00",
        "customer_id": customer, "customer_note": "", "billing": billing,
        "shipping": address("", "", "", "", "", "", None), "meta_data": [], "tax_lines": [], "shipping_lines": [],
        "fee_lines": [], "coupon_lines": [], "refunds": [],
    })
}

fn line_row(id: u64, name: &str, product: u64, sku: &str, quantity: i64, total: i64) -> Value {
    let price = if quantity == 0 { 0.0 } else { total as f64 / 1000.0 / quantity as f64 };
    let total = decimal(total);
    json!({
        "id": id, "name": name, "product_id": product, "variation_id": 0, "quantity": quantity, "subtotal": total,
        "subtotal_tax": "0.00", "total": total, "total_tax": "0.00", "sku": sku, "price": price,
    })
}

fn csv_of(file: &Path) -> csv::Reader<Box<dyn Read>> {
    let mut reader = BufReader::new(zstd::Decoder::new(File::open(file).unwrap()).unwrap());
    // One of the files begins with a byte order mark.
    if reader.fill_buf().unwrap().starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    csv::Reader::from_reader(Box::new(reader))
}

/// ISO 3166-1 code of UCI's countries; empty where a name is none.
pub fn uci_country(name: &str) -> &'static str {
    match name {
        "United Kingdom" => "GB",
        "Germany" => "DE",
        "France" => "FR",
        "EIRE" => "IE",
        "Belgium" => "BE",
        "Spain" => "ES",
        "Netherlands" => "NL",
        "Switzerland" => "CH",
        "Portugal" => "PT",
        "Australia" => "AU",
        "Italy" => "IT",
        "Finland" => "FI",
        "Sweden" => "SE",
        "Norway" => "NO",
        "Channel Islands" => "JE",
        "Japan" => "JP",
        "Poland" => "PL",
        "Denmark" => "DK",
        "Cyprus" => "CY",
        "Austria" => "AT",
        "Hong Kong" => "HK",
        "Singapore" => "SG",
        "Malta" => "MT",
        "Israel" => "IL",
        "Iceland" => "IS",
        "USA" => "US",
        "Greece" => "GR",
        "Canada" => "CA",
        "Czech Republic" => "CZ",
        "Lithuania" => "LT",
        "Bahrain" => "BH",
        "United Arab Emirates" => "AE",
        "Saudi Arabia" => "SA",
        "Lebanon" => "LB",
        "Brazil" => "BR",
        "RSA" => "ZA",
        _ => "",
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UciLine {
    invoice_no: String,
    stock_code: String,
    description: String,
    quantity: i64,
    invoice_date: String,
    unit_price: String,
    #[serde(rename = "CustomerID")]
    customer_id: String,
    country: String,
}

/// UCI Online Retail as a shop in GBP.
///
/// - One order per invoice, `number` is the invoice's; its time is that of its first line, taken as UTC. Ids count from
///   1000 in the order of the file.
/// - Invoices with a C are cancellations: status `cancelled`. All others are `completed`, the three bad-debt adjustments
///   (A) and the stock corrections at price 0 included.
/// - Quantities and amounts stay as they are, negative ones too; amounts are exact (three decimals where two would lose).
/// - CustomerID 17850 is the customer with id 17850 and e-mail `c17850@customers.example`; lines without one are guests
///   without an e-mail. A customer's country is that of the first invoice.
/// - A product per stock code, named by its first description; no categories.
///
/// `limit` takes only so many invoices from the beginning.
pub fn uci(file: &Path, folder: &Path, limit: Option<usize>) -> Converted {
    struct Customer {
        billing: Value,
        first: String,
        last: String,
    }
    struct Product {
        id: u64,
        name: String,
        price: String,
        since: String,
    }
    let mut orders_out = create(folder, "orders");
    let mut customers: BTreeMap<u64, Customer> = BTreeMap::new();
    let mut products: HashMap<String, Product> = HashMap::new();
    let mut converted = Converted::default();

    let mut finish = |invoice: &str, lines: &[UciLine]| {
        let first = &lines[0];
        let id = 1000 + converted.orders as u64;
        let customer: u64 = first.customer_id.split('.').next().unwrap().parse().unwrap_or(0);
        let email = if customer == 0 { String::new() } else { format!("c{customer}@customers.example") };
        let name = if customer == 0 { String::new() } else { customer.to_string() };
        let given = if customer == 0 { "" } else { "Customer" };
        let billing = address(uci_country(&first.country), "", "", "", given, &name, Some(&email));
        if customer != 0 {
            let known = customers.entry(customer).or_insert_with(|| Customer {
                billing: billing.clone(),
                first: first.invoice_date.clone(),
                last: first.invoice_date.clone(),
            });
            known.first = known.first.clone().min(first.invoice_date.clone());
            known.last = known.last.clone().max(first.invoice_date.clone());
        }
        let status = if invoice.starts_with('C') { "cancelled" } else { "completed" };
        let mut row = order_row(id, invoice, status, "GBP", customer, &billing);
        let mut total = 0;
        let mut items = Vec::with_capacity(lines.len());
        for (position, line) in lines.iter().enumerate() {
            let next = 1 + products.len() as u64;
            let product = products.entry(line.stock_code.clone()).or_insert_with(|| Product {
                id: next,
                name: String::new(),
                price: line.unit_price.clone(),
                since: line.invoice_date.clone(),
            });
            if product.name.is_empty() {
                product.name = line.description.trim().to_owned();
            }
            let amount = line.quantity * thousandths(&line.unit_price);
            total += amount;
            let line_id = id * 2000 + position as u64;
            items.push(line_row(line_id, line.description.trim(), product.id, &line.stock_code, line.quantity, amount));
        }
        converted.orders += 1;
        converted.lines += lines.len();
        row["line_items"] = Value::Array(items);
        row["total"] = json!(decimal(total));
        row["shipping_total"] = json!("0.00");
        row["payment_method"] = json!("");
        row["payment_method_title"] = json!("");
        let date = first.invoice_date.as_str();
        set_dates(&mut row, "date_created", Some(date));
        set_dates(&mut row, "date_modified", Some(date));
        let is_done = status == "completed";
        set_dates(&mut row, "date_paid", is_done.then_some(date));
        set_dates(&mut row, "date_completed", is_done.then_some(date));
        write_row(&mut orders_out, &row);
    };
    // Lines of one invoice mostly, but not always, follow each other.
    let mut invoices: Vec<(String, Vec<UciLine>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for line in csv_of(file).deserialize() {
        let line: UciLine = line.unwrap();
        let place = *places.entry(line.invoice_no.clone()).or_insert(invoices.len());
        if place == invoices.len() {
            invoices.push((line.invoice_no.clone(), Vec::new()));
        }
        invoices[place].1.push(line);
    }
    for (invoice, lines) in invoices.iter().take(limit.unwrap_or(usize::MAX)) {
        finish(invoice, lines);
    }
    orders_out.flush().unwrap();

    let mut out = create(folder, "customers");
    for (id, customer) in &customers {
        let email = format!("c{id}@customers.example");
        write_row(&mut out, &customer_row(*id, &email, &customer.billing, &customer.first, &customer.last));
    }
    out.flush().unwrap();
    let mut out = create(folder, "products");
    let mut sorted: Vec<(&String, &Product)> = products.iter().collect();
    sorted.sort_by_key(|(_, product)| product.id);
    for (sku, product) in sorted {
        let name = product.name.replace('&', "&amp;");
        write_row(&mut out, &product_row(product.id, &name, sku, &product.price, &product.since, &json!([])));
    }
    out.flush().unwrap();
    converted.customers = customers.len();
    converted.products = products.len();
    converted
}

/// The status that an Olist status becomes.
pub fn olist_status(status: &str) -> &'static str {
    match status {
        "delivered" => "completed",
        "shipped" => "shipped",
        "canceled" => "cancelled",
        "unavailable" => "failed",
        "invoiced" | "processing" | "approved" => "processing",
        "created" => "pending",
        other => panic!("an unknown status: {other}"),
    }
}

/// The Olist part as a shop in BRL.
///
/// - Order ids count from 1000 in the order of the file, `number` is Olist's id. The person is `customer_unique_id`: a
///   customer with an account and the e-mail `UNIQUE_ID@customers.example`, living where the first order went.
/// - Statuses by [`olist_status`]; `shipped` is the shop's own.
/// - One line per item, quantity 1, net of freight; freight is the shipping total; the order's total is both. Orders
///   without items have a total of 0.
/// - Created at purchase, paid at approval, completed at delivery (delivered orders without a delivery date: at their last
///   known time), modified at the last known time.
/// - Payment method is the type of the first payment.
/// - Categories are a tree: `Olist`, then the first word of the English name, then the whole name where it has more than
///   one word (`Olist / furniture / furniture decor`); without a translation the Portuguese name; products without a
///   category are in `Uncategorized`. Only products that were ordered are there, named by category and Olist's id.
///
/// `limit` takes only so many orders from the beginning.
pub fn olist(data: &Path, folder: &Path, limit: Option<usize>) -> Converted {
    let file = |name: &str| data.join(name);
    let rows = |name: &str| -> Vec<HashMap<String, String>> {
        csv_of(&file(name)).deserialize().map(|row| row.unwrap()).collect()
    };
    let pairs = |name: &str, key: &str, value: &str, wanted: &dyn Fn(&csv::StringRecord) -> bool| {
        let mut reader = csv_of(&file(name));
        let headers = reader.headers().unwrap().clone();
        let column = |wanted: &str| headers.iter().position(|name| name == wanted).unwrap();
        let (key, value) = (column(key), column(value));
        let mut found: HashMap<String, String> = HashMap::new();
        for record in reader.records() {
            let record = record.unwrap();
            if wanted(&record) {
                found.insert(record[key].to_owned(), record[value].to_owned());
            }
        }
        found
    };
    let all = |_: &csv::StringRecord| true;
    let translations = "product_category_name_translation.csv.zst";
    let english = pairs(translations, "product_category_name", "product_category_name_english", &all);
    let category_of = pairs("olist_products_dataset.csv.zst", "product_id", "product_category_name", &all);
    // Columns: order_id, payment_sequential, payment_type, …
    let is_first = |record: &csv::StringRecord| &record[1] == "1";
    let payments = pairs("olist_order_payments_dataset.csv.zst", "order_id", "payment_type", &is_first);
    let people: HashMap<String, HashMap<String, String>> = rows("olist_customers_dataset.first20000.csv.zst")
        .into_iter()
        .map(|row| (row["customer_id"].clone(), row))
        .collect();
    let mut items: HashMap<String, Vec<HashMap<String, String>>> = HashMap::new();
    for row in rows("olist_order_items_dataset.first20000.csv.zst") {
        items.entry(row["order_id"].clone()).or_default().push(row);
    }

    let mut tree = Tree::default();
    /// Id, address, first and last time.
    type Customer = (u64, Value, String, String);
    let mut customers: HashMap<String, Customer> = HashMap::new();
    let mut products: HashMap<String, u64> = HashMap::new();
    let mut product_rows = Vec::new();
    let mut converted = Converted::default();
    let mut out = create(folder, "orders");
    let orders = rows("olist_orders_dataset.first20000.csv.zst");
    for (position, order) in orders.iter().take(limit.unwrap_or(usize::MAX)).enumerate() {
        let id = 1000 + position as u64;
        let purchased = &order["order_purchase_timestamp"];
        let time = |name: &str| Some(order[name].as_str()).filter(|time| !time.is_empty());
        let last_known = ["order_approved_at", "order_delivered_carrier_date", "order_delivered_customer_date"]
            .into_iter()
            .filter_map(time)
            .fold(purchased.as_str(), |latest, time| latest.max(time));

        let person = &people[&order["customer_id"]];
        let unique = &person["customer_unique_id"];
        let email = format!("{unique}@customers.example");
        let billing = address(
            "BR",
            &person["customer_city"],
            &person["customer_zip_code_prefix"],
            &person["customer_state"],
            "Person",
            &unique[..8],
            Some(&email),
        );
        let next = 2 + customers.len() as u64;
        let known = customers
            .entry(unique.clone())
            .or_insert_with(|| (next, billing.clone(), purchased.clone(), last_known.to_owned()));
        if *purchased < known.2 {
            known.2 = purchased.clone();
        }
        if known.3.as_str() < last_known {
            known.3 = last_known.to_owned();
        }
        let customer = known.0;

        let status = olist_status(&order["order_status"]);
        let mut row = order_row(id, &order["order_id"], status, "BRL", customer, &billing);
        let (mut goods, mut freight) = (0, 0);
        let mut lines = Vec::new();
        for (place, item) in items.get(&order["order_id"]).into_iter().flatten().enumerate() {
            let sku = &item["product_id"];
            let portuguese = category_of.get(sku).map(String::as_str).unwrap_or_default();
            let category = english.get(portuguese).map(String::as_str).unwrap_or(portuguese).replace('_', " ");
            let name = format!("{} {}", if category.is_empty() { "product" } else { &category }, &sku[..8]);
            let product = match products.get(sku) {
                Some(product) => *product,
                None => {
                    let product = 1 + products.len() as u64;
                    products.insert(sku.clone(), product);
                    let within = tree.leaf(&category);
                    product_rows.push(product_row(product, &name, sku, &item["price"], purchased, &within));
                    product
                }
            };
            let price = thousandths(&item["price"]);
            goods += price;
            freight += thousandths(&item["freight_value"]);
            lines.push(line_row(id * 100 + place as u64, &name, product, sku, 1, price));
        }
        converted.lines += lines.len();
        let payment = payments.get(&order["order_id"]).map(String::as_str).unwrap_or_default();
        row["line_items"] = Value::Array(lines);
        row["total"] = json!(decimal(goods + freight));
        row["shipping_total"] = json!(decimal(freight));
        row["payment_method"] = json!(payment);
        row["payment_method_title"] = json!(payment.replace('_', " "));
        set_dates(&mut row, "date_created", Some(purchased));
        set_dates(&mut row, "date_modified", Some(last_known));
        set_dates(&mut row, "date_paid", time("order_approved_at"));
        let delivered = time("order_delivered_customer_date").or(Some(last_known));
        set_dates(&mut row, "date_completed", delivered.filter(|_| status == "completed"));
        write_row(&mut out, &row);
        converted.orders += 1;
    }
    out.flush().unwrap();

    let mut out = create(folder, "customers");
    let mut sorted: Vec<(&String, &Customer)> = customers.iter().collect();
    sorted.sort_by_key(|(_, (id, ..))| *id);
    for (unique, (id, billing, first, last)) in sorted {
        write_row(&mut out, &customer_row(*id, &format!("{unique}@customers.example"), billing, first, last));
    }
    out.flush().unwrap();
    let mut out = create(folder, "products");
    product_rows.iter().for_each(|row| write_row(&mut out, row));
    out.flush().unwrap();
    let mut out = create(folder, "categories");
    tree.rows.iter().for_each(|row| write_row(&mut out, row));
    out.flush().unwrap();
    converted.customers = customers.len();
    converted.products = products.len();
    converted.categories = tree.rows.len();
    converted
}

/// The categories of the Olist shop as they come up.
#[derive(Default)]
struct Tree {
    ids: HashMap<String, u64>,
    rows: Vec<Value>,
}

impl Tree {
    fn node(&mut self, path: &str, name: &str, parent: u64) -> u64 {
        if let Some(id) = self.ids.get(path) {
            return *id;
        }
        let id = 15 + self.rows.len() as u64;
        self.ids.insert(path.to_owned(), id);
        self.rows.push(category_row(id, name, parent));
        id
    }

    /// The categories of a product.
    fn leaf(&mut self, category: &str) -> Value {
        let (id, name) = if category.is_empty() {
            (self.node("Uncategorized", "Uncategorized", 0), "Uncategorized")
        } else {
            let root = self.node("Olist", "Olist", 0);
            let group = category.split(' ').next().unwrap();
            let group_id = self.node(&format!("Olist/{group}"), group, root);
            if group == category {
                (group_id, category)
            } else {
                (self.node(&format!("Olist/{group}/{category}"), category, group_id), category)
            }
        };
        json!([{ "id": id, "name": name, "slug": format!("category-{id}") }])
    }
}
