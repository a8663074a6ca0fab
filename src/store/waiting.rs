//! Waits for a server to start, recover or stop: each is bounded, tells the user why it waits, and ends when a stop is
//! asked for.
//!
//! They happen in threads that cannot be cancelled, at the end of a command too, so whoever watches the signals of the
//! process says so here once for all of them.

use crate::{Error, Kind, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pause between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// After how long a waiting user is told why.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// How often a waiting user is told.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// How long a wait may still take that begins after a stop was asked for: whoever leaves closes the door.
const AFTER_STOP: Duration = Duration::from_secs(5);

static STOP: AtomicBool = AtomicBool::new(false);

/// Ends all waits of this process: for Ctrl-C and SIGTERM. Waits that begin afterwards end after a few seconds.
pub fn end_all() {
    STOP.store(true, Ordering::Relaxed);
}

/// One wait.
#[derive(Debug)]
pub(super) struct Wait {
    began: Instant,
    told: Option<Instant>,
    bound: Duration,
    is_after_stop: bool,
}

impl Wait {
    /// A wait that begins now and lasts `bound` at most.
    pub fn new(bound: Duration) -> Self {
        Self { began: Instant::now(), told: None, bound, is_after_stop: STOP.load(Ordering::Relaxed) }
    }

    /// To be called before each pause: tells the user what is waited for, now and then.
    ///
    /// # Errors
    /// [`Kind::Interrupted`] when a stop was asked for; [`Kind::DatabaseUnreachable`] when it has lasted too long. Both
    /// name what was waited for.
    pub fn go_on(&mut self, what: impl Fn() -> String) -> Result<()> {
        if !self.is_over() {
            return self.tell(what);
        }
        let waited = self.bound.as_secs();
        Err(Error::new(Kind::DatabaseUnreachable, format!("{}; waited {waited} s for it", what()))
            .hint("run the command again later; it continues where it stopped"))
    }

    /// As [`Wait::go_on`], with the pause.
    ///
    /// # Errors
    /// Those of [`Wait::go_on`].
    pub fn pause(&mut self, what: impl Fn() -> String) -> Result<()> {
        self.go_on(what)?;
        std::thread::sleep(PAUSE);
        Ok(())
    }

    /// As [`Wait::pause`], for who knows what to do when it has lasted too long: false then.
    ///
    /// # Errors
    /// [`Kind::Interrupted`].
    pub fn step(&mut self, what: impl Fn() -> String) -> Result<bool> {
        if self.is_over() {
            return Ok(false);
        }
        self.tell(what)?;
        std::thread::sleep(PAUSE);
        Ok(true)
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() > self.bound
    }

    fn tell(&mut self, what: impl Fn() -> String) -> Result<()> {
        if STOP.load(Ordering::Relaxed) && (!self.is_after_stop || self.began.elapsed() > AFTER_STOP) {
            return Err(Error::new(Kind::Interrupted, format!("stopped on request: {}", what()))
                .hint("run the command again; it continues where it stopped"));
        }
        let is_due = match self.told {
            None => self.began.elapsed() > TELL_AFTER,
            Some(told) => told.elapsed() > TELL_EVERY,
        };
        if is_due {
            tracing::warn!("{}; waiting for it", what());
            self.told = Some(Instant::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_lasted_too_long_is_to_be_tried_again() {
        let mut wait = Wait::new(Duration::from_millis(1));
        let error = loop {
            if let Err(error) = wait.pause(|| "the server recovers".to_owned()) {
                break error;
            }
        };
        assert_eq!(error.kind(), Kind::DatabaseUnreachable);
        assert!(error.detail().starts_with("the server recovers"), "{error}");
        assert!(!wait.step(|| "the server recovers".to_owned()).unwrap());
    }
}
