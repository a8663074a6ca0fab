//! Which walks a stream needs now, and what a complete walk proves. Pure: a cursor and a time in, a decision out.
//!
//! The wrong answer avoided here: taking the newest change seen for "everything up to there has been seen". A record that
//! was read early in a walk and changed before its end has an older stamp than what was read last. So the watermark stays
//! behind the newest stamp by as long as the walk took, and never passes the moment in which the walk began.

use crate::config::pipeline::Connection;
use crate::source::{Deletions, Incremental, Position, StreamSpec, Walk};
use crate::store::cursor::Cursor;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A moment in our past that lies further ahead than this was written by a clock that was wrong.
const CLOCK_ERROR: SignedDuration = SignedDuration::from_hours(1);

/// A walk that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The pass.
    pub walk: Walk,
    /// Of a list with a parent: only the lists of parents that changed after this run.
    pub parents_changed_after: Option<i64>,
}

impl Due {
    fn of(walk: Walk) -> Self {
        Self { walk, parents_changed_after: None }
    }
}

/// The walks due now, in order. An unfinished walk comes before all of these and is not among them.
pub fn due(stream: &StreamSpec, connection: &Connection, cursor: &Cursor, now: Timestamp, full: bool) -> Vec<Due> {
    let compare_keys = stream.deletions == Deletions::CompareKeys;
    let Some(full_at) = cursor.full_at.filter(|_| !full) else {
        // Before the first complete walk there is nothing that could have been deleted.
        let compare_keys = compare_keys && cursor.full_at.is_some();
        let mut walks = vec![Due::of(Walk::Everything)];
        walks.extend(compare_keys.then(|| Due::of(Walk::Keys)));
        return walks;
    };
    let mut walks = Vec::new();
    match (stream.incremental, cursor.watermark) {
        (Incremental::FullWalk, _) => {
            let every = connection.full_walk_every.map_or(SignedDuration::ZERO, |every| every.0);
            if passed(Some(full_at), every, now) {
                walks.push(Due::of(Walk::Everything));
            }
        }
        (Incremental::NewestFirst, _) => {
            let every = connection.full_walk_every.map_or(DAY, |every| every.0);
            let is_due = passed(Some(full_at), every, now);
            walks.push(Due::of(if is_due { Walk::Everything } else { Walk::NewestUntilKnown }));
        }
        (Incremental::ModifiedSince { overlap }, Some(watermark)) => {
            walks.push(Due::of(Walk::ModifiedSince(before(watermark, overlap))));
        }
        (Incremental::ModifiedAndWhole { overlap, every }, Some(watermark)) => {
            let every = connection.full_walk_every.map_or(every, |every| every.0);
            let is_due = passed(Some(full_at), every, now);
            let changed = || Walk::ModifiedSince(before(watermark, overlap));
            walks.push(Due::of(if is_due { Walk::Everything } else { changed() }));
        }
        // No record has ever told when it was changed.
        (Incremental::ModifiedSince { .. } | Incremental::ModifiedAndWhole { .. }, None) => {
            walks.push(Due::of(Walk::Everything));
        }
        (Incremental::ChangedParents, _) => {
            let after = cursor.parents_run.filter(|_| stream.parent.is_some());
            walks.push(Due { walk: Walk::Everything, parents_changed_after: after });
        }
    }
    let all_read = walks.iter().any(|due| due.walk == Walk::Everything && due.parents_changed_after.is_none());
    let reread = stream.reread && connection.reread_days > 0 && !all_read;
    if reread && passed(cursor.reread_at, DAY, now) {
        let days = SignedDuration::from_hours(24 * i64::from(connection.reread_days));
        walks.push(Due::of(Walk::CreatedSince(before(now, days))));
    }
    if compare_keys && passed(cursor.compared_at, connection.compare_keys_every.0, now) {
        walks.push(Due::of(Walk::Keys));
    }
    walks
}

/// The walks due now where the last whole walk has left something in doubt that only another can settle: that comes at once,
/// in place of those that ask for changes.
pub fn due_in_doubt(walks: Vec<Due>) -> Vec<Due> {
    if walks.iter().any(|due| due.walk == Walk::Everything && due.parents_changed_after.is_none()) {
        return walks;
    }
    let others = walks.into_iter().filter(|due| due.walk == Walk::Keys);
    std::iter::once(Due::of(Walk::Everything)).chain(others).collect()
}

/// Whether `every` has passed since `last`. A last time in the future is a clock that was wrong.
fn passed(last: Option<Timestamp>, every: SignedDuration, now: Timestamp) -> bool {
    match last {
        None => true,
        Some(last) => now.duration_since(last) >= every || last.duration_since(now) > CLOCK_ERROR,
    }
}

fn before(moment: Timestamp, span: SignedDuration) -> Timestamp {
    moment.checked_sub(span).unwrap_or(Timestamp::MIN)
}

/// A walk in progress, as `ops.cursors.walk` keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WalkState {
    /// The pass.
    pub walk: Walk,
    /// Of a list with a parent: only the lists of parents that changed after this run.
    pub parents_changed_after: Option<i64>,
    /// The parent whose list is being walked.
    pub parent: Option<String>,
    /// The page to ask for next.
    pub position: Position,
    /// Nothing is left to ask for; only the end of the walk is to be written.
    pub complete: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// The run that began it.
    pub started_run: i64,
    /// The newest change that landed.
    pub newest: Option<Timestamp>,
    /// Whether keys are noted, to find what was deleted.
    pub compare: bool,
    /// How many keys are noted.
    pub seen: u64,
    /// How many records came without a key.
    #[serde(default)]
    pub keyless: u64,
    /// Of the page in hand: how many records have landed.
    #[serde(default)]
    pub page_records: u64,
    /// Of those: how many were not known before this walk began.
    #[serde(default)]
    pub page_fresh: u64,
    /// How many records the list has by the platform's latest word, where it gives one.
    #[serde(default)]
    pub total: Option<u64>,
    /// How many rows were not marked deleted when it began; for the guard.
    pub live: u64,
    /// Whether what it leaves doubtful is noted.
    #[serde(default)]
    pub doubted: bool,
    /// How many records the platform was asked for by key and did not give.
    pub deleted: u64,
    /// Pages landed.
    pub pages: u64,
    /// Records received.
    pub read: u64,
    /// Of those: how many were given again, because pages overlap.
    #[serde(default)]
    pub repeated: u64,
    /// What its last page left behind for the next walk.
    #[serde(default)]
    pub bookmark: Option<serde_json::Value>,
}

impl WalkState {
    /// A walk that begins.
    pub fn new(due: Due, now: Timestamp, run_id: i64) -> Self {
        Self {
            walk: due.walk,
            parents_changed_after: due.parents_changed_after,
            parent: None,
            position: Position::Null,
            complete: false,
            started_at: now,
            started_run: run_id,
            newest: None,
            compare: false,
            seen: 0,
            keyless: 0,
            page_records: 0,
            page_fresh: 0,
            total: None,
            live: 0,
            doubted: false,
            deleted: 0,
            pages: 0,
            read: 0,
            repeated: 0,
            bookmark: None,
        }
    }

    /// What the walk is called in reports.
    pub fn name(&self) -> &'static str {
        match (&self.walk, self.parents_changed_after) {
            (Walk::Everything, None) => "everything",
            (Walk::Everything, Some(_)) => "changed parents",
            (Walk::ModifiedSince(_), _) => "modified",
            (Walk::CreatedSince(_), _) => "recent",
            (Walk::Keys, _) => "keys",
            (Walk::NewestUntilKnown, _) => "newest",
        }
    }

    /// Whether it passes through every record.
    pub fn is_everything(&self) -> bool {
        self.walk == Walk::Everything && self.parents_changed_after.is_none()
    }

    /// Takes note of a record's change time. One of more than a day ahead is a mistake of the shop: believing it would
    /// leave out what changes until then.
    pub fn note_change(&mut self, updated_at: Option<Timestamp>, now: Timestamp) {
        if let Some(updated_at) = updated_at.filter(|at| at.duration_since(now) <= DAY) {
            self.newest = self.newest.max(Some(updated_at));
        }
    }

    /// Whether it asks for a part of the list that the next walk of its kind does not ask for again.
    pub fn is_filtered(&self) -> bool {
        matches!(self.walk, Walk::ModifiedSince(_) | Walk::CreatedSince(_))
    }

    /// How many records fewer were given than the platform said that there are. Records that it gave twice count once.
    pub fn not_given(&self) -> u64 {
        match self.walk {
            // It ends where it will.
            Walk::NewestUntilKnown => 0,
            _ => self.total.unwrap_or(0).saturating_sub(self.read.saturating_sub(self.repeated)),
        }
    }

    /// What a complete walk proves, entered into the cursor.
    pub fn complete_into(&self, cursor: &mut Cursor, deletions: Deletions, now: Timestamp) {
        let watermark = self.newest.map(|newest| {
            // Whole seconds: of two quick walks that see the same, the second has nothing to write.
            let took = now.duration_since(self.started_at).max(SignedDuration::ZERO).as_secs() + 1;
            before(newest, SignedDuration::from_secs(took)).min(self.started_at)
        });
        match self.walk {
            Walk::Everything => {
                if self.is_everything() {
                    cursor.full_at = Some(self.started_at);
                    cursor.reread_at = Some(self.started_at);
                    if deletions == Deletions::CompareKeys {
                        cursor.compared_at = cursor.compared_at.or(Some(self.started_at));
                    }
                    cursor.watermark = cursor.watermark.max(watermark);
                }
                cursor.parents_run = Some(self.started_run);
            }
            Walk::ModifiedSince(_) => cursor.watermark = cursor.watermark.max(watermark),
            Walk::CreatedSince(_) => cursor.reread_at = Some(self.started_at),
            Walk::Keys => cursor.compared_at = Some(self.started_at),
            // It says nothing of older records.
            Walk::NewestUntilKnown => {}
        }
        if let Some(bookmark) = &self.bookmark {
            cursor.bookmark = Some(bookmark.clone());
        }
        cursor.walk = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Compared, ParentSpec};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    fn connection() -> Connection {
        serde_json::from_value(serde_json::json!({
            "connection": "shop", "platform": "p", "base_url": "http://localhost",
        }))
        .unwrap()
    }

    fn stream(incremental: Incremental, deletions: Deletions) -> StreamSpec {
        let compared = Compared::WHOLE;
        StreamSpec {
            name: "orders",
            table: "orders",
            doc: "",
            parent: None,
            incremental,
            reread: true,
            deletions,
            compared,
        }
    }

    const NOW: &str = "2026-03-10T12:00:00Z";

    fn walks(stream: &StreamSpec, cursor: &Cursor) -> Vec<Walk> {
        due(stream, &connection(), cursor, at(NOW), false).into_iter().map(|due| due.walk).collect()
    }

    fn read_before() -> Cursor {
        Cursor {
            watermark: Some(at("2026-03-10T11:00:00Z")),
            full_at: Some(at("2026-01-01T00:00:00Z")),
            reread_at: Some(at("2026-03-10T01:00:00Z")),
            compared_at: Some(at("2026-03-09T00:00:00Z")),
            ..Cursor::default()
        }
    }

    #[test]
    fn the_first_walk_is_through_everything_and_nothing_else() {
        for incremental in
            [Incremental::FullWalk, Incremental::ModifiedSince { overlap: hours(1) }, Incremental::ChangedParents]
        {
            let stream = stream(incremental, Deletions::CompareKeys);
            assert_eq!(walks(&stream, &Cursor::default()), [Walk::Everything]);
        }
    }

    #[test]
    fn later_walks_ask_from_the_watermark_less_the_overlap() {
        let stream = stream(Incremental::ModifiedSince { overlap: hours(1) }, Deletions::CompareKeys);
        assert_eq!(walks(&stream, &read_before()), [Walk::ModifiedSince(at("2026-03-10T10:00:00Z"))]);
    }

    #[test]
    fn recent_records_are_read_again_after_a_day_and_keys_compared_after_a_week() {
        let stream = stream(Incremental::ModifiedSince { overlap: hours(1) }, Deletions::CompareKeys);
        let cursor = Cursor {
            reread_at: Some(at("2026-03-09T12:00:00Z")),
            compared_at: Some(at("2026-03-03T12:00:00Z")),
            ..read_before()
        };
        let expected = [
            Walk::ModifiedSince(at("2026-03-10T10:00:00Z")),
            Walk::CreatedSince(at("2026-02-08T12:00:00Z")),
            Walk::Keys,
        ];
        assert_eq!(walks(&stream, &cursor), expected);
    }

    #[test]
    fn what_only_a_second_walk_settles_is_walked_for_at_once() {
        let cursor = Cursor { full_at: Some(at(NOW)), compared_at: None, ..read_before() };
        let settled = |stream: &StreamSpec| {
            let walks = due_in_doubt(due(stream, &connection(), &cursor, at(NOW), false));
            walks.into_iter().map(|due| (due.walk, due.parents_changed_after)).collect::<Vec<_>>()
        };
        let whole = || (Walk::Everything, None);
        assert_eq!(settled(&stream(Incremental::NewestFirst, Deletions::FullWalk)), [whole()]);
        assert_eq!(settled(&stream(Incremental::FullWalk, Deletions::FullWalk)), [whole()]);
        let modified = stream(Incremental::ModifiedSince { overlap: hours(1) }, Deletions::CompareKeys);
        assert_eq!(settled(&modified), [whole(), (Walk::Keys, None)]);
    }

    #[test]
    fn a_time_written_by_a_clock_that_was_ahead_does_not_put_work_off() {
        let stream = stream(Incremental::FullWalk, Deletions::CompareKeys);
        let cursor = Cursor {
            full_at: Some(at("2031-01-01T00:00:00Z")),
            compared_at: Some(at("2031-01-01T00:00:00Z")),
            ..read_before()
        };
        assert_eq!(walks(&stream, &cursor), [Walk::Everything, Walk::Keys]);
    }

    #[test]
    fn lists_without_a_filter_are_walked_whole_as_often_as_asked() {
        let stream = stream(Incremental::FullWalk, Deletions::FullWalk);
        assert_eq!(walks(&stream, &read_before()), [Walk::Everything]);
        let mut rarely = connection();
        rarely.full_walk_every = Some("100d".parse().unwrap());
        assert_eq!(due(&stream, &rarely, &read_before(), at(NOW), false), []);
        assert_eq!(due(&stream, &rarely, &read_before(), at(NOW), true), [Due::of(Walk::Everything)]);
    }

    #[test]
    fn lists_that_can_be_sorted_are_walked_whole_once_a_day_and_newest_first_in_between() {
        let stream = stream(Incremental::NewestFirst, Deletions::FullWalk);
        assert_eq!(walks(&stream, &Cursor::default()), [Walk::Everything]);
        assert_eq!(walks(&stream, &read_before()), [Walk::Everything]);
        let lately = Cursor { full_at: Some(at("2026-03-09T13:00:00Z")), ..read_before() };
        assert_eq!(walks(&stream, &lately), [Walk::NewestUntilKnown]);
        let mut always = connection();
        always.full_walk_every = Some("0s".parse().unwrap());
        assert_eq!(due(&stream, &always, &lately, at(NOW), false), [Due::of(Walk::Everything)]);
        assert_eq!(due(&stream, &connection(), &lately, at(NOW), true), [Due::of(Walk::Everything)]);
    }

    #[test]
    fn lists_that_do_not_mark_every_change_are_walked_whole_as_often_as_they_say() {
        let incremental = Incremental::ModifiedAndWhole { overlap: hours(1), every: hours(24) };
        let stream = stream(incremental, Deletions::FullWalk);
        assert_eq!(walks(&stream, &Cursor::default()), [Walk::Everything]);
        assert_eq!(walks(&stream, &read_before()), [Walk::Everything]);
        let lately = Cursor { full_at: Some(at("2026-03-09T13:00:00Z")), ..read_before() };
        assert_eq!(walks(&stream, &lately), [Walk::ModifiedSince(at("2026-03-10T10:00:00Z"))]);
        let undated = Cursor { watermark: None, ..lately.clone() };
        assert_eq!(walks(&stream, &undated), [Walk::Everything]);
        let mut often = connection();
        often.full_walk_every = Some("1h".parse().unwrap());
        assert_eq!(due(&stream, &often, &lately, at(NOW), false), [Due::of(Walk::Everything)]);
    }

    #[test]
    fn a_walk_that_leaves_nothing_behind_keeps_what_an_earlier_one_left() {
        let mut cursor = Cursor { bookmark: Some("seen".into()), ..read_before() };
        let mut state = walked(Walk::Everything, NOW);
        state.complete_into(&mut cursor, Deletions::FullWalk, at(NOW));
        assert_eq!(cursor.bookmark, Some("seen".into()));
        state.bookmark = Some("newer".into());
        state.complete_into(&mut cursor, Deletions::FullWalk, at(NOW));
        assert_eq!(cursor.bookmark, Some("newer".into()));
    }

    #[test]
    fn a_walk_through_the_newest_does_not_put_the_whole_walk_off() {
        let mut cursor = read_before();
        walked(Walk::NewestUntilKnown, NOW).complete_into(&mut cursor, Deletions::FullWalk, at(NOW));
        assert_eq!(cursor, read_before());
    }

    #[test]
    fn a_full_walk_on_request_compares_keys_too() {
        let stream = stream(Incremental::ModifiedSince { overlap: hours(1) }, Deletions::CompareKeys);
        let walks: Vec<_> = due(&stream, &connection(), &read_before(), at(NOW), true);
        assert_eq!(walks, [Due::of(Walk::Everything), Due::of(Walk::Keys)]);
    }

    #[test]
    fn lists_of_unchanged_parents_are_left_alone() {
        let mut stream = stream(Incremental::ChangedParents, Deletions::FullWalk);
        stream.parent = Some(ParentSpec { table: "products", condition: "true" });
        stream.reread = false;
        let cursor = Cursor { parents_run: Some(41), ..read_before() };
        let expected = Due { walk: Walk::Everything, parents_changed_after: Some(41) };
        assert_eq!(due(&stream, &connection(), &cursor, at(NOW), false), [expected]);
    }

    fn walked(walk: Walk, newest: &str) -> WalkState {
        let mut state = WalkState::new(Due::of(walk), at("2026-03-10T09:00:00Z"), 7);
        state.note_change(Some(at(newest)), at(NOW));
        state
    }

    fn watermark_after(state: &WalkState, finished: &str) -> Option<Timestamp> {
        let mut cursor = Cursor::default();
        state.complete_into(&mut cursor, Deletions::None, at(finished));
        cursor.watermark
    }

    #[test]
    fn the_watermark_stays_behind_the_newest_change_by_as_long_as_the_walk_took() {
        let state = walked(Walk::Everything, "2026-03-10T08:00:00Z");
        assert_eq!(watermark_after(&state, "2026-03-10T09:30:00Z"), Some(at("2026-03-10T07:29:59Z")));
    }

    #[test]
    fn the_watermark_never_passes_the_beginning_of_the_walk() {
        let state = walked(Walk::Everything, "2026-03-10T20:00:00Z");
        assert_eq!(watermark_after(&state, "2026-03-10T09:30:00Z"), Some(at("2026-03-10T09:00:00Z")));
    }

    #[test]
    fn a_record_stamped_far_in_the_future_does_not_move_the_watermark() {
        let mut state = walked(Walk::Everything, "2026-03-10T08:00:00Z");
        state.note_change(Some(at("2038-01-19T00:00:00Z")), at(NOW));
        assert_eq!(state.newest, Some(at("2026-03-10T08:00:00Z")));
    }

    #[test]
    fn the_watermark_never_goes_back() {
        let state = walked(Walk::ModifiedSince(at("2020-01-01T00:00:00Z")), "2021-01-01T00:00:00Z");
        let mut cursor = read_before();
        state.complete_into(&mut cursor, Deletions::None, at(NOW));
        assert_eq!(cursor.watermark, read_before().watermark);
    }

    #[test]
    fn a_walk_through_recent_records_proves_nothing_about_older_changes() {
        let state = walked(Walk::CreatedSince(at("2026-02-01T00:00:00Z")), "2026-03-10T08:00:00Z");
        assert_eq!(watermark_after(&state, NOW), None);
    }

    #[test]
    fn a_walk_state_survives_being_stored() {
        let state = walked(Walk::ModifiedSince(at("2026-02-01T00:00:00Z")), "2026-03-10T08:00:00Z");
        let stored = serde_json::to_value(&state).unwrap();
        assert_eq!(serde_json::from_value::<WalkState>(stored).unwrap(), state);
    }
}
