//! `wharf demo`: the example pipeline between two sandbox platforms, three times: everything, what changed, nothing.

use super::run::{RunReport, all_stages, say};
use super::{Global, note_pipeline, with_run};
use crate::config::pipeline::{Archive, ArchiveEvery};
use crate::config::{self, Pipeline, Variables};
use crate::error::Exit;
use crate::printer::Printer;
use crate::sandbox::woocommerce::Change;
use crate::sandbox::{Platform, Sandbox, SandboxOptions, salesmanago, woocommerce};
use crate::store::{Database, DatabaseLocation, address, migrate, private};
use crate::{Error, Kind, Result, sql};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

const EXAMPLES: &str = "\
Examples:
  wharf demo --small           a taste in seconds
  wharf demo                   20,000 customers, 50,000 orders
  wharf demo --orders 1000000 --customers 300000

Everything it makes is below WHARF_HOME/demo and made anew each time; your own data is not touched. With DATABASE_URL it
makes a database of its own on that server, called like yours with _demo behind it.";

/// The share of the shop that changes between the first run and the second.
const CHANGED: f64 = 0.01;

/// See it work: a sandbox shop, a sandbox SALESmanago, the example pipeline between them
///
/// Starts both on this machine, with a private PostgreSQL, and runs pipelines/woocommerce-salesmanago.yaml three times:
/// everything goes over; about a hundredth of the shop changes and only that goes over; nothing changes and nothing goes
/// over. No account, key or network is needed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// 300 customers and 700 orders
    #[arg(long, conflicts_with_all = ["orders", "customers"])]
    small: bool,
    /// How many orders the shop has
    #[arg(long, value_name = "N")]
    orders: Option<u64>,
    /// How many customers the shop has
    #[arg(long, value_name = "N")]
    customers: Option<u64>,
    /// Another number, another shop; the same number, the same shop
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
}

/// One of the three runs.
#[derive(Debug, Serialize)]
struct Round {
    title: &'static str,
    changed_at_the_shop: BTreeMap<&'static str, usize>,
    #[serde(flatten)]
    report: RunReport,
    target: Value,
}

/// Shows the three runs.
///
/// # Errors
/// Those of the sandbox, the database and the stages; [`Kind::Command`] for a database that holds data.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let home = private::home()?.join("demo");
    let archive = home.join("archive");
    let db = open_empty(global, &home).await?;
    let options = SandboxOptions::default().with(shop(&args)).with(salesmanago::Options::default());
    let sandbox = Sandbox::start(options).await?;
    let shown = show(global, &db, &sandbox, &archive, &args).await;
    sandbox.stop().await;
    if shown.is_ok() {
        farewell(global, &home, &db);
    }
    db.close().await;
    shown
}

fn shop(args: &Args) -> woocommerce::Options {
    let size = if args.small { woocommerce::Options::small() } else { woocommerce::Options::default() };
    woocommerce::Options {
        orders: args.orders.unwrap_or(size.orders),
        customers: args.customers.unwrap_or(size.customers),
        seed: args.seed,
        ..size
    }
}

/// The demo's own database, without any row: its names and its sandbox must never meet those of real shops.
async fn open_empty(global: &Global, home: &Path) -> Result<Database> {
    let location = match global.database_url() {
        Some(url) => match DatabaseLocation::from_options(Some(url))? {
            DatabaseLocation::Url(url) => DatabaseLocation::Url(beside(&url).await?),
            DatabaseLocation::Private(_) => DatabaseLocation::Private(home.to_owned()),
        },
        None => DatabaseLocation::Private(home.to_owned()),
    };
    let db = Database::connect(&location).await?;
    if matches!(location, DatabaseLocation::Url(_)) && is_used(&db).await? {
        let shown = db.shown().to_owned();
        db.close().await;
        return Err(Error::new(Kind::Command, format!("{shown} holds data that no demo has made"))
            .hint("drop or rename that database, or leave --database-url out"));
    }
    // What is dropped must be Wharf's.
    migrate::refuse_foreign_schemas(&*db.client().await?).await?;
    db.client().await?.batch_execute(sql::file("demo/reset.sql")?).await?;
    db.migrate().await?;
    db.client().await?.batch_execute(sql::file("demo/mark.sql")?).await?;
    let archive = home.join("archive");
    match std::fs::remove_dir_all(&archive) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::from(error).context(archive.display()))
        }
        _ => Ok(db),
    }
}

/// The demo's database on the server of the user's, made where it is not there: called like the user's, `_demo` behind it.
async fn beside(url: &str) -> Result<String> {
    let users = Database::connect(&DatabaseLocation::Url(url.to_owned())).await?;
    let made = make_beside(&users).await;
    users.close().await;
    address::with_database(url, &made?)
}

async fn make_beside(users: &Database) -> Result<String> {
    let client = users.client().await?;
    // Names have at most 63 bytes.
    let row = client
        .query_one(
            "with demo as (
                select case when octet_length(name) > 58 then left(name, 14) else name end || '_demo' as name
                from current_database() as own (name)
             )
             select
                name,
                format('create database %I encoding ''UTF8'' template template0', name),
                exists (select from pg_database where datname = name)
             from demo",
            &[],
        )
        .await?;
    let (name, statement, exists): (String, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if !exists {
        client.batch_execute(&statement).await.map_err(|error| {
            Error::from(error).context(format_args!("the demo's own database {name} cannot be made")).hint(format!(
                "let somebody who may do it run `{statement}` and make your role its owner, or leave --database-url out"
            ))
        })?;
    }
    Ok(name)
}

/// Whether somebody else than a demo has worked in a database.
async fn is_used(db: &Database) -> Result<bool> {
    let client = db.client().await?;
    let is_set_up = "select to_regclass('ops.runs') is not null and to_regclass('ops.settings') is not null";
    if !client.query_one(is_set_up, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(false);
    }
    let used = "select exists (select from ops.runs) and not exists (select from ops.settings where name = 'demo')";
    Ok(client.query_one(used, &[]).await?.try_get(0)?)
}

async fn show(global: &Global, db: &Database, sandbox: &Sandbox, archive: &Path, args: &Args) -> Result<Exit> {
    let printer = &global.printer;
    let pipeline = pipeline(sandbox, archive)?;
    let shop = sandbox.woocommerce().ok_or_else(|| Error::new(Kind::Internal, "the sandbox has no shop"))?;
    let account = sandbox.salesmanago().ok_or_else(|| Error::new(Kind::Internal, "the sandbox has no account"))?;
    printer.note(format_args!(
        "the shop answers at {}, the account at {}",
        sandbox.woocommerce_url(),
        sandbox.salesmanago_url()
    ));

    let mut rounds = Vec::new();
    for title in ["everything", "about 1 % of the shop has changed", "nothing has changed"] {
        let changes = if rounds.len() == 1 { shop.change_about(CHANGED, args.seed) } else { Vec::new() };
        let report = one_run(global, db, &pipeline).await?;
        let round = Round { title, changed_at_the_shop: count(&changes), report, target: account.state() };
        tell(printer, &round, rounds.len() + 1);
        if rounds.is_empty() {
            arrived(printer, db, &round).await?;
        }
        rounds.push(round);
    }
    printer.document(&json!({
        "database": db.shown(),
        "archive": archive,
        "rounds": rounds,
    }))?;
    // The shop is generated with odd rows on purpose: rejects are what a good run shows of them.
    let gravest = rounds.iter().fold(Exit::Done, |gravest, round| gravest.graver(round.report.exit(false)));
    Ok(if gravest == Exit::Rejected { Exit::Done } else { gravest })
}

/// The example pipeline, pointed at the sandbox.
fn pipeline(sandbox: &Sandbox, archive: &Path) -> Result<Pipeline> {
    let mut variables = Variables::only([]);
    for (platform, url) in sandbox.platforms() {
        variables = variables.with(platform.url_variable(), url);
        for (name, value) in platform.credentials() {
            variables = variables.with(name, value);
        }
    }
    let mut pipeline = config::parse("pipelines/woocommerce-salesmanago.yaml", config::EXAMPLE, &variables)?.pipeline;
    for source in &mut pipeline.sources {
        // What changed in an old customer shows in the very next run, not in that of the next day.
        source.full_walk_every = Some("0s".parse().map_err(|_| Error::new(Kind::Internal, "0s is no span"))?);
    }
    pipeline.archive = Some(Archive { to: archive.display().to_string(), every: ArchiveEvery::Run, keep: None });
    Ok(pipeline)
}

async fn one_run(global: &Global, db: &Database, pipeline: &Pipeline) -> Result<RunReport> {
    let report = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&report);
    note_pipeline(db, pipeline).await?;
    with_run(global, db, &pipeline.name, "run", async |context| {
        let done = all_stages(&context, pipeline, &Default::default()).await?;
        let exit = done.exit(false);
        if let Ok(mut kept) = kept.lock() {
            *kept = Some(done);
        }
        Ok(exit)
    })
    .await?;
    let done = report.lock().ok().and_then(|mut report| report.take());
    done.ok_or_else(|| Error::new(Kind::Internal, "a run ended without a report"))
}

fn count(changes: &[Change]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for change in changes {
        *counts.entry(change.what).or_default() += 1;
    }
    counts
}

fn tell(printer: &Printer, round: &Round, number: usize) {
    printer.line(format_args!("\n── run {number}: {} ──", round.title));
    for (what, times) in &round.changed_at_the_shop {
        printer.line(format_args!("at the shop   {times:>9}  {what}"));
    }
    say(printer, &round.report);
    let read: u64 = round.report.extract.iter().map(|report| report.total().calls).sum();
    printer.line(format_args!(
        "{read} calls to the shop, {} to the account, {:.1} s",
        round.report.load.tally.all_calls(),
        round.report.took.as_secs_f64()
    ));
}

/// What arrived, in figures.
async fn arrived(printer: &Printer, db: &Database, round: &Round) -> Result<()> {
    printer.line("\nin the database");
    for row in db.client().await?.query(sql::file("demo/arrived.sql")?, &[]).await? {
        let (what, number, detail): (String, i64, Option<String>) = (row.get(0), row.get(1), row.get(2));
        match detail {
            None => printer.line(format_args!("{what:<14}{number:>9}")),
            Some(detail) => printer.line(format_args!("{:<14}{number:>9}  {detail}", "")),
        }
    }
    printer.line("\nat the account");
    for figure in ["contacts", "opted_in", "tags", "events"] {
        printer.line(format_args!("{figure:<14}{:>9}", round.target[figure]));
    }
    if let Some(kinds) = round.target["events_by_type"].as_object() {
        for (kind, number) in kinds {
            printer.line(format_args!("{:<14}{number:>9}  {kind}", ""));
        }
    }
    Ok(())
}

/// Says how to look further.
fn farewell(global: &Global, home: &Path, db: &Database) {
    let printer = &global.printer;
    let wharf = match global.database_url() {
        // Without the password, which this line must not show.
        Some(_) => format!("wharf --database-url '{}'", db.shown()),
        None => format!("WHARF_HOME={} wharf", shell_word(home)),
    };
    printer.line(format_args!(
        "\nlook further
  {wharf} db psql -- -c \"select segment, count(*), round(sum(monetary), 2) from marts.rfm where currency = 'PLN' group by 1 order by 3 desc\"
  {wharf} db psql -- -c \"select * from marts.revenue_by_month order by month desc limit 12\"
  {wharf} db psql -- -c \"select entity, op, count(*) from canonical.changes group by 1, 2 order by 1, 2\"
  {wharf} rejects list
  snapshots: {}",
        home.join("archive").display()
    ));
}

/// A path as a shell takes it.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter)) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
