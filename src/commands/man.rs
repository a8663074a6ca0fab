//! `wharf man`: the manual, made of the same words as `--help`.

use super::{Cli, Global};
use crate::Result;
use crate::error::{Error, Exit};
use clap::CommandFactory;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wharf man | man -l -
  wharf man --out ~/.local/share/man/man1        then: man wharf-run";

/// Write the manual page, or with --out a page for every command
///
/// The pages hold what `wharf --help` and `wharf COMMAND --help` say, in the form that `man` shows.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// Write wharf.1 and a page for every command (wharf-run.1, …) into this folder
    #[arg(short, long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Writes them.
///
/// # Errors
/// [`crate::Kind::Io`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let Some(folder) = args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(|error| Error::from(error).context("the manual"))?;
        global.printer.line(String::from_utf8_lossy(&page).trim_end());
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(&folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &folder))
        .map_err(|error| Error::from(error).context(folder.display()))?;
    global.printer.line(format_args!("wrote {}", folder.join("wharf*.1").display()));
    Ok(Exit::Done)
}
