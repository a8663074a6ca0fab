//! This machine's own clock, which may be wrong and may jump.
//!
//! Nothing that must hold is decided by it: what is due, windows and watermarks go by the database's clock
//! ([`crate::store::Run::now`]), leases, budgets and graces by lengths of time. It is asked where a platform wants to be
//! told the time, and where a wrong answer costs a call at most. In debug builds a test sets it ahead or back by
//! `WHARF_CLOCK_AHEAD` seconds, to see that nothing depends on it.

use jiff::Timestamp;

/// What this machine takes for the time.
pub fn wall() -> Timestamp {
    let now = Timestamp::now();
    #[cfg(debug_assertions)]
    if let Some(seconds) = std::env::var("WHARF_CLOCK_AHEAD").ok().and_then(|text| text.parse().ok()) {
        return now.saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now);
    }
    now
}
