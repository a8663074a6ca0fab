//! When the next call of this process may go: in its turn, and not while the platform has asked for quiet.
//!
//! Turns are reserved from a [`Budget`] in blocks worth half a second and handed out by this process's own monotonic
//! clock, so a call costs no round trip. The keeper read its clock somewhere between question and answer: a turn is
//! therefore counted from the answer (never too early) and expires by the question (never too late), and where the way to
//! the keeper takes longer than a call may be late, the block is padded by that. Turns that nobody took expire; whoever
//! ends with turns in hand gives them back.
//!
//! Who is alone with an account holds the turns of more than a whole stretch ahead and may then be late by [`MAKE_UP`]: all
//! calls that can fall into one stretch with a late one are its own, so its log of calls decides. A machine that stalls for
//! a moment so makes up for it, and the limit holds.
//!
//! A call counts from when it arrives, which nobody here can see: some time between when it went and its answer. So it counts
//! from its answer, where that takes no longer than the slack. Where answers usually take longer, the slack has to do for
//! how unequal the ways are; an answer out of the ordinary, or none yet, makes the call count for that much longer: a
//! machine that stalls delays calls that had gone already, and those behind them would come too close.

use super::budget::{Block, Budget, Grant, OwnBudget};
use crate::Result;
use crate::config::pipeline::Rate;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// A block is worth so much time, once the turns are used as they come.
const BLOCK: Duration = Duration::from_millis(500);
/// A block that needs padding, which is lost to everybody, is worth so much.
const PADDED_BLOCK: Duration = Duration::from_secs(2);
/// The next block is asked for when the turns in hand end within this.
const AHEAD: Duration = Duration::from_millis(120);
/// How late a call may be where this process knows of all others.
const MAKE_UP: Duration = Duration::from_millis(250);
/// Two calls may be so unequally long on their way, however soon answers come.
const LEAST_UNEQUAL: Duration = Duration::from_millis(3);
/// How often a call is looked at again that has no answer yet.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Longer stretches than this are not held ahead: there a call may be late by far more than a machine stalls.
const LONGEST_STRETCH: Duration = Duration::from_secs(2);

/// Why a call has to wait longer than a call waits.
#[derive(Debug)]
pub(super) enum Denied {
    /// The platform has asked for quiet for so long yet.
    Quiet(Duration),
    /// The calls of the day are used up; the next day begins in so long.
    Spent(Duration),
    /// The keeper of the turns cannot be asked.
    Keeper(crate::Error),
}

/// Lets calls through. Shared by all calls of a client.
pub(super) struct Pacer {
    budget: RwLock<Arc<dyn Budget>>,
    state: Mutex<State>,
    /// One question to the keeper at a time.
    asking: tokio::sync::Mutex<()>,
    /// How many calls wait for its answer.
    waiting: AtomicU32,
    began: Instant,
}

struct State {
    hand: Hand,
    quiet_until: Option<Instant>,
    /// Nothing limits until then.
    free_until: Option<Instant>,
}

enum Next {
    Go,
    Turn(Turn),
    Wait(Duration),
    Ask,
}

impl Pacer {
    pub(super) fn new(rate: Option<Rate>) -> Arc<Self> {
        Arc::new(Self {
            budget: RwLock::new(Arc::new(OwnBudget::new(rate))),
            state: Mutex::new(State { hand: Hand::default(), quiet_until: None, free_until: None }),
            asking: tokio::sync::Mutex::new(()),
            waiting: AtomicU32::new(0),
            began: Instant::now(),
        })
    }

    /// From now on turns come from `budget`.
    pub(super) fn keep_to(&self, budget: Arc<dyn Budget>) {
        *self.budget.write().unwrap_or_else(PoisonError::into_inner) = budget;
        let mut state = self.state();
        state.hand = Hand::default();
        state.free_until = None;
    }

    /// Waits until the next call may be made, unless that is more than `longest` away because of quiet or a spent quota.
    pub(super) async fn ready(self: &Arc<Self>, longest: Duration) -> Result<Passage, Denied> {
        loop {
            match self.next() {
                Next::Go => return Ok(Passage::default()),
                Next::Turn(turn) => {
                    tokio::time::sleep_until(self.began + turn.from).await;
                    self.ask_ahead();
                    if let Some(number) = self.go(turn).await {
                        return Ok(Passage::default().by(self, number));
                    }
                }
                Next::Wait(wait) if wait > longest => return Err(Denied::Quiet(wait)),
                Next::Wait(wait) => tokio::time::sleep(wait).await,
                Next::Ask => self.ask_in_turn(longest).await?,
            }
        }
    }

    /// Waits until the next call may be made both by this pacer, which keeps the narrower limit, and by `other`. A call goes
    /// at the moment at which both let it, or calls would gather behind one of the two.
    pub(super) async fn ready_with(self: &Arc<Self>, other: &Arc<Self>, longest: Duration) -> Result<Passage, Denied> {
        loop {
            let turn = match self.next() {
                Next::Go => return other.ready(longest).await,
                Next::Turn(turn) => turn,
                Next::Wait(wait) if wait > longest => return Err(Denied::Quiet(wait)),
                Next::Wait(wait) => {
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Next::Ask => {
                    self.ask_in_turn(longest).await?;
                    continue;
                }
            };
            tokio::time::sleep_until(self.began + turn.from).await;
            self.ask_ahead();
            loop {
                let passage = other.ready(longest).await?;
                match self.may(turn) {
                    May::Go(number) => return Ok(passage.by(self, number)),
                    May::Wait(until) => {
                        passage.unused();
                        tokio::time::sleep_until(self.began + until).await;
                    }
                    May::Not => {
                        passage.unused();
                        break;
                    }
                }
            }
        }
    }

    /// Whether a turn that has come may be used; notes it if not.
    fn may(&self, turn: Turn) -> May {
        let is_quiet = self.quiet().is_some();
        let now = self.began.elapsed();
        let may = if is_quiet { May::Not } else { self.state().hand.may_go(turn, now) };
        if may == May::Not {
            self.state().hand.expired += 1;
        }
        may
    }

    /// How long the platform still wants quiet, if it does.
    pub(super) fn quiet(&self) -> Option<Duration> {
        let until = self.state().quiet_until?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// The platform asked for quiet: no call is let through for `wait`, here or elsewhere. A shorter wish never ends a
    /// longer one.
    pub(super) async fn hold(&self, wait: Duration) {
        self.be_quiet(wait);
        if let Err(error) = self.budget().hold(wait).await {
            tracing::warn!("other processes could not be told that the platform asks for quiet: {error}");
        }
    }

    /// Gives turns back that will not be used: the work is done.
    pub(super) async fn rest(&self) {
        let Some((serial, unused)) = self.state().hand.put_down() else { return };
        if let Err(error) = self.budget().give_back(serial, unused).await {
            tracing::debug!("unused turns could not be given back: {error}");
        }
    }

    /// Uses a turn that has come; the call's number, or none if it is too late for it.
    async fn go(&self, turn: Turn) -> Option<u64> {
        loop {
            match self.may(turn) {
                May::Go(number) => return Some(number),
                May::Wait(until) => tokio::time::sleep_until(self.began + until).await,
                May::Not => return None,
            }
        }
    }

    fn be_quiet(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut state = self.state();
        state.quiet_until = Some(state.quiet_until.map_or(until, |earlier| earlier.max(until)));
    }

    fn next(&self) -> Next {
        self.look(Hand::take)
    }

    fn peek(&self) -> Next {
        self.look(Hand::peek)
    }

    fn look(&self, turn: impl FnOnce(&mut Hand, Duration) -> Option<Turn>) -> Next {
        if let Some(quiet) = self.quiet() {
            return Next::Wait(quiet);
        }
        let now = Instant::now();
        let mut state = self.state();
        if state.free_until.is_some_and(|until| now < until) {
            return Next::Go;
        }
        turn(&mut state.hand, now - self.began).map_or(Next::Ask, Next::Turn)
    }

    /// Asks for turns because there are none in hand.
    async fn ask_in_turn(&self, longest: Duration) -> Result<(), Denied> {
        let _waits = Waits::new(&self.waiting);
        let _asking = self.asking.lock().await;
        // Somebody else may have got an answer meanwhile.
        if matches!(self.peek(), Next::Ask) { self.ask(longest).await } else { Ok(()) }
    }

    async fn ask(&self, longest: Duration) -> Result<(), Denied> {
        let asked = self.began.elapsed();
        let waiting = self.waiting.load(Ordering::Relaxed);
        let (wanted, pad) = self.state().hand.wanted(asked, waiting);
        let grant = self.budget().reserve(wanted, pad).await.map_err(Denied::Keeper)?;
        let answered = self.began.elapsed();
        match grant {
            Grant::Turns(block) => self.state().hand.add(asked, answered, pad, block),
            Grant::Unlimited(time) => self.state().free_until = Some(Instant::now() + time),
            Grant::Quiet(wait) => {
                self.be_quiet(wait);
                if wait > longest {
                    return Err(Denied::Quiet(wait));
                }
            }
            Grant::Spent(wait) if wait > longest => return Err(Denied::Spent(wait)),
            Grant::Spent(wait) => tokio::time::sleep(wait).await,
        }
        Ok(())
    }

    /// Asks for the next block in the background while turns are left, so that the way to the keeper costs none.
    fn ask_ahead(self: &Arc<Self>) {
        if !self.state().hand.is_low(self.began.elapsed()) {
            return;
        }
        let pacer = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(_asking) = pacer.asking.try_lock() else { return };
            if pacer.state().hand.is_low(pacer.began.elapsed()) {
                // Should it fail, whoever needs the turn asks again and is told.
                let _ = pacer.ask(Duration::ZERO).await;
            }
        });
    }

    fn budget(&self) -> Arc<dyn Budget> {
        Arc::clone(&self.budget.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits as long as this lives.
struct Waits<'w>(&'w AtomicU32);

impl<'w> Waits<'w> {
    fn new(waiting: &'w AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that has been let through. Dropped when the call has been answered, or has failed.
#[derive(Default)]
#[must_use = "a call counts for longer while nobody says that it has been answered"]
pub(super) struct Passage(Vec<(Arc<Pacer>, u64)>);

impl Passage {
    fn by(mut self, pacer: &Arc<Pacer>, number: u64) -> Self {
        self.0.push((Arc::clone(pacer), number));
        self
    }

    /// There will be no call.
    fn unused(mut self) {
        for (pacer, number) in self.0.drain(..) {
            pacer.state().hand.unused(number);
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        for (pacer, number) in &self.0 {
            let now = pacer.began.elapsed();
            pacer.state().hand.answered(*number, now);
        }
    }
}

/// A turn in this process's own time: a length since some moment of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    /// Not before.
    pub from: Duration,
    /// Not after.
    pub until: Duration,
}

/// Whether a call may go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum May {
    /// Now, as the call of this number.
    Go(u64),
    /// Not before.
    Wait(Duration),
    /// Its turn is over.
    Not,
}

/// The stretch in which calls are counted, and how many it may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    /// With a part of the slack: a request is not always equally long on its way.
    length: Duration,
    /// With all of it, for calls that come close upon each other because they make up for missed turns.
    whole: Duration,
    /// As the rate says it, without slack.
    per: Duration,
    /// How many calls each of them may hold.
    calls: usize,
}

/// A call that went.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Duration,
    answered: Option<Duration>,
}

impl Stretch {
    fn of(block: &Block) -> Option<Self> {
        let rate = block.rate.filter(|rate| rate.per <= LONGEST_STRETCH)?;
        let whole = block.spacing.between * rate.calls;
        let length = whole.saturating_sub(block.spacing.late / 2);
        (length >= rate.per).then_some(Self { length, whole, per: rate.per, calls: rate.calls as usize })
    }
}

/// The turns in hand. Pure: times come in as lengths since some moment of this process.
#[derive(Debug, Default)]
pub(super) struct Hand {
    blocks: VecDeque<Held>,
    stretch: Option<Stretch>,
    /// The last calls, as many as a stretch may hold.
    log: VecDeque<Sent>,
    /// How many calls went.
    sent: u64,
    /// How long answers usually take.
    usual: Option<Duration>,
    /// From here on all turns up to the end of those in hand have been this process's.
    alone_from: Option<Duration>,
    /// The last block's number.
    last_serial: Option<i64>,
    /// How many turns of the last block were used, and how many expired.
    taken: u32,
    expired: u32,
    /// How many turns are asked for at a time.
    size: u32,
    /// The most that are asked for.
    most: u32,
    /// How many are worth [`BLOCK`].
    usual_size: u32,
    /// How long the last question to the keeper took.
    lag: Duration,
    /// By how much a call may be late.
    late: Duration,
}

#[derive(Debug)]
struct Held {
    next: Turn,
    between: Duration,
    left: u32,
    serial: i64,
    /// Nobody else's turn comes before this moment, if no block follows.
    end: Duration,
}

impl Hand {
    /// Takes the next turn that has not expired.
    pub(super) fn take(&mut self, now: Duration) -> Option<Turn> {
        let turn = self.peek(now)?;
        self.taken += 1;
        self.skip(1);
        Some(turn)
    }

    /// The next turn that has not expired; it stays in hand.
    pub(super) fn peek(&mut self, now: Duration) -> Option<Turn> {
        while let Some(block) = self.blocks.front() {
            let turn = block.next;
            // Where the keeper took long to answer, a turn may be over before it begins. What lies behind it is asked for by
            // the time that it comes.
            let at = now.max(turn.from);
            let may_be_late = || if turn.from > now { self.is_alone(now) } else { self.may_make_up(now) };
            if block.left == 0 {
                self.blocks.pop_front();
            } else if at <= turn.until || (at <= turn.until + MAKE_UP && may_be_late()) {
                return Some(turn);
            } else {
                self.expired += 1;
                self.skip(1);
            }
        }
        None
    }

    fn skip(&mut self, turns: u32) {
        if let Some(block) = self.blocks.front_mut() {
            block.left -= turns;
            block.next.from += block.between * turns;
            block.next.until += block.between * turns;
        }
    }

    /// Whether a call may go now that took this turn.
    pub(super) fn may_go(&mut self, turn: Turn, now: Duration) -> May {
        let is_late = now > turn.until;
        if is_late && (now > turn.until + MAKE_UP || !self.may_make_up(now)) {
            return May::Not;
        }
        if let Some(stretch) = self.stretch {
            let oldest = self.log.len().checked_sub(stretch.calls).and_then(|at| self.log.get(at));
            if let Some(until) = oldest.map(|oldest| self.counts_until(oldest, stretch, is_late, now))
                && now < until
            {
                return May::Wait(until);
            }
            if self.log.len() >= stretch.calls {
                self.log.pop_front();
            }
            self.log.push_back(Sent { at: now, answered: None });
        }
        self.sent += 1;
        May::Go(self.sent)
    }

    /// Until when a call counts, of which nobody knows when it arrived.
    fn counts_until(&self, sent: &Sent, stretch: Stretch, is_late: bool, now: Duration) -> Duration {
        let whole = if is_late { stretch.whole } else { stretch.length };
        let slack = whole.saturating_sub(stretch.per);
        let took = sent.answered.unwrap_or(now).saturating_sub(sent.at);
        let usual = self.usual.unwrap_or(slack);
        let unequal = took.max(usual).clamp(LEAST_UNEQUAL.min(slack), slack);
        let stalled = took.saturating_sub(slack.max(usual * 2)).min(MAKE_UP);
        let until = sent.at + stretch.per + unequal + stalled;
        if sent.answered.is_some() { until } else { until.min((now + LOOK_AGAIN).max(sent.at + whole)) }
    }

    /// The call of this number has been answered, or will not be any more.
    pub(super) fn answered(&mut self, number: u64, now: Duration) {
        let Some(sent) = self.logged(number) else { return };
        sent.answered = Some(now);
        let took = now.saturating_sub(sent.at);
        // A stall says little of what is usual, and must not become it.
        let most = |usual: Duration| usual * 2 + Duration::from_millis(1);
        self.usual = Some(self.usual.map_or(took, |usual| (usual * 31 + took.min(most(usual))) / 32));
    }

    /// The call of this number was let through and not made.
    fn unused(&mut self, number: u64) {
        if let Some(sent) = self.logged(number) {
            sent.answered = Some(sent.at);
        }
    }

    fn logged(&mut self, number: u64) -> Option<&mut Sent> {
        let back = usize::try_from(self.sent.checked_sub(number)?).ok()?;
        let at = self.log.len().checked_sub(back + 1)?;
        self.log.get_mut(at)
    }

    /// Whether all calls that can fall into one stretch with a call made now are this process's own.
    fn may_make_up(&self, now: Duration) -> bool {
        let (Some(stretch), Some(last)) = (self.stretch, self.blocks.back()) else { return false };
        self.is_alone(now) && now + stretch.whole <= last.end
    }

    /// Whether the turns in hand end soon, of somebody who uses them as they come.
    pub(super) fn is_low(&self, now: Duration) -> bool {
        let Some(last) = self.blocks.back() else { return false };
        let end = last.next.from + last.between * last.left;
        let ahead = match self.stretch {
            // Somebody else who wants to call waits for so long at first, and whoever uses few turns needs none ahead.
            Some(stretch) if self.size >= self.usual_size && self.is_alone(now) => stretch.whole + MAKE_UP + AHEAD,
            _ => AHEAD,
        };
        // With one turn a block, asking ahead would reserve the turn after the next for somebody who may not come.
        self.size > 1 && self.taken > self.expired && end < now + ahead.max(self.lag * 2)
    }

    /// Whether all calls of the last stretch were this process's own.
    fn is_alone(&self, now: Duration) -> bool {
        let (Some(stretch), Some(from)) = (self.stretch, self.alone_from) else { return false };
        from + stretch.whole + self.late <= now
    }

    /// How many turns to ask for while so many calls are `waiting`, and the padding. A block grows while turns are used and
    /// shrinks when they expire.
    pub(super) fn wanted(&mut self, now: Duration, waiting: u32) -> (u32, Duration) {
        // What is asked for ahead is asked for before the block is used up.
        self.size = if self.taken > 0 && self.expired <= self.taken / 2 {
            self.size.saturating_mul(2)
        } else if self.expired > self.taken {
            self.size / 2
        } else {
            self.size
        };
        let most = self.most.max(1);
        self.size = self.size.clamp(1, most);
        (self.taken, self.expired) = (0, 0);
        // Half of what a call may be late by may go to the way to the keeper; what that takes longer is padded. Who is
        // alone makes up for it, and needs none.
        let pad = if self.is_alone(now) { Duration::ZERO } else { self.lag.saturating_sub(self.late / 2) };
        // Calls that wait already use theirs, however few come at a time.
        (self.size.max(waiting.min(most)), pad)
    }

    /// Takes a block up that was asked for and answered at these times.
    pub(super) fn add(&mut self, asked: Duration, answered: Duration, pad: Duration, block: Block) {
        let Block { starts_in, spacing, turns, serial, .. } = block;
        let stretch = Stretch::of(&block);
        let follows = self.last_serial.is_some_and(|last| last + 1 == serial) && self.stretch == stretch;
        if stretch.is_none() {
            self.alone_from = None;
        } else if !follows || self.alone_from.is_none() {
            self.alone_from = Some(answered + starts_in);
        }
        if self.stretch != stretch {
            self.log.clear();
        }
        (self.stretch, self.last_serial) = (stretch, Some(serial));
        self.lag = answered.saturating_sub(asked);
        self.late = spacing.late;
        // Without a spacing only the calls of a day are counted, and few of those should expire.
        let between = if spacing.between.is_zero() { AHEAD } else { spacing.between };
        let worth = if pad.is_zero() { BLOCK } else { PADDED_BLOCK };
        self.most = (worth.as_secs_f64() / between.as_secs_f64()) as u32;
        self.usual_size = (BLOCK.as_secs_f64() / between.as_secs_f64()) as u32;
        // No more of the padding is used than the way took, or calls of this very block would come too close.
        let until = asked + starts_in + spacing.late + pad.min(self.lag);
        let next = Turn { from: answered + starts_in, until };
        let end = asked + starts_in + spacing.between * turns;
        self.blocks.push_back(Held { next, between: spacing.between, left: turns, serial, end });
    }

    /// Puts all turns down; the last block's number, and how many turns of it and of those right before it others may have.
    pub(super) fn put_down(&mut self) -> Option<(i64, u32)> {
        let mut blocks = std::mem::take(&mut self.blocks).into_iter().rev().peekable();
        let serial = blocks.peek()?.serial;
        self.alone_from = None;
        let mut unused = 0;
        let mut next = serial;
        for block in blocks {
            let free =
                (0..block.left).take_while(|n| self.is_others(block.end.saturating_sub(block.between * (n + 1))));
            let free = u32::try_from(free.count()).unwrap_or(0);
            if block.serial != next {
                break;
            }
            unused += free;
            if free < block.left || block.left == 0 {
                break;
            }
            next -= 1;
        }
        (unused > 0).then_some((serial, unused))
    }

    /// Whether somebody else may go on from this moment at the usual distances: calls that were late must have their
    /// stretches to themselves.
    fn is_others(&self, moment: Duration) -> bool {
        let Some(stretch) = self.stretch else { return true };
        let between = stretch.whole / u32::try_from(stretch.calls).unwrap_or(u32::MAX).max(1);
        // As close as a grid whose calls are each late by all they may.
        let length = stretch.whole.saturating_sub(self.late);
        // Behind the newest call there is room for all others but it, behind the one before for all but those two, and so on.
        let rooms = (1..=stretch.calls).rev().map(|room| between * u32::try_from(room - 1).unwrap_or(0));
        self.log.iter().rev().zip(rooms).all(|(call, room)| call.at + length <= moment + room)
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
