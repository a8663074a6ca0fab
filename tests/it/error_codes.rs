//! `docs/errors.md` explains every code, and only those that exist.

use std::collections::BTreeSet;
use wharf::Kind;
use wharf::stage::load::codes;

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

/// Codes of delivery rejects that the sources can say: texts of `sql/deliver` behind `reject` and in the CASE that is
/// called `refused`, and the constants and outcomes of the loader and the targets.
fn codes_in_sources() -> BTreeSet<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut codes = BTreeSet::new();
    for file in files(&root.join("sql/deliver")) {
        let text = std::fs::read_to_string(&file).unwrap();
        codes.extend(text.split("'reject ").skip(1).map(|rest| rest.split('\'').next().unwrap().to_owned()));
        for part in text.rsplit("end as refused\n").skip(1) {
            let case = part.rsplit_once("case\n").map_or("", |(_, case)| case);
            codes.extend(case.split("then '").skip(1).map(|rest| rest.split('\'').next().unwrap().to_owned()));
        }
    }
    for file in files(&root.join("src/target")).into_iter().chain(files(&root.join("src/stage/load"))) {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = |rest: &str| rest.split('"').next().unwrap().to_owned();
        codes.extend(text.split("code: \"").skip(1).map(code));
        codes.extend(text.split("&str = \"").skip(1).map(code).filter(|text| {
            ["opt-out-kept", "outcome-unknown"].contains(&text.as_str())
                || *text == "refused"
                || text == "contact-not-there"
        }));
    }
    codes
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_code_of_a_delivery_reject_has_a_solution_and_is_explained() {
    let (_, table) = PAGE.split_once("| code | what happened | what to do |").expect("the table of delivery codes");
    let explained: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let known: Vec<&str> = codes::SOLUTIONS.iter().map(|(code, _)| *code).collect();
    assert_eq!(explained, known, "the same codes in the same order");
    let said = codes_in_sources();
    assert!(said.len() >= 8, "the sources are not read as they are written: {said:?}");
    let unexplained: Vec<&String> = said.iter().filter(|code| !known.contains(&code.as_str())).collect();
    assert!(unexplained.is_empty(), "without a solution: {unexplained:?}");
}
