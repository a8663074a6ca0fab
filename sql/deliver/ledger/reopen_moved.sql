-- Calls whose outcome was never learned are open again where they carried a contact that waits, that the ledger does
-- not know and that has another address by now: its card is looked for before anything else is sent. $1 target account.
with moved as (
    select array_agg(distinct pending.key) as keys
    from delivery.pending
    join canonical.contact_moves as moves on moves.contact_id = pending.key
    where pending.target = $1::text
        and pending.object = 'contact'
        and not exists (select from canonical.contacts where contacts.contact_id = pending.key)
        and not exists (
            select
            from delivery.ledger
            where ledger.contact_id = pending.key and ledger.target = $1::text and ledger.object = 'contact'
        )
)
update delivery.batches
set finished_at = null
from moved
where moved.keys is not null
    and batches.target = $1::text
    and batches.state in ('superseded', 'unknown')
    and batches.finished_at is not null
    and batches.keys && moved.keys
