//! A JSON list cut into its elements while it arrives.
//!
//! The splitter walks the bytes once and holds one element plus what has arrived behind it; elements leave as received,
//! byte for byte. What it walks past on the way to the list (paging members, say) is never held.
//!
//! Wrong answers avoided: inventing a record out of a cut answer (an element leaves only when its end was seen and it is
//! valid JSON); taking a cut list for a whole one (the end of the list and of all around it must be seen); recursion on
//! hostile nesting (brackets are kept in a list of limited depth).

use super::content::{self, Start};
use crate::{Error, Kind, Result};
use bytes::{Buf, Bytes, BytesMut};
use serde::de::IgnoredAny;

/// No platform nests its records this deep.
const DEEPEST: usize = 128;
/// The longest member name on the way to a list.
const LONGEST_NAME: usize = 64 << 10;

/// Which part of an answer is the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    path: Vec<String>,
    list: bool,
}

impl Selector {
    /// The elements of the top-level array.
    pub fn array() -> Self {
        Self { path: Vec::new(), list: true }
    }

    /// The elements of the array at a member, members of members divided by dots: `data.orders`.
    pub fn at(path: &str) -> Self {
        Self { path: path.split('.').map(str::to_owned).collect(), list: true }
    }

    /// The top-level value itself, as one record.
    pub fn single() -> Self {
        Self { path: Vec::new(), list: false }
    }

    fn name(&self) -> String {
        self.path.join(".")
    }
}

/// Cuts one answer. Feed it with [`Splitter::push`], tell it of the end with [`Splitter::end`], and take elements with
/// [`Splitter::take`] until it gives none, after each of both.
#[derive(Debug)]
pub struct Splitter {
    selector: Selector,
    max_record: usize,
    buffer: BytesMut,
    /// How much of the buffer the extent of the current value has walked.
    walked: usize,
    extent: Extent,
    state: State,
    complete: bool,
    found: bool,
}

/// What is expected next. Levels count the members of the path that were entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Value { level: usize },
    Member { level: usize, first: bool },
    Name { level: usize },
    Colon { level: usize, wanted: bool },
    SkipStart { level: usize },
    Skip { level: usize },
    AfterMember { level: usize },
    Element { first: bool },
    InElement,
    AfterElement,
    Tail,
    Markup,
    Failed,
}

impl Splitter {
    /// A splitter whose records may have at most `max_record` bytes.
    pub fn new(selector: Selector, max_record: usize) -> Self {
        Self {
            selector,
            max_record,
            buffer: BytesMut::new(),
            walked: 0,
            extent: Extent::default(),
            state: State::Start,
            complete: false,
            found: false,
        }
    }

    /// More bytes of the answer.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// No more bytes will come.
    pub fn end(&mut self) {
        self.complete = true;
    }

    /// The next element; `None` when more bytes are needed or, after [`Splitter::end`], when the list was whole.
    ///
    /// # Errors
    /// [`Kind::Truncated`], [`Kind::NotJson`], [`Kind::TooLarge`], or [`Kind::Protocol`] when the answer has no list where
    /// one was expected. After an error there are no more elements.
    pub fn take(&mut self) -> Result<Option<Bytes>> {
        let outcome = self.advance();
        if outcome.is_err() {
            self.state = State::Failed;
        }
        outcome
    }

    fn advance(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.state {
                State::Failed => return Ok(None),
                State::Markup => {
                    self.buffer.clear();
                    return Ok(None);
                }
                State::Start => match content::json_start(&self.buffer, self.complete) {
                    Start::At(start) => {
                        self.buffer.advance(start);
                        self.state = State::Value { level: 0 };
                    }
                    Start::Undecided => return Ok(None),
                    Start::Nowhere => return Err(content::not_json(&self.buffer)),
                },
                State::InElement => {
                    let end = match self.walk(self.max_record)? {
                        Some(end) => end,
                        None => return self.starved(),
                    };
                    let element = self.buffer.split_to(end).freeze();
                    if serde_json::from_slice::<IgnoredAny>(&element).is_err() {
                        return Err(Error::new(Kind::NotJson, "a record in the answer is not valid JSON"));
                    }
                    self.state = if self.selector.list { State::AfterElement } else { State::Tail };
                    return Ok(Some(element));
                }
                State::Name { level } => {
                    let end = match self.walk(LONGEST_NAME)? {
                        Some(end) => end,
                        None => return self.starved(),
                    };
                    let name: String = serde_json::from_slice(&self.buffer.split_to(end)).map_err(|_| malformed())?;
                    self.state = State::Colon { level, wanted: self.selector.path.get(level) == Some(&name) };
                }
                State::Skip { level } => {
                    let end = self.walk(usize::MAX)?;
                    let passed = end.unwrap_or(self.walked);
                    self.buffer.advance(passed);
                    self.walked = 0;
                    match end {
                        Some(_) => self.state = State::AfterMember { level },
                        None => return self.starved(),
                    }
                }
                _ => match self.byte() {
                    Some(byte) => self.step(byte)?,
                    None if self.complete && self.state == State::Tail => return Ok(None),
                    None => return self.starved(),
                },
            }
        }
    }

    /// One byte of structure outside of values; blanks never come here.
    fn step(&mut self, byte: u8) -> Result<()> {
        let depth = self.selector.path.len();
        self.state = match (self.state, byte) {
            (State::Value { level }, _) if level == depth && !self.selector.list => return self.open(State::InElement),
            (State::Value { level }, b'[') if level == depth => {
                self.found = true;
                State::Element { first: true }
            }
            (State::Value { level }, b'{') if level < depth => State::Member { level, first: true },
            (State::Value { level }, _) => return Err(self.misshapen(level)),
            (State::Member { first: true, level }, b'}') => self.leave(level)?,
            (State::Member { level, .. }, b'"') => return self.open(State::Name { level }),
            (State::Colon { level, wanted }, b':') => {
                if wanted {
                    State::Value { level: level + 1 }
                } else {
                    State::SkipStart { level }
                }
            }
            (State::SkipStart { level }, _) => return self.open(State::Skip { level }),
            (State::AfterMember { level }, b',') => State::Member { level, first: false },
            (State::AfterMember { level }, b'}') => self.leave(level)?,
            (State::Element { first: true }, b']') | (State::AfterElement, b']') => match depth {
                0 => State::Tail,
                _ => State::AfterMember { level: depth - 1 },
            },
            (State::Element { .. }, _) => return self.open(State::InElement),
            (State::AfterElement, b',') => State::Element { first: false },
            // Caches sign their pages with a comment behind the JSON.
            (State::Tail, b'<') => State::Markup,
            _ => return Err(malformed()),
        };
        self.buffer.advance(1);
        Ok(())
    }

    /// A value begins at the byte in hand.
    fn open(&mut self, state: State) -> Result<()> {
        self.extent = Extent::default();
        self.walked = 0;
        self.state = state;
        Ok(())
    }

    /// The object of `level` has ended.
    fn leave(&self, level: usize) -> Result<State> {
        if level > 0 {
            return Ok(State::AfterMember { level: level - 1 });
        }
        match self.found {
            true => Ok(State::Tail),
            false => Err(Error::new(Kind::Protocol, format!("the answer has no list named {}", self.selector.name()))),
        }
    }

    /// The next byte that is no blank.
    fn byte(&mut self) -> Option<u8> {
        let blanks = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.buffer.advance(blanks);
        self.buffer.first().copied()
    }

    /// Walks on to the end of the value at the front of the buffer; gives its length when the end is there.
    fn walk(&mut self, limit: usize) -> Result<Option<usize>> {
        let end = self.extent.walk(&self.buffer[self.walked..])?.map(|end| self.walked + end);
        self.walked = end.unwrap_or(self.buffer.len());
        if self.walked > limit {
            return Err(Error::new(Kind::TooLarge, format!("a record in the answer is larger than {limit} bytes")));
        }
        Ok(end)
    }

    fn starved(&self) -> Result<Option<Bytes>> {
        if self.complete { Err(content::truncated()) } else { Ok(None) }
    }

    fn misshapen(&self, level: usize) -> Error {
        let place = match level {
            0 => "the answer".to_owned(),
            _ => self.selector.path[..level].join("."),
        };
        let expected = if level == self.selector.path.len() { "a list" } else { "an object" };
        Error::new(Kind::Protocol, format!("{place} is not {expected}"))
    }
}

fn malformed() -> Error {
    Error::new(Kind::NotJson, "the answer is not valid JSON")
}

/// Finds the end of one JSON value without understanding it.
#[derive(Debug, Default)]
struct Extent {
    /// The brackets that must close, innermost last.
    open: Vec<u8>,
    mode: Mode,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Mode {
    #[default]
    Fresh,
    Structure,
    Text,
    Escape,
    Scalar,
}

impl Extent {
    /// Walks `bytes`, which follow those walked before; gives how many belong to the value once its end is seen.
    fn walk(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            match self.mode {
                Mode::Escape => self.mode = Mode::Text,
                Mode::Text => match memchr::memchr2(b'"', b'\\', &bytes[at..]) {
                    None => return Ok(None),
                    Some(found) => {
                        at += found;
                        if bytes[at] == b'\\' {
                            self.mode = Mode::Escape;
                        } else if self.open.is_empty() {
                            return Ok(Some(at + 1));
                        } else {
                            self.mode = Mode::Structure;
                        }
                    }
                },
                Mode::Scalar => {
                    if matches!(byte, b',' | b']' | b'}' | b':' | b'"' | b'[' | b'{' | b' ' | b'\t' | b'\r' | b'\n') {
                        return Ok(Some(at));
                    }
                }
                Mode::Fresh | Mode::Structure => match byte {
                    b'"' => self.mode = Mode::Text,
                    b'[' | b'{' => {
                        if self.open.len() == DEEPEST {
                            return Err(Error::new(
                                Kind::Protocol,
                                format!("a record in the answer is nested deeper than {DEEPEST} levels"),
                            ));
                        }
                        self.open.push(if byte == b'[' { b']' } else { b'}' });
                        self.mode = Mode::Structure;
                    }
                    b']' | b'}' => {
                        if self.open.pop() != Some(byte) {
                            return Err(malformed());
                        }
                        if self.open.is_empty() {
                            return Ok(Some(at + 1));
                        }
                    }
                    b',' | b':' if self.mode == Mode::Fresh => return Err(malformed()),
                    _ if self.mode == Mode::Fresh => self.mode = Mode::Scalar,
                    _ => {}
                },
            }
            at += 1;
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "splitter_tests.rs"]
mod tests;
