//! `wharf explain`: why a contact or an order is what it is, and what was sent of it.

use super::{Global, with_database};
use crate::error::Exit;
use crate::printer::Printer;
use crate::stage::explain::{Wanted, explain};
use crate::{Result, foreign};
use serde_json::Value;
use std::borrow::Cow;

const EXAMPLES: &str = "\
Examples:
  wharf explain contact anna@example.com        which record gave each value, and by which rule
  wharf explain contact '+48 601 000 101' -v    with the values that lost, and what was sent
  wharf explain order 1044 --connection my-shop
  wharf explain contact anna@example.com --json | jq '.contact.tags'

Nothing is changed. Exit code 2 if there is nobody by that name; what is near it is listed then.";

/// Say which record and rule gave each value of a contact or an order, and what was sent of it
///
/// For every value: the record that gave it, the run that landed it and the rule that chose it; with -v the values that
/// lost. For every tag: the orders and categories, or the account, behind it. Then the consent statements, what each
/// target was sent and when, what waits, what was refused and why, and every change that the feed still holds.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

/// Of what.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// A contact, by e-mail, phone or contact_id
    Contact {
        /// E-mail, phone or contact_id
        #[arg(value_name = "WHO")]
        who: String,
    },
    /// An order, by number, the shop's key or order_id
    Order {
        /// Number, the shop's key or order_id
        #[arg(value_name = "WHICH")]
        which: String,
        /// Of this shop; needed where two shops have the same number
        #[arg(long, value_name = "NAME")]
        connection: Option<String>,
    },
}

/// Explains it.
///
/// # Errors
/// Those of [`explain`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let wanted = match args.what {
        What::Contact { who } => Wanted::Contact(who),
        What::Order { which, connection } => Wanted::Order { which, connection },
    };
    with_database(global, async |db| {
        let printer = &global.printer;
        let told = explain(&db, &wanted, printer.is_verbose()).await?;
        printer.document(&told)?;
        if let Some(contact) = told.get("contact") {
            say_contact(printer, contact);
        }
        if let Some(order) = told.get("order") {
            say_order(printer, order);
        }
        Ok(Exit::Done)
    })
    .await
}

fn say_contact(printer: &Printer, told: &Value) {
    let name = known(&told["email"]).unwrap_or(text(&told["contact_id"]));
    printer.line(format_args!("contact {name}"));
    printer.line(format_args!("  id {}, known by its {}", text(&told["contact_id"]), text(&told["identity"]["by"])));
    for from in list(&told["identity"]["moved_from"]) {
        let old = known(&from["email"]).unwrap_or("no e-mail".into());
        printer.line(format_args!("  was {old} until {} (run {})", text(&from["at"]), from["run"]));
    }
    printer.line("\nvalues");
    for field in list(&told["fields"]) {
        printer.line(format_args!(
            "  {:<18} {}\n{:20} {}: {}",
            text(&field["field"]),
            field["value"],
            "",
            rule(&text(&field["rule"])),
            source(&field["from"])
        ));
        for other in list(&field["others"]) {
            printer.detail(format_args!("{:20} not {}: {}", "", other["value"], source(&other["from"])));
        }
    }
    heading(printer, "consent statements, the latest first", &told["consent_statements"]);
    for said in list(&told["consent_statements"]) {
        printer.line(format_args!(
            "  {:<6} {:<8} {}  {} {} (run {}{})",
            text(&said["channel"]),
            text(&said["state"]),
            text(&said["stated_at"]),
            text(&said["connection"]),
            text(&said["record"]),
            said["run"],
            if said["taken_back_run"].is_null() { "" } else { ", taken back since" }
        ));
    }
    heading(printer, "tags", &told["tags"]);
    for tag in list(&told["tags"]) {
        say_tag(printer, tag);
    }
    heading(printer, "orders", &told["orders"]);
    for order in list(&told["orders"]) {
        printer.line(format_args!(
            "  {} {}  {}  {}",
            text(&order["connection"]),
            text(&order["number"]),
            known(&order["status"]).unwrap_or("held: its status is not mapped".into()),
            text(&order["placed_at"])
        ));
    }
    say_rest(printer, told);
}

fn say_tag(printer: &Printer, tag: &Value) {
    const SHOWN: usize = 3;
    printer.line(format_args!(
        "  {} ({}), from {} to {}",
        text(&tag["tag"]),
        text(&tag["origin"]),
        known(&tag["first_at"]).unwrap_or("an unknown time".into()),
        known(&tag["last_at"]).unwrap_or("an unknown time".into())
    ));
    let because = list(&tag["because"]);
    let shown = if printer.is_verbose() { because.len() } else { SHOWN };
    for reason in because.iter().take(shown) {
        let path: Vec<Cow<'_, str>> = list(&reason["path"]).iter().map(text).collect();
        let what = match (known(&reason["order"]), known(&reason["account"]), known(&reason["setting"])) {
            (Some(order), ..) => format!("order {order}, {} in {}", text(&reason["product"]), path.join(" / ")),
            (_, Some(account), _) => format!("has {account}"),
            (.., Some(setting)) => format!("{setting} of the pipeline file"),
            _ => format!("subscribed: {}", text(&reason["record"])),
        };
        printer.line(format_args!("      {}: {what}", text(&reason["connection"])));
    }
    if because.len() > shown {
        printer.line(format_args!("      and {} more (-v shows them)", because.len() - shown));
    }
}

fn say_order(printer: &Printer, told: &Value) {
    let row = &told["order"];
    printer.line(format_args!("order {} of {}", known(&row["number"]).unwrap_or("-".into()), text(&row["connection"])));
    printer.line(format_args!("  id {}, from {}", text(&told["order_id"]), source(&told["source"])));
    let status = &told["status"];
    printer.line(format_args!(
        "  status {} from the shop's {}: {}",
        known(&status["value"]).unwrap_or("none".into()),
        status["source_status"],
        text(&status["rule"])
    ));
    let contact = &told["contact"];
    printer.line(format_args!(
        "  contact {}: {}",
        known(&contact["email"]).unwrap_or(text(&contact["contact_id"])),
        text(&contact["rule"])
    ));
    let sums = &told["sums"];
    let currency = text(&sums["currency"]);
    for name in ["total", "items", "shipping", "fees", "discount", "tax"] {
        if !sums[name].is_null() {
            printer.line(format_args!("  {name:<9} {} {currency}", sums[name]));
        }
    }
    heading(printer, "lines", &told["items"]);
    for item in list(&told["items"]) {
        printer.line(format_args!(
            "  {:>3}  {} × {} = {}  {} (product {})",
            item["line"],
            item["quantity"],
            item["unit_price"],
            item["line_total"],
            text(&item["name"]),
            known(&item["product_key"]).unwrap_or("gone".into())
        ));
    }
    say_rest(printer, told);
}

/// What contacts and orders have alike: rejects, delivery, history.
fn say_rest(printer: &Printer, told: &Value) {
    heading(printer, "values that could not be taken as the shop gave them", &told["rejects"]);
    for reject in list(&told["rejects"]) {
        printer.line(format_args!(
            "  {}: {} ({})",
            text(&reject["field"]),
            text(&reject["reason"]),
            text(&reject["code"])
        ));
    }
    let delivery = &told["delivery"];
    heading(printer, "at the targets", &delivery["ledger"]);
    for entry in list(&delivery["ledger"]) {
        printer.line(format_args!(
            "  {} {} {}  {} at {} (batch {}, run {})",
            text(&entry["target"]),
            text(&entry["object"]),
            text(&entry["key"]),
            text(&entry["state"]),
            text(&entry["sent_at"]),
            entry["batch"],
            entry["run"]
        ));
        if let Some(payload) = entry.get("payload") {
            printer.detail(format_args!("      {payload}"));
        }
    }
    for batch in list(&delivery["batches"]) {
        printer.detail(format_args!(
            "  batch {}  {} {}  {} at {}",
            batch["batch"],
            text(&batch["target"]),
            text(&batch["operation"]),
            text(&batch["state"]),
            text(&batch["at"])
        ));
    }
    heading(printer, "waiting to be sent", &delivery["pending"]);
    for entry in list(&delivery["pending"]) {
        printer.line(format_args!(
            "  {} {} {}  since run {}, tried {} times",
            text(&entry["target"]),
            text(&entry["object"]),
            text(&entry["key"]),
            entry["run"],
            entry["attempts"]
        ));
    }
    heading(printer, "refused", &delivery["rejects"]);
    for reject in list(&delivery["rejects"]) {
        printer.line(format_args!(
            "  {} {} {}  {}: {} ({} times, last {})",
            text(&reject["target"]),
            text(&reject["object"]),
            text(&reject["key"]),
            text(&reject["code"]),
            text(&reject["reason"]),
            reject["times"],
            text(&reject["last_at"])
        ));
    }
    heading(printer, "history, as far as the change feed goes back", &told["history"]);
    for change in list(&told["history"]) {
        printer.line(format_args!("  run {}  {}  {}", change["run"], text(&change["at"]), text(&change["op"])));
        for field in list(&change["fields"]) {
            printer.line(format_args!("      {}: {} → {}", text(&field["field"]), field["old"], field["new"]));
        }
    }
}

fn heading(printer: &Printer, title: &str, below: &Value) {
    if !list(below).is_empty() {
        printer.line(format_args!("\n{title}"));
    }
}

/// A rule in words.
fn rule(name: &str) -> &str {
    match name {
        "identity" => "whom the contact is known by",
        "newest" => "the newest that any record gives",
        "any" => "true where any record says so",
        "earliest" => "the earliest of all records",
        "latest" => "the latest of all records",
        "latest statement" => "the latest explicit statement; equally late, the withdrawal",
        other => other,
    }
}

/// A record in words: `my-shop account:7, changed there 2026-…, landed by run 12`.
fn source(source: &Value) -> String {
    let record = known(&source["record"]).unwrap_or(text(&source["key"]));
    let mut words = format!("{} {record}", text(&source["connection"]));
    if source["gone"] == true {
        words.push_str(", which the shop has no more");
    }
    if let Some(at) = known(&source["changed_at_shop"]) {
        words.push_str(&format!(", changed there {at}"));
    }
    if source["run"].is_number() {
        words.push_str(&format!(", landed by run {}", source["run"]));
    }
    words
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text of the shop's or the target's, on one line; nothing where there is none.
fn text(value: &Value) -> Cow<'_, str> {
    known(value).unwrap_or_default()
}

fn known(value: &Value) -> Option<Cow<'_, str>> {
    value.as_str().map(foreign::one_line)
}
