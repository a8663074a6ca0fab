//! An XML file cut into records while it arrives: each element at a path becomes one JSON text.
//!
//! Staging keeps JSON, so an element is written as JSON without loss and without understanding: attributes are members
//! named `@name`, children are lists by their name, text is `#`. A child is a list even where there is one, so that a
//! second size does not change the shape of a product. Elements of the offer format's own extensions are called
//! `iaiext:…`, whatever prefix the file gives them.
//!
//! One element is held at a time; a file of hundreds of megabytes costs the memory of its largest product, and what one may
//! cost is bounded while it is read, by bytes taken of the file and by elements and attributes kept: a few bytes each in the
//! file, they cost hundreds here. A file that ends before its root element does is a cut one, never a whole one.

use crate::http::RecordStream;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncRead, BufReader, ReadBuf};
use tokio_util::io::StreamReader;

/// The extensions of the offer format.
const EXTENSIONS: &str = "http://www.iai-shop.com/developers/iof/extensions.phtml";
/// No offer nests its elements this deep.
const DEEPEST: usize = 64;
/// The longest name of an element or attribute, in bytes.
const LONGEST_NAME: usize = 1024;
/// What an element and an attribute cost in memory besides their own bytes, about.
const ELEMENT_COST: usize = 512;
const ATTRIBUTE_COST: usize = 128;
/// No file calls the extensions by more names.
const MOST_PREFIXES: usize = 16;

type Body = Bounded<BufReader<StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>>>;

/// The elements at `path` (the root first) of an XML body, as JSON texts.
pub fn elements(
    body: BoxStream<'static, Result<Bytes>>,
    path: &'static [&'static str],
    max_record: usize,
) -> RecordStream {
    let body = body.map_err(io::Error::other).boxed();
    let body = BufReader::with_capacity(64 << 10, StreamReader::new(body));
    let mut reader = Reader::from_reader(Bounded { inner: body, taken: 0, most: max_record });
    reader.config_mut().check_end_names = true;
    let cutter = Cutter {
        reader,
        path,
        max_record,
        buffer: Vec::new(),
        prefixes: BTreeSet::new(),
        open: Vec::new(),
        ended: false,
    };
    stream::try_unfold(cutter, |mut cutter| async move { Ok(cutter.next().await?.map(|record| (record, cutter))) })
        .boxed()
}

/// Ends in an error when more than `most` bytes are taken at a time: a tag, a text or a comment is collected whole before
/// anybody can look at its length.
struct Bounded<R> {
    inner: R,
    /// Bytes taken since this was last set to 0.
    taken: usize,
    most: usize,
}

impl<R: AsyncBufRead + Unpin> AsyncBufRead for Bounded<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.taken > this.most {
            return Poll::Ready(Err(io::Error::other(too_large(this.most))));
        }
        Pin::new(&mut this.inner).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
        Pin::new(&mut self.inner).consume(bytes);
    }
}

impl<R: AsyncBufRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let available = ready!(self.as_mut().poll_fill_buf(cx))?;
        let bytes = available.len().min(into.remaining());
        into.put_slice(&available[..bytes]);
        self.consume(bytes);
        Poll::Ready(Ok(()))
    }
}

/// An element being read.
struct Element {
    name: String,
    members: Map<String, Value>,
    text: String,
}

impl Element {
    fn value(mut self) -> Value {
        let text = self.text.trim();
        if !text.is_empty() {
            self.members.insert("#".into(), text.into());
        }
        Value::Object(self.members)
    }
}

struct Cutter {
    reader: Reader<Body>,
    path: &'static [&'static str],
    max_record: usize,
    buffer: Vec<u8>,
    /// Prefixes that mean the extensions.
    prefixes: BTreeSet<String>,
    /// Elements around records: their names, and what they say of all records in them.
    open: Vec<Element>,
    ended: bool,
}

impl Cutter {
    /// The next record.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut inside: Vec<Element> = Vec::new();
        let mut size = 0;
        loop {
            if self.ended {
                return Ok(None);
            }
            self.buffer.clear();
            self.reader.get_mut().taken = 0;
            let event = self.reader.read_event_into_async(&mut self.buffer).await.map_err(trouble)?;
            let closed = match event {
                Event::Start(start) => {
                    let mut element = opened(&start, &mut self.prefixes, &mut size, self.max_record)?;
                    if self.open.is_empty() && element.name != self.path[0] {
                        return Err(other_file(self.path[0]));
                    }
                    if inside.len() + self.open.len() >= DEEPEST {
                        return Err(Error::new(
                            Kind::Protocol,
                            format!("the file nests its elements deeper than {DEEPEST}"),
                        ));
                    }
                    // What is neither above a record nor in one is walked past, but its end must be seen.
                    let begins = self.open.len() + 1 == self.path.len() && leads_to(&self.open, &element, self.path);
                    if begins || !inside.is_empty() {
                        inside.push(element);
                    } else {
                        if !leads_to(&self.open, &element, self.path.get(..=self.open.len()).unwrap_or_default()) {
                            element.members.clear();
                        }
                        self.open.push(element);
                    }
                    None
                }
                Event::Empty(start) => {
                    let element = opened(&start, &mut self.prefixes, &mut size, self.max_record)?;
                    if self.open.is_empty() && element.name != self.path[0] {
                        return Err(other_file(self.path[0]));
                    }
                    let begins = self.open.len() + 1 == self.path.len() && leads_to(&self.open, &element, self.path);
                    self.ended = self.open.is_empty() && inside.is_empty();
                    (begins || !inside.is_empty()).then_some(element)
                }
                Event::End(_) => match inside.pop() {
                    Some(element) => Some(element),
                    None => {
                        self.open.pop();
                        self.ended = self.open.is_empty();
                        None
                    }
                },
                Event::Text(text) => {
                    let text = text.xml10_content().map_err(|error| trouble(error.into()))?;
                    size += text.len();
                    if let Some(element) = inside.last_mut() {
                        element.text.push_str(&text);
                    }
                    None
                }
                Event::CData(text) => {
                    let text = text.xml10_content().map_err(|error| trouble(error.into()))?;
                    size += text.len();
                    if let Some(element) = inside.last_mut() {
                        element.text.push_str(&text);
                    }
                    None
                }
                Event::GeneralRef(reference) => {
                    let name = reference.decode().map_err(|error| trouble(error.into()))?;
                    let number = reference.resolve_char_ref().map_err(trouble)?;
                    size += reference.len();
                    if let Some(element) = inside.last_mut() {
                        match (number, resolve_predefined_entity(&name)) {
                            (Some(character), _) => element.text.push(character),
                            (None, Some(text)) => element.text.push_str(text),
                            // HTML's own are read with all other texts later on.
                            (None, None) => {
                                element.text.push('&');
                                element.text.push_str(&name);
                                element.text.push(';');
                            }
                        }
                    }
                    None
                }
                Event::Eof => {
                    return Err(Error::new(Kind::Truncated, "the offer file ends in the middle")
                        .hint("the shop may be writing it; the next run reads it again"));
                }
                Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => None,
            };
            if size > self.max_record {
                return Err(too_large(self.max_record));
            }
            let Some(element) = closed else {
                if inside.is_empty() {
                    size = 0;
                }
                continue;
            };
            let name = element.name.clone();
            match inside.last_mut() {
                Some(parent) => match parent.members.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                    Value::Array(siblings) => siblings.push(element.value()),
                    other => *other = element.value(),
                },
                None => return self.record(element.value()).map(Some),
            }
        }
    }

    /// A record with what the element right above it says of all: the language and currency of products.
    fn record(&self, mut value: Value) -> Result<Bytes> {
        let above = self.open.last().filter(|_| self.open.len() > 1);
        if let (Value::Object(members), Some(above)) = (&mut value, above)
            && !above.members.is_empty()
        {
            members.insert("..".into(), Value::Object(above.members.clone()));
        }
        serde_json::to_vec(&value)
            .map(Bytes::from)
            .map_err(|error| Error::new(Kind::Internal, "an element cannot be written as JSON").because(error))
    }
}

/// Whether the elements open, and then this one, are the path.
fn leads_to(open: &[Element], element: &Element, path: &[&str]) -> bool {
    open.iter().map(|element| element.name.as_str()).chain([element.name.as_str()]).eq(path.iter().copied())
}

/// An element with its attributes, and the prefixes that it declares. Adds what it costs to `size`.
fn opened(
    start: &BytesStart<'_>,
    prefixes: &mut BTreeSet<String>,
    size: &mut usize,
    max_record: usize,
) -> Result<Element> {
    let too_long = |name: &[u8]| name.len() > LONGEST_NAME;
    *size += ELEMENT_COST + start.len();
    let mut members = Map::new();
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| trouble(error.into()))?;
        *size += ATTRIBUTE_COST;
        if *size > max_record || too_long(attribute.key.as_ref()) {
            return Err(too_large(max_record));
        }
        let name = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        let value = match attribute.normalized_value(XmlVersion::default()) {
            Ok(value) => value.into_owned(),
            // An ampersand in an address that nobody escaped.
            Err(quick_xml::Error::Escape(_)) => String::from_utf8_lossy(&attribute.value).into_owned(),
            Err(error) => return Err(trouble(error)),
        };
        match name.strip_prefix("xmlns:") {
            Some(prefix) if value == EXTENSIONS && prefixes.len() < MOST_PREFIXES => {
                prefixes.insert(prefix.to_owned());
            }
            Some(_) => {}
            None if name == "xmlns" => {}
            None => {
                members.insert(format!("@{name}"), Value::String(value));
            }
        }
    }
    if too_long(start.name().into_inner()) {
        return Err(too_large(max_record));
    }
    let written = String::from_utf8_lossy(start.name().into_inner()).into_owned();
    let name = match written.split_once(':') {
        Some((prefix, local)) if prefixes.contains(prefix) => format!("iaiext:{local}"),
        _ => written,
    };
    Ok(Element { name, members, text: String::new() })
}

fn too_large(limit: usize) -> Error {
    Error::new(
        Kind::TooLarge,
        format!("an element of the offer file is larger than {limit} bytes, or has too long a name"),
    )
    .hint("open iof_url in a browser: it must be the gateway.xml of an offer in the IOF format")
}

fn other_file(root: &str) -> Error {
    Error::new(Kind::Protocol, format!("the answer is no offer file: its root element is not `{root}`"))
        .hint("open iof_url in a browser: it must be the gateway.xml of an offer in the IOF format")
}

/// Why the file cannot be read on.
fn trouble(error: quick_xml::Error) -> Error {
    if let quick_xml::Error::Io(inner) = &error {
        let ours = inner.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let (kind, detail) = ours.map_or((Kind::Truncated, "it was cut"), |ours| (ours.kind(), ours.detail()));
        if let Some(hint) = ours.filter(|ours| ours.kind() == Kind::TooLarge).and_then(Error::hint_text) {
            return Error::new(kind, detail).hint(hint);
        }
        return Error::new(kind, format!("the offer file cannot be read on: {detail}"))
            .hint("run the command again; what was read stays, and the file is read anew");
    }
    let cut = matches!(error, quick_xml::Error::Syntax(_));
    let kind = if cut { Kind::Truncated } else { Kind::Protocol };
    Error::new(kind, "the offer file is not well-formed XML").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const PATH: &[&str] = &["offer", "products", "product"];

    async fn cut(text: &str, step: usize) -> (Vec<Value>, Option<Kind>) {
        let chunks: Vec<Result<Bytes>> =
            text.as_bytes().chunks(step.max(1)).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut records = elements(stream::iter(chunks).boxed(), PATH, 60_000);
        let mut found = Vec::new();
        while let Some(record) = records.next().await {
            match record {
                Ok(record) => found.push(serde_json::from_slice(&record).unwrap()),
                Err(error) => return (found, Some(error.kind())),
            }
        }
        (found, None)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    const OFFER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
        <!-- made at night --><offer file_format="IOF" generated="2026-02-16 02:00:00">
        <products language="pol" currency="PLN" xmlns:x="http://www.iai-shop.com/developers/iof/extensions.phtml">
          <product id="1" vat="23.0"><card url="https://s.example/?a=1&amp;b=2"/>
            <description><name xml:lang="pol"><![CDATA[Dom & <b>Ogród</b>]]></name></description>
            <note>a &lt;b&#x105; &nbsp;c</note>
            <x:navigation><x:site id="1"/></x:navigation></product>
          <other><product id="9"/></other>
          <product id="2"/>
        </products></offer>"#;

    #[test]
    fn elements_become_json_without_loss() {
        let (found, trouble) = run(cut(OFFER, 7));
        assert_eq!(trouble, None);
        let above = json!({"@language": "pol", "@currency": "PLN"});
        assert_eq!(
            found,
            [
                json!({
                    "@id": "1", "@vat": "23.0", "..": above,
                    "card": [{"@url": "https://s.example/?a=1&b=2"}],
                    "description": [{"name": [{"@xml:lang": "pol", "#": "Dom & <b>Ogród</b>"}]}],
                    "note": [{"#": "a <bą &nbsp;c"}],
                    "iaiext:navigation": [{"iaiext:site": [{"@id": "1"}]}],
                }),
                json!({"@id": "2", "..": above}),
            ]
        );
    }

    #[test]
    fn what_is_no_offer_is_told_from_one_that_was_cut() {
        assert_eq!(run(cut("<html><body/></html>", 100)), (vec![], Some(Kind::Protocol)));
        assert_eq!(run(cut("", 1)).1, Some(Kind::Truncated));
        assert_eq!(run(cut("<offer><products><product id='1'/>", 100)).0.len(), 1);
        assert_eq!(run(cut("<offer><products><product id='1'/>", 100)).1, Some(Kind::Truncated));
        assert_eq!(run(cut("<offer></products></offer>", 100)).1, Some(Kind::Protocol));
        assert_eq!(run(cut("<offer/>", 100)), (vec![], None));
        let large = format!("<offer><products><product><a>{}</a></product></products></offer>", "x".repeat(100_000));
        assert_eq!(run(cut(&large, 100)).1, Some(Kind::TooLarge));
        let deep = format!("<offer><products><product>{}", "<a>".repeat(100));
        assert_eq!(run(cut(&deep, 100)).1, Some(Kind::Protocol));
    }

    /// Reads a file that goes on with `more` for a gigabyte; gives how many bytes were taken of it, and how it ended.
    fn bomb(begin: &'static str, more: &'static str) -> (usize, Kind) {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let taken = Arc::new(AtomicUsize::new(0));
        let counted = taken.clone();
        let chunk = Bytes::from(more.repeat(4096 / more.len()));
        let rest = stream::repeat(chunk).take(1 << 18).map(move |chunk| {
            counted.fetch_add(chunk.len(), Ordering::Relaxed);
            Ok(chunk)
        });
        let body = stream::once(async move { Ok(Bytes::from(begin)) }).chain(rest).boxed();
        let mut records = elements(body, PATH, 1 << 20);
        let ended = run(async move {
            while let Some(record) = records.next().await {
                if let Err(error) = record {
                    return Some(error.kind());
                }
            }
            None
        });
        (taken.load(Ordering::Relaxed), ended.expect("it does not end well"))
    }

    #[test]
    fn no_element_costs_more_than_a_record_may_however_small_the_file_was_packed() {
        for (begin, more) in [
            ("<offer><products><product a=\"", "x"),
            ("<offer><products><product>", "x"),
            ("<offer><products><product><![CDATA[", "x"),
            ("<offer><products><product>", "&amp;"),
            ("<offer><products><product>", "<a/>"),
            ("<offer><products><product>", "<a b=\"\"></a>"),
            ("<offer><products><product ", "a=\"\" "),
            ("<offer><products><product ", "x"),
            ("<offer><products><", "x"),
            ("<offer><products><!--", "x"),
            ("<offer><products ", "x"),
            ("<!DOCTYPE a [", "<!ENTITY x \"xxxx\">"),
            ("", "x"),
        ] {
            let (taken, kind) = bomb(begin, more);
            assert!(taken <= 2 << 20, "{begin}{more}…: {taken} bytes were taken");
            assert_eq!(kind, Kind::TooLarge, "{begin}{more}…");
        }
    }

    proptest! {
        #[test]
        fn a_cut_file_is_never_a_whole_one(at in 1usize..OFFER.len(), step in 1usize..200) {
            let mut end = at;
            while !OFFER.is_char_boundary(end) {
                end -= 1;
            }
            let (found, trouble) = run(cut(&OFFER[..end], step));
            prop_assert!(trouble.is_some());
            prop_assert!(found.len() <= 2);
        }

        #[test]
        fn no_bytes_upset_it(text in "[<>/a-c \"'=&;!\\[\\]-]{0,120}", step in 1usize..50) {
            run(cut(&text, step));
            run(cut(&format!("<offer><products>{text}</products></offer>"), step));
        }

        #[test]
        fn every_product_is_given_once(ids in prop::collection::vec(0u32..1_000, 0..60), step in 1usize..300) {
            let products: String =
                ids.iter().map(|id| format!("<product id=\"{id}\"><sizes><size id=\"x\"/></sizes></product>")).collect();
            let (found, trouble) = run(cut(&format!("<offer><products>{products}</products></offer>"), step));
            prop_assert_eq!(trouble, None);
            let seen: Vec<String> = found.iter().map(|product| product["@id"].as_str().unwrap().to_owned()).collect();
            prop_assert_eq!(seen, ids.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
    }
}
