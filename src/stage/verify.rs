//! Verify: what the ledger says the target holds, read back and compared field by field. Changes nothing anywhere.
//!
//! Wrong answers avoided here: calling a difference what a load has changed meanwhile (a row that differs is read from the
//! ledger once more); calling missing what the target has accepted and does not show yet; being silent about what the
//! target cannot show at all.

use crate::config::Pipeline;
use crate::progress::Progress;
use crate::store::Database;
use crate::store::budget::AccountBudget;
use crate::target::{Difference, Held, Shown, Target};
use crate::{Error, Kind, Result, sql};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How many rows are compared at a time.
const PART: i64 = 500;
/// So many parts are read side by side: calls go on while one is compared.
const PARTS_AHEAD: usize = 2;

/// What is read back.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    /// So many rows of the ledger, picked by a seed.
    Sample {
        /// How many.
        rows: u32,
        /// The same seed picks the same rows.
        seed: i64,
    },
    /// All of it.
    All,
}

/// One object that the target does not hold as the ledger says.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// `contact`, or the kind of event.
    pub object: String,
    /// `contact_id` or `order_id`.
    pub key: Uuid,
    /// Whether the target does not hold it at all.
    pub missing: bool,
    /// The fields that differ; none where it is missing.
    pub differences: Vec<Difference>,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The target account.
    pub target: String,
    /// Rows of the ledger that were read back, by object.
    pub checked: BTreeMap<String, u64>,
    /// How many of them are as the ledger says.
    pub same: u64,
    /// How many people have withdrawn a consent at the target that was sent there; what else of them is compared all the same.
    pub withdrawn: u64,
    /// How many were sent so short a time ago, or changed meanwhile, that nothing can be said.
    pub too_fresh: u64,
    /// How many the target's answers say nothing of, by reason.
    pub cannot_tell: BTreeMap<String, u64>,
    /// Fields that the target never shows.
    pub not_shown: Vec<String>,
    /// What differs or is missing.
    pub findings: Vec<Finding>,
}

/// Reads back what the target holds.
///
/// # Errors
/// What the target answers; [`Kind::Interrupted`]; those of the database.
pub async fn verify(
    db: &Database,
    pipeline: &Pipeline,
    target: Arc<dyn Target>,
    extent: Extent,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Report> {
    AccountBudget::open(db, pipeline, target.as_ref()).await?.keep(target.as_ref());
    super::tenant::of_account(db, &pipeline.target, target.as_ref(), false).await?;
    let account = &pipeline.target.account;
    let mut report = Report {
        target: account.clone(),
        not_shown: target.not_shown().iter().map(|field| (*field).to_owned()).collect(),
        ..Report::default()
    };
    let meter = progress.meter(format!("{account} read back"), None);
    let client = db.client().await?;
    let sample = match extent {
        Extent::Sample { rows, seed } => {
            Some(client.query(sql::file("verify/sample.sql")?, &[account, &seed, &i64::from(rows)]).await?.into_iter())
        }
        Extent::All => None,
    };
    let from = Position { sample, last: (Uuid::nil(), String::new(), Uuid::nil()) };
    let parts = futures::stream::try_unfold(from, |position| next_part(&client, account, position, stop));
    let mut read = pin!(parts.map_ok(|rows| read_back(target.as_ref(), rows)).try_buffered(PARTS_AHEAD));
    while let Some(read) = read.try_next().await? {
        compare(&client, account, target.as_ref(), read, &mut report).await?;
        meter.advance(PART as u64);
    }
    let most = match extent {
        Extent::Sample { rows, .. } => Some(i64::from(rows)),
        Extent::All => None,
    };
    find_forgotten(&client, account, target.as_ref(), most, stop, &mut report).await?;
    target.rest().await;
    meter.finish(format_args!("{} differ", report.findings.len()));
    Ok(report)
}

/// Looks for cards under addresses that people had while a call was lost, and that nothing leads to any more: they keep
/// their tags and their consent, whatever becomes of the person.
async fn find_forgotten(
    client: &deadpool_postgres::Object,
    account: &str,
    target: &dyn Target,
    most: Option<i64>,
    stop: &CancellationToken,
    report: &mut Report,
) -> Result<()> {
    let rows = client.query(sql::file("verify/forgotten.sql")?, &[&account, &most]).await?;
    for rows in rows.chunks(target.contacts_per_call().max(1)) {
        if stop.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "stopped on request"));
        }
        let addresses: Vec<String> = rows.iter().map(|row| row.get("email")).collect();
        for (row, state) in rows.iter().zip(target.contacts(&addresses).await?) {
            if state.is_some() {
                let target = Some("a card that nothing leads to, under an address that the person had".to_owned());
                report.findings.push(Finding {
                    object: "contact".to_owned(),
                    key: row.get("key"),
                    missing: false,
                    differences: vec![Difference { field: "card".to_owned(), ledger: None, target }],
                });
            }
        }
    }
    Ok(())
}

/// How far the reading has come.
struct Position {
    /// What is left of a sample; without one, everything is read.
    sample: Option<std::vec::IntoIter<Row>>,
    last: (Uuid, String, Uuid),
}

/// What the ledger says of some objects, and what the target shows of them.
struct Read {
    rows: Vec<Row>,
    held: Vec<Held>,
    shown: Vec<Shown>,
}

async fn next_part(
    client: &deadpool_postgres::Object,
    account: &str,
    mut position: Position,
    stop: &CancellationToken,
) -> Result<Option<(Vec<Row>, Position)>> {
    if stop.is_cancelled() {
        return Err(Error::new(Kind::Interrupted, "stopped on request"));
    }
    let (contact, object, key) = &position.last;
    let rows: Vec<Row> = match &mut position.sample {
        Some(sample) => sample.by_ref().take(PART as usize).collect(),
        None => client.query(sql::file("verify/page.sql")?, &[&account, contact, object, key, &PART]).await?,
    };
    let Some(end) = rows.last() else { return Ok(None) };
    position.last = (end.get("contact_id"), end.get("object"), end.get("key"));
    Ok(Some((rows, position)))
}

async fn read_back(target: &dyn Target, rows: Vec<Row>) -> Result<Read> {
    let held: Vec<Held> = rows.iter().map(held).collect();
    let shown = target.read_back(&held).await?;
    if shown.len() != held.len() {
        return Err(Error::new(
            Kind::Protocol,
            format!("{} objects were asked for and {} answers came", held.len(), shown.len()),
        ));
    }
    Ok(Read { rows, held, shown })
}

async fn compare(
    client: &deadpool_postgres::Object,
    account: &str,
    target: &dyn Target,
    read: Read,
    report: &mut Report,
) -> Result<()> {
    let Read { rows, held, shown } = read;
    let mut suspects = Vec::new();
    for ((row, held), shown) in rows.iter().zip(held).zip(shown) {
        *report.checked.entry(held.object.clone()).or_default() += 1;
        let shown = match shown {
            Shown::Withdrawn(differences) => {
                report.withdrawn += 1;
                Shown::There(differences)
            }
            shown => shown,
        };
        match shown {
            Shown::There(differences) if differences.is_empty() => report.same += 1,
            Shown::CannotTell(why) => *report.cannot_tell.entry(why).or_default() += 1,
            Shown::There(differences) | Shown::Withdrawn(differences) => suspects.push((row, held, false, differences)),
            Shown::Missing => suspects.push((row, held, true, Vec::new())),
        }
    }
    if suspects.is_empty() {
        return Ok(());
    }
    let keys: Vec<Uuid> = suspects.iter().map(|(_, held, ..)| held.key).collect();
    let now: HashMap<(String, Uuid), Value> = client
        .query(
            "select object, key, payload from delivery.ledger
             where target = $1 and key = any ($2) and state = 'acknowledged'",
            &[&account, &keys],
        )
        .await?
        .into_iter()
        .map(|row| ((row.get(0), row.get(1)), row.get(2)))
        .collect();
    for (row, held, missing, differences) in suspects {
        let is_fresh = row.get::<_, f64>("age") < target.confirm_within().as_secs_f64();
        let has_changed = now.get(&(held.object.clone(), held.key)) != Some(&held.payload);
        if is_fresh || has_changed {
            report.too_fresh += 1;
        } else {
            report.findings.push(Finding { object: held.object, key: held.key, missing, differences });
        }
    }
    Ok(())
}

fn held(row: &Row) -> Held {
    let payload: Value = row.get("payload");
    Held {
        key: row.get("key"),
        object: row.get("object"),
        address: row.get::<_, Option<String>>("address").unwrap_or_default(),
        target_id: row.get("target_id"),
        payload,
        sent_at: row.get("sent_at"),
    }
}
