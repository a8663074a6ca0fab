//! How a shop is spared while it is read: a first read spread over hours, and never more than a share of the shop's time.
//!
//! The model: `spread` says how long the first read of a shop may take in all. How many records its lists have is asked
//! once, before; the time that is left over the records that are left is the time of a record, and a page with fewer
//! records has a shorter turn. `max_load` holds in every walk: after an answer that took a second, a `max_load` of a
//! quarter means three seconds of rest.
//!
//! The wrong answer avoided here: a fixed pause per page, which makes the first read of a small shop long and that of a
//! large one endless.

use crate::Result;
use crate::config::pipeline::Connection;
use crate::source::{Source, StreamSpec, Walk};
use crate::stage::extract::due::WalkState;
use crate::store::cursor::Cursor;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio_postgres::Client;

/// No single rest is longer: a shop that answers late must not be left alone for an hour.
const LONGEST_REST: Duration = Duration::from_secs(5 * 60);

/// What one extract has been told.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spacing {
    max_load: Option<f64>,
    /// The time that each record of a first read has.
    per_record: Option<Duration>,
}

impl Spacing {
    /// Asks how much there is to read for the first time, where that is to be spread.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn plan(
        client: &Client,
        connection: &Connection,
        source: &dyn Source,
        streams: &[StreamSpec],
        now: Timestamp,
    ) -> Result<Self> {
        let mut spacing = Self { max_load: connection.max_load, per_record: None };
        let Some(spread) = connection.spread else { return Ok(spacing) };
        let (mut records, mut began) = (0u64, now);
        for stream in streams {
            let cursor = Cursor::load(client, &connection.connection, stream.name).await?;
            if cursor.full_at.is_some() || stream.parent.is_some() {
                continue;
            }
            let walk = cursor.walk.and_then(|walk| serde_json::from_value::<WalkState>(walk).ok());
            let read = walk.as_ref().map_or(0, |walk| walk.read);
            began = walk.map_or(began, |walk| began.min(walk.started_at));
            // A list that may not be read is told of when it is read.
            let size = source.size(stream).await.unwrap_or_else(|error| {
                tracing::debug!("{}: {error}", stream.name);
                None
            });
            records = records.saturating_add(size.unwrap_or(0).saturating_sub(read));
        }
        spacing.per_record = per_record(spread.0, now.duration_since(began), records);
        Ok(spacing)
    }

    /// What of it holds for a walk.
    pub fn of(&self, cursor: &Cursor, walk: &WalkState) -> Pace {
        let first = cursor.full_at.is_none() && walk.walk == Walk::Everything;
        Pace { max_load: self.max_load, per_record: self.per_record.filter(|_| first) }
    }
}

/// What is left of the time, divided by what is left to read.
fn per_record(spread: SignedDuration, gone: SignedDuration, records: u64) -> Option<Duration> {
    let left = Duration::try_from(spread.saturating_sub(gone)).ok()?;
    (records > 0).then(|| left.div_f64(records as f64))
}

/// The pace of one walk.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    max_load: Option<f64>,
    per_record: Option<Duration>,
}

impl Pace {
    /// How long to rest after a page with so many records that took so long.
    pub fn pause(&self, took: Duration, records: u64) -> Duration {
        let turn = self.per_record.map_or(Duration::ZERO, |each| each.mul_f64(records as f64));
        let until_turn = turn.saturating_sub(took);
        let share = self.max_load.filter(|share| *share > 0.0 && *share < 1.0);
        let rest = share.map_or(Duration::ZERO, |share| took.mul_f64((1.0 / share - 1.0).min(1e4)));
        until_turn.max(rest.min(LONGEST_REST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::extract::due::Due;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_share_of_the_shops_time_is_kept_whatever_an_answer_takes() {
        let pace = Pace { max_load: Some(0.25), per_record: None };
        assert_eq!(pace.pause(SECOND, 100), SECOND * 3);
        assert_eq!(pace.pause(SECOND * 600, 100), LONGEST_REST);
        assert_eq!(Pace::default().pause(SECOND, 100), Duration::ZERO);
        assert_eq!(Pace { max_load: Some(1.0), per_record: None }.pause(SECOND, 100), Duration::ZERO);
    }

    #[test]
    fn what_is_left_of_the_time_is_divided_by_what_is_left_to_read() {
        let hours = SignedDuration::from_hours;
        assert_eq!(per_record(hours(2), hours(1), 3600), Some(SECOND));
        assert_eq!(per_record(hours(2), hours(3), 3600), None, "it is late already");
        assert_eq!(per_record(hours(2), hours(0), 0), None);
    }

    #[test]
    fn only_the_first_walk_through_everything_is_spread() {
        let spacing = Spacing { max_load: None, per_record: Some(SECOND) };
        let walk = |walk| WalkState::new(Due { walk, parents_changed_after: None }, Timestamp::UNIX_EPOCH, 1);
        let read = Cursor { full_at: Some(Timestamp::UNIX_EPOCH), ..Cursor::default() };
        let spread = |cursor: &Cursor, kind| spacing.of(cursor, &walk(kind)).pause(Duration::ZERO, 5);
        assert_eq!(spread(&Cursor::default(), Walk::Everything), SECOND * 5);
        assert_eq!(spread(&read, Walk::Everything), Duration::ZERO);
        assert_eq!(spread(&Cursor::default(), Walk::Keys), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn pages_of_any_size_take_the_time_of_their_records(
            sizes in proptest::collection::vec(1u64..100, 1..50), took_ms in 0u64..50,
        ) {
            let each = Duration::from_millis(60);
            let pace = Pace { max_load: None, per_record: Some(each) };
            let took = Duration::from_millis(took_ms);
            let total: Duration = sizes.iter().map(|size| took + pace.pause(took, *size)).sum();
            let records: u64 = sizes.iter().sum();
            prop_assert!(total.abs_diff(each.mul_f64(records as f64)) < Duration::from_millis(1));
        }
    }
}
