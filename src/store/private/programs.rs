//! Finds the PostgreSQL programs of the machine: on PATH, by `pg_config`, in the usual folders.
//!
//! A folder counts only if its programs run (as the user who will run the server) and say their version: PATH is full of
//! wrapper scripts and of clients without a server.

use super::user::ServerUser;
use crate::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The versions that Wharf is made for.
const MADE_FOR: std::ops::RangeInclusive<u32> = 14..=18;

/// Names a folder with PostgreSQL programs to be used instead of searching.
pub const BINDIR_VARIABLE: &str = "WHARF_PG_BINDIR";

/// Where distributions and installers put them. `*` stands for any one name's part.
const USUAL_FOLDERS: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
    "/usr/lib64/postgresql*/bin",
    "/usr/local/pgsql/bin",
    "/usr/local/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/opt/local/lib/postgresql*/bin",
    "/Library/PostgreSQL/*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/run/current-system/sw/bin",
];

/// One installation of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder of `postgres`, `initdb` and `pg_ctl`.
    pub folder: PathBuf,
    /// Major version.
    pub major: u32,
}

impl Programs {
    /// The installation to use: of version `needed` if there is a data folder already, else the newest.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`] with what to install.
    pub fn find(needed: Option<u32>, user: Option<&ServerUser>) -> Result<Self> {
        let found = match std::env::var_os(BINDIR_VARIABLE).filter(|folder| !folder.is_empty()) {
            Some(folder) => {
                let folder = PathBuf::from(folder);
                vec![inspect(&folder, user).ok_or_else(|| {
                    Error::new(
                        Kind::PrivatePostgres,
                        format!(
                            "{BINDIR_VARIABLE} names {}, which has no working postgres, initdb and pg_ctl",
                            folder.display()
                        ),
                    )
                })?]
            }
            None => candidates().iter().filter_map(|folder| inspect(folder, user)).collect(),
        };
        choose(&found, needed)
    }

    /// A program of the installation.
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

/// Newest of those that Wharf is made for, else the newest at all that is not too old.
fn choose(found: &[Programs], needed: Option<u32>) -> Result<Programs> {
    if let Some(needed) = needed {
        return found.iter().find(|programs| programs.major == needed).cloned().ok_or_else(|| {
            let others = if found.is_empty() { "none".to_owned() } else { versions(found) };
            Error::new(
                Kind::PrivatePostgres,
                format!("the private database was made by PostgreSQL {needed}; installed: {others}"),
            )
            .hint(format!("install PostgreSQL {needed}: {}", installing(&needed.to_string())))
        });
    }
    let best = found
        .iter()
        .filter(|programs| MADE_FOR.contains(&programs.major))
        .max_by_key(|programs| programs.major)
        .or_else(|| {
            found.iter().filter(|programs| programs.major > *MADE_FOR.end()).min_by_key(|programs| programs.major)
        });
    best.cloned().ok_or_else(|| {
        let detail = if found.is_empty() {
            "no PostgreSQL server programs were found on this machine".to_owned()
        } else {
            format!("wharf needs PostgreSQL {} or newer; installed: {}", MADE_FOR.start(), versions(found))
        };
        Error::new(Kind::PrivatePostgres, detail).hint(format!(
            "install them ({}), set {BINDIR_VARIABLE} to their folder, or set DATABASE_URL to use a server of your own",
            installing("")
        ))
    })
}

fn versions(found: &[Programs]) -> String {
    let versions: BTreeSet<_> = found.iter().map(|programs| programs.major).collect();
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn installing(version: &str) -> String {
    let dashed = if version.is_empty() { String::new() } else { format!("-{version}") };
    let at = if version.is_empty() { "@17".to_owned() } else { format!("@{version}") };
    format!(
        "Debian and Ubuntu: apt-get install postgresql{dashed}; Fedora: dnf install postgresql-server; \
         macOS: brew install postgresql{at}"
    )
}

/// Folders that may hold the programs, each once, in the order of looking.
fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(path) = std::env::var_os("PATH") {
        folders.extend(std::env::split_paths(&path).filter(|folder| folder.join("postgres").exists()));
    }
    folders.extend(by_pg_config());
    for pattern in USUAL_FOLDERS {
        folders.extend(expand(pattern));
    }
    let mut seen = BTreeSet::new();
    folders.into_iter().filter(|folder| seen.insert(folder.clone())).collect()
}

fn by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(folder.trim()))
}

/// The folders that a pattern with at most one `*` stands for, in alphabetical order.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut folders: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .map(|name| PathBuf::from(format!("{parent}/{name}{after}")))
        .collect();
    folders.sort();
    folders
}

/// The installation in a folder, if its programs run.
fn inspect(folder: &Path, user: Option<&ServerUser>) -> Option<Programs> {
    // postgres finds its files relative to where it really is, and its siblings are there too.
    let real = std::fs::canonicalize(folder.join("postgres")).ok()?;
    let beside = real.parent().filter(|beside| beside.join("initdb").exists() && beside.join("pg_ctl").exists());
    let folder = beside.unwrap_or(folder);
    let major = version(&folder.join("postgres"), user)?;
    let fits = ["initdb", "pg_ctl"].iter().all(|program| version(&folder.join(program), user) == Some(major));
    fits.then(|| Programs { folder: folder.to_owned(), major })
}

fn version(program: &Path, user: Option<&ServerUser>) -> Option<u32> {
    let mut command = Command::new(program);
    command.arg("--version").current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    if let Some(user) = user {
        user.drop_to(&mut command);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` → 15; `… 19beta1` → 19.
fn parse_version(line: &str) -> Option<u32> {
    let (_, version) = line.split_once("(PostgreSQL) ")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(major: u32) -> Programs {
        Programs { folder: PathBuf::from(format!("/pg/{major}")), major }
    }

    #[test]
    fn versions_are_read_from_what_the_programs_say() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_version("initdb (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_version("usage: postgres [OPTION]"), None);
    }

    #[test]
    fn the_newest_version_that_wharf_is_made_for_is_chosen() {
        let found = [programs(13), programs(15), programs(18), programs(19), programs(14)];
        assert_eq!(choose(&found, None).unwrap().major, 18);
        assert_eq!(choose(&[programs(20), programs(19)], None).unwrap().major, 19);
    }

    #[test]
    fn an_existing_database_gets_the_programs_that_made_it() {
        let found = [programs(15), programs(17)];
        assert_eq!(choose(&found, Some(15)).unwrap().major, 15);
        let error = choose(&found, Some(16)).unwrap_err();
        assert!(error.detail().contains("made by PostgreSQL 16; installed: 15, 17"), "{error}");
        assert!(error.hint_text().unwrap().contains("postgresql-16"), "{error:?}");
    }

    #[test]
    fn too_old_or_none_says_what_to_install() {
        for found in [vec![], vec![programs(13)]] {
            let error = choose(&found, None).unwrap_err();
            assert_eq!(error.kind(), Kind::PrivatePostgres);
            for manager in ["apt-get install postgresql", "dnf install postgresql-server", "brew install postgresql"] {
                assert!(error.hint_text().unwrap().contains(manager), "{:?}", error.hint_text());
            }
        }
    }
}
