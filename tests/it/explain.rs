//! `wharf explain`: what it says is what the transform did.

use crate::support::pipeline::WholeWay;
use crate::support::staged::{StagedShop, category, customer, order, product};
use serde_json::{Value, json};
use std::process::Command;
use uuid::Uuid;
use wharf::sandbox::woocommerce;
use wharf::stage::explain::{self, Wanted};

async fn explained(shop: &StagedShop, who: &str) -> Value {
    explain::explain(&shop.test.db, &Wanted::Contact(who.to_owned()), true).await.unwrap()["contact"].clone()
}

fn field<'a>(contact: &'a Value, name: &str) -> &'a Value {
    contact["fields"].as_array().unwrap().iter().find(|field| field["field"] == name).unwrap()
}

/// Anna has an account, and bought as a guest of the same address later.
async fn small_shop() -> StagedShop {
    let shop = StagedShop::new(json!({"default_country": "PL", "statuses": {"shipped": "DELIVERED"}})).await;
    shop.stage("shop", "categories", &[category(1, 0, "Dom"), category(2, 1, "Kubki")]).await;
    shop.stage("shop", "products", &[product(50, &[2])]).await;
    shop.stage("shop", "customers", &[customer(7, "anna@example.com")]).await;
    let mut shipped = order(101, 7, "anna@example.com", 50);
    shipped["status"] = json!("shipped");
    let mut odd = order(102, 0, "ewa@example.com", 50);
    odd["status"] = json!("lay-by");
    shop.stage("shop", "orders", &[order(100, 0, "anna@example.com", 50), shipped, odd]).await;
    shop.transform().await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_names_the_record_that_gave_it_and_those_that_lost() {
    let shop = small_shop().await;
    let contact = explained(&shop, " Anna@Example.com ").await;
    let name = field(&contact, "first_name");
    assert_eq!((&name["value"], &name["rule"]), (&json!("Jan"), &json!("newest")));
    assert_eq!((&name["from"]["record"], &name["from"]["table"]), (&json!("order:100"), &json!("staging.orders")));
    assert_eq!(name["others"][0]["value"], "Anna");
    assert_eq!(name["others"][0]["from"]["record"], "account:7");
    assert!(name["from"]["run"].is_number());
    let kubki = contact["tags"].as_array().unwrap().iter().find(|tag| tag["tag"] == "Kubki").unwrap();
    assert_eq!(kubki["because"][0]["path"], json!(["Dom", "Kubki"]));
    assert_eq!(kubki["because"].as_array().unwrap().len(), 2, "both orders");
    // By phone and by id it is the same person.
    assert_eq!(explained(&shop, "601 000 101").await, contact);
    assert_eq!(explained(&shop, "+48601000101").await, contact);
    assert_eq!(explained(&shop, contact["contact_id"].as_str().unwrap()).await, contact);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_changed_the_address_is_found_by_the_old_one() {
    let shop = small_shop().await;
    shop.stage("shop", "orders", &[order(100, 0, "someone@example.com", 50)]).await;
    shop.stage("shop", "customers", &[customer(7, "hanna@example.com")]).await;
    shop.transform().await;
    let contact = explained(&shop, "anna@example.com").await;
    assert_eq!(contact["email"], "hanna@example.com");
    assert_eq!(contact["identity"]["moved_from"][0]["email"], "anna@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_gives_each_field_its_old_and_its_next_value() {
    let shop = small_shop().await;
    for (day, name) in [(3, "Hanna"), (4, "Joanna")] {
        let mut record = customer(7, "anna@example.com");
        record["first_name"] = json!(name);
        record["date_modified_gmt"] = json!(format!("2025-01-0{day}T00:00:00"));
        shop.stage("shop", "customers", &[record]).await;
        shop.transform().await;
    }
    let contact = explained(&shop, "anna@example.com").await;
    let steps: Vec<(Value, Value)> = contact["history"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|change| change["fields"].as_array().unwrap())
        .filter(|field| field["field"] == "first_name")
        .map(|field| (field["old"].clone(), field["new"].clone()))
        .collect();
    assert_eq!(steps, [(json!("Jan"), json!("Hanna")), (json!("Hanna"), json!("Joanna"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_says_why_its_status_is_what_it_is() {
    let shop = small_shop().await;
    let status = async |number: &str| {
        let wanted = Wanted::Order { which: number.to_owned(), connection: Some("shop".into()) };
        explain::explain(&shop.test.db, &wanted, false).await.unwrap()["order"].clone()
    };
    assert_eq!(status("100").await["status"]["rule"], "the map of the platform woocommerce");
    let shipped = status("101").await;
    assert_eq!(shipped["status"]["value"], "DELIVERED");
    assert_eq!(shipped["status"]["rule"], "orders.statuses of the pipeline file");
    assert_eq!(shipped["contact"]["rule"], "the contact of account 7");
    let odd = status("102").await;
    assert!(odd["status"]["value"].is_null());
    assert_eq!(odd["rejects"][0]["code"], "unmapped-status");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_by_that_name_is_exit_code_two_with_what_is_near() {
    let shop = small_shop().await;
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(arguments).env("DATABASE_URL", &shop.test.url);
        tokio::task::block_in_place(|| command.output().unwrap())
    };
    let output = run(&["explain", "contact", "anna@example.org"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("near it: anna@example.com"), "{said}");
    assert_eq!(run(&["explain", "order", "100", "--connection", "other"]).status.code(), Some(2));
    let output = run(&["explain", "contact", "anna@example.com", "-v"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("first_name") && said.contains("not \"Anna\": shop account:7"), "{said}");
    let output = run(&["explain", "order", "101", "--json"]);
    let order: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(order["order"]["order"]["number"], "101");
}

/// Besides what every shop has.
const SHOP: &str = "
    default_country: PL
    consent_meta_keys:
      - {key: marketing_consent}
";

const REST: &str = "contacts: {consent: all, tags: {always: [shop]}}";

#[tokio::test(flavor = "multi_thread")]
async fn the_winners_of_every_contact_of_a_shop_are_its_row() {
    let options = woocommerce::Options { customers: 60, orders: 150, ..woocommerce::Options::small() };
    let way = WholeWay::open(options, SHOP, REST).await;
    way.run().await;
    let client = way.test.db.client().await.unwrap();
    let rows = client.query("select contact_id, to_jsonb(c) from canonical.contacts c", &[]).await.unwrap();
    assert!(rows.len() > 60);
    let (mut extras, mut sent) = (0, 0);
    for row in rows {
        let (id, row): (Uuid, Value) = (row.get(0), row.get(1));
        let told = explain::contact(&client, id, false).await.unwrap()["contact"].clone();
        let mut explained = serde_json::Map::new();
        let mut extra = serde_json::Map::new();
        for field in told["fields"].as_array().unwrap() {
            let (name, value) = (field["field"].as_str().unwrap(), field["value"].clone());
            match name.strip_prefix("extra.") {
                Some(name) => extra.insert(name.to_owned(), value),
                None => explained.insert(name.to_owned(), value),
            };
        }
        extras += extra.len();
        assert_eq!(json!(extra), row["extra"], "{told:#}");
        for (name, value) in row.as_object().unwrap() {
            if ["contact_id", "extra", "email_consent_at", "sms_consent_at"].contains(&name.as_str()) {
                continue;
            }
            let unknown = if name.ends_with("_consent") { json!("unknown") } else { Value::Null };
            assert_eq!(explained.get(name).unwrap_or(&unknown), value, "{name} of {told:#}");
        }
        for tag in told["tags"].as_array().unwrap() {
            assert!(!tag["because"].as_array().unwrap().is_empty(), "a tag without a reason: {tag:#}");
        }
        sent += told["delivery"]["ledger"].as_array().unwrap().len();
    }
    assert!(sent > 60, "what was sent is told: {sent}, extras {extras}");
}
