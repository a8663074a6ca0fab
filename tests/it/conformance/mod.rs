//! What every connector must do, as one battery. A platform's module describes it ([`source::SourceCase`],
//! [`target::TargetCase`]: its sandbox, an example connection, its streams, its faults) and calls [`source`] or
//! [`target`]; nothing of a platform is in the checks. Each check is seen to fail on a connector that was broken for it
//! (`broken`).

mod broken;
mod esputnik;
mod idosell;
mod salesmanago;
mod secrets;
pub mod source;
pub mod target;
mod woocommerce;

use source::SourceCase;
use std::time::Duration;
use target::TargetCase;
use wharf::Error;
use wharf::sandbox::Sandbox;

/// Runs the battery on a shop platform; says every check that fails.
pub async fn source(case: &SourceCase) {
    let failures = source::run(case).await;
    assert!(failures.is_empty(), "{}: {failures:#?}", case.platform);
}

/// Runs the battery on a target platform; says every check that fails.
pub async fn target(case: &TargetCase) {
    let failures = target::run(case).await;
    assert!(failures.is_empty(), "{}: {failures:#?}", case.platform);
}

/// Longer than a call and all its repetitions take: seven attempts with up to 32 seconds of waits between them, each with
/// an answer of megabytes that a loaded machine reads slowly. What takes longer hangs.
const HANGS: Duration = Duration::from_secs(180);

/// A check that failed: its name and what it found.
pub type Failures = Vec<(&'static str, String)>;

/// Fails unless something holds.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Everything that an error may be shown as.
fn shown(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {:?}", error.hint_text());
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(&format!(" {next} {next:?}"));
        cause = next.source();
    }
    text
}

/// Fails if a text holds one of the secrets.
fn without_secrets(text: &str, secrets: &[String]) -> Result<(), String> {
    ensure(!secrets.iter().any(|secret| text.contains(secret)), || format!("a secret is in: {text}"))
}

/// How much later than it was sent a call may be seen, on a loaded machine that opens a connection for it.
const SEEN_LATE_MICROS: u64 = 300_000;

/// Fails if any stretch of a second holds more calls than allowed, or if the calls took far longer than they had to.
fn within(sandbox: &Sandbox, platform: &str, per_second: usize) -> Result<(), String> {
    let times: Vec<u64> = sandbox.requests().calls(platform, "").iter().map(|call| call.at_micros).collect();
    ensure(times.len() > per_second, || format!("{} calls say nothing of {per_second} a second", times.len()))?;
    let above = times.windows(per_second + 1).find(|calls| calls[per_second] - calls[0] < 1_000_000 - SEEN_LATE_MICROS);
    ensure(above.is_none(), || format!("more than {per_second} calls in a second: {above:?}"))?;
    // A loaded machine is slow by itself: the bound on this side is loose.
    let took = (times[times.len() - 1] - times[0]) as f64 / 1e6;
    let least = (times.len() - 1) as f64 / per_second as f64;
    ensure(took < least * 3.0 + 3.0, || format!("{} calls took {took:.1} s instead of {least:.1} s", times.len()))
}
