//! A saved plan, applied: exactly what it says, or nothing.
//!
//! Before the first call everything the plan holds is rendered anew, as a plan is, and compared: payload, request and what
//! the ledger says must be what they were. What is pending besides stays pending. While the load goes on each slice is
//! compared once more, so that a change in the middle stops it instead of being sent. A load that was killed goes on: what
//! the ledger holds just as planned is done with.
//!
//! All of it goes in one pass, in the order in which it was planned, and the account is not given away in between.
//!
//! The file is streamed into a temporary table; nothing but a slice is ever in memory. What cannot be planned is what the
//! card at the target says: an opt-out found there is kept, as in every load.

use super::bench::{Bench, Object, Purpose, Rendered, Verdict};
use super::ledger::Ledger;
use super::settings::Settings;
use crate::stage::Context;
use crate::stage::plan::file::{Header, Reader, broken, database_mark};
use crate::{Error, Kind, Result, sql};
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use tokio_postgres::Client;
use uuid::Uuid;

/// How many keys a message names.
const EXAMPLES: usize = 3;
/// How much of the file is handed to the database at a time.
const BLOCK: usize = 256 << 10;

/// Compares a plan with the world as it is.
///
/// # Errors
/// [`Kind::Plan`] where they differ, where the plan is not for this pipeline, account or database, or was applied already;
/// [`Kind::Io`]; [`Kind::Interrupted`]; those of the database.
pub(super) async fn verify(context: &Context, settings: &Settings, path: &Path) -> Result<()> {
    let mut bench = Bench::open(&context.db, settings, Purpose::Plan).await?;
    let header = copy(bench.client(), path).await?;
    belongs_here(bench.client(), settings, &header).await?;
    let row = bench.client().query_one(sql::file("deliver/planned/done.sql")?, &[&settings.target]).await?;
    let (planned, done): (i64, i64) = (row.get(0), row.get(1));
    if planned > 0 && planned == done {
        return Err(broken(&format!("it was applied already: the target holds all {planned} records as planned")));
    }
    bench
        .client()
        .batch_execute(
            "insert into pg_temp.deliver_pending (object, key, run_id)
             select object, key, 0 from pg_temp.deliver_plan_keys",
        )
        .await?;
    bench.with_hashes();
    let mut moved = Moved::default();
    bench.queue(Object::Contact).await?;
    while let Some(rendered) = bench.next_contacts().await? {
        go_on(context)?;
        bench.note_planned(&rendered).await?;
        moved.compare(bench.client(), &rendered.iter().collect::<Vec<_>>()).await?;
    }
    // Orders that a planned contact would wake are no part of the plan unless it names them.
    bench
        .client()
        .execute(
            "delete from pg_temp.deliver_pending as pending
             where pending.object = 'order'
                 and not exists (
                     select from pg_temp.deliver_plan_keys as planned
                     where planned.object = pending.object and planned.key = pending.key
                 )",
            &[],
        )
        .await?;
    bench.queue(Object::Order).await?;
    while let Some(rendered) = bench.next_events().await? {
        go_on(context)?;
        moved.compare(bench.client(), &rendered.iter().collect::<Vec<_>>()).await?;
    }
    moved.check("nothing was sent")
}

/// Puts what the plan holds into the queue and keeps `bench` to it.
///
/// # Errors
/// Those of the database; [`Kind::LeaseLost`]; [`Kind::Plan`].
pub(super) async fn prepare(bench: &mut Bench, ledger: &Ledger<'_>, through: i64, path: &Path) -> Result<()> {
    copy(bench.client(), path).await?;
    bench.client().query_one(sql::file("deliver/planned/done.sql")?, &[&ledger.settings.target]).await?;
    // What everything was compared for is not in the feed. The bench has a session of its own, so its keys go by way of it.
    let lease = ledger.lease();
    bench
        .client()
        .execute(
            sql::file("deliver/planned/queue.sql")?,
            &[&ledger.settings.target, &ledger.settings.pipeline, &through, &lease.name(), &lease.token()],
        )
        .await?;
    bench.keep_to_plan().await
}

/// Stops a load where a slice is not rendered as the plan says.
///
/// # Errors
/// [`Kind::Plan`]; those of the database.
pub(super) async fn stay_true(client: &Client, rendered: &[Rendered]) -> Result<()> {
    let mut moved = Moved::default();
    // What the target made of a contact decides whether its events can go; no plan can know that.
    let waits = |record: &&Rendered| {
        record.verdict != Verdict::Send && record.code.as_deref().is_some_and(|code| code.starts_with("contact-"))
    };
    let decided: Vec<&Rendered> = rendered.iter().filter(|record| !waits(record)).collect();
    moved.compare(client, &decided).await?;
    moved.check("what was sent before that is in the ledger, the rest was not sent")
}

/// Records that are not as planned.
#[derive(Default)]
struct Moved {
    n: usize,
    examples: Vec<String>,
}

impl Moved {
    async fn compare(&mut self, client: &Client, rendered: &[&Rendered]) -> Result<()> {
        let keys: Vec<Uuid> = rendered.iter().map(|record| record.key).collect();
        let rows = client
            .query(
                "select object, key, payload_hash, before_hash, request_hash
                 from pg_temp.deliver_plan
                 where key = any ($1) and not is_done",
                &[&keys],
            )
            .await?;
        let by_key: HashMap<(String, Uuid), &Rendered> =
            rendered.iter().map(|record| ((record.object.clone(), record.key), *record)).collect();
        let known: HashSet<&str> = rendered.iter().map(|record| record.pending_object()).collect();
        for row in rows {
            let (object, key): (String, Uuid) = (row.get(0), row.get(1));
            if !known.contains(if object == "contact" { "contact" } else { "order" }) {
                continue;
            }
            let is_true = by_key.get(&(object.clone(), key)).is_some_and(|record| {
                let Some(hashes) = record.hashes.as_ref().filter(|_| record.verdict == Verdict::Send) else {
                    return false;
                };
                hashes.payload == row.get(2) && hashes.before == row.get(3) && hashes.request == row.get(4)
            });
            if !is_true {
                self.n += 1;
                if self.examples.len() < EXAMPLES {
                    self.examples.push(format!("{object} {key}"));
                }
            }
        }
        Ok(())
    }

    fn check(&self, what_was_done: &str) -> Result<()> {
        if self.n == 0 {
            return Ok(());
        }
        let detail = format!(
            "the plan cannot be applied: {} of its records would be sent differently now, or not at all: {}; {what_was_done}",
            self.n,
            self.examples.join(", ")
        );
        Err(Error::new(Kind::Plan, detail)
            .hint("the shop or the account has moved since; look at a new one: `wharf plan PIPELINE --out FILE`"))
    }
}

async fn belongs_here(client: &Client, settings: &Settings, header: &Header) -> Result<()> {
    if header.database != database_mark(client).await? {
        return Err(broken("it was made in another database"));
    }
    if header.pipeline != settings.pipeline {
        return Err(broken(&format!("it is a plan of the pipeline `{}`", header.pipeline)));
    }
    if header.target != settings.target || header.platform != settings.platform {
        return Err(broken(&format!("it is a plan for the account `{}`", header.target)));
    }
    if header.settings != settings.hash {
        return Err(broken("the pipeline file, or Wharf itself, shapes what is sent in another way since"));
    }
    Ok(())
}

/// Copies a plan into `pg_temp.deliver_plan`, and what is not done with into the queue's keys.
async fn copy(client: &Client, path: &Path) -> Result<Header> {
    client.batch_execute(sql::file("deliver/planned/tables.sql")?).await?;
    let (mut reader, header) = Reader::open(path)?;
    let sink = client.copy_in::<_, Bytes>("copy pg_temp.deliver_plan_lines (line) from stdin").await?;
    let mut sink = std::pin::pin!(sink);
    let mut block = BytesMut::with_capacity(BLOCK);
    while let Some(line) = reader.next_record()? {
        // JSON escapes control characters, so the backslash alone means something to COPY.
        for byte in line {
            if byte == b'\\' {
                block.put_u8(b'\\');
            }
            block.put_u8(byte);
        }
        if block.len() >= BLOCK {
            sink.send(block.split().freeze()).await?;
        }
    }
    sink.send(block.freeze()).await?;
    sink.finish().await?;
    client.batch_execute(sql::file("deliver/planned/lines.sql")?).await?;
    Ok(header)
}

fn go_on(context: &Context) -> Result<()> {
    if context.stop.is_cancelled() { Err(Error::new(Kind::Interrupted, "stopped on request")) } else { Ok(()) }
}
