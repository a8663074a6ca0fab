//! The server's process: whether it runs, what a killed one leaves behind, starting and stopping it.
//!
//! `postmaster.pid` alone proves nothing: after a crash its number may belong to another process (in a container it often
//! does), or to one that is dead and not yet reaped. Removing the file blindly is as wrong: children of a killed
//! postmaster may still write to the data folder. So the process is looked at, and children are seen off first.

use super::files::Folder;
use super::layout::{Layout, cannot};
use super::programs::Programs;
use crate::store::waiting::{PAUSE, Wait};
use crate::{Error, Kind, Result};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long children of a killed server are given to end by themselves.
const CHILDREN: Duration = Duration::from_secs(10);

/// How long a start may take, with the recovery from a crash.
const STARTING: Duration = Duration::from_secs(600);

/// How long a stop waits for a recovery to end.
const RECOVERY: Duration = Duration::from_secs(60);

/// How long a server that was asked to stop may take before it writes out what it has in memory.
const STOPPING: Duration = Duration::from_secs(10);

/// How long that writing may take.
const WRITING_OUT: Duration = Duration::from_secs(300);

/// How long a server may take that was told to stop at once; it kills its own children after five seconds.
const STOPPING_AT_ONCE: Duration = Duration::from_secs(60);

/// How long an answer on the socket may take.
const ANSWER: Duration = Duration::from_secs(5);

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
    state: State,
}

/// What the server says of itself in its file. A server that recovers from the crash of a child still says `ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Stopping,
}

impl PidFile {
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        Some(Self {
            pid: lines.first()?.parse().ok().filter(|pid| *pid > 1)?,
            port: lines.get(3)?.parse().ok()?,
            socket_folder: lines.get(4).copied().unwrap_or_default().to_owned(),
            listens: lines.get(5).is_some_and(|address| !address.is_empty()),
            state: match lines.get(7) {
                Some(&"ready") => State::Ready,
                Some(&"stopping") => State::Stopping,
                _ => State::Starting,
            },
        })
    }

    fn read(layout: &Layout) -> Option<Self> {
        Self::parse(&layout.open_data().ok()??.read("postmaster.pid").ok()??)
    }
}

/// The running server of a data folder, ready or not.
pub fn running(layout: &Layout) -> Option<PidFile> {
    PidFile::read(layout).filter(|file| is_server_of(file.pid, layout))
}

/// Waits until a running server takes connections; `None` if it ends instead.
pub fn wait_ready(layout: &Layout) -> Result<Option<PidFile>> {
    let mut wait = Wait::new(STARTING);
    loop {
        let Some(file) = running(layout) else {
            return Ok(None);
        };
        match file.state {
            State::Ready if takes_connections(&file) => return Ok(Some(file)),
            // Nobody uses it any more, and whoever asked it to stop has gone.
            State::Stopping => return see_off(layout, &file, Signal::INT).map(|()| None),
            _ => wait.pause(|| is_starting(layout))?,
        }
    }
}

fn is_starting(layout: &Layout) -> String {
    let says = layout.log_tail(0).pop().unwrap_or_default();
    format!("PostgreSQL is starting up, recovering if it was cut off ({says})")
}

/// Whether the server takes connections: not while it starts up, recovers or stops. Where its socket cannot be reached at
/// all, waiting would be of no use: whoever connects is told what is wrong.
fn takes_connections(file: &PidFile) -> bool {
    let socket = Path::new(&file.socket_folder).join(format!(".s.PGSQL.{}", file.port));
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return true;
    };
    let mut answer = [0; 512];
    let mut ask = || -> std::io::Result<usize> {
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        // Length, protocol 3.0, parameters: a request to begin a session.
        let parameters = b"user\0wharf\0database\0postgres\0\0";
        let length = u32::try_from(8 + parameters.len()).unwrap_or(u32::MAX);
        stream.write_all(&[&length.to_be_bytes(), &196_608_u32.to_be_bytes(), parameters.as_slice()].concat())?;
        stream.read(&mut answer)
    };
    let length = ask().unwrap_or(0);
    says_yes(answer.get(..length).unwrap_or_default())
}

/// Whether an answer to the request for a session is anything but silence or `cannot_connect_now`.
fn says_yes(answer: &[u8]) -> bool {
    match answer.first() {
        None => false,
        Some(b'E') => !answer.windows(7).any(|field| field == b"C57P03\0"),
        Some(_) => true,
    }
}

/// Removes what a killed server left behind. Call only when none is running, under the start lock.
pub fn clear_remains(layout: &Layout, socket_folder: &Path) -> Result<()> {
    let data = layout.data();
    let began = Instant::now();
    let mut children = children_of(layout);
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
        children = children_of(layout);
    }
    // Without /proc the children cannot be seen; the server then judges its own file, by its shared memory.
    if cfg!(target_os = "linux")
        && let Some(data) = layout.open_data()?
    {
        data.remove("postmaster.pid")?;
    }
    let Some(sockets) = Folder::open(socket_folder)? else {
        return Ok(());
    };
    for name in sockets.names()?.iter().filter(|name| name.starts_with(".s.PGSQL.")) {
        sockets.remove(name)?;
    }
    Ok(())
}

/// Starts the server and waits until it is ready. A recovery that takes longer than the wait goes on by itself.
pub fn start(layout: &Layout, programs: &Programs) -> Result<PidFile> {
    let mut tries = 0;
    loop {
        let log_begin = layout.prepare_log()?;
        let mut wait = Wait::new(STARTING);
        let mut launcher = launch(layout, programs)?;
        loop {
            // The file may be ready some time before the launcher looks again.
            if let Some(file) = running(layout).filter(|file| file.state == State::Ready) {
                reap(launcher);
                return Ok(file);
            }
            let status = launcher.try_wait().map_err(|error| cannot("watch", &programs.path("pg_ctl"), error))?;
            if status.is_some_and(|status| !status.success()) {
                break;
            }
            wait.pause(|| is_starting(layout))?;
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

/// Stops the server after the statements in hand were cut off, cleanly, so that the next start recovers nothing. One that
/// recovers from the crash of a child is waited for: asked to stop meanwhile, PostgreSQL 15 never ends.
pub fn stop(layout: &Layout) -> Result<()> {
    let mut wait = Wait::new(RECOVERY);
    loop {
        let Some(file) = running(layout) else {
            return Ok(());
        };
        if file.state == State::Stopping {
            return see_off(layout, &file, Signal::INT);
        }
        if takes_connections(&file) {
            send(file.pid, Signal::INT);
            return see_off(layout, &file, Signal::INT);
        }
        if !wait.step(|| "PostgreSQL is recovering from a crash before it can be stopped".into())? {
            send(file.pid, Signal::QUIT);
            return see_off(layout, &file, Signal::QUIT);
        }
    }
}

/// Waits for the end of a server that was sent `signal`. One that does not end is told to do so at once: it has committed
/// what it has to keep, and the next start recovers that.
fn see_off(layout: &Layout, file: &PidFile, signal: Signal) -> Result<()> {
    let mut is_at_once = signal == Signal::QUIT;
    let mut step = Wait::new(if is_at_once { STOPPING_AT_ONCE } else { STOPPING });
    let mut writing = Wait::new(WRITING_OUT);
    while is_server_of(file.pid, layout) {
        if is_at_once {
            step.pause(|| format!("PostgreSQL (process {}) does not stop, though told to do so at once", file.pid))?;
            continue;
        }
        let goes_on = step.step(|| "PostgreSQL is stopping".into())?
            || writes_out(file.pid, layout)
                && writing.step(|| "PostgreSQL is writing out what it has in memory".into())?;
        if !goes_on {
            tracing::warn!(
                "PostgreSQL does not stop as it should; telling it to stop at once, the next start recovers"
            );
            send(file.pid, Signal::QUIT);
            is_at_once = true;
            step = Wait::new(STOPPING_AT_ONCE);
        }
    }
    Ok(())
}

/// Whether a server that was asked to stop is at its last checkpoint, which takes as long as the disk takes. Its process
/// says so; where that cannot be read, it is assumed.
fn writes_out(postmaster: i32, layout: &Layout) -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    // Looking at all processes costs more than one look at one.
    std::thread::sleep(PAUSE * 10);
    children_of(layout).into_iter().filter(|pid| *pid != postmaster).any(|pid| {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).contains("shutdown checkpoint")
    })
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // A process that is gone already is what the signal was for.
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process lives and is the server of a data folder.
fn is_server_of(pid: i32, layout: &Layout) -> bool {
    let Some(raw) = Pid::from_raw(pid) else {
        return false;
    };
    // Not allowed to signal it: it lives, and is not ours.
    if test_kill_process(raw).is_err() {
        return false;
    }
    if cfg!(target_os = "linux") { works_in(pid, layout) } else { is_postgres_by_ps(pid) }
}

/// Whether a process is a living `postgres` of the server's user with the data as its working folder: a server and its
/// children stay in theirs.
fn works_in(pid: i32, layout: &Layout) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    let Ok(status) = std::fs::read_to_string(process.join("status")) else {
        return false;
    };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let is_postgres = field("Name:").trim().starts_with("postgres");
    let mut users = field("Uid:").split_whitespace();
    let is_ours = users.next().is_some_and(|user| user.parse() == Ok(layout.server_uid()));
    // A dead process that nobody has reaped has no working folder any more.
    is_postgres && is_ours && std::fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == layout.data())
}

fn is_postgres_by_ps(pid: i32) -> bool {
    let output = Command::new("ps").args(["-o", "state=,command=", "-p", &pid.to_string()]).output();
    output.is_ok_and(|output| {
        let line = String::from_utf8_lossy(&output.stdout);
        line.contains("postgres") && !line.trim_start().starts_with('Z')
    })
}

/// Processes of a server that work in a data folder, itself among them.
fn children_of(layout: &Layout) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| works_in(*pid, layout))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_read_while_the_server_is_still_starting() {
        let starting = "4711\n/data\n1700000000\n5432\n\n";
        let file = PidFile::parse(starting).unwrap();
        assert_eq!((file.pid, file.port, file.socket_folder.as_str(), file.state), (4711, 5432, "", State::Starting));
        let ready = "4711\n/data\n1700000000\n5433\n/run/x\n127.0.0.1\n  5432001   5\nready   \n";
        let file = PidFile::parse(ready).unwrap();
        assert_eq!((file.port, file.socket_folder.as_str(), file.listens), (5433, "/run/x", true));
        assert_eq!(file.state, State::Ready);
        assert_eq!(PidFile::parse(&ready.replace("ready", "stopping")).unwrap().state, State::Stopping);
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("-4711\n/data\n1\n5432\n"), None);
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_taken_for_the_server() {
        let data = tempfile::tempdir().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!is_server_of(own, &Layout::new(data.path(), None)));
    }

    #[test]
    fn only_silence_and_cannot_connect_now_say_that_the_server_does_not_take_connections() {
        assert!(!says_yes(b""));
        assert!(!says_yes(b"E\0\0\0\x40SFATAL\0VFATAL\0C57P03\0Mthe database system is in recovery mode\0\0"));
        assert!(says_yes(b"E\0\0\0\x40SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0"));
        assert!(says_yes(b"R\0\0\0\x08\0\0\0\0"));
    }
}
