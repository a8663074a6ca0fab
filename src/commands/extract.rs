//! `wharf extract`: read what changed at the shops and land it in staging.

use super::Global;
use super::pipeline::{PipelineFile, Strictness, say_rejects, with_pipeline};
use crate::config::pipeline::{Connection, Pipeline};
use crate::error::Exit;
use crate::printer::Printer;
use crate::source;
use crate::stage::Context;
use crate::stage::extract::{self, Counts, ExtractReport, Options, StreamReport};
use crate::stage::rejects::Rejects;
use crate::{Error, Kind, Result};
use serde_json::json;

/// So many keys that could not be fetched are named.
const NAMED: usize = 10;

const EXAMPLES: &str = "\
Examples:
  wharf extract shop.yaml
  wharf extract shop.yaml --connection my-shop --stream orders
  wharf extract shop.yaml --full                read everything again; what is as it was still writes nothing
  wharf --json extract shop.yaml | jq '.total'

It can be stopped at any instant; run it again, it continues on the page it stopped on.
Exit code 3: done, but records that were not rejected before could not be stored; `wharf rejects` lists them.
4: stopped early (the shop is down, interrupted). 5: more vanished at the shop than max_deleted_share allows; look there,
--allow-deletions lets it through.";

/// Read what changed at the shops and land it in staging
///
/// Only what is new or changed is written. The first time everything is read; later what the shop marks as modified, once
/// a day the recent records again, now and then the list of all keys, to find deletions and what never landed, and whole
/// lists where the shop cannot filter.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The pipeline.
    #[command(flatten)]
    file: PipelineFile,
    /// Read this connection only; may be given more than once
    #[arg(long, value_name = "NAME")]
    connection: Vec<String>,
    /// Read this stream only (orders, customers, …); may be given more than once
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Read everything again and compare all keys
    #[arg(long)]
    full: bool,
    /// Mark as deleted whatever the shop does not list any more, even if that is most of it
    #[arg(long)]
    allow_deletions: bool,
    #[command(flatten)]
    strictness: Strictness,
}

/// Extracts from the connections asked for, one after the other.
///
/// # Errors
/// Those of the file, the database, the platforms. A shop that fails does not keep the next from being read.
pub async fn run(global: &Global, args: Args) -> Result<Exit> {
    let Args { file, connection, stream, full, allow_deletions, strictness } = args;
    let options = Options { full, streams: stream, allow_deletions };
    with_pipeline(global, &file.pipeline, "extract", |context, pipeline| async move {
        let connections = chosen(&pipeline, &connection)?;
        let (reports, result) = extract_all(&context, &pipeline, &connections, &options).await;
        tell(&global.printer, &pipeline, &reports, result.as_ref().err())?;
        result?;
        let mut rejects = Rejects::default();
        reports.iter().for_each(|report| rejects += report.rejects);
        say_rejects(&global.printer, rejects);
        Ok(rejects.exit(strictness.strict))
    })
    .await
}

fn chosen<'a>(pipeline: &'a Pipeline, names: &[String]) -> Result<Vec<&'a Connection>> {
    let known: Vec<&str> = pipeline.sources.iter().map(|source| source.connection.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Error::new(Kind::Command, format!("the pipeline has no connection `{unknown}`"))
            .hint(format!("it has: {}", known.join(", "))));
    }
    Ok(pipeline.sources.iter().filter(|source| names.is_empty() || names.contains(&source.connection)).collect())
}

/// Extracts from one connection after the other; the first error is given at the end, unless it concerns them all.
pub(super) async fn extract_all(
    context: &Context,
    pipeline: &Pipeline,
    connections: &[&Connection],
    options: &Options,
) -> (Vec<ExtractReport>, Result<()>) {
    let mut reports = Vec::new();
    let mut outcome = Ok(());
    let names: Vec<&str> = connections.iter().map(|connection| connection.connection.as_str()).collect();
    if let Err(error) = context.run.will_extract(&names).await {
        return (reports, Err(error));
    }
    for connection in connections {
        let source = match source::registry::build(connection) {
            Ok(source) => source,
            Err(error) => return (reports, Err(error)),
        };
        let (report, result) = extract::run_with(context, pipeline, connection, source, options).await;
        reports.push(report);
        if let Err(error) = result {
            let ends_all = matches!(
                error.kind(),
                Kind::Interrupted | Kind::LeaseLost | Kind::Database | Kind::DatabaseUnreachable | Kind::Command
            );
            if ends_all {
                return (reports, Err(error));
            }
            outcome = outcome.and(Err(error));
        }
    }
    (reports, outcome)
}

fn tell(printer: &Printer, pipeline: &Pipeline, reports: &[ExtractReport], error: Option<&Error>) -> Result<()> {
    let mut total = Counts::default();
    reports.iter().for_each(|report| total += report.total());
    let error =
        error.map(|error| json!({ "code": error.kind().code(), "message": error.detail(), "hint": error.hint_text() }));
    printer.document(&json!({
        "pipeline": pipeline.name,
        "connections": reports,
        "total": total,
        "error": error,
    }))?;
    for line in table(reports) {
        printer.line(line);
    }
    remark(printer, reports);
    Ok(())
}

/// What the table does not say: what was fetched by key, what could not be, what is in doubt.
pub(super) fn remark(printer: &Printer, reports: &[ExtractReport]) {
    let mut total = Counts::default();
    reports.iter().for_each(|report| total += report.total());
    if total.incomplete > 0 {
        printer.warning(format_args!(
            "{} records that the shops count were not given: nothing is taken for deleted in their lists unless the shop \
             does not give it by key either, and changes are asked for again by the next run",
            total.incomplete
        ));
    }
    if total.fetched > 0 {
        printer.note(format_args!(
            "{} records on the shops' lists had not landed, for lack of a newer time of change: fetched by key",
            total.fetched
        ));
    }
    if total.kept > 0 {
        printer.note(format_args!(
            "{} records were missing from a list that was being changed; the shops still give them by key, and they stay",
            total.kept
        ));
    }
    if total.in_doubt > 0 {
        printer.note(format_args!(
            "{} records are missing from lists whose records cannot be asked for by key: deleted if the next run, which \
             reads these lists whole, misses them as well",
            total.in_doubt
        ));
    }
    if total.not_landed > 0 {
        let named = reports.iter().flat_map(|report| {
            let keys = |stream: &StreamReport| {
                let name = format!("{}/{}", report.connection, stream.stream);
                stream.not_landed.iter().map(|key| format!("{name} {key}")).collect::<Vec<_>>()
            };
            report.streams.iter().flat_map(keys)
        });
        let named: Vec<String> = named.take(NAMED).collect();
        printer.warning(format_args!(
            "{} records are on the shops' lists, have not landed and are not given by key: {}; gone in the meantime, or \
             hidden by a plug-in. The next comparison of keys asks for them again",
            total.not_landed,
            named.join(", ")
        ));
    }
}

/// One line per stream, in columns.
pub(super) fn table(reports: &[ExtractReport]) -> Vec<String> {
    const HEAD: [&str; 9] = ["stream", "read", "new", "changed", "restored", "deleted", "rejected", "calls", "walks"];
    let mut rows = vec![HEAD.map(str::to_owned)];
    for report in reports {
        for stream in &report.streams {
            let Counts { read, landed, deleted, calls, .. } = stream.counts;
            let walks = match (stream.walks.is_empty(), stream.error) {
                (_, Some(code)) => format!("{} [{code}]", stream.walks.join(", ")),
                (true, None) => "nothing due".to_owned(),
                (false, None) => stream.walks.join(", "),
            };
            let numbers = [read, landed.new, landed.changed, landed.restored, deleted, landed.rejected, calls];
            let [read, new, changed, restored, deleted, rejected, calls] = numbers.map(|n| n.to_string());
            let name = format!("{}/{}", report.connection, stream.stream);
            rows.push([name, read, new, changed, restored, deleted, rejected, calls, walks]);
        }
    }
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let last = HEAD.len() - 1;
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                column if column == last => cell.clone(),
                _ => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_table_has_a_line_per_stream_and_names_what_failed() {
        let stream = |stream, walks: &[&'static str], read, error| StreamReport {
            stream,
            walks: walks.to_vec(),
            counts: Counts { read, ..Counts::default() },
            not_landed: Vec::new(),
            took: Duration::ZERO,
            error,
        };
        let report = ExtractReport {
            connection: "shop".into(),
            rejects: Rejects::default(),
            streams: vec![
                stream("orders", &["modified", "keys"], 1234, None),
                stream("variations", &[], 0, None),
                stream("customers", &["everything"], 7, Some("WH-304")),
            ],
        };
        let expected = "\
stream           read  new  changed  restored  deleted  rejected  calls  walks
shop/orders      1234    0        0         0        0         0      0  modified, keys
shop/variations     0    0        0         0        0         0      0  nothing due
shop/customers      7    0        0         0        0         0      0  everything [WH-304]";
        assert_eq!(table(&[report]).join("\n"), expected);
    }
}
