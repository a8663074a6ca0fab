//! The pace of one account: calls are let through evenly, never more than the rate allows in any stretch of its length,
//! and not at all while the platform has asked for quiet.

use crate::config::pipeline::Rate;
use governor::clock::{Clock, MonotonicClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lets calls through. Shared by all calls of a client.
pub(super) struct Pacer<C: Clock = MonotonicClock> {
    clock: C,
    limiter: Option<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
    quiet_until: Mutex<Option<C::Instant>>,
}

impl Pacer<MonotonicClock> {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self::with_clock(rate, MonotonicClock)
    }

    /// Waits until the next call may be made.
    pub(super) async fn ready(&self) {
        while let Err(wait) = self.admit() {
            tokio::time::sleep(wait).await;
        }
    }
}

impl<C: Clock + Clone> Pacer<C> {
    fn with_clock(rate: Option<Rate>, clock: C) -> Self {
        let limiter = rate.and_then(quota).map(|quota| RateLimiter::direct_with_clock(quota, clock.clone()));
        Self { clock, limiter, quiet_until: Mutex::new(None) }
    }

    /// Lets one call through, or says how long to wait before asking again.
    fn admit(&self) -> Result<(), Duration> {
        if let Some(quiet) = self.quiet() {
            return Err(quiet);
        }
        match &self.limiter {
            None => Ok(()),
            Some(limiter) => limiter.check().map_err(|not_yet| not_yet.wait_time_from(self.clock.now())),
        }
    }

    /// How long the platform still wants quiet, if it does.
    pub(super) fn quiet(&self) -> Option<Duration> {
        let until = (*self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner))?;
        let left: Duration = until.duration_since(self.clock.now()).into();
        (!left.is_zero()).then_some(left)
    }

    /// The platform asked for quiet: no call is let through for `wait`. A shorter wish never ends a longer one.
    pub(super) fn hold(&self, wait: Duration) {
        let until = self.clock.now() + wait.into();
        let mut quiet_until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet_until = Some(quiet_until.map_or(until, |earlier| earlier.max(until)));
    }
}

/// Even spacing. Timers fire up to a few milliseconds late, which would cost a fast pace a good part of its rate: calls
/// that fell behind by up to 20 ms may be made up for, and the spacing is widened so that even then no stretch of the
/// rate's length holds more calls than allowed.
fn quota(rate: Rate) -> Option<Quota> {
    let per_second = f64::from(rate.calls) / rate.per.as_secs_f64();
    let behind = ((per_second * 0.02) as u32).min(rate.calls / 50);
    let spacing = rate.per.div_f64(f64::from(rate.calls - behind));
    // Rounded up, or a rate that does not divide evenly would be broken by one call after a long time.
    let spacing = spacing + Duration::from_nanos(1);
    Quota::with_period(spacing).zip(NonZeroU32::new(behind + 1)).map(|(quota, burst)| quota.allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    /// Calls until `calls` were let through, with a timer that fires `late` after it should; gives the times of the calls.
    fn simulate(rate: Rate, calls: usize, late: Duration) -> Vec<Duration> {
        let clock = FakeRelativeClock::default();
        let pacer = Pacer::with_clock(Some(rate), clock.clone());
        let (mut now, mut times) = (Duration::ZERO, Vec::new());
        while times.len() < calls {
            match pacer.admit() {
                Ok(()) => times.push(now),
                Err(wait) => {
                    assert!(!wait.is_zero(), "waiting for nothing would spin");
                    clock.advance(wait + late);
                    now += wait + late;
                }
            }
        }
        times
    }

    proptest! {
        #[test]
        fn no_stretch_of_the_rates_length_holds_more_calls_than_allowed(
            calls in 1u32..400, seconds in prop::sample::select(vec![1u64, 60, 3600]), late in 0u64..3_000_000,
        ) {
            let rate = Rate { calls, per: Duration::from_secs(seconds) };
            let times = simulate(rate, calls as usize * 3 + 10, Duration::from_nanos(late));
            for pair in times.windows(calls as usize + 1) {
                prop_assert!(pair[calls as usize] - pair[0] >= rate.per, "{:?}", pair[calls as usize] - pair[0]);
            }
        }
    }

    #[test]
    fn work_that_waits_gets_95_percent_of_the_rate_although_timers_are_late() {
        for (calls, seconds) in [(10, 1), (100, 1), (600, 60), (5000, 3600), (1000, 1)] {
            let rate = Rate { calls, per: Duration::from_secs(seconds) };
            let times = simulate(rate, calls as usize * 4, Duration::from_millis(1));
            let reached = (times.len() - 1) as f64 / (times[times.len() - 1] - times[0]).as_secs_f64();
            let allowed = f64::from(calls) / seconds as f64;
            assert!(reached >= 0.95 * allowed, "{calls} per {seconds} s: {reached} of {allowed}");
        }
    }

    #[test]
    fn quiet_is_kept_and_a_shorter_wish_does_not_end_it() {
        let clock = FakeRelativeClock::default();
        let pacer = Pacer::with_clock(None, clock.clone());
        pacer.hold(Duration::from_secs(10));
        pacer.hold(Duration::from_secs(1));
        assert_eq!(pacer.admit(), Err(Duration::from_secs(10)));
        clock.advance(Duration::from_secs(9));
        assert_eq!(pacer.quiet(), Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(pacer.admit(), Ok(()));
    }
}
