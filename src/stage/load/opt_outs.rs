//! Opt-outs made at the target itself, where it says them in a list and not on its cards: read into `delivery.opt_outs` before
//! anything is sent, so that an older opt-in of the shop never lifts one.
//!
//! The list is read from where the last reading ended, with a day's overlap, because it may be late; the first time as far
//! back as the target says. Each part is written as it comes; where reading ended is noted last, so a reading that was cut
//! off is made again.

use super::Load;
use super::tally::Tally;
use crate::failpoint::{self, Bug};
use crate::target::OptOutPage;
use crate::{Error, Kind, Result, sql};
use deadpool_postgres::GenericClient;
use jiff::{SignedDuration, Timestamp};

/// What a reading of the list is called in counts.
pub(in crate::stage) const READ_CALL: &str = "read opt-outs";

/// How far readings overlap: what a platform says of its own time is not that exact.
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// More parts than this of one stretch of time are a list without end.
const MOST_PARTS: u32 = 10_000;

impl Load<'_> {
    /// Reads what has been added to the list since.
    pub(super) async fn read_opt_outs(&self) -> Result<()> {
        let Some(reading) = self.target.opt_out_reading() else { return Ok(()) };
        if failpoint::is_planted(Bug::LiftOptOut) {
            return Ok(());
        }
        let client = self.context.db.client().await?;
        let row = GenericClient::query_one(
            &client,
            "select clock_timestamp(),
                (select read_until from delivery.opt_out_readings where target = $1)",
            &[&self.settings.target],
        )
        .await?;
        let (now, read_until): (Timestamp, Option<Timestamp>) = (row.get(0), row.get(1));
        drop(client);
        let back = SignedDuration::try_from(reading.back).unwrap_or(SignedDuration::from_hours(24));
        let window = SignedDuration::try_from(reading.window).unwrap_or(SignedDuration::from_hours(24));
        let mut from = read_until.map_or(now - back, |until| until - OVERLAP).max(now - back);
        while from < now {
            let until = (from + window).min(now);
            self.read_part(from, until).await?;
            from = until;
        }
        let mut client = self.context.db.client().await?;
        let transaction = client.transaction().await?;
        self.ledger.lease().assert(&transaction).await?;
        GenericClient::execute(
            &transaction,
            "insert into delivery.opt_out_readings (target, read_until) values ($1, $2)
             on conflict (target) do update set read_until = excluded.read_until",
            &[&self.settings.target, &now],
        )
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn read_part(&self, from: Timestamp, until: Timestamp) -> Result<()> {
        let mut offset: Option<String> = None;
        for _ in 0..MOST_PARTS {
            self.gate.check()?;
            let OptOutPage { opt_outs, next } = self.target.opt_outs(from, until, offset.as_deref()).await?;
            self.count(|tally| Tally::add(&mut tally.calls, READ_CALL, 1));
            if !opt_outs.is_empty() {
                let channels: Vec<&str> = opt_outs.iter().map(|opt_out| opt_out.channel).collect();
                let addresses: Vec<String> =
                    opt_outs.iter().map(|opt_out| opt_out.address.trim().to_lowercase()).collect();
                let times: Vec<Timestamp> = opt_outs.iter().map(|opt_out| opt_out.at).collect();
                let mut client = self.context.db.client().await?;
                let transaction = client.transaction().await?;
                self.ledger.lease().assert(&transaction).await?;
                GenericClient::execute(
                    &transaction,
                    sql::file("deliver/note_opt_outs.sql")?,
                    &[&self.settings.target, &self.context.run.id, &channels, &addresses, &times],
                )
                .await?;
                transaction.commit().await?;
            }
            // The same offset again would go on for ever.
            if next.is_none() || next == offset {
                return Ok(());
            }
            offset = next;
        }
        Err(Error::new(Kind::Protocol, "the target's list of opt-outs does not end")
            .hint("nothing was sent; run again, and if that stays so, tell the platform's support"))
    }
}
