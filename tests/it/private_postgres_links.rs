//! The private server of root: what its unprivileged user plants leads root nowhere.

use crate::support::home::Home;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use wharf::Kind;
use wharf::store::Database;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Files of root's, one for each link.
struct Outside {
    folder: tempfile::TempDir,
    made: Vec<(PathBuf, Metadata)>,
}

const TEXT: &str = "root's own";

impl Outside {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), made: Vec::new() }
    }

    /// Puts a link to a new file outside in the place of `path`, owned as the server's user would own it.
    fn plant(&mut self, path: &Path, owner: (u32, u32)) {
        let victim = self.folder.path().join(format!("victim-{}", self.made.len()));
        std::fs::write(&victim, TEXT).unwrap();
        std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o640)).unwrap();
        // There may be nothing in the place.
        let _ = std::fs::remove_file(path);
        symlink(&victim, path).unwrap();
        lchown(path, Some(owner.0), Some(owner.1)).unwrap();
        self.made.push((victim.clone(), std::fs::metadata(victim).unwrap()));
    }

    fn is_untouched(&self) {
        for (path, before) in &self.made {
            let now = std::fs::metadata(path).unwrap();
            assert_eq!(std::fs::read_to_string(path).unwrap(), TEXT, "{path:?}");
            assert_eq!(
                (now.uid(), now.gid(), now.mode(), now.ino()),
                (before.uid(), before.gid(), before.mode(), before.ino())
            );
        }
        let names = std::fs::read_dir(self.folder.path()).unwrap().count();
        assert_eq!(names, self.made.len(), "something was made outside");
    }
}

#[tokio::test]
async fn what_wharf_writes_is_made_anew_and_no_link_is_followed() {
    let home = Home::made().await;
    let mut outside = Outside::new();
    let owner = home.owner();
    for name in
        ["data/postgresql.conf", "data/pg_hba.conf", "run/.s.PGSQL.5432", "run/.s.PGSQL.5432.lock", "log", "keep"]
    {
        outside.plant(&home.postgres().join(name), owner);
    }
    home.run(&["db", "start"]).await;
    assert_eq!(home.sql("select 1").await, "1");
    outside.is_untouched();
    for name in ["data/postgresql.conf", "data/pg_hba.conf", "log", "keep"] {
        assert!(!home.postgres().join(name).is_symlink(), "{name}");
    }
    home.run(&["db", "stop"]).await;
    assert!(!home.is_running());
    // Nor when there is a lot to be put aside.
    outside.plant(&home.postgres().join("log.old"), owner);
    std::fs::File::options().write(true).open(home.postgres().join("log")).unwrap().set_len(11 << 20).unwrap();
    assert_eq!(home.sql("select 1").await, "1");
    outside.is_untouched();
}

#[tokio::test]
async fn what_wharf_reads_or_locks_is_not_looked_for_behind_links() {
    for name in ["data/PG_VERSION", "start.lock", "users.lock", "listen", "data", "run"] {
        let home = Home::made().await;
        let mut outside = Outside::new();
        let path = home.postgres().join(name);
        if path.is_dir() {
            std::fs::rename(&path, home.postgres().join("aside")).unwrap();
        }
        outside.plant(
            &path,
            if name == "data" {
                (0, 0)
            } else {
                std::fs::metadata(home.postgres()).map(|of| (of.uid(), of.gid())).unwrap()
            },
        );
        let error = Database::open(&home.location()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::PrivatePostgres, "{name}: {error}");
        assert!(error.detail().contains(path.to_str().unwrap()), "{name}: {error}");
        outside.is_untouched();
    }
}

#[tokio::test]
async fn a_pid_file_of_somebody_elses_making_ends_nobody_and_makes_nobody_wait() {
    let home = Home::made().await;
    let pid_file = home.postgres().join("data/postmaster.pid");
    assert!(std::process::Command::new("mkfifo").arg(&pid_file).status().unwrap().success());
    assert_eq!(home.sql("select 1").await, "1");
    let mut outside = Outside::new();
    outside.plant(&pid_file, home.owner());
    assert_eq!(home.sql("select 1").await, "1");
    outside.is_untouched();
}

#[tokio::test]
async fn root_does_not_work_in_a_folder_that_the_servers_user_may_change() {
    if !is_root() {
        println!("not run: only root hands the server over");
        return;
    }
    let home = Home::made().await;
    let (uid, gid) = home.owner();
    chown(home.postgres(), Some(uid), Some(gid)).unwrap();
    let error = Database::open(&home.location()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PrivatePostgres);
    assert!(error.detail().contains(&format!("{}", home.postgres().display())), "{error}");
    assert!(error.hint_text().unwrap().contains("chown root"), "{error:?}");
    chown(home.postgres(), Some(0), Some(0)).unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(Database::open(&home.location()).await.unwrap_err().kind(), Kind::PrivatePostgres);
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(home.sql("select 1").await, "1");
}
