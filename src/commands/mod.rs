//! The command line: one file per verb. Arguments in, one call into a stage, results to stdout, all else to stderr.
//!
//! A verb is a file with `pub struct Args` (clap; its doc comment is the help text, its `after_long_help` has examples)
//! and `pub async fn run(global: &Global, args: Args) -> Result<Exit>`, and one line in each of the three lists below.
//! A verb that works on a pipeline flattens [`PipelineFile`] into its arguments and does its work in [`with_pipeline`].

pub mod archive;
pub mod changes;
pub mod check;
pub mod completions;
pub mod db;
pub mod demo;
pub mod explain;
pub mod extract;
mod hide_password;
pub mod init;
pub mod load;
pub mod man;
mod pipeline;
pub mod plan;
pub mod rejects;
pub mod run;
pub mod sandbox;
pub mod schema;
pub mod status;
pub mod tenant;
pub mod transform;
pub mod verify;

pub use hide_password::hide_password;
pub use pipeline::{
    PipelineFile, Strictness, in_file, load, note_pipeline, open_database, say_rejects, try_fields, with_database,
    with_pipeline, with_run,
};

use crate::config::variables::EnvFile;
use crate::error::Exit;
use crate::printer::{self, Printer, Verbosity};
use crate::progress::Progress;
use crate::{Error, Kind, Result};
use clap::{Parser, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

const AFTER_HELP: &str = "\
A first walk:
  wharf demo --small                           all of it on sandbox platforms, in seconds
  wharf init woocommerce salesmanago -o a.yaml write a commented pipeline file to fill in
  wharf check a.yaml                           test file and credentials; changes nothing
  wharf extract a.yaml                         read the shop into the database
  wharf transform a.yaml                       say what it means
  wharf plan a.yaml                            show what would be sent; changes nothing
  wharf run a.yaml                             all stages; again, only what changed moves

Database: --database-url or DATABASE_URL; with neither, wharf starts its own private
  PostgreSQL below WHARF_HOME (wharf db --help).
Environment: WHARF_LOG takes log filters such as wharf=debug, WHARF_LOG_FORMAT=json makes every line
  of the log a JSON object, NO_COLOR turns colours off, HTTPS_PROXY and NO_PROXY are respected.

Exit codes (docs/cli.md):
  0  done; also if there is nothing to do now: the load window is closed, or another process is
     at the same work
  1  anything that no other code names
  2  bad command, pipeline file or credentials
  3  done, but records were rejected for the first time (with --strict: any are); wharf rejects
  4  stopped early: a platform is down, interrupted; run it again, it continues
  5  a person has to decide: a guard held something back, another account is behind a name;
     running it again does not help";

/// Moves customers, orders, products and categories from shops to marketing and CRM platforms.
///
/// Raw data lands in Postgres, SQL says what it means, only what changed is shipped, Parquet keeps what was. A pipeline
/// file (YAML) names the shops and the account; every command on it can be stopped at any instant and continued by
/// running it again.
#[derive(Debug, Parser)]
#[command(name = "wharf", version, after_long_help = AFTER_HELP, after_help = "More, with examples: wharf --help", max_term_width = 110)]
pub struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub options: Options,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Options {
    /// The Postgres to work in (postgres://user:password@host/database, or file:PATH of a file that holds this); left out,
    /// a private one is started
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true, value_name = "URL")]
    pub database_url: Option<SecretString>,
    /// Read variables of pipeline files (and DATABASE_URL) from this file, one NAME=value a line; those of the environment
    /// come first, those of `.env` beside the pipeline file last
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Write the result as one JSON document, errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Say results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: records, fields, calls; twice for logs for developers
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The verbs, in the order in which one meets them. Their help is the doc comment of their `Args`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a doc comment here would replace the help text")]
pub enum Verb {
    Demo(demo::Args),
    Init(init::Args),
    Check(check::Args),
    Run(run::Args),
    Extract(extract::Args),
    Transform(transform::Args),
    Plan(plan::Args),
    Load(load::Args),
    Verify(verify::Args),
    Archive(archive::Args),
    Status(status::Args),
    Rejects(rejects::Args),
    Changes(changes::Args),
    Explain(explain::Args),
    Db(db::Args),
    Sandbox(sandbox::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Verb {
    async fn run(self, global: &Global) -> Result<Exit> {
        match self {
            Verb::Demo(args) => demo::run(global, args).await,
            Verb::Init(args) => init::run(global, args).await,
            Verb::Check(args) => check::run(global, args).await,
            Verb::Run(args) => run::run(global, args).await,
            Verb::Extract(args) => extract::run(global, args).await,
            Verb::Transform(args) => transform::run(global, args).await,
            Verb::Plan(args) => plan::run(global, args).await,
            Verb::Load(args) => load::run(global, args).await,
            Verb::Verify(args) => verify::run(global, args).await,
            Verb::Archive(args) => archive::run(global, args).await,
            Verb::Status(args) => status::run(global, args).await,
            Verb::Rejects(args) => rejects::run(global, args).await,
            Verb::Changes(args) => changes::run(global, args).await,
            Verb::Explain(args) => explain::run(global, args).await,
            Verb::Db(args) => db::run(global, args).await,
            Verb::Sandbox(args) => sandbox::run(global, args).await,
            Verb::Schema(args) => schema::run(global, args).await,
            Verb::Completions(args) => completions::run(global, args).await,
            Verb::Man(args) => man::run(global, args).await,
        }
    }
}

/// What a verb gets besides its own arguments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Global {
    database_url: Option<SecretString>,
    env_file: EnvFile,
    /// Says results, notes and warnings.
    pub printer: Printer,
    /// Shows meters.
    pub progress: Progress,
    /// Cancelled by the first Ctrl-C or SIGTERM: finish the batch in hand and return [`Kind::Interrupted`].
    pub stop: CancellationToken,
}

impl Global {
    /// From the global options.
    pub fn new(options: &Options) -> Self {
        let verbosity = match (options.quiet, options.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, _) => Verbosity::Verbose,
        };
        let progress = if options.quiet { Progress::silent() } else { Progress::stderr() };
        Self {
            database_url: options.database_url.clone(),
            env_file: EnvFile::default(),
            printer: Printer::new(options.json, verbosity, progress.clone()),
            progress,
            stop: CancellationToken::new(),
        }
    }

    /// With the variables of a file.
    ///
    /// # Errors
    /// [`Kind::Command`] if it cannot be read.
    pub fn with_env_file(mut self, path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(self) };
        self.env_file = EnvFile::read(path)?;
        let in_file = self.env_file.get("DATABASE_URL").map(SecretString::from);
        self.database_url = self.database_url.or(in_file);
        Ok(self)
    }

    /// The URL given by option, environment or file of variables. It may hold a password: never print it.
    pub fn database_url(&self) -> Option<String> {
        self.database_url.as_ref().map(|url| url.expose_secret().to_owned()).filter(|url| !url.is_empty())
    }

    /// Waits for `work`, or ends it at Ctrl-C: for verbs whose work may be dropped at any point.
    ///
    /// # Errors
    /// Those of `work`; [`Kind::Interrupted`].
    pub async fn or_interrupted<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            result = work => result,
            () = self.stop.cancelled() => Err(Error::new(Kind::Interrupted, "stopped on request")),
        }
    }
}

/// Runs the verb; what went wrong has been said when this returns.
pub async fn main(verb: Verb, global: &Global) -> Exit {
    tokio::spawn(watch_signals(global.clone()));
    match verb.run(global).await {
        Ok(exit) => exit,
        Err(error) => {
            match error.kind().exit() {
                Exit::Done => global.printer.nothing_done(&error),
                _ => global.printer.error(&error),
            }
            error.kind().exit()
        }
    }
}

/// The command line as typed settings, or the exit code where there is nothing to run: help was asked for and given, or
/// a mistake has been named.
pub fn parse(arguments: &[OsString]) -> std::result::Result<Cli, Exit> {
    let error = match Cli::try_parse_from(arguments) {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    let json = arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    if error.use_stderr() && json {
        let text = error.render().to_string();
        let detail = text.trim_start_matches("error: ").lines().next().unwrap_or("bad command line").to_owned();
        Printer::new(true, Verbosity::Normal, Progress::silent())
            .error(&Error::new(Kind::Command, detail).hint("wharf --help lists the commands and their options"));
        return Err(Exit::BadInput);
    }
    if !error.use_stderr() {
        // A reader that went away is none of our business.
        let _ = error.print();
        return Err(Exit::Done);
    }
    let text = error.render();
    let text = if printer::colour_wanted() { text.ansi().to_string() } else { text.to_string() };
    let head = format!("error[{}]:", Kind::Command.code());
    let is_help = error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    eprint!("{}", if is_help { text } else { text.replacen("error:", &head, 1) });
    Err(Exit::BadInput)
}

/// The first Ctrl-C or SIGTERM asks the stages to stop, the second ends the process.
async fn watch_signals(global: Global) {
    use tokio::signal::unix::{SignalKind, signal};
    // Both listeners live from the beginning, so that a quick second signal is not missed.
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!("signals cannot be watched, Ctrl-C ends at once: {error}");
            return;
        }
    };
    let mut next_signal = async || {
        tokio::select! {
            received = interrupt.recv() => received.map(|()| SignalKind::interrupt()),
            received = terminate.recv() => received.map(|()| SignalKind::terminate()),
        }
    };
    loop {
        let Some(signal) = next_signal().await else { return };
        // psql cancels its statement by itself.
        if signal != SignalKind::interrupt() || !db::psql_has_the_terminal() {
            break;
        }
    }
    global.printer.warning("stopping after the batch in hand; press again to stop at once");
    global.stop.cancel();
    crate::store::waiting::end_all();
    if next_signal().await.is_some() {
        std::process::exit(Exit::Stopped as i32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_says_more_than_a_line_and_gives_an_example() {
        for verb in Cli::command().get_subcommands() {
            let help = format!(
                "{}{}",
                verb.get_long_about().map(ToString::to_string).unwrap_or_default(),
                verb.get_after_long_help().map(ToString::to_string).unwrap_or_default()
            );
            assert!(help.contains("wharf "), "`wharf {} --help` shows no example", verb.get_name());
        }
    }

    #[test]
    fn the_database_url_never_prints() {
        let cli = Cli::try_parse_from(["wharf", "--database-url", "postgres://u:hunter2@h/d", "schema"]);
        let shown = format!("{cli:?} {:?}", cli.as_ref().map(|cli| Global::new(&cli.options)));
        assert!(cli.is_ok() && !shown.contains("hunter2"));
    }
}
