//! Jobs: calls that only start something at the target, which goes on after the answer and may take minutes.
//!
//! ```text
//!   intent committed ─▶ call ─▶ job's id committed ─▶ asked for: 5 s, 10 s, 20 s … 60 s ─▶ ended: outcome committed
//! ```
//!
//! A target handles jobs in any order, or together, so no contact is in two of them. Whatever dies in between, the next load
//! knows of the job: by its id, or, where the answer that named it was lost, by the intent alone; such a job is taken to go
//! on for a stated grace. Its contacts are in the air of the next load until it is over; then they are rendered and compared
//! again, because only the job's own load knew what it carried.
//!
//! A job that goes on for too long is left alone ([`JobPatience::give_up`], from its call on): its contacts wait, and all
//! others go on, and so do orders. Each load asks for it once more, until it counts as lost ([`JobPatience::lost`]) and its
//! contacts go again.
//!
//! Wrong answers avoided here: taking an accepted job for a done one; sending a contact again while a job may still carry
//! it; a load that cannot be stopped while it waits; a job given up and forgotten; an account that stands still because one
//! job never ends, or cannot be asked for.

use super::{Load, lock};
use crate::failpoint::{self, Bug};
use crate::target::{BatchOutcome, Item, JobPatience, Operation, Outcome, Target};
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A job that an earlier load has left open.
pub(super) struct OpenJob {
    /// Its batch.
    pub batch: i64,
    /// What it does.
    pub operation: Operation,
    /// Whom it carries.
    pub contacts: HashSet<Uuid>,
    /// The target's id of it; none where that was never learned.
    pub reference: Option<String>,
    /// When its call was made, or was about to be.
    pub began: Instant,
    /// Whether some of its contacts have to be looked for at the target once it is over.
    pub looks: bool,
}

/// A job that has not ended and that the load did not wait for any longer; its contacts wait.
#[derive(Debug, Clone, Serialize)]
pub struct LeftJob {
    /// Its batch.
    pub batch: i64,
    /// The target's id of it.
    pub reference: Option<String>,
    /// How many contacts it carries.
    pub contacts: usize,
    /// How long ago it began, in seconds.
    pub age: u64,
    /// How long after it began it counts as lost and its contacts go again, in seconds.
    pub lost_after: u64,
}

/// What became of a job by the time that one can wait.
pub(super) enum JobEnd<T> {
    /// It has ended, or failed, or counts as lost: nothing of it is at work any more.
    Ended(Result<T>),
    /// It goes on, under this id, and is left alone; its contacts wait.
    GoesOn(Option<String>),
    /// The load stops.
    Stopped,
}

impl Load<'_> {
    /// Notes a job of an earlier load, for the flight to wait for.
    pub(super) fn note_open_job(&self, job: OpenJob) {
        lock(&self.open_jobs).push(job);
    }

    /// The jobs of earlier loads that nobody waits for yet.
    pub(super) fn take_open_jobs(&self) -> Vec<OpenJob> {
        std::mem::take(&mut *lock(&self.open_jobs))
    }

    /// Notes that a job goes on without anybody waiting for it.
    pub(super) fn leave_job(
        &self,
        batch: i64,
        reference: Option<String>,
        began: Instant,
        contacts: impl Iterator<Item = Uuid>,
    ) {
        let contacts: HashSet<Uuid> = contacts.collect();
        let job = LeftJob {
            batch,
            reference,
            contacts: contacts.len(),
            age: began.elapsed().as_secs(),
            lost_after: self.job_patience.lost.as_secs(),
        };
        self.note(&format!("a job at the target goes on for too long; its {} contacts wait", job.contacts));
        lock(&self.left_jobs).push((job, contacts));
    }

    /// Marks contacts of such jobs that have another address since as open, as a load does when it begins.
    pub(super) async fn claim_moved_of_left_jobs(&self) -> Result<()> {
        let batches: Vec<i64> = lock(&self.left_jobs).iter().map(|(job, _)| job.batch).collect();
        for batch in batches {
            self.ledger.claim_moved(batch).await?;
        }
        Ok(())
    }

    /// Forgets that a job was left alone: it has been asked for again.
    pub(super) fn forget_left_job(&self, contacts: &HashSet<Uuid>) {
        lock(&self.left_jobs).retain(|(_, left)| left != contacts);
    }

    /// The contacts of jobs that nobody waits for any longer: until these are over, they are in no other job.
    pub(super) fn in_left_jobs(&self) -> HashSet<Uuid> {
        lock(&self.left_jobs).iter().flat_map(|(_, contacts)| contacts.iter().copied()).collect()
    }
}

/// What is needed to wait for one job.
pub(super) struct Waiting {
    target: Arc<dyn Target>,
    operation: Operation,
    reference: Option<String>,
    began: Instant,
    patience: JobPatience,
    give_up: CancellationToken,
}

impl Waiting {
    pub(super) fn new(
        load: &Load<'_>,
        operation: &Operation,
        reference: Option<String>,
        began: Instant,
        give_up: CancellationToken,
    ) -> Self {
        Self {
            target: Arc::clone(&load.target),
            operation: operation.clone(),
            reference,
            began,
            patience: load.job_patience,
            give_up,
        }
    }

    /// Waits until the job has ended. `first` is what the call itself said: outcomes that are open take what the job says.
    pub(super) async fn until_ended(self, items: &[Item], first: BatchOutcome) -> JobEnd<BatchOutcome> {
        if failpoint::is_planted(Bug::JobIsDone) {
            let outcomes = vec![Outcome::There(None); items.len()];
            return JobEnd::Ended(Ok(BatchOutcome { outcomes, ..first }));
        }
        let Some(reference) = self.reference.clone() else {
            return if self.until_grace_is_over().await { JobEnd::Ended(Ok(first)) } else { JobEnd::Stopped };
        };
        let ended = match self.ask(&reference, items).await {
            JobEnd::Ended(Ok(ended)) => ended,
            other => return other,
        };
        if ended.outcomes.len() != items.len() {
            let detail =
                format!("{}: {} records and {} outcomes", self.operation.name, items.len(), ended.outcomes.len());
            return JobEnd::Ended(Err(Error::new(Kind::Internal, detail)));
        }
        let outcomes = first
            .outcomes
            .into_iter()
            .zip(ended.outcomes)
            .map(|(first, last)| if first == Outcome::Started { last } else { first })
            .collect();
        JobEnd::Ended(Ok(BatchOutcome { outcomes, reference: Some(reference) }))
    }

    /// Waits until the job of an earlier load cannot go on any more, however it ended.
    pub(super) async fn until_over(self) -> JobEnd<()> {
        let Some(reference) = self.reference.clone() else {
            return if self.until_grace_is_over().await { JobEnd::Ended(Ok(())) } else { JobEnd::Stopped };
        };
        match self.ask(&reference, &[]).await {
            JobEnd::Ended(Err(error)) if error.kind() != Kind::Refused => JobEnd::Ended(Err(error)),
            JobEnd::Ended(_) => JobEnd::Ended(Ok(())),
            JobEnd::GoesOn(reference) => JobEnd::GoesOn(reference),
            JobEnd::Stopped => JobEnd::Stopped,
        }
    }

    /// False if the load stops before.
    async fn until_grace_is_over(&self) -> bool {
        self.pause(self.patience.grace.saturating_sub(self.began.elapsed())).await
    }

    async fn ask(&self, reference: &str, items: &[Item]) -> JobEnd<BatchOutcome> {
        let mut pause = self.patience.first;
        loop {
            if !self.pause(pause).await {
                return JobEnd::Stopped;
            }
            match self.target.job(&self.operation, reference, items).await {
                Ok(Some(ended)) => return JobEnd::Ended(Ok(ended)),
                Ok(None) => {}
                // What fails for this job alone must not keep all others waiting.
                Err(error) if matches!(error.kind(), Kind::PlatformFailure | Kind::Protocol | Kind::NotJson) => {
                    tracing::warn!(%error, "a job at the target cannot be asked for");
                }
                Err(error) => return JobEnd::Ended(Err(error)),
            }
            let age = self.began.elapsed();
            if age >= self.patience.lost {
                tracing::warn!("a job at the target counts as lost: it has not ended within {} s", age.as_secs());
                let lost = Outcome::Unknown("the job has not ended in time and counts as lost".to_owned());
                let outcomes = vec![lost; items.len()];
                return JobEnd::Ended(Ok(BatchOutcome { outcomes, reference: Some(reference.to_owned()) }));
            }
            if age >= self.patience.give_up {
                return JobEnd::GoesOn(Some(reference.to_owned()));
            }
            pause = (pause * 2).min(self.patience.longest);
        }
    }

    async fn pause(&self, length: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.give_up.cancelled() => false,
            () = tokio::time::sleep(length) => true,
        }
    }
}
