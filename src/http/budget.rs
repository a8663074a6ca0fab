//! The budget of calls that an account, or a shop, allows: how far apart calls are, and who hands the turns out.
//!
//! ```text
//!   turns of the account:  |--|--|--|--|--|--|--|--|--|--|--|--|   one every `spacing`, each taken at most once
//!   process A reserves:    [a  a  a  a ]      [a  a  a  a ]        a block is some turns in a row
//!   process B reserves:                [b  b ]            [b ...
//!   a call goes:            ^   in its turn, or up to `late` after it; a turn that nobody took by then has expired
//! ```
//!
//! The allowance is `calls` in any stretch of length `per`. A call up to `late` after its turn, followed by punctual ones,
//! makes stretches shorter than `calls` spacings by just that; and a request is not always equally long on its way. So the
//! spacing is `(per + slack) / calls` with a slack of 1.5 % of `per` (at most a second), of which `late` is the part
//! that callers may use and the rest belongs to the network. That is 98.5 % of the allowance.
//!
//! A machine that stalls misses turns by more than that. Whoever has had all turns of the last `per`, and has those of the
//! next `per` in hand, knows of every call that can fall into one stretch with a late one: it makes up for missed turns, as
//! long as its own log of calls holds fewer than allowed (see [`super::pace`]).
//!
//! Wrong answers avoided here: tokens that add up while nobody calls (a burst after a pause breaks the limit); counting
//! per calendar second (twice the rate around its edge); asking the keeper before every call (a round trip each); carrying
//! turns over (the same burst); trusting the clocks of several machines (a keeper's clock decides, and only lengths of
//! time leave it).

use crate::Result;
use crate::config::pipeline::Rate;
use async_trait::async_trait;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The slack is this part of the time that the rate counts in, and at most [`MOST_SLACK`].
const SLACK_PART: f64 = 0.015;
/// More slack than this is never needed: timers and networks are late by less.
const MOST_SLACK: f64 = 1.0;
/// The part of the slack that callers may be late by.
const LATE_PART: f64 = 0.6;

/// How far apart turns are, and by how much a call may miss its turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spacing {
    /// From one turn to the next.
    pub between: Duration,
    /// A call may go up to so long after its turn.
    pub late: Duration,
}

impl Spacing {
    /// The spacing at which no stretch of the rate's length holds more calls than the rate allows.
    pub fn of(rate: Rate) -> Self {
        let per = rate.per.as_secs_f64();
        let slack = (per * SLACK_PART).min(MOST_SLACK);
        // Rounded up, or a rate that does not divide evenly would be broken by one call after a long time.
        let between = Duration::from_secs_f64((per + slack) / f64::from(rate.calls)) + Duration::from_nanos(1);
        Self { between, late: Duration::from_secs_f64(slack * LATE_PART) }
    }

    /// The calls per second that it comes to, for estimates.
    pub fn per_second(self) -> f64 {
        1.0 / self.between.as_secs_f64()
    }
}

/// A block of turns in a row. All times are lengths, counted from the moment at which the keeper answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Until the first turn.
    pub starts_in: Duration,
    /// How far apart they are, and by how much each may be missed.
    pub spacing: Spacing,
    /// How many.
    pub turns: u32,
    /// The allowance that the spacing was made for, where the keeper knows of one alone.
    pub rate: Option<Rate>,
    /// The keeper's number of the block, for [`Budget::give_back`]. Where one follows the other, nobody else has had a turn
    /// between the two.
    pub serial: i64,
}

/// What a keeper says to somebody who wants to call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Grant {
    /// These turns.
    Turns(Block),
    /// Nothing limits the account; ask again after so long, somebody may have set a limit or asked for quiet by then.
    Unlimited(Duration),
    /// The platform has asked for quiet for so long yet.
    Quiet(Duration),
    /// The calls of the day are used up; the next day begins in so long.
    Spent(Duration),
}

/// Keeps the turns of one account for everybody who calls it.
///
/// The contract: a turn is given out at most once, to whomever, whatever dies or restarts; turns of all blocks together
/// are at least a spacing apart; none lies before the end of a quiet time that was known when it was given out.
#[async_trait]
pub trait Budget: Send + Sync + fmt::Debug {
    /// Reserves up to `wanted` turns in a row, and `pad` behind them in which nobody else has one: whoever knows the
    /// keeper's time only to within `pad` may use the block that much later.
    async fn reserve(&self, wanted: u32, pad: Duration) -> Result<Grant>;

    /// The platform asked for quiet: no turn before `wait` has passed. A shorter wish never ends a longer one.
    async fn hold(&self, wait: Duration) -> Result<()>;

    /// The last `unused` turns of a block, and of the blocks right before it, will not be used. They are given out again if
    /// nobody has reserved since.
    async fn give_back(&self, serial: i64, unused: u32) -> Result<()>;
}

/// A budget that only this process draws from: of a shop, or of an account while there is no database.
#[derive(Debug)]
pub struct OwnBudget {
    rate: Option<Rate>,
    next: Mutex<(Option<Instant>, i64)>,
}

impl OwnBudget {
    /// Keeps `rate`; without one, nothing limits.
    pub fn new(rate: Option<Rate>) -> Self {
        Self { rate, next: Mutex::new((None, 0)) }
    }
}

#[async_trait]
impl Budget for OwnBudget {
    async fn reserve(&self, wanted: u32, pad: Duration) -> Result<Grant> {
        let Some(rate) = self.rate else { return Ok(Grant::Unlimited(Duration::from_secs(3600))) };
        let spacing = Spacing::of(rate);
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let start = next.0.map_or(now, |next| next.max(now));
        *next = (Some(start + spacing.between * wanted + pad), next.1 + 1);
        Ok(Grant::Turns(Block { starts_in: start - now, spacing, turns: wanted, rate: Some(rate), serial: next.1 }))
    }

    async fn hold(&self, _: Duration) -> Result<()> {
        // The pacer that was told keeps quiet by itself.
        Ok(())
    }

    async fn give_back(&self, _: i64, _: u32) -> Result<()> {
        Ok(())
    }
}
