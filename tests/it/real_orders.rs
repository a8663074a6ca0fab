//! The whole way on real data: a recorded WooCommerce shop, UCI Online Retail, the Olist part. What comes out at the far
//! end is compared with figures worked out from the files by another route: plain loops over the CSV, whole numbers,
//! nothing of the product.

use crate::support::convert;
use crate::support::pipeline::WholeWay;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use tempfile::TempDir;
use wharf::sandbox::Platform;
use wharf::sandbox::woocommerce::Options;

/// Besides what every shop has.
const SHOP: &str = "
    auth: basic
    consent_meta_keys: [{key: newsletter}]
    birthday_meta_key: birthday
";

const REST: &str = "
contacts: {consent: all}
orders: {statuses: {shipped: IN_PROGRESS}}
";

fn loaded(folder: &Path, zone: &str) -> Options {
    Options { load: Some(folder.to_owned()), zone: zone.to_owned(), ..Options::default() }
}

/// Thousandths of a decimal number.
fn thousandths(text: &str) -> i64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let part: i64 = format!("{part:0<3}").parse().unwrap();
    whole.parse::<i64>().unwrap() * 1000 + sign * part
}

/// As Postgres prints numeric(18, 4).
fn four_decimals(thousandths: i64) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}0", thousandths.abs() / 1000, thousandths.abs() % 1000)
}

fn lines(file: &Path) -> Vec<HashMap<String, String>> {
    let reader = zstd::Decoder::new(std::fs::File::open(file).unwrap()).unwrap();
    csv::Reader::from_reader(reader)
        .into_deserialize()
        .map(|row: Result<HashMap<String, String>, _>| row.unwrap())
        .collect()
}

#[derive(Default)]
struct Buyer {
    orders: u64,
    spent: i64,
    last: String,
}

/// What the canonical tables are to say.
#[derive(Default)]
struct Truth {
    statuses: BTreeMap<&'static str, u64>,
    months: BTreeMap<String, i64>,
    buyers: BTreeMap<String, Buyer>,
}

impl Truth {
    fn order(&mut self, status: &'static str, at: &str, total: i64, buyer: Option<String>) {
        *self.statuses.entry(status).or_default() += 1;
        if status == "DELIVERED" {
            *self.months.entry(at[..7].to_owned()).or_default() += total;
            if let Some(email) = buyer {
                let known = self.buyers.entry(email).or_default();
                known.orders += 1;
                known.spent += total;
                known.last = known.last.clone().max(at.to_owned());
            }
        }
    }

    async fn compare(&self, way: &WholeWay) {
        let statuses: Vec<String> = self.statuses.iter().map(|(status, n)| format!("{status} {n}")).collect();
        assert_eq!(
            way.rows("select status, count(*) from canonical.orders group by 1 order by status collate \"C\"").await,
            statuses
        );
        let months: Vec<String> =
            self.months.iter().map(|(month, total)| format!("{month} {}", four_decimals(*total))).collect();
        assert_eq!(
            way.rows(
                "select to_char(month, 'YYYY-MM'), revenue from marts.revenue_by_month
                 where status = 'DELIVERED' order by month"
            )
            .await,
            months
        );
        let buyers: Vec<String> = self
            .buyers
            .iter()
            .map(|(email, b)| format!("{email} {} {} {}", b.orders, four_decimals(b.spent), b.last))
            .collect();
        let rfm = way
            .rows(
                "select email, frequency, monetary, to_char(last_order_at, 'YYYY-MM-DD HH24:MI:SS')
                 from marts.rfm join canonical.contacts using (contact_id)
                 where email is not null order by email collate \"C\"",
            )
            .await;
        assert_eq!(rfm.len(), buyers.len());
        for (found, expected) in rfm.iter().zip(&buyers) {
            assert_eq!(found, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uci_online_retail_comes_out_as_its_csv_says() {
    let Some(file) = convert::shared("data/olist/uci_online_retail.csv.zst") else { return };
    let folder = TempDir::new().unwrap();
    let converted = convert::uci(&file, folder.path(), None);

    let mut invoices: BTreeMap<String, (String, String, i64)> = BTreeMap::new();
    let reader = zstd::Decoder::new(std::fs::File::open(&file).unwrap()).unwrap();
    let mut reader = csv::Reader::from_reader(reader);
    let header = reader.headers().unwrap().clone();
    let place = |name: &str| header.iter().position(|column| column == name).unwrap();
    let [invoice, quantity, price, customer, at] =
        ["InvoiceNo", "Quantity", "UnitPrice", "CustomerID", "InvoiceDate"].map(place);
    let mut line = csv::StringRecord::new();
    while reader.read_record(&mut line).unwrap() {
        let amount = line[quantity].parse::<i64>().unwrap() * thousandths(&line[price]);
        match invoices.get_mut(&line[invoice]) {
            Some(known) => known.2 += amount,
            None => {
                let first = (line[customer].to_owned(), line[at].to_owned(), amount);
                invoices.insert(line[invoice].to_owned(), first);
            }
        }
    }
    let mut truth = Truth::default();
    let mut accounts = BTreeSet::new();
    let mut strangers = 0;
    let mut purchases = 0;
    for (number, (customer, at, total)) in &invoices {
        let status = if number.starts_with('C') { "CANCELLED" } else { "DELIVERED" };
        let email = customer.strip_suffix(".0").map(|id| format!("c{id}@customers.example"));
        match &email {
            Some(email) => {
                accounts.insert(email.clone());
                purchases += u64::from(status == "DELIVERED");
            }
            None => strangers += 1,
        }
        truth.order(status, at, *total, email);
    }
    assert_eq!((invoices.len(), accounts.len()), (25_900, 4372), "the figures that the data set is known by");
    assert_eq!(converted.orders, invoices.len());

    let way = WholeWay::open(loaded(folder.path(), "UTC"), SHOP, REST).await;
    let (_, loaded) = way.run().await;
    truth.compare(&way).await;
    assert_eq!(
        way.rows("select count(*) filter (where email is not null), count(*) filter (where email is null) from canonical.contacts")
            .await,
        [format!("{} {strangers}", accounts.len())]
    );
    assert_eq!(way.figure("/contacts"), accounts.len() as u64, "{:?}", loaded.tally);
    assert_eq!(way.figure("/events_by_type/PURCHASE"), purchases, "{:?}", loaded.tally);
    assert_eq!(way.figure("/events"), purchases, "what was cancelled before it was ever sent is not sent");

    let (again, loaded) = way.run().await;
    let total = again.total();
    assert_eq!((total.landed.new, total.landed.changed), (0, 0));
    assert_eq!(loaded.tally.all_sent(), 0);
    assert_eq!(way.figure("/events"), purchases, "a second run sends no purchase twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn olist_comes_out_as_its_csv_says() {
    let Some(data) = convert::shared("data/olist") else { return };
    let folder = TempDir::new().unwrap();
    convert::olist(&data, folder.path(), None);

    let by = |file: &str, key: &str, value: &str| -> HashMap<String, String> {
        lines(&data.join(file)).into_iter().map(|row| (row[key].clone(), row[value].clone())).collect()
    };
    let person = by("olist_customers_dataset.first20000.csv.zst", "customer_id", "customer_unique_id");
    let category = by("olist_products_dataset.csv.zst", "product_id", "product_category_name");
    let mut english = HashMap::new();
    for row in lines(&data.join("product_category_name_translation.csv.zst")) {
        let value =
            |name: &str| row.iter().find(|(key, _)| key.trim_start_matches('\u{feff}') == name).unwrap().1.clone();
        english.insert(value("product_category_name"), value("product_category_name_english"));
    }
    let mut totals: HashMap<String, i64> = HashMap::new();
    let mut bought: HashMap<String, BTreeSet<String>> = HashMap::new();
    for row in lines(&data.join("olist_order_items_dataset.first20000.csv.zst")) {
        *totals.entry(row["order_id"].clone()).or_default() +=
            thousandths(&row["price"]) + thousandths(&row["freight_value"]);
        let name = &category[&row["product_id"]];
        let name = english.get(name).unwrap_or(name).replace('_', " ");
        let tags = bought.entry(row["order_id"].clone()).or_default();
        match name.split_once(' ') {
            _ if name.is_empty() => tags.extend(["Uncategorized".to_owned()]),
            None => tags.extend(["Olist".to_owned(), name]),
            Some((first, _)) => tags.extend(["Olist".to_owned(), first.to_owned(), name.clone()]),
        }
    }
    let mut truth = Truth::default();
    let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for order in lines(&data.join("olist_orders_dataset.first20000.csv.zst")) {
        let status = match order["order_status"].as_str() {
            "delivered" => "DELIVERED",
            "canceled" | "unavailable" => "CANCELLED",
            "created" => "INITIALIZED",
            _ => "IN_PROGRESS",
        };
        let email = format!("{}@customers.example", person[&order["customer_id"]]);
        let total = totals.get(&order["order_id"]).copied().unwrap_or(0);
        if status != "CANCELLED" {
            tags.entry(email.clone())
                .or_default()
                .extend(bought.get(&order["order_id"]).into_iter().flatten().cloned());
        }
        truth.order(status, &order["order_purchase_timestamp"], total, Some(email));
    }

    let way = WholeWay::open(loaded(folder.path(), "UTC"), SHOP, REST).await;
    way.run().await;
    truth.compare(&way).await;
    let expected: Vec<String> = tags
        .iter()
        .filter(|(_, tags)| !tags.is_empty())
        .map(|(email, tags)| format!("{email} {}", tags.iter().cloned().collect::<Vec<_>>().join("|")))
        .collect();
    let found = way
        .rows(
            "select email, string_agg(tag, '|' order by tag collate \"C\")
             from canonical.contact_tags join canonical.contacts using (contact_id)
             where origin = 'category' group by email order by email collate \"C\"",
        )
        .await;
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(way.figure("/contacts"), 19_831, "the persons that the data set is known by");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_shop_arrives_as_it_answered() {
    let Some(file) = convert::shared("data/recorded/woocommerce.ndjson.zst") else { return };
    let calls = convert::recording(&file);
    let folder = TempDir::new().unwrap();
    convert::recorded_shop(&calls, folder.path());

    let list = |start: &str| -> Vec<Value> {
        calls
            .iter()
            .filter(|call| call.status == 200 && call.path.starts_with(start) && !call.path.contains("modified_after"))
            .flat_map(|call| serde_json::from_str::<Vec<Value>>(&call.body).unwrap())
            .collect()
    };
    let orders = list("/wp-json/wc/v3/orders?status");
    let customers = list("/wp-json/wc/v3/customers");
    let mut emails: BTreeSet<String> =
        customers.iter().map(|row| row["email"].as_str().unwrap().to_lowercase()).collect();
    let (mut nameless, mut purchases) = (0, 0);
    let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
    for order in &orders {
        let status = match order["status"].as_str().unwrap() {
            "completed" => "DELIVERED",
            "processing" | "shipped" => "IN_PROGRESS",
            "pending" | "on-hold" => "INITIALIZED",
            "checkout-draft" => "ABANDONED_SHOPPING_CART",
            _ => "CANCELLED",
        };
        *statuses.entry(status).or_default() += 1;
        let email = order["billing"]["email"].as_str().unwrap().to_lowercase();
        let is_guest = order["customer_id"] == 0;
        if is_guest && email.is_empty() {
            nameless += 1;
        } else if is_guest {
            emails.insert(email.clone());
        }
        let paid = status == "DELIVERED" || status == "IN_PROGRESS" && !order["date_paid_gmt"].is_null();
        purchases += u64::from(paid && !(is_guest && email.is_empty()));
    }
    let subscribed = customers
        .iter()
        .filter(|row| {
            let metas = row["meta_data"].as_array().unwrap();
            metas.iter().any(|meta| meta["key"] == "newsletter" && meta["value"] == "yes")
        })
        .count();

    let way = WholeWay::open(loaded(folder.path(), "Europe/Kyiv"), SHOP, REST).await;
    let (extracted, loaded) = way.run().await;
    let landed = extracted.total().landed;
    assert_eq!((landed.new, landed.rejected), (301 + 1200 + 160 + 56 + 41 + 68, 0));
    let expected: Vec<String> = statuses.iter().map(|(status, n)| format!("{status} {n}")).collect();
    assert_eq!(
        way.rows("select status, count(*) from canonical.orders group by 1 order by status collate \"C\"").await,
        expected
    );
    assert_eq!(
        way.rows("select count(email), count(*) - count(email) from canonical.contacts").await,
        [format!("{} {nameless}", emails.len())]
    );
    assert_eq!(
        way.rows("select count(*) from canonical.contacts where email_consent = 'opt_in'").await,
        [subscribed.to_string()]
    );
    let spent: i64 = orders
        .iter()
        .filter(|order| order["status"] == "completed" && order["currency"] == "UAH")
        .map(|order| {
            let refunds = order["refunds"].as_array().unwrap();
            let back: i64 = refunds.iter().map(|refund| thousandths(refund["total"].as_str().unwrap())).sum();
            (thousandths(order["total"].as_str().unwrap()) + back).max(0)
        })
        .sum();
    assert_eq!(way.rows("select sum(monetary) from marts.rfm where currency = 'UAH'").await, [four_decimals(spent)]);
    assert_eq!(
        way.rows("select code, count(*) from canonical.rejects where code = 'totals-differ' group by 1").await,
        [""; 0]
    );
    assert_eq!(way.figure("/contacts"), emails.len() as u64, "{:?}", loaded.tally);
    assert_eq!(way.figure("/opted_in"), subscribed as u64);
    assert_eq!(way.figure("/events_by_type/PURCHASE"), purchases, "{:?}", loaded.tally);
    assert_eq!(way.account().state()["violations"], serde_json::json!({}));
    assert_eq!(way.figure("/letters"), 0, "nobody gets a confirmation letter");
    assert_eq!(way.figure("/automations"), 0, "a first load fires no automation");
}
