//! Landing records in `staging`: what is new enters by COPY, what changed by one update, what is as it was writes nothing.
//!
//! Raw records with their keys enter; nothing here knows a platform. A batch lands inside the caller's transaction, so
//! that the position in the walk is stored with the records it speaks of.
//!
//! What the wrong answers would be:
//! - an upsert of every record: each unchanged row would be written, locked and mapped again;
//! - one refused record refusing its batch: a batch that Postgres refuses is halved until the bad record is alone, and
//!   that one goes to `staging.rejects`, bytes and all;
//! - the order of a page deciding between two records of one key: the newest by the platform's word wins, then the last.

use crate::store::copy::{CopyWriter, Values};
use crate::store::storable::{Replaced, storable};
use crate::{Error, Kind, Result, sql};
use bytes::{BufMut, Bytes, BytesMut};
use jiff::Timestamp;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error as StdError;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{GenericClient, Transaction};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// The longest key that staging takes, in bytes; a B-tree of Postgres holds no more than about 2,700 a row.
pub const MAX_KEY: usize = 1_000;

/// The longest record that can be kept at all, in bytes; Postgres ends at 1 GB for a value on its way in.
pub const MAX_RECORD: usize = 768 << 20;

/// A refusal of a larger record may mean that it was too large, whatever Postgres calls it.
const LARGE_RECORD: usize = 32 << 20;

/// Why a record is in `staging.rejects`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RejectCode {
    /// It has no key; it is kept in the rejects only.
    NoKey,
    /// It is not JSON; it is kept in the rejects only.
    NotJson,
    /// Postgres cannot hold it; it is kept in the rejects only.
    NotStorable,
    /// It has landed with the offending characters replaced; the rejects hold it as it was received.
    Altered,
}

impl RejectCode {
    /// The code in `staging.rejects`.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectCode::NoKey => "no-key",
            RejectCode::NotJson => "not-json",
            RejectCode::NotStorable => "not-storable",
            RejectCode::Altered => "altered",
        }
    }
}

/// One record on its way into staging.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its key at the platform.
    pub key: String,
    /// When the platform says it was last changed.
    pub updated_at: Option<Timestamp>,
    /// The key of the record it hangs on.
    pub parent: Option<Arc<str>>,
    /// The bytes as received.
    pub raw: Bytes,
    /// Hash of what counts as change in them; equal hashes mean that the record is as it was.
    pub hash: Uuid,
}

impl Record {
    /// A record of which every byte counts.
    pub fn new(key: String, updated_at: Option<Timestamp>, parent: Option<Arc<str>>, raw: Bytes) -> Self {
        let hash = payload_hash(&raw);
        Self { key, updated_at, parent, raw, hash }
    }
}

/// One record that staging does not take.
#[derive(Debug, Clone)]
pub struct Reject {
    /// Its key, where it has one.
    pub key: Option<String>,
    /// Why.
    pub code: RejectCode,
    /// Why, in words, without values of the record.
    pub reason: String,
    /// The bytes as received.
    pub raw: Bytes,
}

impl Reject {
    /// The key in `staging.rejects`: the record's own, or the hash of its bytes.
    fn source_key(&self) -> String {
        match &self.key {
            Some(key) if key_is_storable(key) => key.clone(),
            _ => format!("hash:{}", payload_hash(&self.raw).simple()),
        }
    }
}

/// XXH3-128 of the bytes received.
pub fn payload_hash(raw: &[u8]) -> Uuid {
    Uuid::from_u128(xxh3_128(raw))
}

/// Whether a key can be the key of a staging row.
pub fn key_is_storable(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY && !key.contains('\0')
}

/// Records of one stream that land together.
#[derive(Debug, Default)]
pub struct Batch {
    /// Records with a key, in the order received.
    pub records: Vec<Record>,
    /// Records without one, or that are no JSON.
    pub rejects: Vec<Reject>,
    /// How many more were received that are no records and leave no trace.
    pub no_records: u64,
    bytes: usize,
}

impl Batch {
    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        self.bytes += record.raw.len();
        self.records.push(record);
    }

    /// Adds a record that staging does not take.
    pub fn push_reject(&mut self, reject: Reject) {
        self.bytes += reject.raw.len();
        self.rejects.push(reject);
    }

    /// Counts what is no record.
    pub fn push_no_record(&mut self) {
        self.no_records += 1;
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.records.len() + self.rejects.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys of its records that can be stored, each once.
    pub fn distinct_keys(&self) -> Vec<String> {
        let keys = self.records.iter().map(|record| record.key.as_str()).filter(|key| key_is_storable(key));
        keys.collect::<HashSet<_>>().into_iter().map(str::to_owned).collect()
    }

    /// How many bytes the records have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What became of the records of a batch. They add up to the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Landed {
    /// Never seen before.
    pub new: u64,
    /// Different from last time.
    pub changed: u64,
    /// As last time; nothing was written.
    pub unchanged: u64,
    /// Thought deleted, and back.
    pub restored: u64,
    /// Another record of the same key, newer or later, was taken instead.
    pub repeated: u64,
    /// Kept in `staging.rejects` only.
    pub rejected: u64,
    /// Among those that landed: with characters replaced that Postgres cannot hold.
    pub altered: u64,
}

impl AddAssign for Landed {
    fn add_assign(&mut self, more: Self) {
        self.new += more.new;
        self.changed += more.changed;
        self.unchanged += more.unchanged;
        self.restored += more.restored;
        self.repeated += more.repeated;
        self.rejected += more.rejected;
        self.altered += more.altered;
    }
}

/// A stream's table and the statements that write to it, on behalf of one run.
#[derive(Debug)]
pub struct Landing {
    connection: String,
    stream: String,
    table: String,
    run_id: i64,
    /// Whether what comes is taken for new without a look.
    expects_new: AtomicBool,
    known: String,
    copy: String,
    change: String,
    restore: String,
}

impl Landing {
    /// For one stream of a connection; `table` is its table in schema `staging`.
    ///
    /// # Errors
    /// [`Kind::Internal`] if an SQL file is missing.
    pub fn new(connection: &str, stream: &str, table: &str, run_id: i64) -> Result<Self> {
        Ok(Self {
            connection: connection.to_owned(),
            stream: stream.to_owned(),
            table: quoted(table),
            run_id,
            expects_new: AtomicBool::new(false),
            known: statement("known", table)?,
            copy: statement("copy", table)?,
            change: statement("change", table)?,
            restore: statement("restore", table)?,
        })
    }

    /// Finds out whether there is anything yet that a record could be compared with. As long as there is not, batches are
    /// copied in without a look, and the first one that holds a known key after all is looked up, as are those after it.
    ///
    /// # Errors
    /// Those of Postgres.
    pub async fn expect(&self, client: &impl GenericClient) -> Result<()> {
        let statement = format!(
            "select not exists (select from {} where connection = $1)
                 and not exists (select from staging.rejects where connection = $1 and stream = $2)",
            self.table
        );
        let expects_new = client.query_one(&statement, &[&self.connection, &self.stream]).await?.try_get(0)?;
        self.expects_new.store(expects_new, Ordering::Relaxed);
        Ok(())
    }

    /// Lands a batch inside the caller's transaction.
    ///
    /// # Errors
    /// Those of Postgres; [`Kind::TooLarge`] for a record beyond [`MAX_RECORD`]. A record that Postgres cannot hold is no
    /// error: it goes to `staging.rejects`.
    pub async fn land(&self, tx: &Transaction<'_>, batch: Batch) -> Result<Landed> {
        let too_large = |raw: &Bytes| raw.len() > MAX_RECORD;
        if batch.records.iter().any(|r| too_large(&r.raw)) || batch.rejects.iter().any(|r| too_large(&r.raw)) {
            let detail = format!("a record of more than {} MB cannot be kept", MAX_RECORD >> 20);
            return Err(Error::new(Kind::TooLarge, detail));
        }
        let Batch { records, mut rejects, .. } = batch;
        let mut landed = Landed::default();
        let records = only_storable_keys(records, &mut rejects);
        let (records, repeated) = newest_of_each_key(records);
        landed.repeated = repeated;

        if self.expects_new.load(Ordering::Relaxed) {
            if rejects.is_empty() && self.copy_as_new(tx, &records).await? {
                landed.new = records.len() as u64;
                return Ok(landed);
            }
            // From now on there are rejects that a later record may settle, or keys that come again.
            self.expects_new.store(false, Ordering::Relaxed);
        }

        let keys: Vec<&str> = records.iter().map(|record| record.key.as_str()).collect();
        let (known, rejected_before) = tokio::try_join!(self.known(tx, &keys), self.rejected(tx, &keys))?;

        let mut writes = Vec::new();
        let mut back = Vec::new();
        let mut as_stored: Vec<&str> = Vec::new();
        for record in &records {
            match known.get(&record.key) {
                None => writes.push(Write::new(record, Kept::Nothing)),
                Some(row) if row.is(record) && row.deleted => back.push(record.key.as_str()),
                Some(row) if row.is(record) => {
                    landed.unchanged += 1;
                    as_stored.push(&record.key);
                }
                Some(row) if row.deleted => writes.push(Write::new(record, Kept::Deleted)),
                // A page that was cached somewhere may show what this run has seen newer already.
                Some(row) if row.run_id == self.run_id && row.updated_at > record.updated_at => landed.repeated += 1,
                Some(_) => writes.push(Write::new(record, Kept::Live)),
            }
        }
        let refused = self.write(tx, &writes).await?;
        for (at, write) in writes.iter().enumerate() {
            if let Some(reason) = refused.get(&at) {
                let record = write.record;
                rejects.push(Reject {
                    key: Some(record.key.clone()),
                    code: RejectCode::NotStorable,
                    reason: reason.clone(),
                    raw: record.raw.clone(),
                });
                continue;
            }
            match write.kept {
                Kept::Nothing => landed.new += 1,
                Kept::Live => landed.changed += 1,
                Kept::Deleted => landed.restored += 1,
            }
            if write.replaced.any() {
                landed.altered += 1;
                rejects.push(Reject {
                    key: Some(write.record.key.clone()),
                    code: RejectCode::Altered,
                    reason: write.replaced.reason(),
                    raw: write.record.raw.clone(),
                });
            }
        }
        landed.restored += self.restore(tx, &back).await?;
        landed.rejected += rejects.iter().filter(|reject| reject.code != RejectCode::Altered).count() as u64;

        let sound: Vec<&str> = writes
            .iter()
            .enumerate()
            .filter(|(at, write)| !refused.contains_key(at) && !write.replaced.any())
            .map(|(_, write)| write.record.key.as_str())
            .filter(|key| rejected_before.contains(*key))
            .collect();
        as_stored.retain(|key| rejected_before.contains(*key));
        self.forget_rejects(tx, &sound, &as_stored).await?;
        self.reject(tx, &rejects).await?;
        Ok(landed)
    }

    /// What staging holds of these keys.
    async fn known(&self, tx: &Transaction<'_>, keys: &[&str]) -> Result<HashMap<String, Known>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = tx.query_typed(&self.known, &[(&self.connection, Type::TEXT), (&keys, Type::TEXT_ARRAY)]).await?;
        rows.iter()
            .map(|row| {
                let known = Known {
                    hash: row.try_get("payload_hash")?,
                    parent: row.try_get("parent_key")?,
                    updated_at: row.try_get("source_updated_at")?,
                    deleted: row.try_get("deleted")?,
                    run_id: row.try_get("run_id")?,
                };
                Ok((row.try_get("source_key")?, known))
            })
            .collect()
    }

    /// Which of these keys have rejects.
    async fn rejected(&self, tx: &Transaction<'_>, keys: &[&str]) -> Result<HashSet<String>> {
        if keys.is_empty() {
            return Ok(HashSet::new());
        }
        let statement = sql::file("staging/rejected.sql")?;
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.connection, Type::TEXT), (&self.stream, Type::TEXT), (&keys, Type::TEXT_ARRAY)];
        let rows = tx.query_typed(statement, &parameters).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Copies records in that are taken for new; false, with nothing written, if that cannot be done or not without a word.
    async fn copy_as_new(&self, tx: &Transaction<'_>, records: &[Record]) -> Result<bool> {
        let writes: Vec<Write<'_>> = records.iter().map(|record| Write::new(record, Kept::Nothing)).collect();
        if writes.iter().any(|write| write.replaced.any()) {
            return Ok(false);
        }
        tx.batch_execute("savepoint landing").await?;
        let Err(error) = self.write_all(tx, &writes).await else {
            tx.batch_execute("release savepoint landing").await?;
            return Ok(true);
        };
        let largest = writes.iter().map(|write| write.record.raw.len()).max().unwrap_or(0);
        if error.code() != Some(&SqlState::UNIQUE_VIOLATION) && refusal(&error, largest).is_none() {
            return Err(error.into());
        }
        tx.batch_execute("rollback to savepoint landing; release savepoint landing").await?;
        Ok(false)
    }

    /// Writes records, halving what Postgres refuses. Gives the places of those refused alone, each with the reason.
    async fn write(&self, tx: &Transaction<'_>, writes: &[Write<'_>]) -> Result<BTreeMap<usize, String>> {
        let mut refused = BTreeMap::new();
        let mut waiting = Vec::new();
        if !writes.is_empty() {
            waiting.push(0..writes.len());
        }
        while let Some(range) = waiting.pop() {
            tx.batch_execute("savepoint landing").await?;
            let Err(error) = self.write_all(tx, &writes[range.clone()]).await else {
                tx.batch_execute("release savepoint landing").await?;
                continue;
            };
            let largest = writes[range.clone()].iter().map(|write| write.record.raw.len()).max().unwrap_or(0);
            let Some(reason) = refusal(&error, largest) else {
                return Err(error.into());
            };
            tx.batch_execute("rollback to savepoint landing; release savepoint landing").await?;
            if range.len() == 1 {
                refused.insert(range.start, reason);
            } else {
                let middle = range.start + range.len() / 2;
                waiting.push(middle..range.end);
                waiting.push(range.start..middle);
            }
        }
        Ok(refused)
    }

    async fn write_all(&self, tx: &Transaction<'_>, writes: &[Write<'_>]) -> Result<(), tokio_postgres::Error> {
        let (new, changed): (Vec<_>, Vec<_>) = writes.iter().partition(|write| write.kept == Kept::Nothing);
        if !new.is_empty() {
            self.copy(tx, &new).await?;
        }
        if !changed.is_empty() {
            self.change(tx, &changed).await?;
        }
        Ok(())
    }

    async fn copy(&self, tx: &Transaction<'_>, writes: &[&Write<'_>]) -> Result<(), tokio_postgres::Error> {
        let mut rows = CopyWriter::begin(tx, &self.copy).await?;
        for write in writes {
            let record = write.record;
            rows.row(7)
                .text(&self.connection)
                .text(&record.key)
                .maybe(record.parent.as_deref(), Values::text)
                .jsonb(&write.text)
                .uuid(record.hash)
                .maybe(record.updated_at, Values::timestamptz)
                .bigint(self.run_id);
            rows.send_when_full().await?;
        }
        rows.finish().await?;
        Ok(())
    }

    async fn change(&self, tx: &Transaction<'_>, writes: &[&Write<'_>]) -> Result<(), tokio_postgres::Error> {
        let keys: Vec<&str> = writes.iter().map(|write| write.record.key.as_str()).collect();
        let parents: Vec<Option<&str>> = writes.iter().map(|write| write.record.parent.as_deref()).collect();
        let payloads: Vec<JsonText<'_>> = writes.iter().map(|write| write.payload()).collect();
        let hashes: Vec<Uuid> = writes.iter().map(|write| write.record.hash).collect();
        let times: Vec<Option<Timestamp>> = writes.iter().map(|write| write.record.updated_at).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
            (&self.connection, Type::TEXT),
            (&self.run_id, Type::INT8),
            (&keys, Type::TEXT_ARRAY),
            (&parents, Type::TEXT_ARRAY),
            (&payloads, Type::JSONB_ARRAY),
            (&hashes, Type::UUID_ARRAY),
            (&times, Type::TIMESTAMPTZ_ARRAY),
        ];
        tx.execute_typed(&self.change, &parameters).await?;
        Ok(())
    }

    async fn restore(&self, tx: &Transaction<'_>, keys: &[&str]) -> Result<u64> {
        if keys.is_empty() {
            return Ok(0);
        }
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.connection, Type::TEXT), (&self.run_id, Type::INT8), (&keys, Type::TEXT_ARRAY)];
        Ok(tx.execute_typed(&self.restore, &parameters).await?)
    }

    async fn forget_rejects(&self, tx: &Transaction<'_>, sound: &[&str], as_stored: &[&str]) -> Result<()> {
        if !(sound.is_empty() && as_stored.is_empty()) {
            let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
                (&self.connection, Type::TEXT),
                (&self.stream, Type::TEXT),
                (&sound, Type::TEXT_ARRAY),
                (&as_stored, Type::TEXT_ARRAY),
            ];
            tx.execute_typed(sql::file("staging/forget_rejects.sql")?, &parameters).await?;
        }
        Ok(())
    }

    async fn reject(&self, tx: &Transaction<'_>, rejects: &[Reject]) -> Result<()> {
        // One row per key and code: of two in a batch the last is kept.
        let rows: BTreeMap<(String, RejectCode), &Reject> =
            rejects.iter().map(|reject| ((reject.source_key(), reject.code), reject)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let keys: Vec<&str> = rows.keys().map(|(key, _)| key.as_str()).collect();
        let codes: Vec<&str> = rows.keys().map(|(_, code)| code.as_str()).collect();
        let reasons: Vec<Cow<'_, str>> = rows.values().map(|reject| without_nul(&reject.reason)).collect();
        let raws: Vec<&[u8]> = rows.values().map(|reject| reject.raw.as_ref()).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
            (&self.connection, Type::TEXT),
            (&self.stream, Type::TEXT),
            (&self.run_id, Type::INT8),
            (&keys, Type::TEXT_ARRAY),
            (&codes, Type::TEXT_ARRAY),
            (&reasons, Type::TEXT_ARRAY),
            (&raws, Type::BYTEA_ARRAY),
        ];
        tx.execute_typed(sql::file("staging/reject.sql")?, &parameters).await?;
        Ok(())
    }
}

/// The text of `sql/staging/NAME.sql` for a stream's own table.
///
/// # Errors
/// [`Kind::Internal`] if there is no such file.
pub fn statement(name: &str, table: &str) -> Result<String> {
    Ok(sql::file(&format!("staging/{name}.sql"))?.replace("staging.orders", &quoted(table)))
}

/// `staging."table"`.
pub fn quoted(table: &str) -> String {
    format!("staging.\"{}\"", table.replace('"', "\"\""))
}

/// What staging holds of a record.
struct Known {
    hash: Uuid,
    parent: Option<String>,
    updated_at: Option<Timestamp>,
    deleted: bool,
    run_id: i64,
}

impl Known {
    fn is(&self, record: &Record) -> bool {
        self.hash == record.hash && self.parent.as_deref() == record.parent.as_deref()
    }
}

/// What staging holds of a record that is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    Live,
    Deleted,
}

/// One record to be written.
struct Write<'a> {
    record: &'a Record,
    kept: Kept,
    text: Cow<'a, [u8]>,
    replaced: Replaced,
}

impl<'a> Write<'a> {
    fn new(record: &'a Record, kept: Kept) -> Self {
        let (text, replaced) = storable(&record.raw);
        Self { record, kept, text, replaced }
    }

    fn payload(&self) -> JsonText<'_> {
        JsonText(&self.text)
    }
}

/// A JSON text that Postgres parses itself, so that nothing is parsed twice.
#[derive(Debug)]
struct JsonText<'a>(&'a [u8]);

impl ToSql for JsonText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        // The binary format of jsonb: a version, which is 1, and the text.
        out.reserve(self.0.len() + 1);
        out.put_u8(1);
        out.put_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }

    to_sql_checked!();
}

/// Moves records to the rejects whose key no staging row can have.
fn only_storable_keys(records: Vec<Record>, rejects: &mut Vec<Reject>) -> Vec<Record> {
    let (sound, unsound): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| key_is_storable(&record.key));
    rejects.extend(unsound.into_iter().map(|record| {
        let (code, reason) = match record.key.is_empty() {
            true => (RejectCode::NoKey, "the key is empty".to_owned()),
            false => (RejectCode::NotStorable, format!("the key has more than {MAX_KEY} bytes or a NUL character")),
        };
        Reject { key: None, code, reason, raw: record.raw }
    }));
    sound
}

/// Of records with one key, the newest by the platform's word, and of equally new ones the last. Gives how many were left
/// out. The order is that of the records kept.
fn newest_of_each_key(records: Vec<Record>) -> (Vec<Record>, u64) {
    let mut best: HashMap<&str, usize> = HashMap::with_capacity(records.len());
    for (at, record) in records.iter().enumerate() {
        let place = best.entry(record.key.as_str()).or_insert(at);
        if record.updated_at >= records[*place].updated_at {
            *place = at;
        }
    }
    if best.len() == records.len() {
        return (records, 0);
    }
    let kept: HashSet<usize> = best.into_values().collect();
    let repeated = (records.len() - kept.len()) as u64;
    let records = records.into_iter().enumerate().filter(|(at, _)| kept.contains(at)).map(|(_, r)| r).collect();
    (records, repeated)
}

/// Why Postgres refuses the data of a statement; `None` if the data is not the reason.
fn refusal(error: &tokio_postgres::Error, largest: usize) -> Option<String> {
    let code = error.code()?;
    let of_data = code.code().starts_with("22") || code.code().starts_with("54");
    let of_size = largest >= LARGE_RECORD
        && (*code == SqlState::INTERNAL_ERROR || *code == SqlState::OUT_OF_MEMORY || code.code() == "08P01");
    // The server's message may quote the value: only the code is told, in words.
    (of_data || of_size).then(|| {
        let words = match code.code() {
            "22003" => "a number beyond what Postgres can hold",
            "22P02" | "22032" => "not JSON by the judgement of Postgres",
            "22P05" | "22021" => "a character that Postgres cannot hold",
            "54001" => "nested too deeply",
            "54000" => "a string, an array or an object too large for jsonb",
            _ if of_size => "too large",
            _ => "refused by Postgres",
        };
        format!("{words} ({})", code.code())
    })
}

fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, second: Option<i64>, raw: &'static str) -> Record {
        let updated_at = second.map(|s| Timestamp::from_second(s).unwrap());
        Record::new(key.into(), updated_at, None, Bytes::from_static(raw.as_bytes()))
    }

    fn kept(records: Vec<Record>) -> Vec<String> {
        newest_of_each_key(records).0.iter().map(|r| String::from_utf8_lossy(&r.raw).into_owned()).collect()
    }

    #[test]
    fn of_two_records_with_one_key_the_newest_wins_wherever_it_stands() {
        assert_eq!(kept(vec![record("1", Some(9), "new"), record("1", Some(5), "old")]), ["new"]);
        assert_eq!(kept(vec![record("1", Some(5), "old"), record("1", Some(9), "new")]), ["new"]);
        assert_eq!(kept(vec![record("1", Some(5), "dated"), record("1", None, "undated")]), ["dated"]);
    }

    #[test]
    fn of_two_equally_new_records_the_last_wins() {
        assert_eq!(
            kept(vec![record("1", Some(5), "a"), record("2", None, "x"), record("1", Some(5), "b")]),
            ["x", "b"]
        );
        assert_eq!(kept(vec![record("1", None, "a"), record("1", None, "b")]), ["b"]);
    }

    #[test]
    fn repeated_records_are_counted() {
        let records =
            vec![record("1", None, "a"), record("1", None, "b"), record("1", None, "c"), record("2", None, "d")];
        assert_eq!(newest_of_each_key(records).1, 2);
    }

    #[test]
    fn a_record_without_a_usable_key_is_named_by_its_bytes() {
        let reject = |key: Option<&str>| Reject {
            key: key.map(str::to_owned),
            code: RejectCode::NoKey,
            reason: String::new(),
            raw: Bytes::from_static(b"{}"),
        };
        let hashed = format!("hash:{}", payload_hash(b"{}").simple());
        assert_eq!(reject(None).source_key(), hashed);
        assert_eq!(reject(Some("a\0b")).source_key(), hashed);
        assert_eq!(reject(Some(&"x".repeat(5_000))).source_key(), hashed);
        assert_eq!(reject(Some("7")).source_key(), "7");
    }

    #[test]
    fn table_names_are_quoted_in_every_statement() {
        for name in ["known", "copy", "change", "restore"] {
            let text = statement(name, "odd\"name").unwrap();
            assert!(text.contains(r#"staging."odd""name""#), "{name}: {text}");
            assert!(!text.lines().any(|line| !line.starts_with("--") && line.contains("staging.orders")), "{name}");
        }
    }
}
