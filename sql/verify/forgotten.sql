-- Contacts that have another address by now, that the ledger does not know, and whom only calls carried whose outcome
-- was never learned: the account may hold a card under the address they had. $1 target account, $2 how many.
with carried as (
    select
        keys.contact_id,
        bool_and(batches.state in ('superseded', 'unknown')) as is_unknown
    from delivery.batches
    cross join lateral unnest(batches.keys) as keys (contact_id)
    where batches.target = $1::text and batches.finished_at is not null
    group by keys.contact_id
)
select
    moves.contact_id as key,
    moves.email
from canonical.contact_moves as moves
join carried on carried.contact_id = moves.contact_id and carried.is_unknown
where moves.email is not null
    and not exists (select from canonical.contacts where contacts.contact_id = moves.contact_id)
    and not exists (
        select
        from delivery.ledger
        where ledger.contact_id = moves.contact_id and ledger.target = $1::text and ledger.object = 'contact'
    )
order by moves.moved_at desc, moves.contact_id
limit $2::bigint
