//! `wharf demo`: the example pipeline between two sandbox platforms, three times: everything, what changed, nothing.

use super::run::{RunReport, all_stages, say};
use super::{Global, note_pipeline, with_run};
use crate::config::pipeline::{Archive, ArchiveEvery};
use crate::config::{self, Pipeline, Variables};
use crate::error::Exit;
use crate::printer::Printer;
use crate::sandbox::woocommerce::Change;
use crate::sandbox::{Platform, Sandbox, SandboxOptions, salesmanago, woocommerce};
use crate::store::{Database, DatabaseLocation, private};
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

Everything it makes is below WHARF_HOME/demo and made anew each time; your own data is not touched.";

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
    /// Empty the database that --database-url names, if it holds Wharf's schemas already
    #[arg(long)]
    replace: bool,
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
    let db = open_empty(global, &home, args.replace).await?;
    let options = SandboxOptions::default().with(shop(&args)).with(salesmanago::Options::default());
    let sandbox = Sandbox::start(options).await?;
    let shown = show(global, &db, &sandbox, &archive, &args).await;
    sandbox.stop().await;
    if shown.is_ok() {
        farewell(global, &home);
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

/// A database without Wharf's schemas: the demo's own, or the one that the user names for it.
async fn open_empty(global: &Global, home: &Path, replace: bool) -> Result<Database> {
    let location = match global.database_url() {
        Some(url) => DatabaseLocation::Url(url),
        None => DatabaseLocation::Private(home.to_owned()),
    };
    let is_ours = matches!(location, DatabaseLocation::Private(_));
    let db = Database::connect(&location).await?;
    let used: bool = db.client().await?.query_one("select to_regnamespace('ops') is not null", &[]).await?.get(0);
    if used && !is_ours && !replace {
        db.close().await;
        return Err(Error::new(Kind::Command, "the database that --database-url names holds Wharf's data already")
            .hint(
                "give the demo a database of its own, leave --database-url out, or let it be emptied with --replace",
            ));
    }
    db.client().await?.batch_execute(sql::file("demo/reset.sql")?).await?;
    db.migrate().await?;
    let archive = home.join("archive");
    match std::fs::remove_dir_all(&archive) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::from(error).context(archive.display()))
        }
        _ => Ok(db),
    }
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
fn farewell(global: &Global, home: &Path) {
    let printer = &global.printer;
    let wharf = match global.database_url() {
        Some(_) => "wharf".to_owned(),
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
