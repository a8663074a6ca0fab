//! A call for each record of a bundle, side by side; those of one contact one after the other.

use crate::Result;
use crate::target::{BatchOutcome, Item, Outcome};
use futures::StreamExt;
use futures::stream;
use std::collections::HashMap;
use uuid::Uuid;

/// What became of each record. An error of `send` says that nothing was done: that record is for later, and what became of
/// the others stands. Only where nothing came of any is it the bundle's error.
///
/// # Errors
/// The first of `send`, where none of the records was done.
pub(super) async fn each<'i, F>(items: &'i [Item], send: impl Fn(&'i Item) -> F) -> Result<BatchOutcome>
where
    F: Future<Output = Result<Outcome>>,
{
    let mut chains: HashMap<Uuid, Vec<usize>> = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        chains.entry(item.contact_id).or_default().push(place);
    }
    let send = &send;
    let chains = chains.into_values().map(|places| async move {
        let mut ends = Vec::with_capacity(places.len());
        for place in places {
            ends.push((place, send(&items[place]).await));
        }
        ends
    });
    let ends: Vec<_> = stream::iter(chains).buffer_unordered(items.len().max(1)).concat().await;
    let mut outcomes = vec![Outcome::Later("not sent".to_owned()); items.len()];
    let mut stopped = None;
    for (place, end) in ends {
        match end {
            Ok(outcome) => outcomes[place] = outcome,
            Err(error) => {
                outcomes[place] = Outcome::Later(error.detail().to_owned());
                stopped.get_or_insert(error);
            }
        }
    }
    match stopped {
        Some(error) if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Later(_))) => Err(error),
        _ => Ok(BatchOutcome { outcomes, reference: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Kind};

    fn item(contact: u128, key: u128) -> Item {
        Item {
            key: Uuid::from_u128(key),
            contact_id: Uuid::from_u128(contact),
            address: String::new(),
            envelope: serde_json::Value::Null.into(),
            request: serde_json::Value::Null.into(),
        }
    }

    fn unreachable() -> Error {
        Error::new(Kind::Unreachable, "no answer")
    }

    /// A contact that was created must not be created again because the call of another one failed.
    #[tokio::test]
    async fn what_was_done_stands_when_another_call_fails() {
        let items = [item(1, 1), item(2, 2), item(3, 3)];
        let bundle = each(&items, |item| {
            let fails = item.key == Uuid::from_u128(2);
            async move { if fails { Err(unreachable()) } else { Ok(Outcome::There(None)) } }
        })
        .await
        .unwrap();
        assert_eq!(
            bundle.outcomes,
            [Outcome::There(None), Outcome::Later("no answer".to_owned()), Outcome::There(None)]
        );
    }

    #[tokio::test]
    async fn a_bundle_of_which_nothing_was_done_is_an_error() {
        let items = [item(1, 1), item(2, 2)];
        let error = each(&items, |_| async { Err(unreachable()) }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable);
    }

    #[tokio::test]
    async fn what_one_contact_has_goes_in_its_order() {
        let items = [item(1, 1), item(2, 2), item(1, 3), item(1, 4)];
        let sent = std::sync::Mutex::new(Vec::new());
        each(&items, |item| {
            let sent = &sent;
            async move {
                tokio::task::yield_now().await;
                sent.lock().unwrap().push(item.key);
                Ok(Outcome::Acknowledged(None))
            }
        })
        .await
        .unwrap();
        let sent = sent.into_inner().unwrap();
        let of_first: Vec<&Uuid> = sent.iter().filter(|key| **key != Uuid::from_u128(2)).collect();
        assert_eq!(of_first, [1, 3, 4].map(Uuid::from_u128).iter().collect::<Vec<_>>());
    }
}
