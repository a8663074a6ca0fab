//! Programs run and measured: wall time, and the peak of resident memory as the kernel counts it.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// What a program did.
pub struct Ran {
    /// Wall time in seconds.
    pub seconds: f64,
    /// CPU time of the process itself in seconds, user and system.
    pub cpu: f64,
    /// Peak of resident memory in megabytes.
    pub peak: f64,
    /// What it printed.
    pub output: String,
}

/// Runs a program to its end; other exit codes than those in `good` are errors.
pub async fn run(mut command: Command, good: &[i32]) -> Result<Ran> {
    let shown = format!("{:?}", command.as_std().get_program());
    let errors = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors.try_clone()?).kill_on_drop(true);
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("{shown} cannot be started"))?;
    let process = child.id().context("the program has ended already")?;
    let mut stdout = child.stdout.take().context("no output")?;
    let reader = tokio::spawn(async move {
        let mut output = String::new();
        stdout.read_to_string(&mut output).await.map(|_| output)
    });
    let (mut peak, mut cpu) = (0.0_f64, 0.0_f64);
    let status = loop {
        let (memory, time) = figures(process);
        (peak, cpu) = (peak.max(memory), cpu.max(time));
        tokio::select! {
            status = child.wait() => break status?,
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let output = reader.await??;
    let code = status.code().unwrap_or(-1);
    if !good.contains(&code) {
        use std::io::{Read, Seek};
        let (mut errors, mut text) = (errors, String::new());
        errors.rewind()?;
        errors.read_to_string(&mut text)?;
        bail!(
            "{shown} ended with {code}: {}",
            text.chars().rev().take(2000).collect::<Vec<_>>().iter().rev().collect::<String>()
        );
    }
    Ok(Ran { seconds, cpu, peak, output })
}

/// Peak memory in megabytes and CPU seconds of a process so far.
fn figures(process: u32) -> (f64, f64) {
    let folder = Path::new("/proc").join(process.to_string());
    let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    let stat = std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
    // Fields 14 and 15, counted after the name, which may hold anything; a tick is a hundredth of a second on Linux.
    let ticks: f64 = stat
        .rsplit(')')
        .next()
        .map(|rest| rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum())
        .unwrap_or_default();
    (kilobytes.unwrap_or_default() / 1024.0, ticks / 100.0)
}
