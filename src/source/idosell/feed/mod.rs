//! The offer feed (IOF): a gateway.xml that lists files with their hashes, and the files: every product (`full`), prices
//! and stock (`light`), categories.
//!
//! Each file is a stream of its own, walked whole; a file whose hash is the one of last time is not asked for, and proves
//! no deletion. Between two full files the gateway lists files of products that changed (`changes`); they land over the
//! full one. The addresses hold a token: they are asked of the gateway again for every file and never kept.

mod xml;

use super::settings::shop_address;
use crate::config::pipeline::Connection;
use crate::http::{Client, ClientOptions, Response, is_this_machine};
use crate::source::{Next, Page, PageRequest};
use crate::{Error, Kind, Result};
use futures::stream::{self, StreamExt};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// The gateway file itself is small.
const MAX_GATEWAY: usize = 4 << 20;
/// No product of an offer is larger.
const MAX_RECORD: usize = 16 << 20;
/// How long a file of hundreds of megabytes may take.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// One shop's offer feed.
pub struct Feed {
    gateway: SecretString,
    client: Client,
}

/// A file that the gateway lists.
#[derive(Debug, Clone, PartialEq)]
struct File {
    url: Url,
    /// What tells one version from another: the hash, else the time; none if the gateway says neither.
    version: Option<String>,
    changed: Option<String>,
    /// Holds every record.
    whole: bool,
}

/// Where a walk through a feed stands: the versions it has read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Read {
    /// The version of the full file.
    whole: Option<String>,
    /// Versions of files of changes.
    changes: Vec<String>,
}

/// What a page was.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Meta {
    /// What has been read once the page is.
    read: Read,
    /// Whether files are left.
    more: bool,
    /// Whether the whole file was read in this walk.
    whole: bool,
}

/// Where a walk stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Position {
    read: Read,
    whole: bool,
}

impl Feed {
    /// A feed. Makes no call. Its files lie where the gateway does, at the shop's address, or at the servers that the
    /// connection allows; the gateway may name any, and no other is asked.
    pub fn new(gateway: SecretString, connection: &Connection, verify_tls: bool) -> Result<Self> {
        let mut base_url = address(gateway.expose_secret(), connection.allow_http)?;
        base_url.set_path("/");
        let mut options = ClientOptions::new(base_url);
        options.servers = connection.servers()?;
        options.servers.push(shop_address(&connection.base_url)?.origin());
        options.verify_tls = verify_tls;
        options.timeouts.body = PATIENCE;
        options.max_json = MAX_GATEWAY;
        // The gateway is asked while a file is still being read.
        options.concurrency = 2;
        Ok(Self { gateway, client: Client::new(options)? })
    }

    /// How many files were asked for.
    pub fn calls(&self) -> u64 {
        self.client.calls()
    }

    /// Asks for the next file of a stream that has changed.
    pub async fn page(&self, request: &PageRequest<'_>) -> Result<Page> {
        let kind = FileKind::of(request.stream.name)?;
        let position: Position = restored(request.position)?;
        let known: Read = match request.position {
            Value::Null => restored(request.bookmark)?,
            _ => position.read.clone(),
        };
        let mut listed = self.files(kind).await?;
        let Some(next) = next_file(&listed, &known) else {
            let meta = Meta { read: kept(&listed, &known), more: false, whole: position.whole };
            return Ok(Page { records: stream::empty().boxed(), meta: stored(&meta)?, total: None, before: None });
        };
        let file = listed.swap_remove(next);
        let mut read = known;
        match (&file.version, file.whole) {
            (version, true) => read.whole = Some(version.clone().unwrap_or_default()),
            (Some(version), false) => read.changes.push(version.clone()),
            (None, false) => {}
        }
        if file.whole {
            // A full file holds what changed before it.
            let older = listed.iter().filter(|other| !other.whole && other.changed <= file.changed);
            read.changes.extend(older.filter_map(|other| other.version.clone()));
        }
        let more = next_file(&listed, &read).is_some();
        let meta = Meta { read, more, whole: position.whole || file.whole };
        let body = self.get(&file.url).await?.body();
        Ok(Page {
            records: xml::elements(body, kind.path(), MAX_RECORD),
            meta: stored(&meta)?,
            total: None,
            before: None,
        })
    }

    /// Where to go after a file.
    pub fn next(&self, meta: &Value) -> Result<Next> {
        let meta: Meta = restored(meta)?;
        Ok(match meta.more {
            true => Next::Page(stored(&Position { read: meta.read, whole: meta.whole })?),
            false => Next::EndAt { bookmark: stored(&meta.read)?, whole: meta.whole },
        })
    }

    /// What the gateway says of the feed, for `wharf check`.
    pub async fn describe(&self) -> Result<String> {
        let mut found = Vec::new();
        for kind in [FileKind::Full, FileKind::Light, FileKind::Categories] {
            let files = self.files(kind).await?;
            if let Some(file) = files.iter().find(|file| file.whole) {
                found.push(format!("{} of {}", kind.name(), file.changed.as_deref().unwrap_or("unknown age")));
            }
        }
        if found.is_empty() {
            return Err(Error::new(Kind::Protocol, "the gateway lists no file")
                .hint("make the offer in the panel anew and set iof_url to its gateway.xml"));
        }
        Ok(found.join(", "))
    }

    /// The files of a kind that the gateway lists.
    async fn files(&self, kind: FileKind) -> Result<Vec<File>> {
        // `Feed::new` has seen that it is one.
        let gateway = address(self.gateway.expose_secret(), true)?;
        let body = self.get(&gateway).await?.bytes().await?;
        let body = stream::once(async move { Ok(body) }).boxed();
        let mut elements = xml::elements(body, kind.in_gateway(), MAX_GATEWAY);
        let mut files = Vec::new();
        while let Some(element) = elements.next().await {
            let element: Value = serde_json::from_slice(&element?)
                .map_err(|error| Error::new(Kind::Internal, "an element is no JSON").because(error))?;
            files.extend(file(&element, true, &gateway));
            for changes in list(&element, "changes") {
                files.extend(list(changes, "change").iter().filter_map(|change| file(change, false, &gateway)));
            }
        }
        Ok(files)
    }

    async fn get(&self, url: &Url) -> Result<Response> {
        let call = self.client.get_url(url).map_err(|error| error.context("the offer feed"))?;
        let answer = call.header("accept", "application/xml, text/xml, */*").send().await;
        answer.map_err(|failure| Error::from(failure).context("the offer feed"))
    }
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Full,
    Light,
    Categories,
}

impl FileKind {
    fn of(stream: &str) -> Result<Self> {
        Ok(match stream {
            "offers" => FileKind::Full,
            "offer_prices" => FileKind::Light,
            "offer_categories" => FileKind::Categories,
            other => return Err(Error::new(Kind::Internal, format!("an offer feed has no stream {other}"))),
        })
    }

    fn name(self) -> &'static str {
        self.in_gateway()[1]
    }

    fn in_gateway(self) -> &'static [&'static str] {
        match self {
            FileKind::Full => &["provider_description", "full"],
            FileKind::Light => &["provider_description", "light"],
            FileKind::Categories => &["provider_description", "categories"],
        }
    }

    fn path(self) -> &'static [&'static str] {
        match self {
            FileKind::Full | FileKind::Light => &["offer", "products", "product"],
            FileKind::Categories => &["categories", "category"],
        }
    }
}

/// The file to read next: the full one if its version is new, then those of changes, the oldest first.
fn next_file(listed: &[File], read: &Read) -> Option<usize> {
    let is_new = |file: &File| match &file.version {
        None => !file.whole || read.whole.as_deref() != Some(""),
        Some(version) if file.whole => read.whole.as_ref() != Some(version),
        Some(version) => !read.changes.contains(version),
    };
    let unread = || listed.iter().enumerate().filter(|(_, file)| is_new(file));
    let whole = unread().find(|(_, file)| file.whole);
    let changes = unread().filter(|(_, file)| !file.whole && file.version.is_some());
    whole.or_else(|| changes.min_by(|a, b| a.1.changed.cmp(&b.1.changed))).map(|(index, _)| index)
}

/// What was read, without versions that are listed no more. A file without any version is read every time.
fn kept(listed: &[File], read: &Read) -> Read {
    let is_listed = |version: &&String| listed.iter().any(|file| file.version.as_ref() == Some(version));
    Read {
        whole: read.whole.clone().filter(|version| !version.is_empty()),
        changes: read.changes.iter().filter(is_listed).cloned().collect(),
    }
}

fn list<'a>(element: &'a Value, name: &str) -> &'a [Value] {
    element[name].as_array().map_or(&[], Vec::as_slice)
}

fn file(element: &Value, whole: bool, gateway: &Url) -> Option<File> {
    let text = |name: &str| element[name].as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let url = gateway.join(&text("@url")?).ok()?;
    let changed = text("@changed");
    Some(File { url, version: text("@hash").or_else(|| changed.clone()), changed, whole })
}

/// The address of the gateway: https, or http on this machine and where the pipeline file allows it.
fn address(text: &str, allow_http: bool) -> Result<Url> {
    let wrong = |hint: &'static str| Error::new(Kind::PipelineFile, "`iof_url` is no address").hint(hint);
    let url = Url::parse(text.trim()).map_err(|_| wrong("write the address of gateway.xml as the panel shows it"))?;
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => Ok(url),
        ("http", Some(_)) if allow_http || is_this_machine(&url) => Ok(url),
        ("http", Some(_)) => Err(Error::new(Kind::PipelineFile, "`iof_url` is not encrypted")
            .hint("use https://, or set `allow_http: true` if everybody on the way may read the data")),
        _ => Err(wrong("it begins with https://")),
    }
}

fn stored<T: Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::new(Kind::Internal, "a position cannot be kept").because(error))
}

fn restored<T: for<'a> Deserialize<'a> + Default>(value: &Value) -> Result<T> {
    match value {
        Value::Null => Ok(T::default()),
        _ => T::deserialize(value).map_err(|error| {
            Error::new(Kind::Internal, "a position is not one of an offer feed")
                .hint("run `wharf extract --full` to begin the walk anew")
                .because(error)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn listed(version: &str, changed: &str, whole: bool) -> File {
        File { url: url("https://s.example/x"), version: Some(version.into()), changed: Some(changed.into()), whole }
    }

    #[test]
    fn a_file_is_read_when_its_version_is_new_and_changes_after_it_the_oldest_first() {
        let files = [
            listed("c", "2026-02-16 03:30:00", false),
            listed("b", "2026-02-16 02:30:00", false),
            listed("f", "2026-02-16 02:00:00", true),
        ];
        let read = |whole: &str, changes: &[&str]| Read {
            whole: Some(whole.into()),
            changes: changes.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(next_file(&files, &Read::default()), Some(2));
        assert_eq!(next_file(&files, &read("e", &["b"])), Some(2));
        assert_eq!(next_file(&files, &read("f", &[])), Some(1));
        assert_eq!(next_file(&files, &read("f", &["b"])), Some(0));
        assert_eq!(next_file(&files, &read("f", &["b", "c"])), None);
        assert_eq!(kept(&files, &read("f", &["a", "b"])), read("f", &["b"]));
    }

    #[test]
    fn a_file_without_a_version_is_read_once_in_every_walk() {
        let file = File { url: url("https://s.example/x"), version: None, changed: None, whole: true };
        let files = [file];
        assert_eq!(next_file(&files, &Read::default()), Some(0));
        let read = Read { whole: Some(String::new()), changes: Vec::new() };
        assert_eq!(next_file(&files, &read), None);
        assert_eq!(next_file(&files, &kept(&files, &read)), Some(0));
    }
}
