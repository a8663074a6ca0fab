//! One list of an emulated shop: a base that is never changed (generated, or in files) with changed rows over it.
//!
//! The model: a base row that is changed or deleted is struck out of the base and, if it lives on, kept whole in the
//! overlay. A page is found by counting, not by walking: the base keeps one byte per row (its class: status or role) with
//! counts per block, and where times grow with the position a bound in time is a range of positions. So the page at the
//! end of a million orders costs what the first one costs.

use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// What lists are sorted and filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The row's id.
    pub id: u64,
    /// When it was made (UTC seconds).
    pub created: i64,
    /// When it was last changed (UTC seconds); 0: never.
    pub modified: i64,
    /// When it was last paid for (UTC seconds), where lists can be asked for that; else 0.
    pub settled: i64,
}

/// Rows that never change.
pub trait Base: Send + Sync {
    /// How many rows there are. They are in the order of their ids.
    fn rows(&self) -> usize;
    /// What the row at a position is sorted and filtered by.
    fn head(&self, position: usize) -> Head;
    /// The position of the row with this id.
    fn find(&self, id: u64) -> Option<usize>;
    /// The name of the row's class: its status or role.
    fn class(&self, position: usize) -> String;
    /// The customer of an order, the order of a refund, the product of a variation; 0 for none.
    fn owner(&self, position: usize) -> u64;
    /// The positions of the rows of an owner, where that is known without a walk.
    fn owned(&self, owner: u64) -> Option<Vec<usize>>;
    /// Writes the row's JSON.
    fn write(&self, position: usize, out: &mut Vec<u8>);
    /// Whether the times of a row's head grow with the position.
    fn is_in_step(&self) -> bool;
    /// A text field of a row, where it is cheaper to know than the whole row.
    fn text(&self, _position: usize, _field: &str) -> Option<String> {
        None
    }
}

/// A row of the overlay.
#[derive(Debug, Clone)]
pub struct Row {
    /// What it is sorted and filtered by.
    pub head: Head,
    /// Its class.
    pub class: String,
    /// Its owner.
    pub owner: u64,
    /// Its JSON.
    pub json: Vec<u8>,
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderBy {
    /// The id.
    Id,
    /// The order of `include`.
    Include,
    /// When it was made.
    Created,
    /// When it was changed.
    Modified,
    /// A field of its JSON, by name; numbers by value.
    Field(&'static str),
}

/// Which rows a list holds.
#[derive(Default)]
pub struct Filter<'a> {
    /// Only these classes.
    pub classes: Option<Vec<String>>,
    /// Only what was made between these bounds, both excluded.
    pub created: Bounds,
    /// Only what was changed between these bounds, both excluded.
    pub modified: Bounds,
    /// Only what was paid for between these bounds, both excluded.
    pub settled: Bounds,
    /// Only rows whose times this accepts, where bounds cannot say it.
    pub head: Option<&'a dyn Fn(&Head) -> bool>,
    /// Only these ids.
    pub ids: Option<Vec<u64>>,
    /// None of these ids.
    pub without: Vec<u64>,
    /// Only what belongs to these.
    pub owners: Option<Vec<u64>>,
    /// Only rows whose JSON this accepts.
    pub row: Option<&'a dyn Fn(&Value) -> bool>,
}

/// A range of time without its ends (UTC seconds).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Later than this.
    pub after: Option<i64>,
    /// Earlier than this.
    pub before: Option<i64>,
}

impl Bounds {
    fn holds(self, moment: i64) -> bool {
        self.after.is_none_or(|after| moment > after) && self.before.is_none_or(|before| moment < before)
    }

    fn is_open(self) -> bool {
        self.after.is_none() && self.before.is_none()
    }
}

/// A page of a list.
#[derive(Debug)]
pub struct Selection {
    /// How many rows the whole list has.
    pub total: usize,
    /// The JSON of the page's rows.
    pub rows: Vec<Vec<u8>>,
    /// The ids of the page's rows.
    pub ids: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Text(String),
}

/// A row that is struck out of the base.
const STRUCK: u8 = u8::MAX;
const BLOCK: usize = 4096;

type Sorted = Arc<Vec<((Key, u64), u32)>>;

/// One list of the shop.
pub struct Table {
    base: Arc<dyn Base>,
    names: Vec<String>,
    classes: Vec<u8>,
    blocks: Vec<HashMap<u8, u32>>,
    overlay: BTreeMap<u64, Row>,
    sorted: Mutex<HashMap<OrderBy, Sorted>>,
}

impl Table {
    /// The list with nothing changed.
    pub fn new(base: Arc<dyn Base>) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut classes = Vec::with_capacity(base.rows());
        let mut blocks: Vec<HashMap<u8, u32>> = vec![HashMap::new(); base.rows().div_ceil(BLOCK)];
        for position in 0..base.rows() {
            let name = base.class(position);
            let class = match names.iter().position(|known| *known == name) {
                Some(class) => class as u8,
                // More than 254 statuses do not exist; the last ones would share a class.
                None if names.len() < usize::from(STRUCK) => {
                    names.push(name);
                    (names.len() - 1) as u8
                }
                None => STRUCK - 1,
            };
            classes.push(class);
            *blocks[position / BLOCK].entry(class).or_default() += 1;
        }
        Self { base, names, classes, blocks, overlay: BTreeMap::new(), sorted: Mutex::default() }
    }

    /// Forgets all changes.
    pub fn reset(&mut self) {
        *self = Self::new(Arc::clone(&self.base));
    }

    /// All classes that occur.
    pub fn class_names(&self) -> Vec<String> {
        let mut names = self.names.clone();
        for row in self.overlay.values() {
            if !names.contains(&row.class) {
                names.push(row.class.clone());
            }
        }
        names
    }

    /// How many rows there are of each class.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for block in &self.blocks {
            for (class, count) in block {
                if let Some(name) = self.names.get(usize::from(*class)) {
                    *counts.entry(name.clone()).or_default() += *count as usize;
                }
            }
        }
        for row in self.overlay.values() {
            *counts.entry(row.class.clone()).or_default() += 1;
        }
        counts.retain(|_, count| *count > 0);
        counts
    }

    /// The highest id.
    pub fn last_id(&self) -> u64 {
        let base = self.base.rows().checked_sub(1).map_or(0, |last| self.base.head(last).id);
        self.overlay.last_key_value().map_or(base, |(id, _)| base.max(*id))
    }

    /// The newest moment of a change or creation in the base.
    pub fn newest(&self) -> i64 {
        let newest = |position: usize| {
            let head = self.base.head(position);
            head.created.max(head.modified)
        };
        match self.base.rows() {
            0 => 0,
            length if self.base.is_in_step() => newest(length - 1),
            length => (0..length).map(newest).max().unwrap_or_default(),
        }
    }

    /// The row with this id.
    pub fn get(&self, id: u64) -> Option<Row> {
        if let Some(row) = self.overlay.get(&id) {
            return Some(row.clone());
        }
        let position = self.base.find(id).filter(|position| self.classes[*position] != STRUCK)?;
        Some(Row {
            head: self.base.head(position),
            class: self.class_at(position),
            owner: self.base.owner(position),
            json: self.json_at(position),
        })
    }

    /// The id of the row at a position of the base, if it was not changed.
    pub fn untouched(&self, position: usize) -> Option<u64> {
        (*self.classes.get(position)? != STRUCK).then(|| self.base.head(position).id)
    }

    /// The owner of the row at a position of the base.
    pub fn owner_at(&self, position: usize) -> u64 {
        self.base.owner(position)
    }

    /// The rows that were changed or came, by id.
    pub fn changed(&self) -> impl Iterator<Item = &Row> {
        self.overlay.values()
    }

    /// The class of the row with this id.
    pub fn class_of(&self, id: u64) -> Option<String> {
        if let Some(row) = self.overlay.get(&id) {
            return Some(row.class.clone());
        }
        let position = self.base.find(id).filter(|position| self.classes[*position] != STRUCK)?;
        Some(self.class_at(position))
    }

    /// How many rows the base has, changed ones included.
    pub fn base_rows(&self) -> usize {
        self.base.rows()
    }

    /// Puts a row in, in place of the one with its id.
    pub fn put(&mut self, row: Row) {
        self.strike(row.head.id);
        self.overlay.insert(row.head.id, row);
    }

    /// Takes a row out; says whether it was there.
    pub fn remove(&mut self, id: u64) -> bool {
        let was_changed = self.overlay.remove(&id).is_some();
        self.strike(id) || was_changed
    }

    fn strike(&mut self, id: u64) -> bool {
        let Some(position) = self.base.find(id) else { return false };
        let class = std::mem::replace(&mut self.classes[position], STRUCK);
        if class == STRUCK {
            return false;
        }
        if let Some(count) = self.blocks[position / BLOCK].get_mut(&class) {
            *count -= 1;
        }
        true
    }

    fn class_at(&self, position: usize) -> String {
        self.names.get(usize::from(self.classes[position])).cloned().unwrap_or_default()
    }

    fn json_at(&self, position: usize) -> Vec<u8> {
        let mut json = Vec::with_capacity(4096);
        self.base.write(position, &mut json);
        json
    }

    /// A page: `limit` rows after the first `offset` of those that pass the filter.
    pub fn select(
        &self,
        order: OrderBy,
        descending: bool,
        filter: &Filter<'_>,
        offset: usize,
        limit: usize,
    ) -> Selection {
        if let Some(ids) = &filter.ids {
            return self.select_ids(ids, order, descending, filter, offset, limit);
        }
        let wanted = self.wanted_classes(filter);
        let base = self.view(order, filter, &wanted);
        let mut over: Vec<((Key, u64), &Row)> = self
            .overlay
            .values()
            .filter(|row| row_passes(row, filter))
            .map(|row| (key_of(order, &row.head, &row.json), row))
            .collect();
        over.sort_by(|(left, _), (right, _)| left.cmp(right));

        let total = base.count(self) + over.len();
        let (from, until) = if descending {
            let until = total.saturating_sub(offset);
            (until.saturating_sub(limit), until)
        } else {
            (offset.min(total), offset.saturating_add(limit).min(total))
        };

        // How many rows of the overlay come before the page: its k-th row stands at k plus the base rows below it.
        let over_before = over.partition_point_by(|index, (key, _)| index + base.rank(self, order, key) < from);
        let mut base_at = from - over_before;
        let mut over_at = over_before;
        let mut page = Vec::with_capacity(until - from);
        let base_rows = base.take(self, base_at, until - from);
        let first_base = base_at;
        while page.len() < until - from {
            let base_row = base_rows.get(base_at - first_base);
            let over_row = over.get(over_at);
            let takes_base = match (base_row, over_row) {
                (Some(position), Some((key, _))) => self.key_at(order, *position) < *key,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => break,
            };
            if takes_base {
                if let Some(position) = base_row {
                    page.push((self.base.head(*position).id, self.json_at(*position)));
                }
                base_at += 1;
            } else {
                if let Some((_, row)) = over_row {
                    page.push((row.head.id, row.json.clone()));
                }
                over_at += 1;
            }
        }
        if descending {
            page.reverse();
        }
        let (ids, rows) = page.into_iter().unzip();
        Selection { total, rows, ids }
    }

    fn select_ids(
        &self,
        ids: &[u64],
        order: OrderBy,
        descending: bool,
        filter: &Filter<'_>,
        offset: usize,
        limit: usize,
    ) -> Selection {
        let mut rows: Vec<Row> = Vec::new();
        for id in ids {
            let is_new = rows.iter().all(|row| row.head.id != *id);
            if let Some(row) = self.get(*id).filter(|row| is_new && row_passes(row, filter)) {
                rows.push(row);
            }
        }
        if order != OrderBy::Include {
            rows.sort_by_key(|row| key_of(order, &row.head, &row.json));
            if descending {
                rows.reverse();
            }
        }
        let total = rows.len();
        let page: Vec<Row> = rows.into_iter().skip(offset).take(limit).collect();
        Selection {
            total,
            ids: page.iter().map(|row| row.head.id).collect(),
            rows: page.into_iter().map(|row| row.json).collect(),
        }
    }

    fn wanted_classes(&self, filter: &Filter<'_>) -> Vec<bool> {
        let wants = |name: &String| filter.classes.as_ref().is_none_or(|wanted| wanted.contains(name));
        self.names.iter().map(wants).collect()
    }

    fn view(&self, order: OrderBy, filter: &Filter<'_>, wanted: &[bool]) -> View {
        let has_own_order = match order {
            OrderBy::Id | OrderBy::Include => false,
            OrderBy::Created | OrderBy::Modified => !self.base.is_in_step(),
            OrderBy::Field(_) => true,
        };
        let is_ranged = !filter.created.is_open() || !filter.modified.is_open() || !filter.settled.is_open();
        let is_plain =
            filter.owners.is_none() && filter.row.is_none() && filter.head.is_none() && filter.without.is_empty();
        if !has_own_order && is_plain && (!is_ranged || self.base.is_in_step()) {
            let (from, until) = self.range(filter);
            return View::Counted { from, until, wanted: wanted.to_vec() };
        }
        let passes = |position: usize| self.base_passes(position, filter, wanted);
        let owned = match filter.owners.as_deref() {
            Some([owner]) => self.base.owned(*owner),
            _ => None,
        };
        let positions = match (owned, has_own_order) {
            (Some(mut owned), _) => {
                owned.retain(|position| passes(*position));
                if has_own_order {
                    owned.sort_by_key(|position| self.key_at(order, *position));
                } else {
                    owned.sort_unstable();
                }
                owned
            }
            (None, true) => {
                let sorted = self.sorted(order);
                sorted.iter().map(|(_, position)| *position as usize).filter(|position| passes(*position)).collect()
            }
            (None, false) => {
                let (from, until) = if self.base.is_in_step() { self.range(filter) } else { (0, self.base.rows()) };
                (from..until).filter(|position| passes(*position)).collect()
            }
        };
        View::Listed(positions)
    }

    /// The positions that the bounds leave, where times grow with the position.
    fn range(&self, filter: &Filter<'_>) -> (usize, usize) {
        let mut from = 0;
        let mut until = self.base.rows();
        type Time = fn(Head) -> i64;
        let times: [(Bounds, Time); 3] = [
            (filter.created, |head| head.created),
            (filter.modified, |head| head.modified),
            (filter.settled, |head| head.settled),
        ];
        for (bounds, time) in times {
            if let Some(after) = bounds.after {
                from = from.max(self.first_position(|head| time(head) > after));
            }
            if let Some(before) = bounds.before {
                until = until.min(self.first_position(|head| time(head) >= before));
            }
        }
        (from, until.max(from))
    }

    /// The first position whose row `is_past`, where all later rows are past, too.
    fn first_position(&self, is_past: impl Fn(Head) -> bool) -> usize {
        let mut below = 0;
        let mut above = self.base.rows();
        while below < above {
            let middle = below + (above - below) / 2;
            if is_past(self.base.head(middle)) {
                above = middle;
            } else {
                below = middle + 1;
            }
        }
        below
    }

    fn base_passes(&self, position: usize, filter: &Filter<'_>, wanted: &[bool]) -> bool {
        if !wanted.get(usize::from(self.classes[position])).copied().unwrap_or(false) {
            return false;
        }
        if let Some(owners) = &filter.owners
            && !owners.contains(&self.base.owner(position))
        {
            return false;
        }
        let head = self.base.head(position);
        if !filter.created.holds(head.created)
            || !filter.modified.holds(head.modified)
            || !filter.settled.holds(head.settled)
            || filter.head.is_some_and(|accepts| !accepts(&head))
            || filter.without.contains(&head.id)
        {
            return false;
        }
        match filter.row {
            Some(accepts) => serde_json::from_slice(&self.json_at(position)).is_ok_and(|row: Value| accepts(&row)),
            None => true,
        }
    }

    fn key_at(&self, order: OrderBy, position: usize) -> (Key, u64) {
        let head = self.base.head(position);
        match order {
            OrderBy::Field(name) => match self.base.text(position, name) {
                Some(text) => (Key::Text(text.to_lowercase()), head.id),
                None => key_of(order, &head, &self.json_at(position)),
            },
            _ => key_of(order, &head, b""),
        }
    }

    /// All positions of the base in an order of their own; made once.
    fn sorted(&self, order: OrderBy) -> Sorted {
        let mut cache = self.sorted.lock().unwrap_or_else(PoisonError::into_inner);
        let sorted = cache.entry(order).or_insert_with(|| {
            let mut keyed: Vec<((Key, u64), u32)> =
                (0..self.base.rows()).map(|position| (self.key_at(order, position), position as u32)).collect();
            keyed.sort();
            Arc::new(keyed)
        });
        Arc::clone(sorted)
    }

    /// How many rows of wanted classes stand between two positions.
    fn count_between(&self, from: usize, until: usize, wanted: &[bool]) -> usize {
        let is_wanted = |class: &u8| wanted.get(usize::from(*class)).copied().unwrap_or(false);
        let mut count = 0;
        let mut at = from;
        while at < until {
            if at.is_multiple_of(BLOCK) && at + BLOCK <= until {
                let block = &self.blocks[at / BLOCK];
                count += block.iter().filter(|(class, _)| is_wanted(class)).map(|(_, n)| *n as usize).sum::<usize>();
                at += BLOCK;
                continue;
            }
            let end = until.min((at / BLOCK + 1) * BLOCK);
            count += self.classes[at..end].iter().filter(|class| is_wanted(class)).count();
            at = end;
        }
        count
    }
}

/// The rows of the base that pass a filter, in order.
enum View {
    /// All of wanted classes between two positions.
    Counted { from: usize, until: usize, wanted: Vec<bool> },
    /// These positions.
    Listed(Vec<usize>),
}

impl View {
    fn count(&self, table: &Table) -> usize {
        match self {
            View::Counted { from, until, wanted } => table.count_between(*from, *until, wanted),
            View::Listed(positions) => positions.len(),
        }
    }

    /// How many rows come before a key.
    fn rank(&self, table: &Table, order: OrderBy, key: &(Key, u64)) -> usize {
        match self {
            View::Counted { from, until, wanted } => {
                let end = table.first_position(|head| key_of(order, &head, b"") >= *key);
                table.count_between(*from, end.clamp(*from, *until), wanted)
            }
            View::Listed(positions) => positions.partition_point(|position| table.key_at(order, *position) < *key),
        }
    }

    /// `limit` rows after the first `skip`.
    fn take(&self, table: &Table, skip: usize, limit: usize) -> Vec<usize> {
        let (from, until, wanted) = match self {
            View::Listed(positions) => return positions.iter().skip(skip).take(limit).copied().collect(),
            View::Counted { from, until, wanted } => (*from, *until, wanted),
        };
        let mut left_out = skip;
        let mut at = from;
        let mut taken = Vec::new();
        while at < until && taken.len() < limit {
            let end = until.min((at / BLOCK + 1) * BLOCK);
            let here = table.count_between(at, end, wanted);
            if here <= left_out {
                left_out -= here;
                at = end;
                continue;
            }
            for position in at..end {
                if !wanted.get(usize::from(table.classes[position])).copied().unwrap_or(false) {
                    continue;
                }
                if left_out > 0 {
                    left_out -= 1;
                } else if taken.len() < limit {
                    taken.push(position);
                } else {
                    break;
                }
            }
            at = end;
        }
        taken
    }
}

/// [`slice::partition_point`] with the position at hand.
trait PartitionByIndex<T> {
    fn partition_point_by(&self, is_before: impl Fn(usize, &T) -> bool) -> usize;
}

impl<T> PartitionByIndex<T> for [T] {
    fn partition_point_by(&self, is_before: impl Fn(usize, &T) -> bool) -> usize {
        let mut below = 0;
        let mut above = self.len();
        while below < above {
            let middle = below + (above - below) / 2;
            if is_before(middle, &self[middle]) {
                below = middle + 1;
            } else {
                above = middle;
            }
        }
        below
    }
}

fn row_passes(row: &Row, filter: &Filter<'_>) -> bool {
    filter.classes.as_ref().is_none_or(|classes| classes.contains(&row.class))
        && filter.owners.as_ref().is_none_or(|owners| owners.contains(&row.owner))
        && filter.created.holds(row.head.created)
        && filter.modified.holds(row.head.modified)
        && filter.settled.holds(row.head.settled)
        && filter.head.is_none_or(|accepts| accepts(&row.head))
        && !filter.without.contains(&row.head.id)
        && filter.row.is_none_or(|accepts| serde_json::from_slice(&row.json).is_ok_and(|row: Value| accepts(&row)))
}

fn key_of(order: OrderBy, head: &Head, json: &[u8]) -> (Key, u64) {
    let key = match order {
        OrderBy::Id | OrderBy::Include => Key::Number(0),
        OrderBy::Created => Key::Number(head.created),
        OrderBy::Modified => Key::Number(head.modified),
        OrderBy::Field(name) => {
            let row: Value = serde_json::from_slice(json).unwrap_or_default();
            match row.get(name) {
                Some(Value::Number(number)) => Key::Number((number.as_f64().unwrap_or_default() * 10_000.0) as i64),
                Some(Value::String(text)) => Key::Text(text.to_lowercase()),
                _ => Key::Text(String::new()),
            }
        }
    };
    (key, head.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows with id 10, 20, 30…, of which every third is in the trash.
    struct Tens {
        count: usize,
        in_step: bool,
    }

    impl Base for Tens {
        fn rows(&self) -> usize {
            self.count
        }
        fn head(&self, position: usize) -> Head {
            let id = (position as u64 + 1) * 10;
            let modified = if self.in_step { id as i64 } else { (id as i64 * 7919) % 1000 };
            Head { id, created: id as i64, modified, settled: 0 }
        }
        fn find(&self, id: u64) -> Option<usize> {
            let position = (id / 10) as usize;
            (id.is_multiple_of(10) && position > 0 && position <= self.count).then(|| position - 1)
        }
        fn class(&self, position: usize) -> String {
            if position % 3 == 2 { "trash".to_owned() } else { "live".to_owned() }
        }
        fn owner(&self, position: usize) -> u64 {
            position as u64 % 5
        }
        fn owned(&self, _owner: u64) -> Option<Vec<usize>> {
            None
        }
        fn write(&self, position: usize, out: &mut Vec<u8>) {
            out.extend_from_slice(self.head(position).id.to_string().as_bytes());
        }
        fn is_in_step(&self) -> bool {
            self.in_step
        }
    }

    /// The same selection made the slow way.
    fn by_hand(table: &Table, order: OrderBy, descending: bool, filter: &Filter<'_>) -> Vec<u64> {
        let mut rows: Vec<Row> =
            (1..20_000).filter_map(|id| table.get(id)).filter(|row| row_passes(row, filter)).collect();
        rows.sort_by_key(|row| key_of(order, &row.head, b""));
        if descending {
            rows.reverse();
        }
        rows.iter().map(|row| row.head.id).collect()
    }

    proptest! {
        #[test]
        fn every_page_is_a_piece_of_the_whole_list(
            in_step: bool,
            count in 0_usize..60,
            changes in prop::collection::vec((1_u64..70, 0_i64..1200, 0_u8..3), 0..12),
            order in prop::sample::select(vec![OrderBy::Id, OrderBy::Created, OrderBy::Modified]),
            descending: bool,
            after in prop::option::of(0_i64..700),
            owner in prop::option::of(0_u64..5),
            only_live: bool,
            offset in 0_usize..40,
            limit in 1_usize..30,
        ) {
            let mut table = Table::new(Arc::new(Tens { count, in_step }));
            for (id, modified, kind) in changes {
                if kind == 0 {
                    table.remove(id * 10);
                    continue;
                }
                let class = if kind == 1 { "live" } else { "trash" };
                let head = Head { id: id * 10, created: id as i64 * 10, modified, settled: 0 };
                table.put(Row { head, class: class.to_owned(), owner: id % 5, json: Vec::new() });
            }
            let filter = Filter {
                classes: only_live.then(|| vec!["live".to_owned()]),
                modified: Bounds { after, before: None },
                owners: owner.map(|owner| vec![owner]),
                ..Filter::default()
            };
            let whole = by_hand(&table, order, descending, &filter);
            let page = table.select(order, descending, &filter, offset, limit);
            let expected: Vec<u64> = whole.iter().skip(offset).take(limit).copied().collect();
            prop_assert_eq!(page.total, whole.len());
            prop_assert_eq!(page.ids, expected);
        }
    }

    #[test]
    fn pages_far_behind_many_blocks_are_found_by_counting() {
        let table = Table::new(Arc::new(Tens { count: 3 * BLOCK + 17, in_step: true }));
        let filter = Filter { classes: Some(vec!["live".to_owned()]), ..Filter::default() };
        let all = table.select(OrderBy::Id, false, &filter, 0, usize::MAX);
        let page = table.select(OrderBy::Id, false, &filter, 2 * BLOCK, 5);
        assert_eq!(page.total, all.ids.len());
        assert_eq!(page.ids, all.ids[2 * BLOCK..2 * BLOCK + 5]);
    }
}
