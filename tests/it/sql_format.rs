//! The SQL files keep one format, so that they read as if one person had written them.
//!
//! A head comment says what the file is for; words are in lower case; four spaces per level, no tabs, nothing behind the
//! last word of a line; lines of at most 120 characters, not counting what stands in quotes; a newline at the end.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const MAX_LINE: usize = 120;

#[test]
fn every_sql_file_keeps_the_format() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["sql", "migrations"] {
        collect(&root.join(folder), &mut files);
    }
    assert!(!files.is_empty(), "there are no SQL files below {}", root.display());
    let mut mistakes = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for mistake in mistakes_in(&text) {
            let shown = file.strip_prefix(root).unwrap_or(&file).display();
            writeln!(mistakes, "{shown}:{mistake}").unwrap();
        }
    }
    assert!(mistakes.is_empty(), "\n{mistakes}");
}

#[test]
fn each_mistake_is_found() {
    let right = "-- What this is for.\n\nselect\n    'A \"Word\" -- no comment' as a,\n    $$ b %I %1$L $$ as \"B\", -- Why.\n    E'\\'X' as c\n/* And\n   WHY. */\nfrom t;\n";
    assert_eq!(mistakes_in(right), Vec::<String>::new());
    for (wrong, found) in [
        ("select 1;\n", "1: begins without a comment"),
        ("-- Why.\nSELECT 1;\n", "2: `SELECT` is not in lower case"),
        ("-- Why.\nselect $$ SELECT $$;\n", "2: `SELECT` is not in lower case"),
        ("-- Why.\nselect\n\t1;\n", "3: a tab"),
        ("-- Why.\nselect\n  1;\n", "3: indented by 2"),
        ("-- Why.\nselect 1; \n", "2: blanks at the end"),
        ("-- Why.\nselect 1;", "2: no newline at the end of the file"),
        ("-- Why.\nselect 1;\n\n", "3: blank lines at the end of the file"),
    ] {
        assert_eq!(mistakes_in(wrong), [found], "{wrong:?}");
    }
    let long = format!("-- Why.\nselect {};\n", ["column_a"; 14].join(", "));
    assert_eq!(mistakes_in(&long), ["2: 146 characters"]);
    let long_text = format!("-- Why.\nselect '{}';\n", "word ".repeat(60));
    assert_eq!(mistakes_in(&long_text), Vec::<String>::new());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
}

/// `line: what is wrong`, in the order of lines.
fn mistakes_in(text: &str) -> Vec<String> {
    let mut mistakes = Vec::new();
    if !text.starts_with("-- ") {
        mistakes.push("1: begins without a comment".to_owned());
    }
    let code = without_quotes_and_comments(text);
    for (index, (line, code)) in text.lines().zip(code.lines()).enumerate() {
        let number = index + 1;
        if line.contains('\t') {
            mistakes.push(format!("{number}: a tab"));
            continue;
        }
        if line.ends_with(' ') {
            mistakes.push(format!("{number}: blanks at the end"));
        }
        // A line that begins inside a quoted text or a comment may stand as it likes.
        let indent = line.len() - line.trim_start_matches(' ').len();
        let begins_as_code = !code.starts_with(INSIDE);
        if begins_as_code && !line.trim().is_empty() && indent % 4 != 0 {
            mistakes.push(format!("{number}: indented by {indent}"));
        }
        let length = if line.trim_start().starts_with("--") {
            line.chars().count()
        } else {
            code.trim_end_matches(INSIDE).chars().filter(|c| *c != INSIDE).count()
        };
        if length > MAX_LINE {
            mistakes.push(format!("{number}: {length} characters"));
        }
        // Placeholders of format(): %I, %1$L.
        let words = ["%I", "%L", "$I", "$L"].iter().fold(code.to_owned(), |words, slot| words.replace(slot, " "));
        for word in words.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if word.chars().any(char::is_uppercase) {
                mistakes.push(format!("{number}: `{word}` is not in lower case"));
            }
        }
    }
    let last = text.lines().count();
    if !text.ends_with('\n') {
        mistakes.push(format!("{last}: no newline at the end of the file"));
    } else if text.ends_with("\n\n") {
        mistakes.push(format!("{last}: blank lines at the end of the file"));
    }
    mistakes
}

/// Stands for each character inside quotes and comments.
const INSIDE: char = '\u{1}';

/// The text with what is quoted or commented out blotted, line by line. Bodies in dollar quotes are code here.
fn without_quotes_and_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => quoted(rest, '\'', false),
            'E' | 'e' if rest[1..].starts_with('\'') && !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') => {
                1 + quoted(&rest[1..], '\'', true)
            }
            '"' => quoted(rest, '"', false),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ => 0,
        };
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { INSIDE }));
            rest = &rest[length..];
        }
    }
    out
}

/// Length of the quoted text at the start, both quotes included; a doubled quote does not end it.
fn quoted(text: &str, quote: char, backslashes: bool) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' && backslashes {
            characters.next();
        } else if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return at + quote.len_utf8();
        }
    }
    text.len()
}
