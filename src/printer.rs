//! What a command says: results to stdout, everything else to stderr.
//!
//! Every verb takes the one printer of the process. In JSON mode stdout holds exactly one document, errors included. A
//! reader that goes away (`wharf plan | head`) ends nothing: the rest of the output is dropped. Whatever is said may hold
//! text from outside, so all of it goes through [`foreign`] here.

use crate::config::mistakes::Mistakes;
use crate::progress::Progress;
use crate::{Error, Kind, Result, foreign};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Results, warnings and errors.
    Quiet,
    /// Also what is being done.
    Normal,
    /// Also every record and detail.
    Verbose,
}

/// Says what a command has to say. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Printer {
    json: bool,
    verbosity: Verbosity,
    colour: bool,
    progress: Progress,
    document_written: Arc<AtomicBool>,
}

impl Printer {
    /// A printer that stays clear of `progress`'s bars.
    pub fn new(json: bool, verbosity: Verbosity, progress: Progress) -> Self {
        Self { json, verbosity, colour: colour_wanted(), progress, document_written: Arc::default() }
    }

    /// Whether results are one JSON document instead of lines.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// How much is said.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Whether details are wanted (`-v`).
    pub fn is_verbose(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }

    /// A line of the result, to stdout. Nothing in JSON mode: there, [`Printer::document`] gives the result.
    pub fn line(&self, text: impl Display) {
        if !self.json {
            self.progress.suspend(|| write_line(io::stdout().lock(), &foreign::lines(&text.to_string())));
        }
    }

    /// A line of the result that shows a record, to stdout: line breaks in its values are written out.
    pub fn record(&self, text: impl Display) {
        self.line(foreign::one_line(&text.to_string()));
    }

    /// A line of the result that only `-v` shows, to stdout.
    pub fn detail(&self, text: impl Display) {
        if self.is_verbose() {
            self.line(text);
        }
    }

    /// A line on what is being done, to stderr; not with `-q`.
    pub fn note(&self, text: impl Display) {
        if self.verbosity >= Verbosity::Normal {
            self.progress.suspend(|| write_line(io::stderr().lock(), &foreign::lines(&text.to_string())));
        }
    }

    /// A warning, to stderr; not with `-q`.
    pub fn warning(&self, text: impl Display) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let text = format!("{} {}", self.paint("33", "warning:"), foreign::lines(&text.to_string()));
        self.progress.suspend(|| write_line(io::stderr().lock(), &text));
    }

    /// The result as a JSON document, to stdout; nothing when people read.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the value cannot be written as JSON.
    pub fn document(&self, value: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Error::new(Kind::Internal, "a result cannot be written as JSON").because(error))?;
        self.document_written.store(true, Ordering::Relaxed);
        self.progress.suspend(|| write_line(io::stdout().lock(), &foreign::json(&text)));
        Ok(())
    }

    /// From here on stdout holds a stream that the caller writes: an error, too, goes to stderr then.
    pub fn leave_stdout(&self) {
        self.document_written.store(true, Ordering::Relaxed);
    }

    /// Says what went wrong: `error[WH-…]: …` with causes and a `hint:` line to stderr; in JSON mode as the document, or,
    /// where the command has already written one, to stderr too.
    pub fn error(&self, error: &Error) {
        if self.json && !self.document_written.swap(true, Ordering::Relaxed) {
            let document = format!("{:#}", json!({ "error": error_document(error) }));
            self.progress.suspend(|| write_line(io::stdout().lock(), &foreign::json(&document)));
            return;
        }
        let text = self.error_text(error);
        self.progress.suspend(|| write_line(io::stderr().lock(), &text));
    }

    /// Says why a command had nothing to do: a line to stderr, the member `nothing_done` of the document in JSON mode.
    pub fn nothing_done(&self, why: &Error) {
        if self.json && !self.document_written.swap(true, Ordering::Relaxed) {
            let document = json!({ "nothing_done": error_document(why) });
            self.progress.suspend(|| write_line(io::stdout().lock(), &foreign::json(&format!("{document:#}"))));
            return;
        }
        self.note(format_args!("nothing done ({}): {}", why.kind().code(), why.detail()));
        if let Some(hint) = why.hint_text() {
            self.note(hint);
        }
    }

    fn error_text(&self, error: &Error) -> String {
        let head = self.paint("31;1", &format!("error[{}]:", error.kind().code()));
        let mut text = format!("{head} {}", foreign::lines(error.detail()));
        match mistakes_of(error) {
            Some(mistakes) => text.push_str(&format!("\n{}", foreign::lines(&mistakes.to_string()))),
            None => {
                for cause in causes(error) {
                    text.push_str(&format!("\n  caused by: {}", foreign::one_line(&cause)));
                }
            }
        }
        if let Some(hint) = error.hint_text() {
            text.push_str(&format!("\n{} {}", self.paint("36;1", "hint:"), foreign::lines(hint)));
        }
        text
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// An error as the `error` member of a JSON document.
fn error_document(error: &Error) -> Value {
    let mut document = json!({
        "code": error.kind().code(),
        "message": error.detail(),
        "causes": causes(error),
        "hint": error.hint_text(),
    });
    if let Some(mistakes) = mistakes_of(error) {
        document["causes"] = json!([]);
        document["mistakes"] = json!(mistakes.list());
    }
    document
}

fn mistakes_of(error: &Error) -> Option<&Mistakes> {
    std::error::Error::source(error)?.downcast_ref()
}

/// The causes, outermost first, without those that only repeat the text above them.
fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut above = error.detail().to_owned();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        if !above.contains(&text) {
            causes.push(text.clone());
        }
        above = text;
        next = cause.source();
    }
    causes
}

/// Whether stderr takes colours: a terminal, and neither `NO_COLOR` nor a dumb terminal.
pub fn colour_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !refused && !dumb
}

/// Writes a line; a reader that went away is none of our business.
fn write_line(mut to: impl Write, text: &str) {
    let _ = writeln!(to, "{text}").and_then(|()| to.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Printer {
        Printer { colour: false, ..Printer::new(false, Verbosity::Normal, Progress::silent()) }
    }

    #[test]
    fn an_error_shows_code_causes_and_hint() {
        let error = Error::new(Kind::Unreachable, "the shop does not answer")
            .because(io::Error::other("connection refused"))
            .hint("look at the address");
        assert_eq!(
            plain().error_text(&error),
            "error[WH-301]: the shop does not answer\n  caused by: connection refused\nhint: look at the address"
        );
    }

    #[test]
    fn a_cause_that_repeats_the_detail_is_left_out() {
        let error = Error::from(io::Error::other("disk full"));
        assert_eq!(plain().error_text(&error), "error[WH-601]: disk full");
    }

    #[test]
    fn an_error_document_carries_code_message_and_hint() {
        let document = error_document(&Error::new(Kind::Command, "no such verb").hint("wharf --help"));
        assert_eq!(document["code"], "WH-100");
        assert_eq!(document["message"], "no such verb");
        assert_eq!(document["hint"], "wharf --help");
    }
}
