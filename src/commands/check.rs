//! `wharf check`: is the pipeline file right, and do both ends take its credentials?

use super::Global;
use crate::config::{self, Loaded};
use crate::error::Exit;
use crate::printer::Printer;
use crate::source::Finding;
use crate::{Result, source, target};
use futures::future::join_all;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  wharf check shop.yaml
  wharf check shop.yaml --offline    the file only, no call at all
  wharf --json check shop.yaml | jq '.ends[].findings[] | select(.ok | not)'

Exit code 2: the file has mistakes, or one of the ends does not answer as it must.";

/// Test a pipeline file and the credentials of both ends; changes nothing
///
/// First the file: every mistake is named with its line. Then each shop and the target account get harmless calls, and
/// what is missing on the platform's side (a key, a right, a setting) is named with what to click there. A good check
/// does not promise a good run, but a bad one promises a bad run.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The pipeline file
    #[arg(value_name = "PIPELINE")]
    pipeline: PathBuf,
    /// Look at the file only
    #[arg(long)]
    offline: bool,
}

/// What was found at one end of a pipeline.
#[derive(Debug, Serialize)]
struct End {
    /// `source` or `target`.
    role: &'static str,
    /// The connection or account.
    name: String,
    platform: String,
    findings: Vec<Finding>,
}

/// Checks the file, then the ends.
///
/// # Errors
/// [`crate::Kind::PipelineFile`] with all mistakes of the file; [`crate::Kind::Interrupted`].
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let printer = &global.printer;
    let Loaded { pipeline, warnings } = config::load(&args.pipeline)?;
    let mut checks = Vec::new();
    if !args.offline {
        for connection in &pipeline.sources {
            let source = source::registry::build(connection)?;
            let (name, platform) = (connection.connection.clone(), connection.platform.clone());
            checks.push((End { role: "source", name, platform, findings: Vec::new() }, Checked::Source(source)));
        }
        let target = target::registry::build(&pipeline.target, &pipeline.load)?;
        let (name, platform) = (pipeline.target.account.clone(), pipeline.target.platform.clone());
        checks.push((End { role: "target", name, platform, findings: Vec::new() }, Checked::Target(target)));
        printer.note(format_args!("asking {} and {}", count(pipeline.sources.len(), "shop"), pipeline.target.account));
    }
    let ends = global.or_interrupted(async { Ok(join_all(checks.into_iter().map(ask)).await) }).await?;
    let failed = ends.iter().flat_map(|end| &end.findings).filter(|finding| !finding.ok).count();
    printer.document(&json!({
        "file": args.pipeline.display().to_string(),
        "pipeline": pipeline.name,
        "ok": failed == 0,
        "offline": args.offline,
        "warnings": warnings,
        "ends": ends,
    }))?;
    if !printer.is_json() {
        warnings.iter().for_each(|warning| printer.warning(warning));
        printer.line(format_args!("ok      {}: no mistakes", args.pipeline.display()));
        ends.iter().for_each(|end| show(printer, end));
        if failed > 0 {
            printer.line(format_args!("\n{} to put right before this pipeline can run", count(failed, "thing")));
        }
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::BadInput })
}

enum Checked {
    Source(std::sync::Arc<dyn source::Source>),
    Target(std::sync::Arc<dyn target::Target>),
}

async fn ask((mut end, checked): (End, Checked)) -> End {
    end.findings = match checked {
        Checked::Source(source) => source.check().await,
        Checked::Target(target) => target.check().await,
    };
    end
}

fn show(printer: &Printer, end: &End) {
    for finding in &end.findings {
        let verdict = if finding.ok { "ok    " } else { "failed" };
        let detail = if finding.detail.is_empty() { String::new() } else { format!("\n          {}", finding.detail) };
        printer.line(format_args!("{verdict}  {} ({}): {}{detail}", end.name, end.platform, finding.what));
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
