//! A shop from files: `DIR/{customers,orders,products,categories,variations,refunds}.ndjson`, one row in WooCommerce's
//! shape per line, as its API gives it. A list whose file is missing is empty.
//!
//! A file is read once from end to end; what stays in memory is where each row stands and what lists are sorted and
//! filtered by. The same id twice: the later line counts.

use super::site::parse_gmt;
use crate::sandbox::table::{Base, Head};
use crate::{Error, Kind, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A list of a shop in a file.
pub struct Loaded {
    file: Option<File>,
    rows: Vec<Place>,
    names: Vec<String>,
    owned: HashMap<u64, Vec<u32>>,
}

struct Place {
    head: Head,
    offset: u64,
    length: u32,
    class: u16,
    owner: u64,
}

/// What a row is sorted and filtered by, whatever list it belongs to.
#[derive(Deserialize)]
struct Fields {
    id: u64,
    date_created_gmt: Option<String>,
    date_modified_gmt: Option<String>,
    status: Option<String>,
    role: Option<String>,
    customer_id: Option<u64>,
    parent_id: Option<u64>,
    parent: Option<u64>,
}

impl Loaded {
    /// Indexes `folder/list.ndjson`.
    ///
    /// # Errors
    /// [`Kind::Io`] with the line that is no row.
    pub fn open(folder: &Path, list: &str) -> Result<Self> {
        let path = folder.join(format!("{list}.ndjson"));
        let mut loaded = Self { file: None, rows: Vec::new(), names: Vec::new(), owned: HashMap::new() };
        if !path.exists() {
            return Ok(loaded);
        }
        let failed =
            |error: std::io::Error| Error::new(Kind::Io, format!("{} cannot be read", path.display())).because(error);
        let file = File::open(&path).map_err(failed)?;
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut line = Vec::new();
        let mut offset = 0;
        let mut number = 0;
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(failed)?;
            if read == 0 {
                break;
            }
            number += 1;
            let text = line.trim_ascii();
            if !text.is_empty() {
                let indent = line.len() - line.trim_ascii_start().len();
                let place = loaded.place(text, offset + indent as u64).map_err(|error| {
                    Error::new(Kind::Io, format!("{}, line {number}: not a row of a shop", path.display()))
                        .hint("each line is one JSON object as the WooCommerce API gives it, with a number as `id`")
                        .because(error)
                })?;
                loaded.rows.push(place);
            }
            offset += read as u64;
        }
        // A stable sort keeps the later of two lines with one id behind the earlier one.
        loaded.rows.sort_by_key(|place| place.head.id);
        let mut kept: Vec<Place> = Vec::with_capacity(loaded.rows.len());
        for place in loaded.rows.drain(..) {
            match kept.last_mut() {
                Some(last) if last.head.id == place.head.id => *last = place,
                _ => kept.push(place),
            }
        }
        loaded.rows = kept;
        for (position, place) in loaded.rows.iter().enumerate() {
            if place.owner != 0 {
                loaded.owned.entry(place.owner).or_default().push(position as u32);
            }
        }
        loaded.file = Some(file);
        Ok(loaded)
    }

    fn place(&mut self, text: &[u8], offset: u64) -> serde_json::Result<Place> {
        let fields: Fields = serde_json::from_slice(text)?;
        let moment = |text: &Option<String>| text.as_deref().and_then(parse_gmt).unwrap_or_default();
        let created = moment(&fields.date_created_gmt);
        let mut modified = moment(&fields.date_modified_gmt);
        if fields.date_modified_gmt.is_none() && fields.customer_id.is_none() && fields.role.is_none() {
            // Refunds have no stamp of their own in the answer.
            modified = created;
        }
        let class = fields.status.or(fields.role).unwrap_or_else(|| "publish".to_owned());
        let class = match self.names.iter().position(|name| *name == class) {
            Some(position) => position,
            None => {
                self.names.push(class);
                self.names.len() - 1
            }
        };
        let parent = fields.parent_id.filter(|parent| *parent != 0).or(fields.parent);
        Ok(Place {
            head: Head { id: fields.id, created, modified, settled: 0 },
            offset,
            length: text.len() as u32,
            class: class as u16,
            owner: fields.customer_id.or(parent).unwrap_or_default(),
        })
    }
}

impl Base for Loaded {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn head(&self, position: usize) -> Head {
        self.rows[position].head
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.rows.binary_search_by_key(&id, |place| place.head.id).ok()
    }

    fn class(&self, position: usize) -> String {
        self.names[usize::from(self.rows[position].class)].clone()
    }

    fn owner(&self, position: usize) -> u64 {
        self.rows[position].owner
    }

    fn owned(&self, owner: u64) -> Option<Vec<usize>> {
        if owner == 0 {
            return None;
        }
        let positions = self.owned.get(&owner).map(Vec::as_slice).unwrap_or_default();
        Some(positions.iter().map(|position| *position as usize).collect())
    }

    fn write(&self, position: usize, out: &mut Vec<u8>) {
        let place = &self.rows[position];
        let begin = out.len();
        out.resize(begin + place.length as usize, 0);
        let read = self.file.as_ref().map(|file| file.read_exact_at(&mut out[begin..], place.offset));
        if !matches!(read, Some(Ok(()))) {
            // The file was taken away while the sandbox runs: the answer is broken, as a shop's would be.
            out.truncate(begin);
        }
    }

    fn is_in_step(&self) -> bool {
        false
    }
}
