//! Places where a test lets Wharf fail, die or be wrong on purpose: one list, set from outside, absent from release builds.
//!
//! A **point** stands at each change of state of every stage. A test starts the program with, say,
//! `WHARF_FAILPOINTS="load/after-intent=kill@3"`: the third time the point is reached the process kills itself as `kill -9`
//! would. `stop` holds it there until it is killed, `error` gives an error, `panic` a defect; `*` stands for all points,
//! counted together. A **bug** is a mistake that Wharf makes on purpose while `bug/NAME=plant` asks for it, so that the
//! checks are seen to catch it; with `@N` at the N-th occasion alone. Several settings are parted by semicolons.
//! `WHARF_FAILPOINTS_LOG` names a file that takes a line for each point reached.
//!
//! Why not a library: points that are an enum cannot be misspelt or missing from the list that tests go through, a kill
//! must be SIGKILL at this very instruction, and an optimised build keeps nothing of it without any feature being set.

#![cfg_attr(not(debug_assertions), allow(unused_variables, dead_code, reason = "release builds have no failpoints"))]

use crate::{Error, Kind, Result};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Declares an enum with the names of its values.
macro_rules! named {
    ($(#[$outer:meta])* $kind:ident { $($(#[$doc:meta])* $value:ident = $name:literal,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $($(#[$doc])* $value,)*
        }

        impl $kind {
            /// All of them.
            pub const ALL: &[$kind] = &[$($kind::$value,)*];

            /// Its name in `WHARF_FAILPOINTS`.
            pub fn name(self) -> &'static str {
                match self {
                    $($kind::$value => $name,)*
                }
            }
        }
    };
}

named! {
    /// A change of state, named `stage/what-has-happened`, in the order of a run.
    Point {
        /// The run can be seen by others.
        RunBegun = "run/begun",
        /// The stages are done, the run is not closed.
        RunBeforeFinish = "run/before-finish",

        /// The shop is ours.
        ExtractAfterLease = "extract/after-lease",
        /// The connection's settings are stored.
        ExtractAfterRegister = "extract/after-register",
        /// A page has arrived whole, in the task that asks for pages; nothing of it is stored.
        ExtractPageReceived = "extract/page-received",
        /// Records have landed inside the transaction; the position after them is not written.
        ExtractPageLandedBeforeCursor = "extract/page-landed-before-cursor",
        /// Records and position are written, not committed.
        ExtractBeforeStoreCommit = "extract/before-store-commit",
        /// Records and position are committed.
        ExtractAfterStore = "extract/after-store",
        /// Some of what a walk leaves doubtful has been asked for by key, and that is committed; nothing is proven yet.
        ExtractAfterAsked = "extract/after-asked",
        /// What a walk proves (deletions, watermark) is written, not committed.
        ExtractBeforeWalkEndCommit = "extract/before-walk-end-commit",
        /// What a walk proves is committed.
        ExtractAfterWalkEnd = "extract/after-walk-end",

        /// The transform is ours.
        TransformAfterLease = "transform/after-lease",
        /// One SQL file of the transform has run.
        TransformAfterStep = "transform/after-step",
        /// All is written, nothing committed.
        TransformBeforeCommit = "transform/before-commit",
        /// All is committed, the step of the run is not closed.
        TransformAfterCommit = "transform/after-commit",

        /// The target account is ours.
        LoadAfterLease = "load/after-lease",
        /// What earlier loads left open has been looked at.
        LoadAfterRecovery = "load/after-recovery",
        /// The change feed has been taken over inside the transaction.
        LoadBeforeTakeoverCommit = "load/before-takeover-commit",
        /// The change feed has been taken over.
        LoadAfterTakeover = "load/after-takeover",
        /// What the guard holds back is committed.
        LoadAfterGuard = "load/after-guard",
        /// The intent of a call is committed, the call not made.
        LoadAfterIntent = "load/after-intent",
        /// The call is made and answered, nothing of the answer written.
        LoadAfterCallBeforeOutcome = "load/after-call-before-outcome",
        /// The id of a job is committed, nobody waits for the job yet.
        LoadAfterJob = "load/after-job",
        /// The outcome of a call is written, not committed.
        LoadBeforeOutcomeCommit = "load/before-outcome-commit",
        /// The outcome of a call is committed.
        LoadAfterOutcome = "load/after-outcome",
        /// Records that need no call have left the queue.
        LoadAfterSettle = "load/after-settle",
        /// Contacts have been seen at the target, and that is committed.
        LoadAfterConfirm = "load/after-confirm",
        /// The target was asked what arrived of a call whose answer was lost; nothing of it is written.
        LoadAfterLookUp = "load/after-look-up",
        /// What arrived of such a call is written, not committed.
        LoadBeforeResolveCommit = "load/before-resolve-commit",
        /// What arrived of such a call is committed.
        LoadAfterResolve = "load/after-resolve",
        /// The first load is done and not yet noted to be.
        LoadBeforeFirstLoadEnd = "load/before-first-load-end",
        /// The first load is noted to be done.
        LoadAfterFirstLoadEnd = "load/after-first-load-end",

        /// The place of the archive is ours.
        ArchiveAfterLease = "archive/after-lease",
        /// A part of an entity is written whole.
        ArchivePartWritten = "archive/part-written",
        /// An entity's manifest lies beside its parts, unpublished.
        ArchiveManifestWritten = "archive/manifest-written",
        /// All entities are written, none is published.
        ArchiveBeforePublish = "archive/before-publish",
        /// An entity has been published.
        ArchiveBetweenPublishes = "archive/between-publishes",
        /// All entities are published, the root's page still names the snapshots before.
        ArchiveBeforeLatest = "archive/before-latest",
        /// The root's page names the new snapshots; the draft is not swept.
        ArchiveAfterLatest = "archive/after-latest",

        /// The empty database is ours to restore into.
        RestoreAfterLease = "restore/after-lease",
        /// What an undone copy had left has been cleared away; nothing is copied.
        RestoreAfterClear = "restore/after-clear",
        /// A table has been copied, not committed.
        RestoreTableCopied = "restore/table-copied",
        /// Everything is copied, nothing committed.
        RestoreBeforeCommit = "restore/before-commit",
        /// Everything is committed, the run is not closed.
        RestoreAfterCommit = "restore/after-commit",

        /// The page of an instant is gone, the snapshots that only it named are there.
        PrunePageGone = "prune/page-gone",
        /// A snapshot has disappeared for readers, its files are still there.
        PruneSnapshotHidden = "prune/snapshot-hidden",
        /// A snapshot is gone with its files.
        PruneSnapshotGone = "prune/snapshot-gone",
    }
}

named! {
    /// A mistake made on purpose while it is planted.
    Bug {
        /// Extract commits the position after a page without the page, as a death between two transactions would.
        CursorBeforePage = "bug/cursor-before-page",
        /// Of a list that is several searches, extract makes the first alone.
        FirstPassAlone = "bug/first-pass-alone",
        /// Extract does not mark what a full list does not hold any more.
        ForgetDelete = "bug/forget-delete",
        /// An order that changed in staging is never mapped.
        DropBeforeMap = "bug/drop-before-map",
        /// The intent of a call that the target does not deduplicate is not written.
        SkipIntent = "bug/skip-intent",
        /// A call's records count as acknowledged before the call.
        AcknowledgeBeforeCall = "bug/acknowledge-before-call",
        /// What a lost answer was about is sent again without a look.
        ResendUnknown = "bug/resend-unknown",
        /// An opt-out at the target is overruled by an older opt-in of the shop.
        LiftOptOut = "bug/lift-opt-out",
        /// Events go newest first.
        NewestFirst = "bug/newest-first",
        /// A job counts as done when it is accepted.
        JobIsDone = "bug/job-is-done",
        /// A job that an earlier load left open is not waited for.
        ForgetJob = "bug/forget-job",
        /// No call waits for its turn.
        IgnoreLimit = "bug/ignore-limit",
        /// The archive's root names snapshots that are not published yet.
        LatestBeforePublish = "bug/latest-before-publish",
    }
}

/// What a setting makes of the point it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Error,
    Panic,
    Kill,
    Stop,
    Plant,
}

/// One setting: what happens, and at which time of being reached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    /// A point, a bug, or `*` for all points.
    name: String,
    action: Action,
    /// The time of being reached that is struck, from 1; a bug without it is made every time.
    at: Option<u64>,
}

impl Setting {
    fn is_for(&self, name: &str) -> bool {
        self.name == name || self.name == "*" && !name.starts_with("bug/")
    }
}

/// What `WHARF_FAILPOINTS` says.
fn parse(text: &str) -> Result<Vec<Setting>, String> {
    let known = |name: &str, action: Action| match action {
        Action::Plant => Bug::ALL.iter().any(|bug| bug.name() == name),
        _ => name == "*" || Point::ALL.iter().any(|point| point.name() == name),
    };
    let mut settings = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, rest) = part.split_once('=').ok_or_else(|| format!("`{part}` has no `=`"))?;
        let (action, at) = match rest.split_once('@') {
            Some((action, at)) => {
                let at = at.parse().ok().filter(|at| *at > 0);
                (action, Some(at.ok_or_else(|| format!("`{part}`: after @ comes a number from 1"))?))
            }
            None => (rest, None),
        };
        let action = match action {
            "error" => Action::Error,
            "panic" => Action::Panic,
            "kill" => Action::Kill,
            "stop" => Action::Stop,
            "plant" => Action::Plant,
            other => return Err(format!("`{other}` is none of error, panic, kill, stop, plant")),
        };
        if !known(name, action) {
            return Err(format!("there is no `{name}` to `{rest}`"));
        }
        settings.push(Setting { name: name.to_owned(), action, at });
    }
    Ok(settings)
}

/// The settings of this process, and how often each has been met.
struct Armed {
    settings: Result<Vec<Setting>, String>,
    met: Mutex<BTreeMap<usize, u64>>,
    log: Option<Mutex<std::fs::File>>,
}

fn armed() -> &'static Armed {
    static ARMED: OnceLock<Armed> = OnceLock::new();
    ARMED.get_or_init(|| {
        let log = std::env::var_os("WHARF_FAILPOINTS_LOG")
            .and_then(|path| std::fs::OpenOptions::new().create(true).append(true).open(path).ok());
        Armed {
            settings: parse(&std::env::var("WHARF_FAILPOINTS").unwrap_or_default()),
            met: Mutex::new(BTreeMap::new()),
            log: log.map(Mutex::new),
        }
    })
}

impl Armed {
    /// Counts the settings for `name` and gives the action that is due.
    fn meet(&self, name: &str) -> Result<Option<Action>> {
        let settings = self
            .settings
            .as_ref()
            .map_err(|mistake| Error::new(Kind::Command, format!("WHARF_FAILPOINTS: {mistake}")))?;
        let mut due = None;
        for (at, setting) in settings.iter().enumerate().filter(|(_, setting)| setting.is_for(name)) {
            let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
            let times = met.entry(at).or_default();
            *times += 1;
            let strikes = match (setting.at, setting.action) {
                (Some(at), _) => *times == at,
                (None, Action::Plant) => true,
                (None, _) => *times == 1,
            };
            if strikes && due.is_none() {
                due = Some(setting.action);
            }
        }
        Ok(due)
    }

    fn note(&self, name: &str) {
        if let Some(log) = &self.log {
            // One write a line: processes may share the file.
            let line = format!("{name}\n");
            let _ = log.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        }
    }
}

/// Says that a change of state is reached; what follows is what a test has asked for, and nothing in a release build.
///
/// # Errors
/// [`Kind::Internal`], if a test asked for an error here.
#[inline]
pub fn reach(point: Point) -> Result<()> {
    #[cfg(debug_assertions)]
    {
        let armed = armed();
        armed.note(point.name());
        match armed.meet(point.name())? {
            None | Some(Action::Plant) => {}
            Some(Action::Error) => {
                return Err(Error::new(Kind::Internal, format!("a test asked for an error at {}", point.name())));
            }
            Some(Action::Panic) => panic!("a test asked for a panic at {}", point.name()),
            Some(Action::Kill) => end_by(Signal::KILL),
            Some(Action::Stop) => end_by(Signal::STOP),
        }
    }
    Ok(())
}

/// Whether a test asked for this mistake to be made now; never in a release build.
#[inline]
pub fn is_planted(bug: Bug) -> bool {
    #[cfg(debug_assertions)]
    {
        matches!(armed().meet(bug.name()), Ok(Some(Action::Plant)))
    }
    #[cfg(not(debug_assertions))]
    {
        false
    }
}

/// Ends the process as `kill -9` does, or halts it as `kill -STOP` does: nothing is flushed, nothing is said, nobody is
/// told.
fn end_by(signal: Signal) -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn armed_with(text: &str) -> Armed {
        Armed { settings: parse(text), met: Mutex::default(), log: None }
    }

    #[test]
    fn a_point_strikes_at_the_time_named_and_no_other() {
        let armed = armed_with("load/after-intent=kill@2; extract/after-store=error");
        let meet = |point: Point| armed.meet(point.name()).unwrap();
        assert_eq!(meet(Point::LoadAfterIntent), None);
        assert_eq!(meet(Point::ExtractAfterStore), Some(Action::Error));
        assert_eq!(meet(Point::LoadAfterIntent), Some(Action::Kill));
        assert_eq!(meet(Point::LoadAfterIntent), None);
        assert_eq!(meet(Point::ExtractAfterStore), None);
    }

    #[test]
    fn a_star_counts_all_points_together_and_no_bug() {
        let armed = armed_with("*=panic@2");
        assert_eq!(armed.meet(Bug::SkipIntent.name()).unwrap(), None);
        assert_eq!(armed.meet(Point::LoadAfterIntent.name()).unwrap(), None);
        assert_eq!(armed.meet(Point::LoadAfterOutcome.name()).unwrap(), Some(Action::Panic));
    }

    #[test]
    fn a_bug_is_made_every_time_or_at_the_time_named() {
        let armed = armed_with("bug/skip-intent=plant;bug/forget-delete=plant@2");
        let is_made = |bug: Bug| armed.meet(bug.name()).unwrap().is_some();
        assert!(is_made(Bug::SkipIntent) && is_made(Bug::SkipIntent));
        assert!(!is_made(Bug::ForgetDelete) && is_made(Bug::ForgetDelete) && !is_made(Bug::ForgetDelete));
        assert!(!is_made(Bug::LiftOptOut));
    }

    #[test]
    fn what_names_nothing_is_an_error_and_not_silence() {
        for text in ["load/after-intend=kill", "load/after-intent", "load/after-intent=hit", "*=kill@0", "*=plant"] {
            assert!(armed_with(text).meet("run/begun").is_err(), "{text}");
        }
        assert!(parse(" ; ").unwrap().is_empty());
    }

    #[test]
    fn names_are_different_and_speak_of_a_stage() {
        let names: Vec<&str> =
            Point::ALL.iter().map(|point| point.name()).chain(Bug::ALL.iter().map(|bug| bug.name())).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        let stages = ["run", "extract", "transform", "load", "archive", "restore", "prune", "bug"];
        assert!(names.iter().all(|name| name.split_once('/').is_some_and(|(stage, _)| stages.contains(&stage))));
    }
}
