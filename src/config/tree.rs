//! A YAML text as a tree in which every key and value knows its place, with variables filled in.
//!
//! Mistakes are collected, never the end of reading, but for a syntax error: behind that, nothing can be trusted. A value
//! that could not be read becomes [`Content::Unknown`], so that nobody complains about it twice.

use super::mistakes::Place;
use super::variables::{Variables, fill};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use std::borrow::Cow;
use std::collections::HashMap;

/// Nested deeper than any pipeline file, and not deep enough to exhaust the stack.
const MOST_LEVELS: usize = 40;
/// More values than any pipeline file has; aliases of aliases can multiply without end.
const MOST_NODES: usize = 50_000;

/// A value.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub content: Content,
}

/// What a value is.
#[derive(Clone)]
pub enum Content {
    /// Text, as yet without a type.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys with values, in the file's order, each key once.
    Map(Vec<Entry>),
    /// A mistake has been named here already.
    Unknown,
}

/// Text, as yet without a type.
#[derive(Clone)]
pub struct Scalar {
    /// The text with its variables filled in. May be a secret.
    pub text: String,
    /// Whether it stood without quotes: only then can it be a number, a truth value or nothing.
    pub plain: bool,
    /// The variables it came from, `${NAME}`; with any, the text must not be shown.
    pub from: Vec<String>,
}

impl Scalar {
    /// Whether it means nothing: empty, `~` or `null`, without quotes and not from a variable.
    pub fn is_null(&self) -> bool {
        self.plain && self.from.is_empty() && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub node: Node,
}

// Values may be secrets: a tree shows its shape only.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::Scalar(_) => f.write_str("Scalar"),
            Content::List(nodes) => f.debug_list().entries(nodes).finish(),
            Content::Map(entries) => f.debug_list().entries(entries).finish(),
            Content::Unknown => f.write_str("Unknown"),
        }
    }
}

/// Something wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// Reads a text: the tree, unless the text is no YAML mapping, and all that is wrong with it.
pub fn read(text: &str, variables: &Variables) -> (Option<Node>, Vec<Flaw>) {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        text,
        variables,
        anchors: HashMap::new(),
        nodes: 0,
        flaws: Vec::new(),
    };
    let root = match reader.document() {
        Ok(root) => root,
        Err(flaw) => {
            // Whatever came before is repeated when the syntax is right; alone it would hide what matters.
            return (None, vec![flaw]);
        }
    };
    (root, reader.flaws)
}

struct Reader<'text> {
    parser: Parser<'text, StrInput<'text>>,
    text: &'text str,
    variables: &'text Variables,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    flaws: Vec<Flaw>,
}

type Step<T> = Result<T, Flaw>;

impl<'text> Reader<'text> {
    fn document(&mut self) -> Step<Option<Node>> {
        let mut root = None;
        while let Some((event, span)) = self.event()? {
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                _ if root.is_some() => {
                    self.flaw(
                        place(span),
                        "a second YAML document begins",
                        "a pipeline file is one document: one file each",
                    );
                    break;
                }
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        Ok(root)
    }

    fn event(&mut self) -> Step<Option<(Event<'text>, Span)>> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                let at = Place { line: error.marker().line().max(1), column: error.marker().col() + 1 };
                // A tab is noticed while the line before it is read on.
                let indented_by_tab = |line: &usize| {
                    let text = self.text.lines().nth(line - 1).unwrap_or_default();
                    text.chars().take_while(|letter| letter.is_whitespace()).any(|letter| letter == '\t')
                };
                let (place, hint) = match [at.line, at.line + 1].iter().find(|line| indented_by_tab(line)) {
                    Some(line) if *line == at.line || error.info().contains("tab") => {
                        (Place { line: *line, column: 1 }, "this line is indented with a tab; YAML wants blanks")
                    }
                    _ => (
                        at,
                        "look at indentation, missing `:` and unclosed quotes or brackets, in this line and the one before",
                    ),
                };
                Err(Flaw { place, message: format!("not valid YAML: {}", error.info()), hint: Some(hint.into()) })
            }
        }
    }

    /// The next event of a list or mapping that is still open.
    fn event_within(&mut self, opened: Span) -> Step<(Event<'text>, Span)> {
        self.event()?.ok_or_else(|| Flaw {
            place: place(opened),
            message: "not valid YAML: what begins here does not end".into(),
            hint: None,
        })
    }

    fn node(&mut self, event: Event<'text>, span: Span, level: usize) -> Step<Node> {
        self.nodes += 1;
        if level > MOST_LEVELS || self.nodes > MOST_NODES {
            return Err(Flaw {
                place: place(span),
                message: "nested too deep, or too many values, for a pipeline file".into(),
                hint: None,
            });
        }
        let place = place(span);
        let (anchor, content) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(text, style, tag, place)),
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), place);
                (anchor, self.list(span, level)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), place);
                (anchor, self.map(span, level)?)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => {
                    self.nodes += count(&node);
                    (0, node.content)
                }
                None => {
                    self.flaw(place, "this alias stands inside the value it names", "write the value out");
                    (0, Content::Unknown)
                }
            },
            _ => (0, Content::Unknown),
        };
        let node = Node { place, content };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, tag: Option<Cow<'_, Tag>>, place: Place) -> Content {
        let is_text_tag = tag.as_deref().is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if !is_text_tag {
            self.refuse_tag(tag.as_deref(), place);
        }
        match fill(&text, self.variables) {
            Ok(filled) => {
                let plain = style == ScalarStyle::Plain && !is_text_tag;
                Content::Scalar(Scalar { text: filled.text, plain, from: filled.from })
            }
            Err(wrong) => {
                for (message, hint) in wrong {
                    self.flaw(place, message, hint);
                }
                Content::Unknown
            }
        }
    }

    fn list(&mut self, opened: Span, level: usize) -> Step<Content> {
        let mut nodes = Vec::new();
        loop {
            match self.event_within(opened)? {
                (Event::SequenceEnd, _) => return Ok(Content::List(nodes)),
                (event, span) => nodes.push(self.node(event, span, level + 1)?),
            }
        }
    }

    fn map(&mut self, opened: Span, level: usize) -> Step<Content> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key_event, key_span) = self.event_within(opened)?;
            let key = match key_event {
                Event::MappingEnd => return Ok(Content::Map(entries)),
                Event::Scalar(text, ..) => Some(text.into_owned()),
                event => {
                    self.node(event, key_span, level + 1)?;
                    self.flaw(
                        place(key_span),
                        "a key must be plain text",
                        "quote the key if it begins with a special character",
                    );
                    None
                }
            };
            let (event, span) = self.event_within(opened)?;
            let node = self.node(event, span, level + 1)?;
            let Some(key) = key else { continue };
            if key == "<<" {
                let hint = "write the keys out here, or name the whole value by an anchor: `a: &name {…}`, `b: *name`";
                self.flaw(place(key_span), "YAML merge keys (`<<`) are not taken", hint);
                continue;
            }
            match entries.iter().find(|entry| entry.key == key).map(|entry| entry.place.line) {
                Some(line) => {
                    let message = format!("`{key}` is given twice; the first is in line {line}");
                    self.flaw(place(key_span), message, "keep one of the two");
                }
                None => entries.push(Entry { key, place: place(key_span), node }),
            }
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, place: Place) {
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
            self.flaw(place, "YAML tags mean nothing here", "leave out what begins with `!`, or quote the value");
        }
    }

    fn flaw(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.flaws.push(Flaw { place, message: message.into(), hint: Some(hint.into()) });
    }
}

fn place(span: Span) -> Place {
    Place { line: span.start.line().max(1), column: span.start.col() + 1 }
}

fn count(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) | Content::Unknown => 1,
        Content::List(nodes) => 1 + nodes.iter().map(count).sum::<usize>(),
        Content::Map(entries) => 1 + entries.iter().map(|entry| count(&entry.node)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(text: &str) -> Vec<(usize, usize, String)> {
        let (_, flaws) = read(text, &Variables::only([]));
        flaws.into_iter().map(|flaw| (flaw.place.line, flaw.place.column, flaw.message)).collect()
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let (root, flaws) = read("a: 1\nb:\n  - x\n  - c: y\n", &Variables::only([]));
        assert!(flaws.is_empty());
        let Some(Node { content: Content::Map(entries), .. }) = root else { panic!("no mapping") };
        assert_eq!((entries[1].place.line, entries[1].place.column), (2, 1));
        let Content::List(nodes) = &entries[1].node.content else { panic!("no list") };
        let Content::Map(inner) = &nodes[1].content else { panic!("no mapping in the list") };
        assert_eq!((inner[0].node.place.line, inner[0].node.place.column), (4, 8));
    }

    #[test]
    fn a_key_given_twice_is_named_with_both_lines() {
        assert_eq!(flaws("a: 1\nb: 2\na: 3\n"), [(3, 1, "`a` is given twice; the first is in line 1".to_owned())]);
    }

    #[test]
    fn a_missing_variable_is_named_at_the_value() {
        let message = "the environment variable NONE is not set".to_owned();
        assert_eq!(flaws("a: 1\nb: x${NONE}\n"), [(2, 4, message)]);
    }

    #[test]
    fn broken_syntax_ends_reading_at_its_line() {
        let flaws = flaws("a: 1\n\tb: 2\n");
        assert_eq!(flaws.len(), 1);
        assert!(flaws[0].2.starts_with("not valid YAML"), "{flaws:?}");
        assert_eq!(flaws[0].0, 2, "{flaws:?}");
    }

    #[test]
    fn aliases_are_written_out_and_cannot_multiply_without_end() {
        let (root, wrong) = read("a: &x [1, 2]\nb: *x\n", &Variables::only([]));
        assert!(wrong.is_empty() && root.is_some_and(|root| count(&root) == 7));
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(flaws(&bomb)[0].2.contains("too many values"));
    }

    #[test]
    fn a_merge_key_is_named_with_its_line() {
        let message = "YAML merge keys (`<<`) are not taken".to_owned();
        assert_eq!(flaws("a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n"), [(3, 3, message)]);
    }

    #[test]
    fn deep_nesting_is_refused() {
        for text in ["[".repeat(5000), "- ".repeat(5000), "{a: ".repeat(5000)] {
            let found = flaws(&text);
            assert!(found[0].2.contains("nested too deep") || found[0].2.contains("recursion limit"), "{found:?}");
        }
    }

    #[test]
    fn a_second_document_is_refused() {
        assert_eq!(flaws("a: 1\n---\nb: 2\n")[0].2, "a second YAML document begins");
    }
}
