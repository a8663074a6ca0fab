//! What is tried again, when, and how often. Pure: time and chance come in as values.

use super::failure::Idempotency;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use std::time::{Duration, SystemTime};

/// No platform means more than this; a longer `Retry-After` is cut to it.
pub(super) const LONGEST_MEANT: Duration = Duration::from_secs(24 * 60 * 60);

/// How often and how patiently a call is tried again.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// The first wait is chosen between nothing and this, the second between nothing and twice this, and so on (full
    /// jitter).
    pub base: Duration,
    /// No wait of our own is longer.
    pub cap: Duration,
    /// A `Retry-After` up to this is waited for within the call; a longer one ends the call as throttled.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    /// Seven attempts over about a quarter of a minute, and two minutes of patience with a `Retry-After`.
    fn default() -> Self {
        Self {
            attempts: 7,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(60),
            longest_wait: Duration::from_secs(120),
        }
    }
}

/// What an attempt's end says about another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It would end the same way.
    Useless,
    /// It may end better, and this one was certainly not done: no byte of it was sent, or the platform is known to answer
    /// so before it does anything.
    NothingDone,
    /// It may end better, but this one may have been done.
    MayBeDone,
}

impl RetryPolicy {
    /// How long to wait before attempt `attempt + 1`, or `None` when there is none. `asked`: the platform's
    /// `Retry-After`; `chance`: evenly from 0 to 1.
    pub(super) fn wait(
        &self,
        attempt: u32,
        idempotency: Idempotency,
        repeat: Repeat,
        asked: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        let allowed = match (repeat, idempotency) {
            (Repeat::Useless, _) | (Repeat::MayBeDone, Idempotency::Unsafe) => false,
            (Repeat::NothingDone, _) | (Repeat::MayBeDone, Idempotency::Safe) => true,
        };
        if !allowed || attempt >= self.attempts {
            return None;
        }
        let ceiling = self.base.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1))).min(self.cap);
        let jitter = ceiling.mul_f64(chance.clamp(0.0, 1.0));
        match asked {
            Some(asked) if asked > self.longest_wait => None,
            // Everybody was told the same time: the jitter comes on top.
            Some(asked) => Some(asked + jitter.min(Duration::from_secs(1))),
            None => Some(jitter),
        }
    }
}

/// Whether an answer of this status may be followed by a better one: 408, 429, 500, 502, 503, 504 and what proxies say of
/// a server they cannot reach (520 to 529). 501 and 505 are final.
pub(super) fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504 | 520..=529)
}

/// What `Retry-After` asks for: seconds (fractions too) or an HTTP date. None for a moment that has passed, a negative
/// number, or anything else.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are absurd, not garbage.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    }
    // A date is one of the platform's clock, so what that shows now counts, where it says so.
    let theirs = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?.trim()).ok());
    let wait = httpdate::parse_http_date(text).ok()?.duration_since(theirs.unwrap_or(now)).ok()?;
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 4,
        base: Duration::from_secs(1),
        cap: Duration::from_secs(3),
        longest_wait: Duration::from_secs(60),
    };

    #[test]
    fn waits_double_up_to_the_cap_and_attempts_end() {
        let ceiling = |attempt| POLICY.wait(attempt, Idempotency::Safe, Repeat::MayBeDone, None, 1.0);
        assert_eq!(ceiling(1), Some(Duration::from_secs(1)));
        assert_eq!(ceiling(2), Some(Duration::from_secs(2)));
        assert_eq!(ceiling(3), Some(Duration::from_secs(3)));
        assert_eq!(ceiling(4), None);
        assert_eq!(POLICY.wait(3, Idempotency::Safe, Repeat::MayBeDone, None, 0.0), Some(Duration::ZERO));
    }

    #[test]
    fn an_unsafe_call_is_repeated_only_when_nothing_was_sent() {
        assert_eq!(POLICY.wait(1, Idempotency::Unsafe, Repeat::MayBeDone, None, 0.5), None);
        assert!(POLICY.wait(1, Idempotency::Unsafe, Repeat::NothingDone, None, 0.5).is_some());
        assert_eq!(POLICY.wait(1, Idempotency::Safe, Repeat::Useless, None, 0.5), None);
    }

    #[test]
    fn a_wish_is_obeyed_in_full_or_ends_the_call() {
        let wait = |asked| POLICY.wait(1, Idempotency::Safe, Repeat::MayBeDone, Some(Duration::from_secs(asked)), 0.0);
        assert_eq!(wait(60), Some(Duration::from_secs(60)));
        assert_eq!(wait(61), None);
    }

    #[test]
    fn only_passing_troubles_are_tried_again() {
        let retryable: Vec<u16> =
            (100..600).filter(|code| is_retryable(StatusCode::from_u16(*code).unwrap())).collect();
        let mut expected = vec![408, 429, 500, 502, 503, 504];
        expected.extend(520..=529);
        assert_eq!(retryable, expected);
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_793_448_000);
        let read =
            |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(text).unwrap())]), now);
        let in_a_minute = httpdate::fmt_http_date(now + Duration::from_secs(60));
        let a_minute_ago = httpdate::fmt_http_date(now - Duration::from_secs(60));
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read(" 0 "), Some(Duration::ZERO));
        assert_eq!(read("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(read(&in_a_minute), Some(Duration::from_secs(60)));
        assert_eq!(read(&a_minute_ago), None);
        assert_eq!(read("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        assert_eq!(read("-5"), None);
        assert_eq!(read("soon"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("1.2.3"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
        // Our clock is an hour behind theirs.
        let theirs = HeaderMap::from_iter([
            (RETRY_AFTER, HeaderValue::from_str(&in_a_minute).unwrap()),
            (DATE, HeaderValue::from_str(&httpdate::fmt_http_date(now)).unwrap()),
        ]);
        assert_eq!(retry_after(&theirs, now - Duration::from_secs(3600)), Some(Duration::from_secs(60)));
    }

    proptest! {
        #[test]
        fn no_header_and_no_attempt_number_ever_panics(text in "[ -~]{0,40}", attempt in any::<u32>(), chance in any::<f64>()) {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(&text).unwrap())]);
            let asked = retry_after(&headers, SystemTime::now());
            let policy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::default() };
            if let Some(wait) = policy.wait(attempt, Idempotency::Safe, Repeat::MayBeDone, asked, chance) {
                prop_assert!(wait <= policy.longest_wait + Duration::from_secs(1));
            }
        }
    }
}
