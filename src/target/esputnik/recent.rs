//! What was accepted within the last minute: eSputnik answers 409 to the same request within that time.
//!
//! Such an answer means done only if that very body was accepted, and if nothing else has been accepted for the object since:
//! an order that went back and forth within a minute is not where it should be. Bounded in number and time.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// eSputnik says a minute; clocks and ways differ.
const REMEMBERED: Duration = Duration::from_secs(90);
/// Most objects remembered.
const MOST: usize = 200_000;

/// The last body accepted of each object.
#[derive(Debug, Default)]
pub(super) struct Recent {
    last: HashMap<(&'static str, Uuid), (u64, Instant)>,
    order: VecDeque<(Instant, &'static str, Uuid)>,
}

impl Recent {
    /// Notes that a body was accepted that carries these objects.
    pub(super) fn accepted(
        &mut self,
        object: &'static str,
        keys: impl Iterator<Item = Uuid>,
        body: &str,
        now: Instant,
    ) {
        let hash = hash(body);
        for key in keys {
            self.last.insert((object, key), (hash, now));
            self.order.push_back((now, object, key));
        }
        let is_old = |at: Instant| now.saturating_duration_since(at) > REMEMBERED;
        while self.order.len() > MOST || self.order.front().is_some_and(|(at, ..)| is_old(*at)) {
            let Some((at, object, key)) = self.order.pop_front() else { break };
            // What was accepted again since stands further behind.
            if self.last.get(&(object, key)).is_some_and(|(_, last)| *last == at) {
                self.last.remove(&(object, key));
            }
        }
    }

    /// Whether that very body was the last one accepted of all these objects.
    pub(super) fn is_done(&self, object: &'static str, mut keys: impl Iterator<Item = Uuid>, body: &str) -> bool {
        let hash = hash(body);
        keys.all(|key| self.last.get(&(object, key)).is_some_and(|(last, _)| *last == hash))
    }
}

fn hash(body: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_body_accepted_of_an_object_counts_as_done() {
        let key = Uuid::from_u128(1);
        let mut recent = Recent::default();
        let done = |recent: &Recent, body| recent.is_done("event", [key].into_iter(), body);
        assert!(!done(&recent, "a"), "nothing was accepted before");
        recent.accepted("event", [key].into_iter(), "a", Instant::now());
        assert!(done(&recent, "a") && !done(&recent, "b"));
        assert!(!recent.is_done("order", [key].into_iter(), "a"), "another kind of call");
        recent.accepted("event", [key].into_iter(), "b", Instant::now());
        assert!(!done(&recent, "a"), "there and back again is not done");
        assert!(!recent.is_done("event", [key, Uuid::from_u128(2)].into_iter(), "b"));
    }

    #[test]
    fn what_was_accepted_long_ago_is_forgotten_unless_it_was_again() {
        let (old, again, new) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let mut recent = Recent::default();
        let begin = Instant::now();
        recent.accepted("event", [old, again].into_iter(), "a", begin);
        recent.accepted("event", [again].into_iter(), "a", begin + REMEMBERED);
        recent.accepted("event", [new].into_iter(), "b", begin + REMEMBERED + Duration::from_secs(1));
        let done = |key| recent.is_done("event", [key].into_iter(), "a");
        assert!(!done(old) && done(again));
        assert_eq!((recent.last.len(), recent.order.len()), (2, 2));
    }
}
