//! `docs/errors.md` explains every code, and only those that exist.

use std::collections::BTreeSet;
use wharf::Kind;

const PAGE: &str = include_str!("../../docs/errors.md");
const SOURCE: &str = include_str!("../../src/error.rs");

fn section(code: &str) -> Option<&'static str> {
    let (_, after) = PAGE.split_once(&format!("### {code}\n"))?;
    after.split("\n### ").next()
}

#[test]
fn the_list_of_kinds_has_every_code_of_the_source() {
    let in_source: BTreeSet<&str> =
        SOURCE.split("\"WH-").skip(1).filter_map(|rest| rest.get(..3)).filter(|code| code.len() == 3).collect();
    let listed: BTreeSet<&str> = Kind::ALL.iter().map(|kind| &kind.code()[3..]).collect();
    assert_eq!(listed, in_source);
    assert_eq!(listed.len(), Kind::ALL.len(), "two kinds share a code");
}

#[test]
fn every_code_is_explained_with_its_exit_code() {
    for kind in Kind::ALL {
        let text = section(kind.code()).unwrap_or_else(|| panic!("docs/errors.md does not explain {}", kind.code()));
        let exit = format!("Exit code {}.", kind.exit() as i32);
        assert!(text.contains(&exit), "{}: docs/errors.md must say \"{exit}\"", kind.code());
        assert_eq!(text.contains("Tried again"), kind.is_retryable(), "{}: is it tried again?", kind.code());
    }
}

#[test]
fn no_code_is_explained_that_does_not_exist() {
    let explained: Vec<&str> = PAGE.split("\n### ").skip(1).filter_map(|rest| rest.get(..6)).collect();
    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
    assert_eq!(explained, known, "the same codes in the same order");
}
