//! The `wharf` program: sets up logs and the runtime, runs the verb, exits with its code.

use std::ffi::OsString;
use std::panic;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;
use wharf::commands;
use wharf::error::Exit;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match commands::parse(&arguments) {
        Ok(cli) => cli,
        Err(exit) => return code(exit),
    };
    start_logs(cli.options.verbose);
    name_defects();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error[{}]: no threads to run on: {error}", wharf::Kind::Io.code());
            return code(Exit::Failure);
        }
    };
    let exit = panic::catch_unwind(panic::AssertUnwindSafe(|| runtime.block_on(commands::main(cli))));
    // Blocking work that is left (a read of standard input, say) must not hold the program back.
    runtime.shutdown_background();
    code(exit.unwrap_or(Exit::Failure))
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

/// Logs go to stderr; `WHARF_LOG` takes filters, `-vv` is a short word for the usual one.
fn start_logs(verbose: u8) {
    let usual = if verbose >= 2 { "warn,wharf=debug" } else { "warn" };
    let filter = EnvFilter::try_from_env("WHARF_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(wharf::printer::colour_wanted())
        .init();
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
