//! `wharf sandbox`: emulated platforms on this machine, for trying Wharf without credentials.

use super::Global;
use crate::Result;
use crate::error::Exit;
use crate::sandbox::registry::{self, PLATFORMS, Wish};
use crate::sandbox::{Sandbox, SandboxOptions};
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wharf sandbox --small                  shops of 700 orders, empty accounts, until Ctrl-C
  wharf sandbox --orders 1000000         starts in seconds, takes no memory to speak of:
                                         rows are made when they are read
  wharf sandbox --load ./my-shop         a shop from files (see --load)
  wharf sandbox woocommerce --set woocommerce.as_tls=false
                                         keys by OAuth 1.0a alone, as on plain http

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
  {\"path\": \"/wp-json/wc/v3/orders\", \"kind\": \"cut\", \"query\": \"offset=198\"}
  {\"path\": \"/wp-json/wc/v3/orders\", \"kind\": \"change\", \"after\": 2, \"change\": {\"share\": 0.01}}
  {\"path\": \"/api/contact/batchupsertv2\", \"kind\": \"lost\"}
  kinds: throttle, error, maintenance, status, slow, cut, drop, lost, html,
         duplicate_page, empty_page, missing_row, truncated_json, notices, change
  where: platform, path (* stands for anything), method, query
  when:  after, every, times (0: for ever)";

/// The examples, and the settings of every platform with their usual values.
fn examples() -> String {
    let mut text = format!("{EXAMPLES}\n\nSettings of the platforms (--set PLATFORM.NAME=VALUE):");
    for platform in PLATFORMS {
        for (name, value) in (platform.settings)().as_object().into_iter().flatten() {
            // What the options above say for all platforms.
            if !["customers", "orders", "seed", "now", "zone", "load"].contains(&name.as_str()) {
                text.push_str(&format!("\n  {}.{name}={value}", platform.name));
            }
        }
    }
    text
}

fn platform_names() -> PossibleValuesParser {
    let values = PLATFORMS.iter().map(|platform| PossibleValue::new(platform.name).help(platform.about));
    PossibleValuesParser::new(values.collect::<Vec<_>>())
}

/// `woocommerce.folder=shop` in its parts.
fn setting(text: &str) -> std::result::Result<(String, String, String), String> {
    let parts = text.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
    let ((platform, name), value) = parts.ok_or("write PLATFORM.NAME=VALUE")?;
    if registry::find(platform).is_none() {
        return Err(format!("no platform is called `{platform}`"));
    }
    Ok((platform.to_owned(), name.to_owned(), value.to_owned()))
}

/// Serve emulated platforms on this machine: shops with a generated stock, marketing accounts
///
/// For trying Wharf without credentials, and for breaking things on purpose. Each platform answers on a port of its own
/// as the real one does: logins, pages, limits, error bodies, quirks. The stock is repeatable: the same seed gives the
/// same customers and orders. Nothing leaves this machine, nothing is kept.
#[derive(Debug, clap::Args)]
#[command(after_long_help = examples())]
pub struct Args {
    /// Which platforms to serve; left out, all
    #[arg(value_name = "PLATFORM", value_parser = platform_names())]
    platforms: Vec<String>,
    /// Port of the first platform, the next takes the next one; 0 for any free ones
    #[arg(long, default_value_t = 8600)]
    port: u16,
    /// Address to listen on; others than 127.0.0.1 let other machines in
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    address: IpAddr,
    /// How many orders a shop has, trash included [default: 50000]
    #[arg(long, value_name = "N")]
    orders: Option<u64>,
    /// How many customers with an account a shop has [default: 20000]
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
    /// The time zone of a shop
    #[arg(long, default_value = "Europe/Warsaw", value_name = "ZONE")]
    zone: String,
    /// The moment at which a shop's stock ends and its clock begins
    #[arg(long, default_value = "2026-10-01T00:00:00Z", value_name = "TIME")]
    now: jiff::Timestamp,
    /// A setting of one platform; the end of this help lists them
    #[arg(long, value_name = "PLATFORM.NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String, String)>,
}

impl Args {
    fn serves(&self, platform: &str) -> bool {
        self.platforms.is_empty() || self.platforms.iter().any(|wanted| wanted == platform)
    }
}

/// Serves until Ctrl-C.
///
/// # Errors
/// [`crate::Kind::Io`] where a port is taken or a file cannot be read; [`crate::Kind::Command`] for options that make no
/// sense.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let (address, port) = (args.address, args.port);
    let served = PLATFORMS.iter().filter(|platform| args.serves(platform.name)).collect::<Vec<_>>();
    let wish = Wish {
        orders: args.orders,
        customers: args.customers,
        seed: args.seed,
        small: args.small,
        zone: args.zone,
        now: args.now,
        load: args.load,
        settings: args.set,
    };
    let platforms = served.into_iter().map(|platform| (platform.wished)(&wish)).collect::<Result<_>>()?;
    let options = SandboxOptions { address, port, platforms };
    let sandbox = Sandbox::start(options).await?;
    global.printer.document(&description(&sandbox))?;
    for (platform, url) in sandbox.platforms() {
        global.printer.line(format!("# {}: {url}{}", platform.name(), figures(&platform.state())));
        global.printer.line(format!("export {}={}", platform.url_variable(), platform.base_url(url)));
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
        environment.insert(platform.url_variable().to_owned(), json!(platform.base_url(url)));
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
