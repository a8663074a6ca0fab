//! The server's process: whether it runs, what a killed one leaves behind, starting and stopping it.
//!
//! `postmaster.pid` alone proves nothing: after a crash its number may belong to another process (in a container it often
//! does), or to one that is dead and not yet reaped. Removing the file blindly is as wrong: children of a killed
//! postmaster may still write to the data folder. So the process is looked at, and children are seen off first.

use super::layout::{Layout, cannot};
use super::programs::Programs;
use crate::{Error, Kind, Result};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// After how long a waiting user is told why.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// How long children of a killed server are given to end by themselves.
const CHILDREN: Duration = Duration::from_secs(10);

/// How long a stop may take; it writes out what is in memory.
const STOPPING: Duration = Duration::from_secs(600);

/// How often a start is tried again that fails because of what a killed server left in shared memory.
const SHARED_MEMORY_TRIES: u32 = 30;

/// What `postmaster.pid` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PidFile {
    pid: i32,
    /// Port, which is part of the socket's name.
    pub port: u16,
    /// Folder of the socket; empty while the server is starting.
    pub socket_folder: String,
    /// Whether it listens on TCP too.
    pub listens: bool,
    is_ready: bool,
}

impl PidFile {
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        Some(Self {
            pid: lines.first()?.parse().ok().filter(|pid| *pid > 1)?,
            port: lines.get(3)?.parse().ok()?,
            socket_folder: lines.get(4).copied().unwrap_or_default().to_owned(),
            listens: lines.get(5).is_some_and(|address| !address.is_empty()),
            is_ready: lines.get(7) == Some(&"ready"),
        })
    }

    fn read(layout: &Layout) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(layout.data().join("postmaster.pid")).ok()?)
    }
}

/// The running server of a data folder, ready or not.
pub fn running(layout: &Layout) -> Option<PidFile> {
    PidFile::read(layout).filter(|file| is_server_of(file.pid, &layout.data()))
}

/// Waits until a running server is ready; `None` if it ends instead.
pub fn wait_ready(layout: &Layout) -> Option<PidFile> {
    let mut patience = Patience::new();
    loop {
        let file = running(layout)?;
        if file.is_ready {
            return Some(file);
        }
        patience.pause(layout);
    }
}

/// Removes what a killed server left behind. Call only when none is running, under the start lock.
pub fn clear_remains(layout: &Layout, socket_folder: &Path) -> Result<()> {
    let data = layout.data();
    let began = Instant::now();
    let mut children = children_of(&data);
    for child in &children {
        send(*child, Signal::QUIT);
    }
    while !children.is_empty() {
        std::thread::sleep(PAUSE);
        if began.elapsed() > CHILDREN {
            children.iter().for_each(|child| send(*child, Signal::KILL));
        }
        if began.elapsed() > CHILDREN * 3 {
            return Err(Error::new(
                Kind::PrivatePostgres,
                format!("processes of a PostgreSQL that was killed still work on {}: {children:?}", data.display()),
            )
            .hint("end them, then run the command again"));
        }
        children = children_of(&data);
    }
    let mut remains = vec![data.join("postmaster.pid")];
    if let Ok(entries) = std::fs::read_dir(socket_folder) {
        remains.extend(
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".s.PGSQL."))),
        );
    }
    // Without /proc the children cannot be seen; the server then judges its own file, by its shared memory.
    if !cfg!(target_os = "linux") {
        remains.remove(0);
    }
    for path in remains {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot("remove", &path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Starts the server and waits until it is ready, however long its recovery takes.
pub fn start(layout: &Layout, programs: &Programs) -> Result<PidFile> {
    let mut tries = 0;
    loop {
        let log_begin = layout.prepare_log()?;
        let mut patience = Patience::new();
        let mut launcher = launch(layout, programs)?;
        loop {
            // The file may be ready some time before the launcher looks again.
            if let Some(file) = running(layout).filter(|file| file.is_ready) {
                reap(launcher);
                return Ok(file);
            }
            let status = launcher.try_wait().map_err(|error| cannot("watch", &programs.path("pg_ctl"), error))?;
            if status.is_some_and(|status| !status.success()) {
                break;
            }
            patience.pause(layout);
        }
        let said = layout.log_tail(log_begin);
        tries += 1;
        if tries < SHARED_MEMORY_TRIES && said.iter().any(|line| line.contains("shared memory block")) {
            std::thread::sleep(Duration::from_secs(1));
            continue;
        }
        return Err(Error::new(
            Kind::PrivatePostgres,
            format!("PostgreSQL {} did not start; its log ends with:\n  {}", programs.major, said.join("\n  ")),
        )
        .hint(format!("the whole log is {}", layout.log().display())));
    }
}

/// `pg_ctl` gives the server a session of its own, so that Ctrl-C and the end of this process do not reach it.
fn launch(layout: &Layout, programs: &Programs) -> Result<Child> {
    let path = programs.path("pg_ctl");
    let mut command = server_command(layout, &path);
    command
        .args(["start", "-w", "-s", "-t", "86400", "-D"])
        .arg(layout.data())
        .arg("-l")
        .arg(layout.log())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map_err(|error| cannot("run", &path, error).hint(CANNOT_DROP))
}

/// What is wrong when root cannot run a program as another user.
pub const CANNOT_DROP: &str = "as root, wharf runs PostgreSQL as an unprivileged user: the container or service needs \
                               the capabilities SETUID, SETGID, CHOWN and KILL; or run wharf as a user, or set DATABASE_URL";

/// A command that runs as the server's user, in a neutral folder, untouched by the caller's PostgreSQL settings.
pub fn server_command(layout: &Layout, program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") || text.starts_with("LC_") || text == "LANGUAGE" {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C").current_dir(layout.folder()).stdin(Stdio::null()).process_group(0);
    if let Some(user) = layout.user() {
        user.drop_to(&mut command);
    }
    command
}

fn reap(mut child: Child) {
    std::thread::spawn(move || child.wait());
}

/// Stops the server after the statements in hand were cut off, cleanly, so that the next start recovers nothing.
pub fn stop(layout: &Layout) -> Result<()> {
    let Some(file) = running(layout) else {
        return Ok(());
    };
    send(file.pid, Signal::INT);
    let began = Instant::now();
    let mut has_told = false;
    while is_server_of(file.pid, &layout.data()) {
        std::thread::sleep(PAUSE);
        if began.elapsed() > TELL_AFTER && !has_told {
            tracing::warn!("PostgreSQL is writing out what it has in memory; waiting for it to stop");
            has_told = true;
        }
        if began.elapsed() > STOPPING {
            return Err(Error::new(Kind::PrivatePostgres, format!("PostgreSQL (process {}) does not stop", file.pid))
                .hint("it may be left as it is; the next wharf joins it"));
        }
    }
    Ok(())
}

/// Tells a waiting user, once in a while, what the server says it is doing.
struct Patience {
    began: Instant,
    told: Option<Instant>,
}

impl Patience {
    fn new() -> Self {
        Self { began: Instant::now(), told: None }
    }

    fn pause(&mut self, layout: &Layout) {
        let is_due = match self.told {
            None => self.began.elapsed() > TELL_AFTER,
            Some(told) => told.elapsed() > Duration::from_secs(15),
        };
        if is_due {
            let says = layout.log_tail(0).pop().unwrap_or_default();
            tracing::warn!("PostgreSQL is starting up, recovering if it was cut off; waiting for it ({says})");
            self.told = Some(Instant::now());
        }
        std::thread::sleep(PAUSE);
    }
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // A process that is gone already is what the signal was for.
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process lives and is the server of a data folder.
fn is_server_of(pid: i32, data: &Path) -> bool {
    let Some(raw) = Pid::from_raw(pid) else {
        return false;
    };
    // Not allowed to signal it: it lives, and is not ours.
    if test_kill_process(raw).is_err() {
        return false;
    }
    if cfg!(target_os = "linux") { works_in(pid, data) } else { is_postgres_by_ps(pid) }
}

/// Whether a process is a living `postgres` with this working folder: a server and its children stay in theirs.
fn works_in(pid: i32, data: &Path) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let is_postgres = std::fs::read_to_string(process.join("comm")).is_ok_and(|name| name.starts_with("postgres"));
    // A dead process that nobody has reaped has no working folder any more.
    is_postgres && std::fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == data)
}

fn is_postgres_by_ps(pid: i32) -> bool {
    let output = Command::new("ps").args(["-o", "state=,command=", "-p", &pid.to_string()]).output();
    output.is_ok_and(|output| {
        let line = String::from_utf8_lossy(&output.stdout);
        line.contains("postgres") && !line.trim_start().starts_with('Z')
    })
}

/// Processes of a server that work in a data folder.
fn children_of(data: &Path) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| works_in(*pid, data))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_read_while_the_server_is_still_starting() {
        let starting = "4711\n/data\n1700000000\n5432\n\n";
        let file = PidFile::parse(starting).unwrap();
        assert_eq!((file.pid, file.port, file.socket_folder.as_str(), file.is_ready), (4711, 5432, "", false));
        let ready = "4711\n/data\n1700000000\n5433\n/run/x\n127.0.0.1\n  5432001   5\nready   \n";
        let file = PidFile::parse(ready).unwrap();
        assert_eq!((file.port, file.socket_folder.as_str(), file.listens, file.is_ready), (5433, "/run/x", true, true));
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("-4711\n/data\n1\n5432\n"), None);
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_taken_for_the_server() {
        let data = tempfile::tempdir().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!is_server_of(own, data.path()));
    }
}
