//! Progress on stderr: bars with rows, rate and remaining time on a terminal, plain lines now and then elsewhere.
//!
//! Stages count; this module decides whether and how that is seen. Nothing here may fail or slow a stage down.

use crate::foreign;
use indicatif::{
    HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
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
            noted: AtomicBool::new(false),
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
    /// Whether words stand in place of the bar.
    noted: AtomicBool,
    finished: AtomicBool,
}

impl Meter {
    /// Counts `n` more.
    pub fn advance(&self, n: u64) {
        self.0.done.fetch_add(n, Ordering::Relaxed);
        match &self.0.bar {
            Some(bar) => {
                if n > 0 && self.0.noted.swap(false, Ordering::Relaxed) {
                    bar.set_style(style(self.0.total.load(Ordering::Relaxed) != u64::MAX));
                }
                bar.inc(n);
            }
            None => self.line_if_due(),
        }
    }

    /// Sets, or corrects, what is counted towards.
    pub fn set_total(&self, total: u64) {
        let before = self.0.total.swap(total, Ordering::Relaxed);
        if let Some(bar) = &self.0.bar {
            if before == u64::MAX && !self.0.noted.load(Ordering::Relaxed) {
                bar.set_style(style(true));
            }
            bar.set_length(total);
        }
    }

    /// Says what is going on, beside the count: `waiting 30 s, the shop asks to slow down`. On a bar it stands until
    /// something is counted again.
    pub fn note(&self, text: &str) {
        match &self.0.bar {
            Some(bar) => {
                bar.set_message(foreign::one_line(text).into_owned());
                bar.set_style(noted_style());
                self.0.noted.store(true, Ordering::Relaxed);
            }
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
        text.push_str(&format!(", {}", Rate(rate)));
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

/// A line of at most 79 columns, so that it fits a terminal of 80: label, bar, count, rate, time left.
fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total {
        "{prefix:24!} {bar:10} {count:>21} {rate:>7} {left:>11}"
    } else {
        "{prefix:24!} {spinner:10} {count:>21} {rate:>7} {elapsed:>11}"
    };
    with_figures(template)
}

/// While something is noted, its words stand where bar and rate are otherwise.
fn noted_style() -> ProgressStyle {
    with_figures("{prefix:24!} {count} {wide_msg}")
}

fn with_figures(template: &str) -> ProgressStyle {
    type Write<'w> = &'w mut dyn fmt::Write;
    // What cannot be written is not shown; nothing else can be done about it.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("count", |state: &ProgressState, to: Write<'_>| {
            let _ = write!(to, "{}", HumanCount(state.pos()));
            if let Some(total) = state.len() {
                let _ = write!(to, "/{}", HumanCount(total));
            }
        })
        .with_key("rate", |state: &ProgressState, to: Write<'_>| {
            let _ = write!(to, "{}", Rate(state.per_sec()));
        })
        .with_key("left", |state: &ProgressState, to: Write<'_>| {
            let _ = write!(to, "{} left", Short(state.eta()));
        })
}

/// A rate with as many figures as mean something, in 7 columns: `1,853/s`, `2.4M/s`, `4.2/s`, `12/min`.
struct Rate(f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            rate if !rate.is_finite() || rate <= 0.0 => "-".to_owned(),
            rate if rate >= 999_950.0 => format!("{:.1}M/s", rate / 1e6),
            rate if rate >= 9_999.5 => format!("{:.0}k/s", rate / 1e3),
            rate if rate >= 9.95 => format!("{}/s", HumanCount(rate.round() as u64)),
            rate if rate >= 0.95 => format!("{rate:.1}/s"),
            rate if rate * 60.0 >= 0.95 => format!("{:.0}/min", rate * 60.0),
            rate => format!("{:.0}/h", (rate * 3600.0).max(1.0)),
        };
        f.pad(&text)
    }
}

/// A time in one unit, in 6 columns: `48s`, `12m`, `7h`, `3d`.
struct Short(Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0.as_secs() {
            seconds @ ..100 => format!("{seconds}s"),
            seconds @ ..6_000 => format!("{}m", seconds.div_ceil(60)),
            seconds @ ..172_800 => format!("{}h", seconds.div_ceil(3_600)),
            seconds => match seconds.div_ceil(86_400) {
                days @ ..1_000 => format!("{days}d"),
                _ => "long".to_owned(),
            },
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_as_many_digits_as_mean_something() {
        let rates = [1_853.131_686_982_598, 0.0, 4.24, 0.2, 0.0001, 12_345.0, 999_999.0, 2.5e7, 9_999.4];
        let shown: Vec<String> = rates.iter().map(|rate| Rate(*rate).to_string()).collect();
        assert_eq!(shown, ["1,853/s", "-", "4.2/s", "12/min", "1/h", "12k/s", "1.0M/s", "25.0M/s", "9,999/s"]);
        assert!(shown.iter().all(|text| text.chars().count() <= 7));
        let seconds = [0, 99, 100, 5_999, 6_000, 172_799, 172_800, u64::MAX];
        let shown: Vec<String> = seconds.iter().map(|s| Short(Duration::from_secs(*s)).to_string()).collect();
        assert_eq!(shown, ["0s", "99s", "2m", "100m", "2h", "48h", "2d", "long"]);
    }

    /// A terminal of 80 columns that keeps what was written last.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl Screen {
        fn write(&self, text: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
    }

    impl indicatif::TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write(text)?;
            self.write("\n")
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.write(text)
        }
        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_is_one_line_of_a_terminal_of_80_columns() {
        for (total, note) in [(Some(12_345_678), false), (None, false), (Some(12_345_678), true)] {
            let screen = Screen::default();
            let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
            let progress = Progress(Arc::new(Way::Bars(MultiProgress::with_draw_target(target))));
            let meter = progress.meter("a-shop-with-a-rather-long-name/orders", total);
            let bar = meter.0.bar.as_ref().unwrap();
            bar.disable_steady_tick();
            bar.set_position(2_345_678);
            if note {
                meter.note("waiting 30 s, the shop asks to slow down, and says so at length, in many more words");
            }
            screen.0.lock().unwrap().clear();
            bar.force_draw();
            let shown = screen.0.lock().unwrap().trim_end().to_owned();
            assert_eq!(shown.lines().count(), 1, "{shown:?}");
            assert!(shown.chars().count() <= 80 && shown.starts_with("a-shop-with"), "{shown:?}");
            assert!(shown.contains("2,345,678"), "{shown:?}");
            assert_eq!(shown.contains("waiting 30 s"), note, "{shown:?}");
        }
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
