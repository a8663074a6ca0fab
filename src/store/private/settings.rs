//! What the private server is set to. Both files are written anew at every start; `local.conf` beside the data folder is
//! the place for one's own settings and is never written.

use super::layout::{Layout, cannot};
use crate::Result;
use std::fmt::Write as _;
use std::path::Path;

const MB: u64 = 1 << 20;

/// What depends on the machine and on the programs.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Memory in bytes.
    pub memory: u64,
    /// Whether shared memory is too small for parallel statements, as in containers.
    pub has_small_shm: bool,
    /// Whether the server was built with lz4.
    pub has_lz4: bool,
    /// Major version.
    pub major: u32,
}

impl Machine {
    /// Looks at the machine; `has_lz4` is to be asked of the programs.
    pub fn look(major: u32, has_lz4: bool) -> Self {
        Self { memory: memory(), has_small_shm: has_small_shm(), has_lz4, major }
    }
}

/// A quarter of a small machine's memory at most goes to the server, because Wharf itself and its user work there too.
pub fn postgresql_conf(
    layout: &Layout,
    socket_folder: &Path,
    port: u16,
    listen: Option<&str>,
    machine: &Machine,
) -> String {
    let share = |divisor: u64, least: u64, most: u64| (machine.memory / divisor / MB).clamp(least, most);
    let mut conf = String::from(
        "# Written by wharf at every start. Put your own settings into local.conf, in the folder above this one.\n",
    );
    let mut set = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(conf, "{name} = {value}");
    };
    set("listen_addresses", quoted(listen.unwrap_or_default()));
    set("port", port.to_string());
    set("unix_socket_directories", quoted(&format!("\"{}\"", socket_folder.to_string_lossy().replace('"', "\"\""))));
    set("unix_socket_permissions", "0700".into());
    set("max_connections", "100".into());
    set("password_encryption", "'scram-sha-256'".into());
    set("client_connection_check_interval", "'1s'".into());

    set("fsync", "on".into());
    set("synchronous_commit", "on".into());
    set("full_page_writes", "on".into());
    // Nobody replicates this server, so a load into a new table need not write its rows twice.
    set("wal_level", "minimal".into());
    set("max_wal_senders", "0".into());
    set("max_wal_size", format!("'{}MB'", share(4, 1024, 4096)));
    set("min_wal_size", "'128MB'".into());
    set("checkpoint_timeout", "'15min'".into());
    let wal_compression = if machine.has_lz4 && machine.major >= 15 { "'lz4'" } else { "on" };
    set("wal_compression", wal_compression.into());
    if machine.has_lz4 {
        set("default_toast_compression", "'lz4'".into());
    }

    set("shared_buffers", format!("'{}MB'", share(8, 128, 2048)));
    set("effective_cache_size", format!("'{}MB'", share(2, 256, 65_536)));
    set("work_mem", format!("'{}MB'", share(128, 16, 64)));
    set("maintenance_work_mem", format!("'{}MB'", share(32, 64, 512)));
    set("random_page_cost", "1.1".into());
    set("jit", "off".into());
    set("autovacuum_vacuum_cost_limit", "1000".into());
    if machine.has_small_shm {
        set("dynamic_shared_memory_type", "'mmap'".into());
    }

    set("timezone", "'UTC'".into());
    set("log_timezone", "'UTC'".into());
    set("lc_messages", "'C'".into());
    // Statements and error details hold rows of customers: they stay out of the log.
    set("log_error_verbosity", "'terse'".into());
    set("log_min_error_statement", "'panic'".into());
    set("log_checkpoints", "off".into());
    set("log_line_prefix", "'%m [%p] '".into());
    // Last, so that it wins. PostgreSQL logs a line whenever an optional file is missing.
    if layout.local_conf().exists() {
        set("include", quoted(&layout.local_conf().to_string_lossy()));
    }
    conf
}

/// The socket is reachable for its owner alone, so no password is asked there; on TCP one is.
pub fn pg_hba_conf() -> &'static str {
    "# Written by wharf at every start.\n\
     local all all trust\n\
     host all all 127.0.0.1/32 scram-sha-256\n\
     host all all ::1/128 scram-sha-256\n"
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', "''"))
}

fn memory() -> u64 {
    let total = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
    };
    // A container's limit, where there is one; the file says `max` where not.
    let limit = || std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse::<u64>().ok();
    let on_macos = || {
        let output = std::process::Command::new("sysctl").args(["-n", "hw.memsize"]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse::<u64>().ok()
    };
    let total = total().or_else(on_macos).unwrap_or(2048 * MB);
    limit().map_or(total, |limit| limit.min(total))
}

fn has_small_shm() -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    match rustix::fs::statvfs("/dev/shm") {
        Ok(found) => found.f_blocks.saturating_mul(found.f_frsize) < 1024 * MB,
        Err(_) => true,
    }
}

/// Writes both files into the data folder.
pub fn write(layout: &Layout, conf: &str) -> Result<()> {
    let Some(data) = layout.open_data()? else {
        return Err(cannot("open", &layout.data(), std::io::ErrorKind::NotFound.into()));
    };
    data.replace("postgresql.conf", conf, layout.user())?;
    data.replace("pg_hba.conf", pg_hba_conf(), layout.user())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_is_on_and_only_the_socket_listens() {
        let layout = Layout::new(Path::new("/home/o'neil/wharf"), None);
        let machine = Machine { memory: 4096 * MB, has_small_shm: false, has_lz4: true, major: 14 };
        let conf = postgresql_conf(&layout, Path::new("/run/o'neil"), 5432, None, &machine);
        for line in [
            "fsync = on",
            "synchronous_commit = on",
            "listen_addresses = ''",
            "unix_socket_directories = '\"/run/o''neil\"'",
            "shared_buffers = '512MB'",
            "wal_compression = on",
            "default_toast_compression = 'lz4'",
        ] {
            assert!(conf.lines().any(|found| found == line), "{line} is missing in\n{conf}");
        }
        assert!(!conf.contains("dynamic_shared_memory_type"));
    }
}
