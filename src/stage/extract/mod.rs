//! Extract: platform → staging. Reads what changed at a shop and lands it, so that a kill at any instant loses nothing.
//!
//! The model: each stream has a **cursor**. An unfinished **walk** is continued; otherwise the walks that are due are made
//! ([`due`]). A walk asks for page after page, one ahead of the storing ([`fetch`]), and each page lands in one transaction
//! with the position after it ([`walk`]). The lease `extract:CONNECTION` keeps other processes away, and every transaction
//! asserts it.
//!
//! A stream that fails keeps what has landed and does not keep the others from being read, unless the reason concerns
//! them all (credentials, network, database, a request to stop); the first error is given at the end.

mod deletions;
mod doubts;
pub mod due;
mod fetch;
mod fingerprint;
mod pace;
mod parents;
mod register;
pub mod report;
mod walk;

pub use report::{Counts, ExtractReport, StreamReport};

use crate::config::pipeline::{Connection, Pipeline};
use crate::error::Kind;
use crate::failpoint::{self, Point};
use crate::source::{Absence, Deletions, Source, StreamSpec, Walk};
use crate::stage::rejects::Rejects;
use crate::stage::{Context, tenant};
use crate::store::Lease;
use crate::store::cursor::Cursor;
use crate::store::doubts::Doubts;
use crate::store::staging::Landing;
use crate::store::statistics::Statistics;
use crate::store::walk_keys::WalkKeys;
use crate::{Error, Result};
use due::{Due, WalkState};
use jiff::Timestamp;
use pace::Spacing;
use parents::Parents;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio_postgres::Client;
use walk::{Reading, StreamWalker};

/// What a person may ask for beyond the usual.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Walk through everything, and compare all keys.
    pub full: bool,
    /// Only these streams; empty for all.
    pub streams: Vec<String>,
    /// Mark as deleted whatever the shop does not list any more, however much it is.
    pub allow_deletions: bool,
}

/// Reads what changed at one shop and lands it in staging.
///
/// # Errors
/// As [`run_with`].
pub async fn run(
    ctx: &Context,
    pipeline: &Pipeline,
    connection: &Connection,
    source: Arc<dyn Source>,
) -> Result<ExtractReport> {
    let (report, result) = run_with(ctx, pipeline, connection, source, &Options::default()).await;
    result.map(|()| report)
}

/// As [`run`], with options. Gives what was counted even where it ends with an error.
///
/// # Errors
/// Those of the platform, naming pipeline, connection, stream and page; those of Postgres; [`Kind::LeaseHeld`],
/// [`Kind::DoneElsewhere`], [`Kind::LeaseLost`], [`Kind::Interrupted`]; [`Kind::Guard`] if more has vanished than allowed; [`Kind::Command`] for an
/// unknown stream. What has landed stays; the next run continues.
pub async fn run_with(
    ctx: &Context,
    pipeline: &Pipeline,
    connection: &Connection,
    source: Arc<dyn Source>,
    options: &Options,
) -> (ExtractReport, Result<()>) {
    let mut report = ExtractReport { connection: connection.connection.clone(), ..ExtractReport::default() };
    let result = extract(ctx, pipeline, connection, source, options, &mut report).await;
    (report, result.map_err(|error| error.context(&pipeline.name)))
}

async fn extract(
    ctx: &Context,
    pipeline: &Pipeline,
    connection: &Connection,
    source: Arc<dyn Source>,
    options: &Options,
    report: &mut ExtractReport,
) -> Result<()> {
    let lease = Lease::take(&ctx.db, &ctx.run, &format!("extract:{}", connection.connection)).await?;
    failpoint::reach(Point::ExtractAfterLease)?;
    tenant::of_connection(&ctx.db, connection, source.as_ref())
        .await
        .map_err(|error| error.context(&connection.connection))?;
    source.prepare().await.map_err(|error| error.context(&connection.connection))?;
    let all = source.streams();
    let names: Vec<&str> = all.iter().map(|stream| stream.name).collect();
    let streams = chosen_streams(all, options)?;
    can_compare_keys(source.as_ref(), &streams)?;
    let mut client = ctx.db.dedicated().await?;
    let result = async {
        register::register(&mut client, &lease, pipeline, connection, &source.map_settings()).await?;
        register::note_streams(&mut client, &lease, &connection.connection, &names).await?;
        let spacing = Spacing::plan(&client, connection, source.as_ref(), &streams, ctx.run.now()).await?;
        let mut first_error: Option<Error> = None;
        for stream in &streams {
            let read = Extraction { ctx, connection, options, source: &source, lease: &lease, spacing };
            match read.stream(&mut client, stream, report).await {
                Ok(()) => {}
                Err(error) if concerns_all(error.kind()) => return Err(error),
                Err(error) => {
                    tracing::warn!(code = error.kind().code(), "{error}");
                    first_error.get_or_insert(error);
                }
            }
        }
        report.rejects = Rejects::of_staging(&client, &ctx.run, &connection.connection).await?;
        first_error.map_or(Ok(()), Err)
    }
    .await;
    let released = lease.release().await;
    result.and(released)
}

/// Whether the other streams of a shop would fail for the same reason.
fn concerns_all(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Permission
            | Kind::NotJson
            | Kind::Truncated
            | Kind::TooLarge
            | Kind::Protocol
            | Kind::Refused
            | Kind::Guard
    )
}

/// The streams asked for.
fn chosen_streams(streams: Vec<StreamSpec>, options: &Options) -> Result<Vec<StreamSpec>> {
    let names: Vec<&str> = streams.iter().map(|stream| stream.name).collect();
    if let Some(unknown) = options.streams.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Error::new(Kind::Command, format!("this platform has no stream `{unknown}`"))
            .hint(format!("it has: {}", names.join(", "))));
    }
    let mut tables: HashMap<&str, &str> = HashMap::new();
    for stream in streams.iter().filter(|stream| stream.deletions != Deletions::None) {
        if let Some(other) = tables.insert(stream.table, stream.name) {
            let detail =
                format!("streams {other} and {} would delete each other's rows of {}", stream.name, stream.table);
            return Err(Error::new(Kind::Internal, detail));
        }
    }
    let wanted = |stream: &StreamSpec| options.streams.is_empty() || options.streams.iter().any(|n| n == stream.name);
    Ok(streams.into_iter().filter(wanted).collect())
}

/// Comparing keys finds records that have not landed, and they can only be fetched by key.
fn can_compare_keys(source: &dyn Source, streams: &[StreamSpec]) -> Result<()> {
    for stream in streams.iter().filter(|stream| stream.deletions == Deletions::CompareKeys) {
        if !matches!(source.absence(stream), Absence::AskedByKey(at_once) if at_once > 0) {
            let detail =
                format!("the keys of {} are compared, and its records cannot be asked for by key", stream.name);
            return Err(Error::new(Kind::Internal, detail));
        }
    }
    Ok(())
}

/// What all streams of one extract share.
struct Extraction<'a> {
    ctx: &'a Context,
    connection: &'a Connection,
    options: &'a Options,
    source: &'a Arc<dyn Source>,
    lease: &'a Lease,
    spacing: Spacing,
}

impl Extraction<'_> {
    /// Reads one stream: the unfinished walk, then the walks that are due.
    async fn stream(&self, client: &mut Client, stream: &StreamSpec, report: &mut ExtractReport) -> Result<()> {
        let began = Instant::now();
        let name = &self.connection.connection;
        let run_id = self.ctx.run.id;
        let subject = format!("{name}/{}", stream.name);
        let step = self.ctx.run.step("extract", &subject).await?;
        let calls_before = self.source.calls();
        let cursor = Cursor::load(&*client, name, stream.name).await?;
        let absence = self.source.absence(stream);
        let walks = match absence {
            Absence::AskedByKey(_) => None,
            Absence::SecondWalk => Some(2),
            Absence::OneDocument => Some(1),
        };
        let reading = Reading {
            ctx: self.ctx,
            connection: self.connection,
            options: self.options,
            source: self.source,
            stream,
            lease: self.lease,
            landing: Landing::new(name, stream.name, stream.table, run_id)?,
            keys: WalkKeys::new(name, stream.name, stream.table, run_id),
            doubts: Doubts::new(name, stream.name, stream.table, run_id, walks),
            absence,
            pace: self.spacing,
        };
        let mut walker = StreamWalker {
            reading,
            client,
            cursor,
            counts: Counts::default(),
            not_landed: Vec::new(),
            statistics: Statistics::new(stream.table),
            meter: self.ctx.progress.meter(&subject, None),
            shown: 0,
        };
        let mut walks = Vec::new();
        let began_at = self.ctx.run.now();
        let mut result = self.walks(&mut walker, &mut walks).await;
        if result.is_ok() {
            result = note_reading(walker.client, name, stream.name, began_at).await;
        }
        let mut counts = walker.counts;
        counts.calls = self.source.calls().saturating_sub(calls_before);
        walker.meter.finish(summary(stream.name, &counts));
        let not_landed = std::mem::take(&mut walker.not_landed);
        let error = result.as_ref().err().map(|error| error.kind().code());
        let mut told = serde_json::to_value(counts).unwrap_or_default();
        if let Some(told) = told.as_object_mut() {
            if !not_landed.is_empty() {
                told.insert("not_landed_keys".into(), not_landed.join(", ").into());
            }
            if let Some(code) = error {
                told.insert("error".into(), code.into());
            }
        }
        let took = began.elapsed();
        report.streams.push(StreamReport { stream: stream.name, walks, counts, not_landed, took, error });
        // A database that is gone must not hide what went wrong before.
        let finished = step.finish(told).await;
        result.and(finished)
    }

    async fn walks(&self, walker: &mut StreamWalker<'_>, walks: &mut Vec<&'static str>) -> Result<()> {
        let mut continued = None;
        if let Some(state) = walker.unfinished().await? {
            walks.push(state.name());
            continued = Some((state.walk.clone(), state.parents_changed_after.is_some()));
            walker.walk(state).await?;
        }
        let mut due = due::due(
            walker.reading.stream,
            self.connection,
            &walker.cursor,
            walker.reading.ctx.run.now(),
            self.options.full,
        );
        if walker.reading.absence == Absence::SecondWalk
            && continued.is_none()
            && walker.reading.doubts.any(&*walker.client).await?
        {
            due = due::due_in_doubt(due);
        }
        for due in due {
            let same = continued == Some((due.walk.clone(), due.parents_changed_after.is_some()));
            // What was continued a moment ago need not be done again; what asks for changes only costs little.
            if same && due.parents_changed_after.is_none() {
                continue;
            }
            if !self.may_find_something(walker.reading.stream, &due).await? {
                continue;
            }
            let state: WalkState = walker.begin(due).await?;
            walks.push(state.name());
            walker.walk(state).await?;
        }
        Ok(())
    }

    /// Lists of changed parents need no walk where no parent has changed.
    async fn may_find_something(&self, stream: &StreamSpec, due: &Due) -> Result<bool> {
        match (&stream.parent, &due.walk, due.parents_changed_after) {
            (Some(parent), Walk::Everything, Some(after)) => {
                Parents::any_changed(&self.ctx.db, &self.connection.connection, parent, after).await
            }
            _ => Ok(true),
        }
    }
}

/// Notes that a stream is as fresh as `began_at`.
async fn note_reading(client: &Client, connection: &str, stream: &str, began_at: Timestamp) -> Result<()> {
    client
        .execute(
            "insert into ops.readings (connection, stream, read_at) values ($1, $2, $3)
             on conflict (connection, stream) do update set read_at = excluded.read_at",
            &[&connection, &stream, &began_at],
        )
        .await?;
    Ok(())
}

/// What is said of a stream when it has been read.
fn summary(stream: &str, counts: &Counts) -> String {
    let landed = &counts.landed;
    let mut text = format!("{stream}: {} read", counts.read);
    for (count, what) in [
        (landed.new, "new"),
        (landed.changed, "changed"),
        (landed.restored, "restored"),
        (counts.deleted, "deleted"),
        (counts.fetched, "fetched by key"),
        (counts.not_landed, "not landed"),
        (counts.in_doubt, "in doubt"),
        (landed.altered, "altered"),
        (landed.rejected, "rejected"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Compared, Incremental};

    fn stream(name: &'static str, table: &'static str) -> StreamSpec {
        StreamSpec {
            name,
            table,
            doc: "",
            parent: None,
            incremental: Incremental::FullWalk,
            reread: false,
            deletions: Deletions::FullWalk,
            compared: Compared::WHOLE,
        }
    }

    #[test]
    fn an_unknown_stream_is_named_with_the_known_ones() {
        let options = Options { streams: vec!["oders".into()], ..Options::default() };
        let error = chosen_streams(vec![stream("orders", "orders")], &options).unwrap_err();
        assert_eq!((error.kind(), error.hint_text()), (Kind::Command, Some("it has: orders")));
    }

    #[test]
    fn two_streams_of_one_table_may_not_both_find_deletions() {
        let streams = vec![stream("orders", "orders"), stream("trash", "orders")];
        assert_eq!(chosen_streams(streams, &Options::default()).unwrap_err().kind(), Kind::Internal);
    }
}
