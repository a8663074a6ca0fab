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
//! Wrong answers avoided here: taking an accepted job for a done one; sending a contact again while a job may still carry
//! it; a load that cannot be stopped while it waits; a job given up and forgotten.

use super::{Load, lock};
use crate::failpoint::{self, Bug};
use crate::target::{BatchOutcome, Item, JobPatience, Operation, Outcome, Target};
use crate::{Error, Kind, Result};
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

    /// Waits until the job has ended; `None` if the load stops before. `first` is what the call itself said: outcomes that
    /// are open take what the job says.
    pub(super) async fn until_ended(self, items: &[Item], first: BatchOutcome) -> Option<Result<BatchOutcome>> {
        if failpoint::is_planted(Bug::JobIsDone) {
            return Some(Ok(BatchOutcome { outcomes: vec![Outcome::There(None); items.len()], ..first }));
        }
        let Some(reference) = self.reference.clone() else {
            return self.until_grace_is_over().await.then_some(Ok(first));
        };
        let ended = match self.ask(&reference, items).await? {
            Ok(ended) => ended,
            Err(error) => return Some(Err(error)),
        };
        if ended.outcomes.len() != items.len() {
            let detail =
                format!("{}: {} records and {} outcomes", self.operation.name, items.len(), ended.outcomes.len());
            return Some(Err(Error::new(Kind::Internal, detail)));
        }
        let outcomes = first
            .outcomes
            .into_iter()
            .zip(ended.outcomes)
            .map(|(first, last)| if first == Outcome::Started { last } else { first })
            .collect();
        Some(Ok(BatchOutcome { outcomes, reference: Some(reference) }))
    }

    /// Waits until the job of an earlier load cannot go on any more, however it ended.
    pub(super) async fn until_over(self) -> Option<Result<()>> {
        let Some(reference) = self.reference.clone() else {
            return self.until_grace_is_over().await.then_some(Ok(()));
        };
        Some(match self.ask(&reference, &[]).await? {
            Err(error) if error.kind() != Kind::Refused => Err(error),
            _ => Ok(()),
        })
    }

    /// False if the load stops before.
    async fn until_grace_is_over(&self) -> bool {
        self.pause(self.patience.grace.saturating_sub(self.began.elapsed())).await
    }

    async fn ask(&self, reference: &str, items: &[Item]) -> Option<Result<BatchOutcome>> {
        let since = Instant::now();
        let mut pause = self.patience.first;
        loop {
            if !self.pause(pause).await {
                return None;
            }
            match self.target.job(&self.operation, reference, items).await {
                Ok(Some(ended)) => return Some(Ok(ended)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
            if since.elapsed() >= self.patience.give_up {
                let detail = format!(
                    "{}: a job at the target has not ended within {} min",
                    self.operation.name,
                    self.patience.give_up.as_secs().div_ceil(60)
                );
                return Some(Err(Error::new(Kind::PlatformFailure, detail).hint(
                    "nothing is lost: run the command again later, it waits for this job before anything else",
                )));
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
