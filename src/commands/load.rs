//! `wharf load`: what changed goes to the target.

use super::{Global, PipelineFile, Strictness, say_rejects, try_fields, with_pipeline};
use crate::error::Exit;
use crate::printer::Printer;
use crate::stage::load::feed::Baseline;
use crate::stage::load::{self, Options, Patience, Summary};
use crate::{Result, target};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wharf plan shop.yaml && wharf load shop.yaml
  wharf load shop.yaml --full                 compare everything first, not only what changed
  wharf load shop.yaml --plan shop.plan.zst   exactly what that plan says, or nothing
  wharf --json load shop.yaml | jq .tally.sent

Exit code 0: done; also outside the load window: what waits is sent when it is open. 3: records were refused for the first
time (wharf rejects). 4: stopped early, or some records wait for something at the target; run it again, it continues. 5: the
guard holds contacts back, because more of those that the account holds would lose the same at once than load.guard in the
pipeline file allows; all else was sent. See `wharf plan`; --allow-mass-change lets them through.";

/// Send what changed to the target
///
/// Contacts first, then their events, each compared with what the target last acknowledged: what it holds already is not
/// sent. It keeps the account's rate and window, can be killed at any instant, and never sends an order twice: where the
/// answer to a call was lost, the target is asked first what arrived.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    file: PipelineFile,
    /// Compare everything with what the target holds, not only what changed
    #[arg(long)]
    full: bool,
    /// Send even if that changes, empties or unsubscribes most of what the account holds
    #[arg(long)]
    allow_mass_change: bool,
    /// Do exactly what a plan saved by `wharf plan --out` says; refuse if the shop or the account has moved since
    #[arg(long, value_name = "FILE", conflicts_with_all = ["full", "allow_mass_change"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    strictness: Strictness,
}

/// Loads one pipeline as a run of its own.
///
/// # Errors
/// Those of [`load::load`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    with_pipeline(global, &args.file.pipeline, "load", async |context, pipeline| {
        try_fields(&context.db, &pipeline, &args.file.pipeline).await?;
        let target = target::registry::build(&pipeline.target, &pipeline.load)?;
        let options = Options { full: args.full, allow_mass_change: args.allow_mass_change, plan: args.plan.clone() };
        let patience = Patience::of(&pipeline, target.as_ref());
        let summary = load::load_as(&context, &pipeline, target, patience, &options).await?;
        global.printer.document(&summary)?;
        print(&global.printer, &summary);
        say_rejects(&global.printer, summary.rejects);
        Ok(summary.exit(args.strictness.strict))
    })
    .await
}

/// Says what a load did.
pub fn print(printer: &Printer, summary: &Summary) {
    if let Some(baseline) = summary.baseline {
        printer.note(baseline_text(baseline));
    }
    if let Some(starts) = &summary.first_load_starts {
        printer.note(format_args!("first load: {starts}"));
    }
    if let Some(lower) = &summary.lower_rate {
        printer.note(lower);
    }
    let groups = summary.tally.groups();
    if let Some(closed) = &summary.window_closed {
        printer.line(&closed.message);
    } else if groups.is_empty() {
        printer.line(match summary.first_load {
            true => "nothing to send, and nothing was sent before: extract and transform first, the first load is yet to come",
            false => "nothing to send: the target holds everything just so",
        });
    }
    for (heading, counts) in groups {
        let heading = if heading == "send" { "sent" } else { heading };
        for (name, n) in counts {
            printer.line(format_args!("{heading:<14} {n:>9}  {name}"));
        }
    }
    if let Some(guarded) = &summary.guarded {
        let examples: Vec<String> = guarded.examples.iter().map(uuid::Uuid::to_string).collect();
        printer.warning(format_args!(
            "{} contacts are held back, all else goes on: {}; look at `wharf plan PIPELINE --verbose`, for example at contacts \
             {}; if all that is meant, run again with --allow-mass-change",
            guarded.contacts,
            guarded.why.join("; "),
            examples.join(", ")
        ));
    }
    for job in &summary.left_jobs {
        printer.warning(format_args!(
            "an import of {} contacts ({}) has not ended at the target after {} min: they wait, all else went on; {} min \
             after its beginning it counts as lost and they are sent again",
            job.contacts,
            job.reference.as_deref().unwrap_or("its id was never learned"),
            job.age / 60,
            job.lost_after / 60
        ));
    }
    if !summary.tally.waiting.is_empty() {
        printer.warning("some records wait for something at the target and stay pending: run it again, it continues");
    }
}

/// Why everything is compared.
pub fn baseline_text(baseline: Baseline) -> &'static str {
    match baseline {
        Baseline::First => "first load of this pipeline into this account: everything is compared",
        Baseline::Settings => "settings that shape what is sent have changed: everything is compared",
        Baseline::Asked => "everything is compared, as asked for",
        Baseline::Rfm => "fields use RFM scores, which move by themselves: contacts are compared once a day",
    }
}
