//! Progress on stderr: bars with rows, rate and remaining time on a terminal, plain lines now and then elsewhere.
//!
//! Stages count; this module decides whether and how that is seen. Nothing here may fail or slow a stage down.

use crate::foreign;
use indicatif::{HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a plain line is written per meter.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How often a bar is drawn anew.
const TICK: Duration = Duration::from_millis(120);

/// Where meters are shown. Cheap to clone.
#[derive(Clone)]
pub struct Progress(Arc<Way>);

enum Way {
    Silent,
    Lines,
    Bars(MultiProgress),
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self.0 {
            Way::Silent => "Progress::Silent",
            Way::Lines => "Progress::Lines",
            Way::Bars(_) => "Progress::Bars",
        })
    }
}

impl Progress {
    /// Bars if stderr is a terminal that can move its cursor, otherwise lines.
    pub fn stderr() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if std::io::stderr().is_terminal() && !dumb {
            Self(Arc::new(Way::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))))
        } else {
            Self(Arc::new(Way::Lines))
        }
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Self(Arc::new(Way::Silent))
    }

    /// Begins to count towards `total`, or without a known end. `label` says what: `my-shop/orders`.
    pub fn meter(&self, label: impl Into<String>, total: Option<u64>) -> Meter {
        let label = label.into();
        let bar = match &*self.0 {
            Way::Bars(all) => {
                let bar = all.add(ProgressBar::no_length());
                bar.set_prefix(label.clone());
                bar.set_style(style(total.is_some()));
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.enable_steady_tick(TICK);
                Some(bar)
            }
            Way::Silent | Way::Lines => None,
        };
        Meter(Arc::new(Inner {
            progress: self.clone(),
            label,
            bar,
            done: AtomicU64::new(0),
            total: AtomicU64::new(total.unwrap_or(u64::MAX)),
            began: Instant::now(),
            last_line: Mutex::new(Instant::now()),
            finished: AtomicBool::new(false),
        }))
    }

    /// Runs `write` while no bar is on the screen.
    pub fn suspend<R>(&self, write: impl FnOnce() -> R) -> R {
        match &*self.0 {
            Way::Bars(all) => all.suspend(write),
            Way::Silent | Way::Lines => write(),
        }
    }

    fn line(&self, text: fmt::Arguments<'_>) {
        if let Way::Lines = *self.0 {
            let _ = writeln!(std::io::stderr().lock(), "{}", foreign::one_line(&text.to_string()));
        }
    }
}

/// One count in progress. Cheap to clone; when the last clone goes without [`Meter::finish`], the bar goes too.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    progress: Progress,
    label: String,
    bar: Option<ProgressBar>,
    done: AtomicU64,
    /// `u64::MAX` while unknown.
    total: AtomicU64,
    began: Instant,
    last_line: Mutex<Instant>,
    finished: AtomicBool,
}

impl Meter {
    /// Counts `n` more.
    pub fn advance(&self, n: u64) {
        self.0.done.fetch_add(n, Ordering::Relaxed);
        match &self.0.bar {
            Some(bar) => bar.inc(n),
            None => self.line_if_due(),
        }
    }

    /// Sets, or corrects, what is counted towards.
    pub fn set_total(&self, total: u64) {
        let before = self.0.total.swap(total, Ordering::Relaxed);
        if let Some(bar) = &self.0.bar {
            if before == u64::MAX {
                bar.set_style(style(true));
            }
            bar.set_length(total);
        }
    }

    /// Says what is going on, beside the count: `waiting 30 s, the shop asks to slow down`.
    pub fn note(&self, text: &str) {
        match &self.0.bar {
            Some(bar) => bar.set_message(foreign::one_line(text).into_owned()),
            None => self.0.progress.line(format_args!("{}: {text}", self.0.label)),
        }
    }

    /// How many have been counted.
    pub fn count(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// Ends the count with a line that stays: `orders: 50,000 read, 1,200 new`.
    pub fn finish(&self, summary: impl fmt::Display) {
        if self.0.finished.swap(true, Ordering::Relaxed) {
            return;
        }
        let took = HumanDuration(self.0.began.elapsed());
        match (&self.0.bar, &*self.0.progress.0) {
            (Some(bar), Way::Bars(all)) => {
                bar.finish_and_clear();
                let line = format!("{}: {summary} ({took})", self.0.label);
                let _ = all.println(foreign::one_line(&line));
            }
            _ => self.0.progress.line(format_args!("{}: {summary} ({took})", self.0.label)),
        }
    }

    fn line_if_due(&self) {
        if !matches!(*self.0.progress.0, Way::Lines) {
            return;
        }
        {
            let mut last = self.0.last_line.lock().unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() < LINE_EVERY {
                return;
            }
            *last = Instant::now();
        }
        let text = self.0.describe();
        self.0.progress.line(format_args!("{}: {text}", self.0.label));
    }
}

impl Inner {
    /// `12,000 of 50,000, 1,200/s, 32 seconds left`.
    fn describe(&self) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        let mut text = HumanCount(done).to_string();
        if total != u64::MAX {
            text.push_str(&format!(" of {}", HumanCount(total)));
        }
        text.push_str(&format!(", {rate:.0}/s"));
        if total != u64::MAX && total > done && rate > 0.0 {
            let left = Duration::try_from_secs_f64((total - done) as f64 / rate).unwrap_or(Duration::MAX);
            text.push_str(&format!(", {} left", HumanDuration(left)));
        }
        text
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar
            && !*self.finished.get_mut()
        {
            bar.finish_and_clear();
        }
    }
}

fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total {
        "{prefix:30!} {bar:24} {human_pos:>10} / {human_len} {per_sec:>12} {eta:>5} left {wide_msg}"
    } else {
        "{prefix:30!} {spinner:24} {human_pos:>10} {per_sec:>12} {elapsed:>5} {wide_msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_understood() {
        for with_total in [true, false] {
            let bar = ProgressBar::hidden();
            bar.set_style(style(with_total));
        }
        assert!(ProgressStyle::with_template("{prefix:30!} {bar:24} {human_pos:>10} / {human_len}").is_ok());
    }

    #[test]
    fn a_silent_meter_still_counts() {
        let meter = Progress::silent().meter("orders", Some(10));
        meter.advance(3);
        meter.clone().advance(4);
        assert_eq!(meter.count(), 7);
        meter.finish("done");
    }

    #[test]
    fn a_description_names_count_and_total() {
        let meter = Progress::silent().meter("orders", None);
        meter.advance(12_000);
        assert!(meter.0.describe().starts_with("12,000, "));
        meter.set_total(50_000);
        assert!(meter.0.describe().starts_with("12,000 of 50,000, "));
    }
}
