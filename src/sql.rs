//! The SQL files, embedded: what raw data means, what a canonical row is, what a target gets.
//!
//! Nothing may enter but look-ups by path below `sql/`. The files themselves are the place to read.

use crate::{Error, Kind, Result};
use include_dir::{Dir, include_dir};

static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/sql");

/// The text of `sql/PATH`.
///
/// # Errors
/// [`Kind::Internal`] if there is no such file; a test walks every path that the code asks for.
pub fn file(path: &str) -> Result<&'static str> {
    FILES
        .get_file(path)
        .and_then(|file| file.contents_utf8())
        .ok_or_else(|| Error::new(Kind::Internal, format!("sql/{path} is not part of this program")))
}

/// Whether `sql/PATH` exists: a platform leaves out the files of entities it does not have.
pub fn exists(path: &str) -> bool {
    FILES.get_file(path).is_some()
}
