//! What is gone at the shop: guards before rows are marked as deleted. What is proven gone is said in
//! [`doubts`](super::doubts).
//!
//! A shop that answers half, or empty, must not empty the database: more than `max_deleted_share` of a stream never
//! vanishes at once, an empty list deletes nobody, and keys that a crash of the server has lost prove nothing.

use crate::error::Kind;
use crate::stage::extract::due::WalkState;
use crate::stage::extract::walk::Reading;
use crate::{Error, Result};
use tokio_postgres::Transaction;

/// In lists that hang on parents so few deletions are never too many, whatever their share.
const FEW_CHILDREN: u64 = 10;

impl Reading<'_> {
    /// Notes what one parent's list does not hold any more, inside the transaction that ends the list.
    pub(super) async fn end_list(&self, tx: &Transaction<'_>, state: &mut WalkState, parent: &str) -> Result<()> {
        self.doubts.note_unseen(tx, Some(parent)).await?;
        self.forget_list(tx, state).await
    }

    /// Forgets the keys of a list: it has ended, or was refused in the middle and is no complete list.
    pub(super) async fn forget_list(&self, tx: &Transaction<'_>, state: &mut WalkState) -> Result<()> {
        self.keys.clear(tx).await?;
        state.seen = 0;
        Ok(())
    }

    /// The keys noted must still be there: a server that crashed meanwhile has lost them.
    pub(super) async fn check_count(&self, tx: &Transaction<'_>, state: &WalkState) -> Result<Result<()>> {
        let noted = self.keys.count(tx).await?;
        if noted == state.seen {
            return Ok(Ok(()));
        }
        let detail = format!("the server lost the keys that the walk through {} had seen", self.stream.name);
        Ok(Err(Error::new(Kind::DatabaseUnreachable, detail).hint("run the command again; the walk begins anew")))
    }

    /// A list without a single record deletes nobody.
    pub(super) fn guard_empty(&self, state: &WalkState) -> Result<()> {
        if state.seen > 0 || state.live == 0 || self.options.allow_deletions {
            return Ok(());
        }
        let detail =
            format!("{}: the shop's list is empty while {} are known; none is marked deleted", self.name(), state.live);
        Err(Error::new(Kind::Guard, detail).hint("if they are really all gone, run again with --allow-deletions"))
    }

    /// More must not vanish at once than the pipeline file allows: of `live` rows, `gone` are proven gone.
    pub(super) fn guard(&self, live: u64, gone: u64) -> Result<()> {
        let share = self.connection.max_deleted_share;
        let few = self.stream.parent.is_some() && gone <= FEW_CHILDREN;
        // Counts of rows are far below 2^53.
        if self.options.allow_deletions || few || gone as f64 <= live as f64 * share {
            return Ok(());
        }
        let detail = format!(
            "{}: {gone} of {live} are not on the shop's list any more, more than the allowed share of {share}; none is \
             marked deleted",
            self.name()
        );
        Err(Error::new(Kind::Guard, detail)
            .hint("if they are really gone, run again with --allow-deletions, or raise max_deleted_share"))
    }

    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.connection.connection, self.stream.name)
    }

    /// What is being read, for messages: `shop/orders (everything), page 12`.
    pub(super) fn place(&self, state: &WalkState) -> String {
        let page = state.pages + 1;
        let of_parent = state.parent.as_ref().map(|key| format!(" of {key}")).unwrap_or_default();
        format!("reading {} ({}), page {page}{of_parent}", self.name(), state.name())
    }
}
