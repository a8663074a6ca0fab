//! `wharf sandbox`: emulated platforms on this machine, for trying Wharf without credentials.

use super::Global;
use crate::error::Exit;
use crate::sandbox::{Sandbox, SandboxOptions, salesmanago, woocommerce};
use crate::{Error, Kind, Result};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wharf sandbox --small                  a shop of 700 orders, an empty account, until Ctrl-C
  wharf sandbox --orders 1000000         starts in seconds, takes no memory to speak of:
                                         rows are made when they are read
  wharf sandbox --load ./my-shop         a shop from files (see --load)
  wharf sandbox woocommerce --no-as-tls  keys by OAuth 1.0a alone, as on plain http

In another terminal, with the lines that it prints pasted (WOO_URL, WOO_KEY, …):
  wharf init woocommerce salesmanago -o try.yaml
                                         and put ${WOO_URL} and ${SM_URL} in as base_url
  wharf run try.yaml

Looking in and interfering, on the port of any platform:
  curl $WOO_URL/_sandbox/state           figures per platform
  curl $WOO_URL/_sandbox/requests        every call made, with counts and times
  curl $WOO_URL/_sandbox/change -d '{\"share\": 0.01}'
                                         about 1 % of the shop changes; says what
  curl -X POST $WOO_URL/_sandbox/reset   everything as in the beginning

Faults, at the call one names (curl $WOO_URL/_sandbox/faults -d '…'):
  {\"path\": \"/wp-json/wc/v3/orders\", \"kind\": \"throttle\", \"retry_after\": \"5\", \"after\": 2}
  {\"path\": \"/wp-json/wc/v3/orders\", \"kind\": \"cut\", \"query\": \"page=3\"}
  {\"path\": \"/api/contact/batchupsertv2\", \"kind\": \"lost\"}
  kinds: throttle, error, maintenance, status, slow, cut, drop, lost, html,
         duplicate_page, empty_page, truncated_json, notices
  where: platform, path (* stands for anything), method, query
  when:  after, every, times (0: for ever)";

/// Serve emulated platforms on this machine: a shop with a generated stock, a marketing account
///
/// For trying Wharf without credentials, and for breaking things on purpose. Each platform answers on a port of its own
/// as the real one does: logins, pages, limits, error bodies, quirks. The stock is repeatable: the same seed gives the
/// same customers and orders. Nothing leaves this machine, nothing is kept.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Which platforms to serve; left out, all
    #[arg(value_name = "PLATFORM", value_parser = ["woocommerce", "salesmanago"])]
    platforms: Vec<String>,
    /// Port of the first platform, the next takes the next one; 0 for any free ones
    #[arg(long, default_value_t = 8600)]
    port: u16,
    /// Address to listen on; others than 127.0.0.1 let other machines in
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    address: IpAddr,
    /// How many orders the shop has, trash included [default: 50000]
    #[arg(long, value_name = "N")]
    orders: Option<u64>,
    /// How many customers with an account the shop has [default: 20000]
    #[arg(long, value_name = "N")]
    customers: Option<u64>,
    /// Another seed, other people
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// A shop of 300 customers and 700 orders
    #[arg(long, conflicts_with_all = ["orders", "customers"])]
    small: bool,
    /// Serve a shop from files instead of a generated one
    ///
    /// DIR/{customers,orders,products,categories,variations,refunds}.ndjson, one row per line as the shop's API gives it;
    /// a list whose file is missing is empty.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["orders", "customers", "small"])]
    load: Option<PathBuf>,
    /// The shop's time zone
    #[arg(long, default_value = "Europe/Warsaw", value_name = "ZONE")]
    zone: String,
    /// The moment at which the stock ends and the shop's clock begins
    #[arg(long, default_value = "2026-10-01T00:00:00Z", value_name = "TIME")]
    now: jiff::Timestamp,
    /// A sub-folder that the shop lives in: shop
    #[arg(long, default_value = "", value_name = "FOLDER")]
    folder: String,
    /// Let the shop see plain http as such: it then takes keys by OAuth 1.0a alone
    #[arg(long)]
    no_as_tls: bool,
}

impl Args {
    fn serves(&self, platform: &str) -> bool {
        self.platforms.is_empty() || self.platforms.iter().any(|wanted| wanted == platform)
    }

    fn shop(&self) -> Result<woocommerce::Options> {
        if let Some(folder) = self.load.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(Error::new(Kind::Command, format!("{} is no folder", folder.display()))
                .hint("give a folder with customers.ndjson, orders.ndjson and so on"));
        }
        let size = if self.small { woocommerce::Options::small() } else { woocommerce::Options::default() };
        // A larger shop has more customers, unless it is said how many.
        let orders = self.orders.unwrap_or(size.orders);
        let customers = self.customers.unwrap_or(if self.orders.is_some() { orders * 2 / 5 } else { size.customers });
        Ok(woocommerce::Options {
            customers,
            orders,
            seed: self.seed,
            now: self.now,
            zone: self.zone.clone(),
            as_tls: !self.no_as_tls,
            folder: self.folder.clone(),
            load: self.load.clone(),
        })
    }
}

/// Serves until Ctrl-C.
///
/// # Errors
/// [`Kind::Io`] where a port is taken or a file cannot be read; [`Kind::Command`] for options that make no sense.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let options = SandboxOptions {
        address: args.address,
        port: args.port,
        woocommerce: if args.serves("woocommerce") { Some(args.shop()?) } else { None },
        salesmanago: args.serves("salesmanago").then(salesmanago::Options::default),
    };
    let sandbox = Sandbox::start(options).await?;
    global.printer.document(&description(&sandbox))?;
    for (platform, url) in sandbox.platforms() {
        global.printer.line(format!("# {}: {url}{}", platform.name(), figures(&platform.state())));
        global.printer.line(format!("export {}={}", platform.url_variable(), address(&sandbox, platform.name(), url)));
        for (variable, value) in platform.credentials() {
            global.printer.line(format!("export {variable}={}", quoted(&value)));
        }
    }
    global
        .printer
        .note("serving until Ctrl-C; wharf sandbox --help shows how to look in, change things and break them");
    global.stop.cancelled().await;
    sandbox.stop().await;
    Ok(Exit::Done)
}

/// The address that `base_url` takes: a shop's sub-folder is part of it.
fn address(sandbox: &Sandbox, platform: &str, url: &str) -> String {
    if platform == "woocommerce" { sandbox.woocommerce_url() } else { url.to_owned() }
}

/// How many rows the lists of a platform have.
fn figures(state: &Value) -> String {
    let lists: Vec<String> = state
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, list)| list.get("total").and_then(Value::as_u64).map(|total| format!("{total} {name}")))
        .collect();
    if lists.is_empty() { String::new() } else { format!(" ({})", lists.join(", ")) }
}

fn description(sandbox: &Sandbox) -> Value {
    let mut platforms = Map::new();
    for (platform, url) in sandbox.platforms() {
        let mut environment = Map::new();
        environment.insert(platform.url_variable().to_owned(), json!(address(sandbox, platform.name(), url)));
        environment.extend(platform.credentials().into_iter().map(|(name, value)| (name.to_owned(), json!(value))));
        let described = json!({ "url": url, "environment": environment, "state": platform.state() });
        platforms.insert(platform.name().to_owned(), described);
    }
    Value::Object(platforms)
}

/// A value as a shell takes it.
fn quoted(value: &str) -> String {
    let is_plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/@".contains(&byte));
    if is_plain { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_only_where_a_shell_needs_it() {
        assert_eq!(quoted("ck_01"), "ck_01");
        assert_eq!(quoted("it's a b"), r"'it'\''s a b'");
    }
}
