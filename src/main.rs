//! The `wharf` program: sets up logs and the runtime, runs the verb, exits with its code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use wharf::commands::{self, Global, Options};
use wharf::error::Exit;
use wharf::progress::Progress;
use wharf::{Error, Kind, Result};

fn main() -> ExitCode {
    wharf::memory::stay_small();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match commands::parse(&arguments) {
        Ok(cli) => cli,
        Err(exit) => return code(exit),
    };
    let global = Global::new(&cli.options);
    let started = start_logs(&cli.options, &global.progress);
    let global = match started.and_then(|()| global.clone().with_env_file(cli.options.env_file.as_deref())) {
        Ok(global) => global,
        Err(error) => {
            global.printer.error(&error);
            return code(error.kind().exit());
        }
    };
    name_defects();
    commands::hide_password(&arguments, &cli.options);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error[{}]: no threads to run on: {error}", Kind::Io.code());
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
/// `WHARF_LOG_FORMAT=json` makes every line an object for programs that gather logs.
fn start_logs(options: &Options, progress: &Progress) -> Result<()> {
    let usual = match options.verbose {
        _ if options.quiet => "error",
        0 | 1 => "warn",
        _ => "warn,wharf=debug",
    };
    let filter = EnvFilter::try_from_env("WHARF_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let progress = progress.clone();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || LogLine { progress: progress.clone(), text: Vec::new() });
    match std::env::var("WHARF_LOG_FORMAT").unwrap_or_default().as_str() {
        "" | "text" => logs.with_ansi(wharf::printer::colour_wanted()).init(),
        "json" => logs.json().flatten_event(true).init(),
        other => {
            return Err(Error::new(Kind::Command, format!("WHARF_LOG_FORMAT: `{other}` is no format of logs"))
                .hint("write json or text"));
        }
    }
    Ok(())
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
        eprintln!("error[{}]: a defect of wharf, at {place}", Kind::Internal.code());
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            usual(info);
        } else {
            eprintln!("hint: please report it; RUST_BACKTRACE=1 shows more, which may hold a record's values");
        }
    }));
}
