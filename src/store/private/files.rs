//! Files in folders that somebody else may write to. Root hands the data folder to an unprivileged user, who could plant
//! links there that lead anywhere; so a folder is held open, names are looked up in it alone, no link is followed, what is
//! written is a file made anew and then put in place of whatever had the name, and rights are changed on open files.
//!
//! Paths will not do, checked or not: what they lead to can change between the check and the use.

use super::layout::cannot;
use super::user::ServerUser;
use crate::{Error, Kind, Result};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Most bytes that a small file is read to.
const LARGEST: u64 = 64 << 10;

/// A folder that is held open.
#[derive(Debug)]
pub struct Folder {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder; the path's last part may not be a link. `None` if there is nothing.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`].
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(descriptor) => Ok(Some(Self { descriptor, path: path.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(_) if path.is_symlink() => Err(is_link(path)),
            Err(error) => Err(cannot("open", path, error.into())),
        }
    }

    /// Gives the folder to the server's user.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`].
    pub fn give_to(&self, user: &ServerUser) -> Result<()> {
        user.own(&self.descriptor, &self.path)
    }

    /// The text of a small file; `None` if there is none.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`] for a link, and for what is not a file.
    pub fn read(&self, name: &str) -> Result<Option<String>> {
        let Some(file) = self.open_file(name, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).map_err(|error| cannot("read", &self.path.join(name), error))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Opens a file, made if there is none; who may not read it is everybody else.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`] for a link, and for what is not a file.
    pub fn open_or_make(&self, name: &str, flags: OFlags) -> Result<File> {
        let file = self.open_file(name, flags | OFlags::CREATE)?;
        // Made by the flag, so it exists unless it was removed this instant.
        file.ok_or_else(|| cannot("open", &self.path.join(name), ErrorKind::NotFound.into()))
    }

    /// Opens a file; `None` if there is none. Nothing but a file is opened: a pipe would make the reader wait for ever.
    pub fn open_file(&self, name: &str, flags: OFlags) -> Result<Option<File>> {
        let path = self.path.join(name);
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(is_link(&path)),
            Err(error) => return Err(cannot("open", &path, error.into())),
        };
        let metadata = file.metadata().map_err(|error| cannot("look at", &path, error))?;
        if !metadata.is_file() {
            return Err(Error::new(Kind::PrivatePostgres, format!("{} is not a file", path.display()))
                .hint("remove it, then run the command again"));
        }
        Ok(Some(file))
    }

    /// Puts a new file, readable for its owner alone, in place of whatever has the name. The owner is `user`, else the
    /// current user.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`].
    pub fn replace(&self, name: &str, text: &str, user: Option<&ServerUser>) -> Result<()> {
        let path = self.path.join(name);
        let new = format!("{name}.{}.new", std::process::id());
        self.remove(&new)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let written = || -> std::io::Result<File> {
            let mut file = File::from(openat(&self.descriptor, new.as_str(), flags, Mode::RUSR | Mode::WUSR)?);
            file.write_all(text.as_bytes())?;
            Ok(file)
        };
        let file = written().map_err(|error| cannot("write", &path, error))?;
        if let Some(user) = user {
            user.own(&file, &path)?;
        }
        self.rename(&new, name)
    }

    /// Gives a file another name, in place of whatever has that.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`].
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        renameat(&self.descriptor, from, &self.descriptor, to)
            .map_err(|error| cannot("write", &self.path.join(to), error.into()))
    }

    /// Removes a file or a link, if there is one.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`].
    pub fn remove(&self, name: &str) -> Result<()> {
        match unlinkat(&self.descriptor, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(cannot("remove", &self.path.join(name), error.into())),
        }
    }

    /// The names of what is in it.
    ///
    /// # Errors
    /// [`Kind::PrivatePostgres`].
    pub fn names(&self) -> Result<Vec<String>> {
        let read = || -> rustix::io::Result<Vec<String>> {
            Dir::read_from(&self.descriptor)?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect()
        };
        read().map_err(|error| cannot("read", &self.path, error.into()))
    }
}

fn is_link(path: &Path) -> Error {
    Error::new(Kind::PrivatePostgres, format!("{} is a symbolic link, which wharf does not follow", path.display()))
        .hint("put what it leads to in its place; WHARF_HOME itself may lead elsewhere, to another disk for example")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_is_read_or_written_through_a_link() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "untouched").unwrap();
        symlink(&victim, inside.path().join("link")).unwrap();
        let folder = Folder::open(inside.path()).unwrap().unwrap();
        for refused in [folder.read("link").map(drop), folder.open_or_make("link", OFlags::RDWR).map(drop)] {
            let error = refused.unwrap_err();
            assert!(error.detail().contains("link is a symbolic link"), "{error}");
        }
        folder.replace("link", "new", None).unwrap();
        assert_eq!(folder.read("link").unwrap().as_deref(), Some("new"));
        symlink(&victim, inside.path().join("other")).unwrap();
        folder.remove("other").unwrap();
        folder.remove("other").unwrap();
        assert_eq!(folder.names().unwrap().iter().filter(|name| !name.starts_with('.')).count(), 1);
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
        symlink(inside.path(), outside.path().join("folder")).unwrap();
        assert!(Folder::open(&outside.path().join("folder")).is_err());
        assert!(Folder::open(&outside.path().join("nothing")).unwrap().is_none());
    }

    #[test]
    fn a_pipe_is_no_file_and_does_not_make_anybody_wait() {
        let inside = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(inside.path().join("pipe")).status().unwrap();
        assert!(made.success());
        let error = Folder::open(inside.path()).unwrap().unwrap().read("pipe").unwrap_err();
        assert!(error.detail().ends_with("pipe is not a file"), "{error}");
    }
}
