//! What commands on a pipeline share: the file is read, the database opened, a run begun, the work done, the run ended
//! with its outcome.

use super::Global;
use crate::config::variables::{EnvFile, Variables};
use crate::config::{self, Loaded, Pipeline};
use crate::error::Exit;
use crate::printer::Printer;
use crate::stage::Context;
use crate::stage::load::fields;
use crate::stage::rejects::Rejects;
use crate::store::{Database, DatabaseLocation, Outcome, Run, pipelines};
use crate::{Error, Kind, Result};
use std::path::{Path, PathBuf};

/// The argument of every command on a pipeline; flatten it into the verb's own.
#[derive(Debug, Clone, clap::Args)]
pub struct PipelineFile {
    /// The pipeline file (YAML); `wharf init` writes one
    #[arg(value_name = "PIPELINE")]
    pub pipeline: PathBuf,
}

/// The option of every command that may find rejects; flatten it into the verb's own.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Strictness {
    /// Exit with code 3 as long as any reject stands, not only for those that are new
    #[arg(long)]
    pub strict: bool,
}

/// Says what was rejected in a run: new rejects as a warning, older ones in passing.
pub fn say_rejects(printer: &Printer, rejects: Rejects) {
    let Rejects { new, standing } = rejects;
    if new > 0 {
        printer.warning(format_args!(
            "rejected for the first time: {new} (all that stand: {standing}); `wharf rejects list` shows them"
        ));
    } else if standing > 0 {
        printer.note(format_args!("rejected by earlier runs and still so: {standing}; `wharf rejects` counts them"));
    }
}

/// Tries the expressions of `contacts.fields`, so that a slip in them is found before any work is done.
///
/// # Errors
/// [`Kind::PipelineFile`] with the line of each that Postgres refuses, and its message; those of the database.
pub async fn try_fields(db: &Database, pipeline: &Pipeline, path: &Path) -> Result<()> {
    let problems = fields::problems(db, &pipeline.contacts.fields).await?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(in_file(path, problems))
}

/// What Postgres has against fields, as mistakes of the file.
pub fn in_file(path: &Path, problems: Vec<fields::Problem>) -> Error {
    let mistake = |problem: fields::Problem| {
        let hint = problem.hint.unwrap_or_else(|| {
            "write one SQL expression over the contact's columns (c) and those of its RFM row (rfm): extra->>'size'"
                .into()
        });
        (format!("contacts.fields.{}", problem.name), problem.message, Some(hint))
    };
    config::mistaken(path, problems.into_iter().map(mistake).collect())
}

/// Reads a pipeline file, with the variables of the environment, of `--env-file` and of `.env` beside it, and says what is
/// worth a look in it.
///
/// # Errors
/// [`Kind::PipelineFile`] with all mistakes; [`Kind::Command`] for a file of variables that cannot be read.
pub fn load(global: &Global, path: &Path) -> Result<Pipeline> {
    let Loaded { pipeline, warnings } = read(global, path)?;
    warnings.iter().for_each(|warning| global.printer.warning(warning));
    Ok(pipeline)
}

/// As [`load`], but the caller says what is worth a look.
///
/// # Errors
/// As [`load`].
pub fn read(global: &Global, path: &Path) -> Result<Loaded> {
    let beside = EnvFile::beside(path)?;
    if beside.get("DATABASE_URL").is_some() && global.database_url().is_none() {
        global.printer.warning(
            "DATABASE_URL in .env is not taken, because commands without a pipeline would work in another database: \
             give --env-file, --database-url, or export it",
        );
    }
    let variables = Variables::environment().or(&global.env_file).or(&beside);
    config::load(path, &variables)
}

/// Opens the database that the global options name: connects or starts the private server, migrates.
///
/// # Errors
/// Those of [`Database::open`].
pub async fn open_database(global: &Global) -> Result<Database> {
    Database::open(&DatabaseLocation::from_options(global.database_url())?).await
}

/// Reads the pipeline, opens the database and does `work` as a run called `command` (extract, transform, …).
///
/// # Errors
/// Those of the file, the database and the work; the run is ended with them.
pub async fn with_pipeline<Work, Done>(global: &Global, path: &Path, command: &str, work: Work) -> Result<Exit>
where
    Work: FnOnce(Context, Pipeline) -> Done,
    Done: Future<Output = Result<Exit>>,
{
    let pipeline = load(global, path)?;
    with_database(global, async |db| {
        let name = pipeline.name.clone();
        note_pipeline(&db, &pipeline).await?;
        with_run(global, &db, &name, command, |context| work(context, pipeline)).await
    })
    .await
}

/// Notes what a pipeline is, for `wharf status`.
///
/// # Errors
/// Those of the database.
pub async fn note_pipeline(db: &Database, pipeline: &Pipeline) -> Result<()> {
    let row = pipelines::PipelineRow {
        name: &pipeline.name,
        connections: pipeline.sources.iter().map(|source| source.connection.as_str()).collect(),
        target: &pipeline.target.account,
        platform: &pipeline.target.platform,
        fresh_within: pipeline.fresh_within.map(|span| span.0.unsigned_abs()),
    };
    pipelines::note(db, &row).await
}

/// Opens the database, does `work`, and closes it whatever came of it.
///
/// # Errors
/// Those of the database and the work.
pub async fn with_database<T>(global: &Global, work: impl AsyncFnOnce(Database) -> Result<T>) -> Result<T> {
    let db = open_database(global).await?;
    let result = work(db.clone()).await;
    db.close().await;
    result
}

/// Does `work` as a run of `pipeline`: begins it, and ends it with what came of the work.
///
/// # Errors
/// Those of the database and the work; [`Kind::Interrupted`] before anything is begun if a stop was asked for.
pub async fn with_run<Work, Done>(
    global: &Global,
    db: &Database,
    pipeline: &str,
    command: &str,
    work: Work,
) -> Result<Exit>
where
    Work: FnOnce(Context) -> Done,
    Done: Future<Output = Result<Exit>>,
{
    if global.stop.is_cancelled() {
        return Err(Error::new(Kind::Interrupted, "stopped on request, before anything was begun"));
    }
    let run = Run::begin(db, pipeline, command).await?;
    let context =
        Context { db: db.clone(), run: run.clone(), progress: global.progress.clone(), stop: global.stop.clone() };
    let result = work(context).await;
    let ended = run.finish(outcome(&result), result.as_ref().err()).await;
    match (result, ended) {
        (Ok(exit), Ok(())) => Ok(exit),
        (Ok(_), Err(error)) => Err(error.context("the work is done, but the end of the run could not be noted")),
        (Err(error), ended) => {
            // The run is closed as died by whoever comes next; the work's error is the one that matters.
            if let Err(not_noted) = ended {
                tracing::warn!("the end of the run could not be noted: {not_noted}");
            }
            Err(error)
        }
    }
}

fn outcome(result: &Result<Exit>) -> Outcome {
    let exit = match result {
        Ok(exit) => *exit,
        Err(error) if error.kind().exit() == Exit::Done => return Outcome::Waits,
        Err(error) => error.kind().exit(),
    };
    match exit {
        Exit::Done => Outcome::Done,
        Exit::Rejected => Outcome::Rejects,
        Exit::Stopped => Outcome::Stopped,
        Exit::Decision => Outcome::Decision,
        Exit::Failure | Exit::BadInput => Outcome::Failed,
    }
}
