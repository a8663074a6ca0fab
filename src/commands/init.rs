//! `wharf init`: a commented pipeline file for a platform pair.

use super::Global;
use crate::config::template::{self, Addresses};
use crate::error::Exit;
use crate::{Error, Kind, Result, source, target};
use clap::builder::PossibleValuesParser;
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use url::Url;

const EXAMPLES: &str = "\
Examples:
  wharf init woocommerce salesmanago --shop-url https://shop.example --out shop.yaml
  wharf init woocommerce salesmanago --out shop.yaml     shop and account wait for names of their own
  wharf init woocommerce salesmanago | less";

/// Write a commented pipeline file for a shop platform and a target platform
///
/// The file holds every key with its meaning: what must be filled in as a variable of the environment, what is optional
/// commented out or with its default. It goes to standard output unless --out names a file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The shop platform to read
    #[arg(value_parser = PossibleValuesParser::new(source::registry::PLATFORMS.iter().map(|row| row.name)))]
    source: String,
    /// The marketing or CRM platform to write to
    #[arg(value_parser = PossibleValuesParser::new(target::registry::PLATFORMS.iter().map(|row| row.name)))]
    target: String,
    /// The shop's address: it is written into the file, and the shop is named after it
    #[arg(long, value_name = "URL", value_parser = address)]
    shop_url: Option<Url>,
    /// The target account's address: it is written into the file, and the account is named after it
    #[arg(long, value_name = "URL", value_parser = address)]
    target_url: Option<Url>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long, requires = "out")]
    force: bool,
}

/// Writes the file.
///
/// # Errors
/// [`Kind::Command`] if the file exists and may not be overwritten; [`Kind::Io`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let unknown = |name: &str| Error::new(Kind::Command, format!("no platform is called `{name}`"));
    let source = source::registry::find(&args.source).ok_or_else(|| unknown(&args.source))?;
    let target = target::registry::find(&args.target).ok_or_else(|| unknown(&args.target))?;
    let is_named = args.shop_url.is_some();
    let addresses = Addresses { shop: args.shop_url, target: args.target_url };
    let file = template::render(source, target, &addresses);
    let variables = template::variables(&file);
    let Some(path) = &args.out else {
        global.printer.document(&json!({ "file": null, "pipeline": file, "variables": variables }))?;
        global.printer.line(file.trim_end());
        return Ok(Exit::Done);
    };
    write(path, &file, args.force)?;
    let shown = path.display();
    global.printer.document(&json!({ "file": shown.to_string(), "pipeline": file, "variables": variables }))?;
    global.printer.line(format_args!("wrote {shown}"));
    global.printer.line("");
    global.printer.line("next:");
    global.printer.line(format_args!("  1. {}: make a key {}", source.title, source.credentials));
    global.printer.line(format_args!("  2. {}: find the keys {}", target.title, target.credentials));
    global.printer.line(format_args!("  3. export {}", variables.join("=… ") + "=…"));
    global.printer.line("     or write them into a file .env beside it, one NAME=value a line");
    let mut step = 4;
    if !is_named {
        global
            .printer
            .line("  4. name the shop (`connection`) and the account for good: no two of a database may share a name");
        step += 1;
    }
    global.printer.line(format_args!("  {step}. wharf check {shown}"));
    Ok(Exit::Done)
}

/// An address that a file can name.
fn address(text: &str) -> std::result::Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; write it as https://shop.example"))?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    match url.has_host() && is_bare && ["http", "https"].contains(&url.scheme()) {
        true => Ok(url),
        false => Err("write scheme, host and folder only: https://shop.example".to_owned()),
    }
}

fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Error::new(Kind::Command, format!("{} exists already", path.display()))
            .hint("--force overwrites it, --out names another file"),
        _ => Error::from(error).context(path.display()),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| Error::from(error).context(path.display()))
}
