-- Intents of what was certainly not done: the ledger says again what it said before. $1 batches, $2 keys, pair by pair.
with free as (
    select * from unnest($1::bigint[], $2::uuid[]) as pair (batch_id, key)
),
restored as (
    update delivery.ledger
    set payload = ledger.payload #> '{sending,before}', state = 'acknowledged', batch_id = null
    from free
    where ledger.batch_id = free.batch_id
        and ledger.key = free.key
        and ledger.state = 'sending'
        and ledger.payload #> '{sending,before}' is not null
)
delete from delivery.ledger
using free
where ledger.batch_id = free.batch_id
    and ledger.key = free.key
    and ledger.state = 'sending'
    and ledger.payload #> '{sending,before}' is null
