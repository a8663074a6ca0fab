//! The folders and files of the private server, who owns them, and the locks among them.
//!
//! ```text
//! $WHARF_HOME/postgres/
//!     data/        the database (the server's user alone may enter)
//!     run/         the socket, unless the path is too long for one
//!     log          what the server says
//!     local.conf   the user's own settings, if any
//!     start.lock   held while the server is being started or stopped
//!     users.lock   held (shared) by every process that uses it
//!     keep         exists while the server is to go on without users
//!     listen       address and port for clients that cannot use sockets, if asked for
//!     password.R   their password as role R
//! ```

use super::files::Folder;
use super::user::ServerUser;
use crate::{Error, Kind, Result};
use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest path of a socket: 107 bytes and a final zero on Linux, 103 on the BSDs and macOS.
const LONGEST_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Size at which the log is started anew; the old one is kept beside it.
const LARGEST_LOG: u64 = 10 << 20;

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Layout {
    home: PathBuf,
    folder: PathBuf,
    user: Option<ServerUser>,
}

impl Layout {
    /// The layout below `home`, a path without links; `user` is who runs the server, if that is not the current user.
    pub fn new(home: &Path, user: Option<ServerUser>) -> Self {
        let folder = home.join("postgres");
        // It may lead to another disk. The server calls its folder by its real name, so everything here does.
        let folder = std::fs::canonicalize(&folder).unwrap_or(folder);
        Self { home: home.to_owned(), folder, user }
    }

    /// The layout below `home`, with the user who is to run the server there.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`] if the data belongs to somebody else, if root finds no user to hand it to, or if that user
    /// could plant links where root works.
    pub fn of(home: &Path) -> Result<Self> {
        let mut layout = Self::new(home, None);
        layout.user = ServerUser::choose(&layout.data())?;
        if let Some(user) = &layout.user {
            for folder in [&layout.home, &layout.folder] {
                if let Some(open) = user.in_control(folder) {
                    let (open, name) = (open.display(), user.name());
                    return Err(Error::new(
                        Kind::PrivatePostgres,
                        format!(
                            "as root, wharf does not work in {open}, which {name}, the user of its server, may change"
                        ),
                    )
                    .hint(format!(
                        "run wharf as {name}, or take the folder over: chown root {open} && chmod go-w {open}"
                    )));
                }
            }
        }
        Ok(layout)
    }

    /// Who runs the server, if that is not the current user.
    pub fn user(&self) -> Option<&ServerUser> {
        self.user.as_ref()
    }

    /// The folder of all that belongs to the server.
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// The folder of all that belongs to the server, open.
    pub fn open(&self) -> Result<Folder> {
        Folder::open(&self.folder)?.ok_or_else(|| missing(&self.folder))
    }

    /// The database's folder, open; `None` if there is no database yet.
    pub fn open_data(&self) -> Result<Option<Folder>> {
        Folder::open(&self.data())
    }

    /// The database.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What the server says.
    pub fn log(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// The user's own settings.
    pub fn local_conf(&self) -> PathBuf {
        self.folder().join("local.conf")
    }

    /// Exists while the server is to go on without users.
    pub fn keep(&self) -> PathBuf {
        self.folder().join("keep")
    }

    /// Address and port for clients that cannot use sockets.
    pub fn listen(&self) -> PathBuf {
        self.folder().join("listen")
    }

    /// Opens one of the lock files.
    pub fn lock_file(&self, name: &str) -> Result<File> {
        self.open()?.open_or_make(name, OFlags::RDWR)
    }

    /// Makes the folders that do not exist yet, and sees that the server's user can reach them.
    pub fn prepare(&self) -> Result<()> {
        let folder = self.folder();
        std::fs::create_dir_all(&folder).map_err(|error| {
            if folder.is_symlink() {
                let detail = format!("{} is a symbolic link that leads to no folder", folder.display());
                return Error::new(Kind::PrivatePostgres, detail)
                    .hint("make the folder it leads to, or remove the link");
            }
            cannot("create", &folder, error).hint("set WHARF_HOME to a folder that you may write to")
        })?;
        let Some(user) = &self.user else {
            return Ok(());
        };
        // These two are ours to open; folders above them are not.
        for ours in [&self.home, &folder] {
            let mode = std::fs::metadata(ours).map_err(|error| cannot("look at", ours, error))?.mode();
            if mode & 0o001 == 0 {
                std::fs::set_permissions(ours, Permissions::from_mode((mode | 0o001) & 0o7777))
                    .map_err(|error| cannot("change", ours, error))?;
            }
        }
        match user.barrier(&folder) {
            None => Ok(()),
            Some(barrier) => Err(Error::new(
                Kind::PrivatePostgres,
                format!(
                    "as root, wharf runs PostgreSQL as an unprivileged user, who cannot pass through {}",
                    barrier.display()
                ),
            )
            .hint("set WHARF_HOME to a folder outside of it, for example /var/lib/wharf")),
        }
    }

    /// A new folder that only the server's user may enter.
    pub fn make_private(&self, folder: &Path) -> Result<()> {
        DirBuilder::new().mode(0o700).create(folder).map_err(|error| cannot("create", folder, error))?;
        match &self.user {
            Some(user) => Folder::open(folder)?.ok_or_else(|| missing(folder))?.give_to(user),
            None => Ok(()),
        }
    }

    /// The folder for the socket, made if needed: below the home, or under /tmp where that path would be too long.
    pub fn socket_folder(&self, port: u16) -> Result<PathBuf> {
        let usual = self.folder().join("run");
        let folder = if fits_socket(&usual, port) { usual } else { self.short_folder() };
        match self.make_private(&folder) {
            Ok(()) => Ok(folder),
            Err(_) if folder.symlink_metadata().is_ok() => self.check_private(&folder).map(|()| folder),
            Err(error) => Err(error),
        }
    }

    /// A short path that depends on the home alone, so that every process finds it.
    fn short_folder(&self) -> PathBuf {
        let hash = xxhash_rust::xxh3::xxh3_64(self.home.as_os_str().as_bytes());
        PathBuf::from(format!("/tmp/wharf-{}-{hash:016x}", self.server_uid()))
    }

    /// The number of the user who runs the server.
    pub fn server_uid(&self) -> u32 {
        match &self.user {
            Some(user) => user.uid(),
            None => rustix::process::geteuid().as_raw(),
        }
    }

    /// Everybody may write to /tmp: what is found there must be ours and closed to others.
    fn check_private(&self, folder: &Path) -> Result<()> {
        let metadata = folder.symlink_metadata().map_err(|error| cannot("look at", folder, error))?;
        if metadata.is_dir() && metadata.uid() == self.server_uid() && metadata.mode() & 0o077 == 0 {
            return Ok(());
        }
        Err(Error::new(
            Kind::PrivatePostgres,
            format!("{} is not a folder that only the server's user may enter", folder.display()),
        )
        .hint("remove it, or set WHARF_HOME to another folder"))
    }

    /// Makes the log file, moves a large one aside, and tells where new lines will begin.
    pub fn prepare_log(&self) -> Result<u64> {
        let (folder, path) = (self.open()?, self.log());
        let file = || folder.open_or_make("log", OFlags::WRONLY | OFlags::APPEND);
        let length =
            |file: &File| file.metadata().map(|log| log.len()).map_err(|error| cannot("look at", &path, error));
        // What is no file is put aside as well: the server opens the log by its name.
        let is_usable = match file() {
            Ok(file) => length(&file)? <= LARGEST_LOG,
            Err(_) => false,
        };
        if !is_usable {
            folder.rename("log", "log.old")?;
        }
        let file = file()?;
        if let Some(user) = &self.user {
            user.own(&file, &path)?;
        }
        length(&file)
    }

    /// The last lines that the server wrote after `begin`.
    pub fn log_tail(&self, begin: u64) -> Vec<String> {
        let mut bytes = Vec::new();
        let mut read = || -> Option<()> {
            let mut file = self.open().ok()?.open_file("log", OFlags::RDONLY).ok()??;
            let end = file.metadata().ok()?.len();
            file.seek(SeekFrom::Start(begin.max(end.saturating_sub(16 << 10)))).ok()?;
            file.take(16 << 10).read_to_end(&mut bytes).ok()?;
            Some(())
        };
        // A log that cannot be read has nothing to say.
        if read().is_none() {
            return Vec::new();
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines.iter().skip(lines.len().saturating_sub(12)).map(|line| (*line).to_owned()).collect()
    }

    /// The major version that made the data folder; `None` if there is none yet.
    pub fn data_version(&self) -> Result<Option<u32>> {
        let Some(data) = self.open_data()? else {
            return Ok(None);
        };
        let version = data.read("PG_VERSION")?.and_then(|text| text.trim().parse().ok());
        version.map(Some).ok_or_else(|| {
            Error::new(Kind::PrivatePostgres, format!("{} holds no version", self.data().join("PG_VERSION").display()))
                .hint("the folder was not made by wharf, or is damaged; set WHARF_HOME to another one")
        })
    }
}

/// Whether the server can make a socket in a folder.
fn fits_socket(folder: &Path, port: u16) -> bool {
    folder.as_os_str().len() + format!("/.s.PGSQL.{port}").len() <= LONGEST_SOCKET_PATH
}

fn missing(folder: &Path) -> Error {
    cannot("open", folder, std::io::ErrorKind::NotFound.into())
}

pub(super) fn cannot(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::PrivatePostgres, format!("cannot {what} {}: {error}", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_too_long_for_a_socket_is_replaced_by_a_short_one() {
        let layout = Layout::new(Path::new(&format!("/{}", "a".repeat(60))), None);
        assert!(fits_socket(&layout.folder().join("run"), 5432));
        let layout = Layout::new(Path::new(&format!("/{}", "a".repeat(120))), None);
        assert!(!fits_socket(&layout.folder().join("run"), 5432));
        assert!(fits_socket(&layout.short_folder(), 65_535));
        let other = Layout::new(Path::new(&format!("/{}", "b".repeat(120))), None);
        assert_ne!(layout.short_folder(), other.short_folder());
    }

    #[test]
    fn a_socket_folder_open_to_others_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new(home.path(), None);
        layout.prepare().unwrap();
        let folder = layout.socket_folder(5432).unwrap();
        assert_eq!(layout.socket_folder(5432).unwrap(), folder);
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(layout.socket_folder(5432).unwrap_err().kind(), Kind::PrivatePostgres);
    }
}
