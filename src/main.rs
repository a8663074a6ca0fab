//! The `wharf` program: sets up logs and the runtime, runs the verb, exits with its code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use wharf::commands::{self, Global};
use wharf::error::Exit;
use wharf::progress::Progress;

fn main() -> ExitCode {
    wharf::memory::stay_small();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match commands::parse(&arguments) {
        Ok(cli) => cli,
        Err(exit) => return code(exit),
    };
    let global = Global::new(&cli.options);
    start_logs(cli.options.verbose, &global.progress);
    name_defects();
    commands::hide_password(&arguments, &cli.options);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error[{}]: no threads to run on: {error}", wharf::Kind::Io.code());
            return code(Exit::Failure);
        }
    };
    let exit = panic::catch_unwind(panic::AssertUnwindSafe(|| runtime.block_on(commands::main(cli.verb, &global))));
    // Blocking work that is left (a read of standard input, say) must not hold the program back.
    runtime.shutdown_background();
    code(exit.unwrap_or(Exit::Failure))
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

/// Logs go to stderr, above the bars; `WHARF_LOG` takes filters, `-vv` is a short word for the usual one.
fn start_logs(verbose: u8, progress: &Progress) {
    let usual = if verbose >= 2 { "warn,wharf=debug" } else { "warn" };
    let filter = EnvFilter::try_from_env("WHARF_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let progress = progress.clone();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || LogLine { progress: progress.clone(), text: Vec::new() })
        .with_ansi(wharf::printer::colour_wanted())
        .init();
}

/// One event of the log, written in one piece while no bar is on the screen.
struct LogLine {
    progress: Progress,
    text: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.write(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        // A reader that went away is none of our business.
        let _ = self.progress.suspend(|| io::stderr().lock().write_all(&self.text));
    }
}

/// A panic is a defect: it is named by its place, without its message, which may hold a row's values.
fn name_defects() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
        eprintln!("error[{}]: a defect of wharf, at {place}", wharf::Kind::Internal.code());
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            usual(info);
        } else {
            eprintln!("hint: please report it; RUST_BACKTRACE=1 shows more, which may hold a record's values");
        }
    }));
}
