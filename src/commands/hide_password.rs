//! A password on the command line can be read by everybody on the machine for as long as the process lives; one in the
//! environment only by the same user. So a connection string with a password is moved there.

use super::Options;
use crate::store::address;
use secrecy::ExposeSecret;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The option that takes a connection string.
const OPTION: &str = "--database-url";

/// Replaces this process by itself, without the connection string among its arguments, if that holds a password: it then
/// goes by the environment, as `DATABASE_URL` does. Returns where there is nothing to hide.
pub fn hide_password(arguments: &[OsString], options: &Options) {
    let Some((program, rest)) = arguments.split_first() else { return };
    let (Some(url), Some(kept)) = (&options.database_url, without_url(rest)) else { return };
    let url = url.expose_secret();
    if !matches!(address::without_password(url), Ok((_, Some(_)))) {
        return;
    }
    let anew = std::env::current_exe().map(|own| {
        // Comes back only with an error.
        Command::new(own).arg0(program).args(kept).env("DATABASE_URL", url).exec()
    });
    let (Ok(error) | Err(error)) = anew;
    tracing::warn!(
        "the password in {OPTION} stays in the list of processes ({error}); DATABASE_URL keeps it out of there"
    );
}

/// The arguments without the connection string; `None` if it is not among them. What follows `--` is not ours.
fn without_url(arguments: &[OsString]) -> Option<Vec<&OsStr>> {
    let mut kept = Vec::new();
    let mut has_url = false;
    let mut rest = arguments.iter().map(OsString::as_os_str);
    while let Some(argument) = rest.next() {
        if argument == "--" {
            kept.push(argument);
            kept.extend(rest.by_ref());
        } else if argument == OPTION {
            has_url = rest.next().is_some();
        } else if argument.as_bytes().strip_prefix(OPTION.as_bytes()).is_some_and(|value| value.starts_with(b"=")) {
            has_url = true;
        } else {
            kept.push(argument);
        }
    }
    has_url.then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_string_is_taken_out_in_both_forms_and_nothing_behind_the_dashes() {
        let taken = |words: &[&str]| {
            let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            without_url(&arguments)
                .map(|kept| kept.into_iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>())
        };
        let words = |words: &[&str]| Some(words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(taken(&["--database-url", "x", "status"]), words(&["status"]));
        assert_eq!(taken(&["status", "--database-url=x", "-v"]), words(&["status", "-v"]));
        assert_eq!(taken(&["db", "psql", "--", "--database-url", "x"]), None);
        assert_eq!(
            taken(&["db", "--database-url=x", "psql", "--", "--database-url"]),
            words(&["db", "psql", "--", "--database-url"])
        );
        assert_eq!(taken(&["status"]), None);
    }
}
