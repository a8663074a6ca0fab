//! `wharf completions`: what a shell completes after `wharf`.

use super::{Cli, Global};
use crate::Result;
use crate::error::Exit;
use clap::CommandFactory;
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  wharf completions bash > ~/.local/share/bash-completion/completions/wharf
  wharf completions zsh > \"${fpath[1]}/_wharf\"
  wharf completions fish > ~/.config/fish/completions/wharf.fish";

/// Write completions for a shell to standard output
///
/// Verbs, options and the names of platforms are completed once the shell has read the file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Writes them.
///
/// # Errors
/// None.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "wharf", &mut script);
    global.printer.line(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Done)
}
