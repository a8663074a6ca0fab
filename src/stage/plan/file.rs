//! A saved plan: lines of JSON, compressed where the name ends in `.zst`.
//!
//! The first line says what the plan was made of, then one line per record that would be sent, and the last line counts
//! them and holds a checksum of all before it, so that a cut or edited file is noticed. The records are written as they are
//! found; the first line is known last, so the file is put together at the end and takes its name then: nobody ever sees
//! half a plan. It holds personal data and is readable by its owner alone.

use super::Report;
use crate::stage::load::bench::{Rendered, Verdict};
use crate::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Raised when the lines come to mean something else.
pub const FORMAT: u32 = 1;
/// No line of a plan is longer; a file with longer ones is none.
const LONGEST_LINE: u64 = 16 << 20;
/// Level of compression: the default of zstd.
const LEVEL: i32 = 3;

/// What a plan was made of: the first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub wharf_plan: u32,
    /// The pipeline.
    pub pipeline: String,
    /// The target account.
    pub target: String,
    /// The platform.
    pub platform: String,
    /// Tells databases apart; says nothing about what is in them.
    pub database: String,
    /// What shapes payloads ([`crate::stage::load::settings::Settings::hash`]).
    pub settings: String,
    /// The last run whose changes had been taken over, and the last that the plan takes.
    pub feed: (i64, i64),
    /// The last call to the account that the ledger knows of.
    pub last_batch: i64,
    /// When it was made, UTC.
    pub made_at: String,
    /// The version of Wharf that made it.
    pub made_by: String,
    /// Counts, calls and times, as `wharf plan --json` shows them.
    pub report: Value,
}

/// One record that would be sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// What the ledger calls it: `contact`, `purchase`, …
    pub object: String,
    /// `contact_id` or `order_id`.
    pub key: Uuid,
    /// What kind of sending it is: `contacts new`, `purchase`, …
    pub action: String,
    /// The contact's address at the target.
    pub address: String,
    /// Fingerprint of what the ledger will say.
    pub payload: Uuid,
    /// Fingerprint of what the ledger says; none where it says nothing.
    pub before: Option<Uuid>,
    /// The request.
    pub request: Value,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
struct Trailer {
    records: u64,
    sha256: String,
}

impl Line {
    /// Of a rendered record that would be sent; `None` for the others.
    pub fn new(record: &Rendered) -> Option<Self> {
        let hashes = record.hashes.as_ref().filter(|_| record.verdict == Verdict::Send)?;
        Some(Self {
            object: record.object.clone(),
            key: record.key,
            action: record.kind.clone(),
            address: record.address.clone(),
            payload: hashes.payload?,
            before: hashes.before,
            request: record.request.value(),
        })
    }
}

/// Writes a plan.
pub struct Writer {
    path: PathBuf,
    body_path: PathBuf,
    body: BufWriter<File>,
    records: u64,
}

impl Writer {
    /// Begins a plan that will be called `path`; what has that name is replaced at the end.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn create(path: &Path) -> Result<Self> {
        let body_path = beside(path, "records");
        Ok(Self { path: path.to_owned(), body: BufWriter::new(create_private(&body_path)?), body_path, records: 0 })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn add(&mut self, line: &Line) -> Result<()> {
        self.body.write_all(to_line(line)?.as_bytes())?;
        self.records += 1;
        Ok(())
    }

    /// Puts the file together; how many records it holds.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn finish(mut self, header: &Header) -> Result<u64> {
        self.body.flush()?;
        let part = beside(&self.path, "part");
        let file = BufWriter::new(create_private(&part)?);
        if is_compressed(&self.path) {
            let mut encoder = zstd::Encoder::new(file, LEVEL)?;
            self.write_to(&mut encoder, header)?;
            sync(encoder.finish()?)?;
        } else {
            let mut file = file;
            self.write_to(&mut file, header)?;
            sync(file)?;
        }
        std::fs::rename(&part, &self.path)?;
        Ok(self.records)
    }

    fn write_to(&mut self, out: &mut impl Write, header: &Header) -> Result<()> {
        let mut hash = Sha256::new();
        let first = to_line(header)?;
        hash.update(&first);
        out.write_all(first.as_bytes())?;
        let body = self.body.get_mut();
        body.rewind()?;
        let mut block = vec![0_u8; 64 << 10];
        loop {
            let n = body.read(&mut block)?;
            if n == 0 {
                break;
            }
            hash.update(&block[..n]);
            out.write_all(&block[..n])?;
        }
        let trailer = Trailer { records: self.records, sha256: hex::encode(hash.finalize()) };
        out.write_all(to_line(&trailer)?.as_bytes())?;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whether or not the plan was finished, what it was put together from is of no use any more.
        let _ = std::fs::remove_file(&self.body_path);
    }
}

/// Reads a plan line by line, and knows at its end whether it is whole.
pub struct Reader {
    lines: Box<dyn BufRead + Send>,
    hash: Sha256,
    /// The line in hand: the next one tells whether it is the last.
    held: Vec<u8>,
    records: u64,
}

impl Reader {
    /// Opens a plan and reads its first line.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Plan`] where it is no plan, or one of another version.
    pub fn open(path: &Path) -> Result<(Self, Header)> {
        let file = File::open(path)
            .map_err(|error| Error::new(Kind::Io, format!("the plan {} cannot be read: {error}", path.display())))?;
        let lines: Box<dyn BufRead + Send> = if is_compressed(path) {
            Box::new(BufReader::new(zstd::Decoder::new(file)?))
        } else {
            Box::new(BufReader::new(file))
        };
        let mut reader = Self { lines, hash: Sha256::new(), held: Vec::new(), records: 0 };
        let first = reader.line()?.ok_or_else(|| broken("it is empty"))?;
        let format = serde_json::from_slice::<Value>(&first).ok().and_then(|line| line["wharf_plan"].as_u64());
        match format {
            None => return Err(broken("it is no plan of Wharf")),
            Some(format) if format != u64::from(FORMAT) => {
                return Err(broken("it was made by a version of Wharf whose plans this one does not read"));
            }
            Some(_) => {}
        }
        let header = serde_json::from_slice(&first).map_err(|_| broken("its first line is not as it should be"))?;
        reader.hash.update(&first);
        reader.held = reader.line()?.ok_or_else(|| broken("it ends after its first line"))?;
        Ok((reader, header))
    }

    /// The next record's line with its line break; `None` at the end of a whole plan.
    ///
    /// # Errors
    /// [`Kind::Plan`] where the file was cut or edited.
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>> {
        if let Some(following) = self.line()? {
            let line = std::mem::replace(&mut self.held, following);
            self.hash.update(&line);
            self.records += 1;
            return Ok(Some(line));
        }
        let trailer: Trailer =
            serde_json::from_slice(&self.held).map_err(|_| broken("it was cut: its last line is missing"))?;
        if trailer.records != self.records || trailer.sha256 != hex::encode(self.hash.clone().finalize()) {
            return Err(broken("it was edited after it was made: its checksum does not match"));
        }
        Ok(None)
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = (&mut self.lines).take(LONGEST_LINE).read_until(b'\n', &mut line);
        match read {
            Ok(0) => Ok(None),
            Ok(_) if line.last() == Some(&b'\n') => Ok(Some(line)),
            Ok(_) | Err(_) => Err(broken("it was cut: it ends in the middle of a line")),
        }
    }
}

impl Header {
    /// Of a plan just made.
    ///
    /// # Errors
    /// [`Kind::Internal`].
    pub fn new(report: &Report, origin: Origin) -> Result<Self> {
        let report_value = serde_json::to_value(report)
            .map_err(|error| Error::new(Kind::Internal, "a plan cannot be written as JSON").because(error))?;
        Ok(Self {
            wharf_plan: FORMAT,
            pipeline: report.pipeline.clone(),
            target: report.target.clone(),
            platform: origin.platform,
            database: origin.database,
            settings: origin.settings,
            feed: origin.feed,
            last_batch: origin.last_batch,
            made_at: jiff::Timestamp::now().to_string(),
            made_by: env!("CARGO_PKG_VERSION").to_owned(),
            report: report_value,
        })
    }
}

/// What a plan was made of, besides its report.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The platform.
    pub platform: String,
    /// Tells databases apart.
    pub database: String,
    /// Fingerprint of the settings.
    pub settings: String,
    /// As in [`Header`].
    pub feed: (i64, i64),
    /// As in [`Header`].
    pub last_batch: i64,
}

/// What tells this database apart from others, without telling its salt.
///
/// # Errors
/// Those of the database.
pub async fn database_mark(client: &tokio_postgres::Client) -> Result<String> {
    let row = client
        .query_one(
            "select encode(sha256(convert_to('plan ' || current_database() || ' ' || value, 'UTF8')), 'hex')
             from ops.settings where name = 'identity_salt'",
            &[],
        )
        .await?;
    Ok(row.get::<_, String>(0).chars().take(16).collect())
}

/// An error about the file itself.
pub fn broken(why: &str) -> Error {
    Error::new(Kind::Plan, format!("the plan cannot be applied: {why}; nothing was sent"))
        .hint("make a new one: `wharf plan PIPELINE --out FILE`")
}

fn to_line(value: &impl Serialize) -> Result<String> {
    let mut line = serde_json::to_string(value)
        .map_err(|error| Error::new(Kind::Internal, "a plan cannot be written as JSON").because(error))?;
    line.push('\n');
    Ok(line)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.{ending}", std::process::id()));
    PathBuf::from(name)
}

fn create_private(path: &Path) -> Result<File> {
    let _ = std::fs::remove_file(path);
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::new(Kind::Io, format!("{} cannot be written: {error}", path.display())))
}

fn sync(mut file: BufWriter<File>) -> Result<()> {
    file.flush()?;
    Ok(file.get_ref().sync_all()?)
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "zst")
}
