//! `wharf verify`: does the target hold what the ledger says?

use super::{Global, PipelineFile, load, with_database};
use crate::error::Exit;
use crate::stage::verify::{self, Extent, Report};
use crate::{Result, target};

const EXAMPLES: &str = "\
Examples:
  wharf verify shop.yaml                   two hundred records, picked by chance
  wharf verify shop.yaml --sample 5000 --seed 7
  wharf verify shop.yaml --all             everything, at the account's allowed rate
  wharf --json verify shop.yaml | jq '.findings[]'

Exit code 3: something is missing at the target, or differs. A changed card is put right by the next change at the shop,
or by wharf load --full after the ledger's row was dropped.";

/// Read a sample back from the target and compare it with what was sent; changes nothing
///
/// For each record the ledger says what the target acknowledged. It is asked for with calls that only read, within the
/// account's budget, and compared field by field; what the target cannot show is named. A card may hold more than was
/// sent: that is no difference.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    file: PipelineFile,
    /// How many records
    #[arg(long, value_name = "N", default_value_t = 200)]
    sample: u32,
    /// All records
    #[arg(long, conflicts_with = "sample")]
    all: bool,
    /// The same seed picks the same records
    #[arg(long, value_name = "S", default_value_t = 0, conflicts_with = "all")]
    seed: i64,
}

/// Verifies one pipeline's account.
///
/// # Errors
/// Those of [`verify::verify`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let pipeline = load(global, &args.file.pipeline)?;
    let extent = if args.all { Extent::All } else { Extent::Sample { rows: args.sample, seed: args.seed } };
    let report = with_database(global, async |db| {
        let target = target::registry::build(&pipeline.target, &pipeline.load)?;
        global.or_interrupted(verify::verify(&db, &pipeline, target, extent, &global.progress, &global.stop)).await
    })
    .await?;
    global.printer.document(&report)?;
    print(global, &report);
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::Rejected })
}

fn print(global: &Global, report: &Report) {
    let printer = &global.printer;
    for (object, n) in &report.checked {
        printer.line(format_args!("checked        {n:>9}  {object}"));
    }
    printer.line(format_args!("as sent        {:>9}", report.same));
    if report.withdrawn > 0 {
        printer.line(format_args!(
            "withdrawn      {:>9}  people have opted out at the target since; that stands",
            report.withdrawn
        ));
    }
    if report.too_fresh > 0 {
        printer.line(format_args!("too fresh      {:>9}  sent or changed a moment ago: ask again", report.too_fresh));
    }
    for (why, n) in &report.cannot_tell {
        printer.line(format_args!("cannot tell    {n:>9}  {why}"));
    }
    for finding in &report.findings {
        let what = format!("{} {}", finding.object, finding.key);
        if finding.missing {
            printer.record(format_args!("missing        {what}"));
        }
        for difference in &finding.differences {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            printer.record(format_args!(
                "differs        {what}  {}: sent {}, there is {}",
                difference.field,
                text(&difference.ledger),
                text(&difference.target)
            ));
        }
    }
    if !report.not_shown.is_empty() {
        printer.note(format_args!("{} never shows: {}", report.target, report.not_shown.join(", ")));
    }
}
