//! The program as a process of its own, in a folder, on a database, with failpoints set.

use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// The program, ready to be started; what it prints is kept.
pub fn program(folder: &Path, arguments: &[&str], database_url: &str, failpoints: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command
        .current_dir(folder)
        .args(arguments)
        .env("DATABASE_URL", database_url)
        .env("WHARF_FAILPOINTS", failpoints)
        .env_remove("WHARF_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
