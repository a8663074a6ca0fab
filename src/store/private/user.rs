//! The user that runs the server. PostgreSQL refuses to run as root, so root hands it to an unprivileged user by dropping
//! its own user id in the child process; no sudo is needed.

use crate::{Error, Kind, Result};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Users that root hands the server to, in this order.
const CANDIDATES: &[&str] = &["postgres", "nobody"];

/// An unprivileged user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUser {
    uid: u32,
    gid: u32,
}

impl ServerUser {
    /// Who is to run the server of `data`; `None` if the current user does. As root: the owner of an existing data
    /// folder, else `postgres`, else `nobody`.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`] if the data folder belongs to somebody else, or root finds no user to hand over to.
    pub fn choose(data: &Path) -> Result<Option<Self>> {
        let owner = std::fs::symlink_metadata(data).ok().map(|data| (data.uid(), data.gid()));
        let current = rustix::process::geteuid();
        if !current.is_root() {
            return match owner {
                Some((uid, _)) if uid != current.as_raw() => Err(Error::new(
                    Kind::PrivatePostgres,
                    format!("{} belongs to user {uid}, and this is user {}", data.display(), current.as_raw()),
                )
                .hint("run wharf as the user who made it, or set WHARF_HOME to a folder of your own")),
                _ => Ok(None),
            };
        }
        if let Some((uid, gid)) = owner.filter(|(uid, _)| *uid != 0) {
            return Ok(Some(Self { uid, gid }));
        }
        CANDIDATES.iter().find_map(|name| look_up(name)).map(Some).ok_or_else(|| {
            Error::new(Kind::PrivatePostgres, "PostgreSQL does not run as root, and there is no user to hand it to")
                .hint("create a user named postgres, run wharf as another user, or set DATABASE_URL")
        })
    }

    /// Makes `command` run as this user, with no groups but its own.
    pub fn drop_to(&self, command: &mut Command) {
        // The standard library clears the supplementary groups when root changes the user.
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives an open file or folder to this user; `path` is for the message.
    pub fn own(&self, file: impl AsFd, path: &Path) -> Result<()> {
        fchown(file, Some(self.uid), Some(self.gid)).map_err(|error| {
            Error::new(
                Kind::PrivatePostgres,
                format!("{} cannot be given to the server's user: {error}", path.display()),
            )
            .because(error)
        })
    }

    /// The first folder on the way to `folder` in which this user could put something else in the place of the next part
    /// of the path; in `folder` itself, anything at all.
    pub fn in_control<'a>(&self, folder: &'a Path) -> Option<&'a Path> {
        folder.ancestors().filter(|ancestor| self.may_change(ancestor, *ancestor == folder)).last()
    }

    fn may_change(&self, folder: &Path, is_last: bool) -> bool {
        let Ok(metadata) = std::fs::metadata(folder) else {
            return false;
        };
        if metadata.uid() == self.uid {
            return true;
        }
        let write = if metadata.gid() == self.gid { 0o020 } else { 0o002 };
        // Sticky, as /tmp is: everybody may add, nobody may replace what others have.
        metadata.mode() & write != 0 && (is_last || metadata.mode() & 0o1000 == 0)
    }

    /// The nearest folder on the way to `folder` (inclusive) that this user may not pass through.
    pub fn barrier<'a>(&self, folder: &'a Path) -> Option<&'a Path> {
        folder.ancestors().filter(|ancestor| !self.may_pass(ancestor)).last()
    }

    fn may_pass(&self, folder: &Path) -> bool {
        let Ok(metadata) = std::fs::metadata(folder) else {
            return true;
        };
        let execute = if metadata.uid() == self.uid {
            0o100
        } else if metadata.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        metadata.mode() & execute != 0
    }

    /// The user's name where there is one, else its number: as `chown` and `sudo -u` take it.
    pub fn name(&self) -> String {
        let output = Command::new("id").args(["-nu", &self.uid.to_string()]).stderr(Stdio::null()).output();
        let name = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
        name.map_or_else(|| format!("#{}", self.uid), |name| String::from_utf8_lossy(&name).trim().to_owned())
    }

    /// The user's number.
    pub fn uid(&self) -> u32 {
        self.uid
    }
}

/// `id` asks whatever the machine keeps its users in; /etc/passwd alone may not know them.
fn look_up(name: &str) -> Option<ServerUser> {
    let ask = |what: &str| {
        let output = Command::new("id").args([what, name]).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok()
    };
    let user = ServerUser { uid: ask("-u")?, gid: ask("-g")? };
    (user.uid != 0).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_outermost_folder_that_cannot_be_passed_is_named() {
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("open");
        let closed = open.join("closed");
        let inner = closed.join("inner");
        std::fs::create_dir_all(&inner).unwrap();
        let chmod = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        chmod(root.path(), 0o755);
        chmod(&closed, 0o700);
        let stranger = ServerUser { uid: 60_001, gid: 60_001 };
        assert_eq!(stranger.barrier(&inner), Some(closed.as_path()));
        chmod(&closed, 0o711);
        assert_eq!(stranger.barrier(&inner), None);
    }

    #[test]
    fn the_folder_in_which_the_user_could_plant_something_is_named() {
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("open");
        let inner = open.join("inner");
        std::fs::create_dir_all(&inner).unwrap();
        let chmod = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        for folder in [root.path(), &open, &inner] {
            chmod(folder, 0o755);
        }
        let stranger = ServerUser { uid: 60_001, gid: 60_001 };
        assert_eq!(stranger.in_control(&inner), None);
        chmod(&open, 0o1777);
        assert_eq!(stranger.in_control(&inner), None);
        chmod(&inner, 0o1777);
        assert_eq!(stranger.in_control(&inner), Some(inner.as_path()));
        chmod(&open, 0o777);
        assert_eq!(stranger.in_control(&inner), Some(open.as_path()));
        let owner = std::fs::metadata(&inner).unwrap();
        let owner = ServerUser { uid: owner.uid(), gid: owner.gid() };
        chmod(&open, 0o755);
        assert!(owner.in_control(&inner).is_some());
    }
}
