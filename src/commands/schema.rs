//! `wharf schema`: the JSON Schema of pipeline files.

use super::Global;
use crate::error::Exit;
use crate::{Error, Kind, Result};

const EXAMPLES: &str = "\
Examples:
  wharf schema > wharf.schema.json
  sed -i '1i # yaml-language-server: $schema=./wharf.schema.json' shop.yaml";

/// Print the JSON Schema of pipeline files
///
/// Editors that know JSON Schema complete keys and underline mistakes while a pipeline file is written. The schema holds
/// the settings of every platform.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {}

/// Prints the schema; it is the result itself, so `--json` changes nothing.
///
/// # Errors
/// [`Kind::Internal`] only.
pub async fn run(global: &Global, _: Args) -> Result<Exit> {
    let schema = crate::config::schema::pipeline();
    global.printer.document(schema)?;
    let text = serde_json::to_string_pretty(schema)
        .map_err(|error| Error::new(Kind::Internal, "the schema cannot be written as JSON").because(error))?;
    global.printer.line(text);
    Ok(Exit::Done)
}
