//! What shops, targets and files say is shown, never obeyed: no command passes a control character on to the terminal.

use crate::support::staged::{StagedShop, category, customer, order, product};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// Writes to the clipboard, renames the window, clears the screen (in both encodings), turns the text around, begins a line
/// that looks like one of ours, goes back to the beginning of the line.
const HOSTILE: &str =
    "\u{1b}]52;c;cm0gLXJm\u{7}\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\u{2028}\nerror[WH-900]: x\r\u{8}";

async fn hostile_shop() -> StagedShop {
    let shop = StagedShop::new(json!({"default_country": "PL"})).await;
    let named = |mut record: Value, names: &[&str]| {
        for name in names {
            record[*name] = json!(format!("{HOSTILE} {name}"));
        }
        record
    };
    shop.stage("shop", "categories", &[category(1, 0, &format!("Dom {HOSTILE}"))]).await;
    shop.stage("shop", "products", &[named(product(50, &[1]), &["name"])]).await;
    let mut anna = named(customer(7, "anna@example.com"), &["first_name", "last_name"]);
    anna["billing"]["phone"] = json!(format!("12{HOSTILE}"));
    shop.stage("shop", "customers", &[anna]).await;
    let mut bought = named(order(100, 7, "anna@example.com", 50), &["payment_method_title"]);
    bought["line_items"][0]["name"] = json!(format!("Kubek {HOSTILE}"));
    bought["billing"]["city"] = json!(format!("Kraków {HOSTILE}"));
    let odd = named(order(101, 7, "anna@example.com", 50), &["status", "number"]);
    shop.stage("shop", "orders", &[bought, odd]).await;
    shop.transform().await;
    // Once more with other names, so that the change feed has old and new values.
    let mut again = named(customer(7, "anna@example.com"), &["last_name"]);
    again["date_modified_gmt"] = json!("2025-01-01T00:00:00");
    again["first_name"] = json!(format!("Hanna {HOSTILE}"));
    shop.stage("shop", "customers", &[again]).await;
    shop.transform().await;
    shop
}

fn wharf(shop: &StagedShop, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wharf"))
        .current_dir(folder)
        .args(arguments)
        .env("DATABASE_URL", &shop.test.url)
        .env("WHARF_LOG", "warn,wharf=debug")
        .output()
        .unwrap()
}

fn assert_harmless(what: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let obeyed = |c: char| c != '\n' && (c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c));
    let found: Vec<_> = text.lines().filter(|line| line.contains(obeyed)).collect();
    assert!(found.is_empty(), "{what}: {found:?}");
    let faked: Vec<_> = text.lines().filter(|line| line.starts_with("error[WH-900]")).collect();
    assert!(faked.is_empty(), "{what}: {faked:?}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_passes_the_shops_control_characters_on() {
    let shop = hostile_shop().await;
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there: errors say so, with the address.
    let pipeline = json!({
        "name": "test",
        "sources": [{"connection": "shop", "platform": "woocommerce", "base_url": "http://127.0.0.1:9", "default_country": "PL",
            "consumer_key": "ck_0123456789abcdef0123456789abcdef01234567",
            "consumer_secret": "cs_fedcba9876543210fedcba9876543210fedcba98"}],
        "target": {"account": "crm", "platform": "salesmanago", "base_url": "http://127.0.0.1:9", "client_id": "c",
            "api_key": "k", "api_secret": "s", "owner": "owner@shop.example"},
    });
    std::fs::write(folder.path().join("shop.yaml"), pipeline.to_string()).unwrap();
    let commands: &[&[&str]] = &[
        &["explain", "contact", "anna@example.com"],
        &["explain", "order", "100"],
        &["-v", "explain", "contact", "anna@example.com"],
        &["explain", "contact", "\u{1b}[2Jnobody"],
        &["changes"],
        &["status"],
        &["rejects"],
        &["rejects", "list"],
        &["rejects", "show"],
        &["-v", "plan", "shop.yaml"],
        &["extract", "\u{1b}[2J.yaml"],
    ];
    let mut shown = String::new();
    for command in commands {
        for json in [false, true] {
            let mut arguments = command.to_vec();
            arguments.extend(json.then_some("--json"));
            let output = wharf(&shop, folder.path(), &arguments);
            let what = format!("{arguments:?}");
            let text = assert_harmless(&what, &output.stdout);
            assert_harmless(&what, &output.stderr);
            if json && command[0] == "explain" {
                let _: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            shown.push_str(&text);
        }
    }
    assert!(shown.contains("Hanna"), "the rows are shown");
    assert!(shown.contains("\\u{1b}]52;c;") || shown.contains("\\u001b]52;c;"), "and what they hold is written out");
}
