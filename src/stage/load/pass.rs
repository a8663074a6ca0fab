//! One pass through a queue: slices are rendered and made ready on one side, sent on the other, one turn ahead. A turn is a
//! slice; of a long queue it is a slice for each bench, rendered at the same time and handed on in the order of the queue.
//!
//! At the edge of a slice nothing of it is in hand any more, so that is where a back-fill lets others go first: what
//! changed meanwhile is taken over and sent, and another pipeline that waits for the account gets it, lease and all.
//! Giving the lease away is safe because nothing is carried over: no call is in flight, no intent is open, and whatever is
//! rendered afterwards is compared with the ledger as the other left it.

use super::bench::{Bench, Object, Purpose, Rendered};
use super::flight::Flight;
use super::{Load, Share};
use crate::store::Lease;
use crate::store::lease::Want;
use crate::{Error, Kind, Result};
use futures::future::{BoxFuture, try_join_all};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

/// How often a back-fill looks for what changed meanwhile.
const LOOK_FOR_CHANGES: Duration = Duration::from_secs(30);
/// How long a back-fill goes on while another one waits for the account.
const SHARE: Duration = Duration::from_secs(30);
/// How long a lease that was given away is left alone. Whoever waits for it waits inside the server and gets it at once.
const LEFT_ALONE: Duration = Duration::from_millis(20);
/// How long a back-fill waits for its lease to come back.
const COMES_BACK: Duration = Duration::from_secs(3600);

enum Message {
    /// Records to be sent.
    Slice(Vec<Rendered>),
    /// Land everything, then answer; with `true`, send first what is in hand.
    Land(bool, oneshot::Sender<()>),
}

impl Load<'_> {
    /// Goes through the queue of the first of `benches`; the others help.
    pub(super) fn pass<'p>(
        &'p self,
        benches: &'p mut [Bench],
        object: Object,
        share: Share,
    ) -> BoxFuture<'p, Result<()>> {
        Box::pin(async move {
            let (sender, receiver) = mpsc::channel(1);
            // One turn is rendered ahead, no more.
            let ahead = Arc::new(Semaphore::new(1));
            let mut preparing = pin!(self.prepare_all(benches, object, share, sender, Arc::clone(&ahead)));
            let mut sending = pin!(self.send_all(object, share, receiver, ahead));
            tokio::select! {
                biased;
                sent = &mut sending => {
                    // What stopped the sending stops the rendering, wherever that is.
                    sent?;
                    preparing.await
                }
                prepared = &mut preparing => sending.await.and(prepared),
            }
        })
    }

    async fn prepare_all(
        &self,
        benches: &mut [Bench],
        object: Object,
        share: Share,
        sender: mpsc::Sender<Message>,
        ahead: Arc<Semaphore>,
    ) -> Result<()> {
        let (mut others_at, mut changes_at) = (Instant::now(), Instant::now());
        loop {
            let Ok(permit) = ahead.acquire().await else { return Ok(()) };
            permit.forget();
            // A saved plan is the whole of what is sent until it is done.
            if share == Share::Rest && !self.is_planned {
                if others_at.elapsed() >= self.patience.others {
                    if self.is_wanted().await? {
                        if !land(&sender, true).await {
                            return Ok(());
                        }
                        self.let_others_go_first().await?;
                        benches.iter_mut().for_each(Bench::begin_small);
                    }
                    others_at = Instant::now();
                }
                if changes_at.elapsed() >= LOOK_FOR_CHANGES {
                    if self.has_changes().await? {
                        if !land(&sender, true).await {
                            return Ok(());
                        }
                        self.send_changes().await?;
                    }
                    changes_at = Instant::now();
                }
            }
            let Some((first, helpers)) = benches.split_first_mut() else { return Ok(()) };
            if object == Object::Contact && first.is_next_gone() && !land(&sender, false).await {
                return Ok(());
            }
            self.inform_planner(10).await?;
            if !first.take().await? {
                return Ok(());
            }
            let mut busy = vec![first];
            for helper in helpers {
                let Some(first) = busy.first_mut() else { break };
                // Contacts that are no more wait until those before them have landed.
                if first.is_next_gone() || !first.hand_over(object, helper).await? {
                    break;
                }
                busy.push(helper);
            }
            let rendered = try_join_all(busy.into_iter().map(|bench| self.render(bench, object))).await?;
            self.gate.check()?;
            let rendered: Vec<Rendered> = rendered.into_iter().flatten().collect();
            let looked_at = rendered.len();
            let records = match object {
                Object::Contact => self.settle_unsent(object, rendered).await?,
                Object::Order => self.sort_events(rendered).await?,
            };
            if share == Share::Rest {
                self.gate.unsent(u64::try_from(looked_at - records.len()).unwrap_or(u64::MAX));
            }
            if sender.send(Message::Slice(records)).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn render(&self, bench: &mut Bench, object: Object) -> Result<Vec<Rendered>> {
        match object {
            Object::Contact => self.render_contacts(bench).await,
            Object::Order => bench.render_events().await,
        }
    }

    async fn send_all(
        &self,
        object: Object,
        share: Share,
        mut receiver: mpsc::Receiver<Message>,
        ahead: Arc<Semaphore>,
    ) -> Result<()> {
        let mut flight = Flight::new(self, object, share);
        let mut is_open = true;
        loop {
            if flight.has_trouble() {
                flight.calm().await?;
            }
            let is_last = !is_open;
            flight.turn(is_last).await?;
            if flight.is_over() {
                break;
            }
            let due = flight.due().filter(|_| flight.has_ready());
            if !is_open && flight.is_empty() && due.is_none() {
                break;
            }
            tokio::select! {
                biased;
                () = self.gate.stopped() => {}
                landed = flight.landing(), if !flight.is_empty() => landed?,
                message = receiver.recv(), if is_open && (flight.is_hungry() || flight.is_empty()) => match message {
                    None => is_open = false,
                    Some(Message::Slice(records)) => {
                        ahead.add_permits(1);
                        for record in records {
                            let operation = self.operation_of(&record, object)?;
                            flight.add(&operation, record);
                        }
                    }
                    Some(Message::Land(everything, reply)) => {
                        self.land_all(&mut flight, everything).await?;
                        // Without an answer the other side stops too.
                        if !flight.is_over() {
                            // Whoever asked may have gone: then there is nothing to answer.
                            let _ = reply.send(());
                        }
                    }
                },
                () = until(due), if due.is_some() => {}
            }
        }
        ahead.close();
        drop(receiver);
        flight.ground().await?;
        flight.calm().await?;
        flight.finish()
    }

    /// Lands what is aloft; before that, sends `everything` in hand.
    async fn land_all(&self, flight: &mut Flight<'_, '_>, everything: bool) -> Result<()> {
        while everything && !flight.is_over() {
            if flight.has_trouble() {
                flight.calm().await?;
            }
            flight.turn(true).await?;
            let due = flight.due().filter(|_| flight.has_ready());
            if flight.is_empty() && due.is_none() {
                break;
            }
            tokio::select! {
                biased;
                () = self.gate.stopped() => {}
                landed = flight.landing(), if !flight.is_empty() => landed?,
                () = until(due), if due.is_some() => {}
            }
        }
        flight.ground().await
    }

    /// Whether another process has asked for the lease of this account a moment ago and may have it now: with changes at
    /// once, with another back-fill when this one has had its share.
    async fn is_wanted(&self) -> Result<bool> {
        let client = self.context.db.client().await?;
        let lease = self.ledger.lease();
        let row = client
            .query_opt(
                "select
                    coalesce(wanted_at > clock_timestamp() - interval '3 seconds', false),
                    coalesce(queued_at > clock_timestamp() - interval '3 seconds', false)
                 from ops.leases where name = $1",
                &[&lease.name()],
            )
            .await?;
        Ok(row.is_some_and(|row| row.get(0) || (row.get(1) && lease.held_for() >= SHARE)))
    }

    /// Gives the lease to whoever waits for it, and takes it again afterwards.
    async fn let_others_go_first(&self) -> Result<()> {
        self.note("another pipeline has something for this account: it goes first");
        let lease = self.ledger.lease();
        let name = lease.name().to_owned();
        self.target.rest().await;
        Lease::give_away(&lease).await?;
        self.gate.wait(LEFT_ALONE).await?;
        let taken = tokio::select! {
            taken = Lease::take_as(&self.context.db, &self.context.run, &name, COMES_BACK, Want::Share) => taken?,
            () = self.gate.stopped() => return Err(Error::new(Kind::Interrupted, "stopped on request")
                .hint("run the command again, it continues")),
        };
        self.ledger.go_on_under(Arc::new(taken));
        // The other may have died with a call in flight.
        let mut open = self.recover().await?;
        self.settle_all(&mut open).await
    }

    /// Whether runs have ended whose changes have not been taken over.
    async fn has_changes(&self) -> Result<bool> {
        let client = self.context.db.client().await?;
        let row = client
            .query_one(
                "select exists (
                    select from canonical.changes
                    where run_id > (select run_id from delivery.consumers where target = $1 and pipeline = $2))",
                &[&self.settings.target, &self.settings.pipeline],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Takes over what changed since, and sends it.
    fn send_changes(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.take_over_again(false).await?;
            self.claim_moved_of_left_jobs().await?;
            self.guard().await?;
            let mut benches = [Bench::open(&self.context.db, self.settings, Purpose::Load).await?];
            for object in [Object::Contact, Object::Order] {
                let [bench] = &mut benches;
                if bench.queue_changed(object).await? > 0 {
                    self.pass(&mut benches, object, Share::Changed).await?;
                }
            }
            Ok(())
        })
    }
}

async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

/// Has everything landed; false if the other side has ended.
async fn land(sender: &mpsc::Sender<Message>, everything: bool) -> bool {
    let (reply, landed) = oneshot::channel();
    sender.send(Message::Land(everything, reply)).await.is_ok() && landed.await.is_ok()
}
