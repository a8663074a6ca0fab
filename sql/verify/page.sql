-- The next part of all that an account is said to hold. $1 target account, $2 contact, $3 object and $4 key of the last
-- row before, $5 how many.
select
    ledger.object,
    ledger.key,
    ledger.contact_id,
    ledger.target_id,
    ledger.payload,
    extract(epoch from clock_timestamp() - ledger.sent_at)::double precision as age
from delivery.ledger
where ledger.target = $1::text
    and ledger.state = 'acknowledged'
    and ledger.payload -> 'gone' is null
    and (ledger.contact_id, ledger.object, ledger.key) > ($2::uuid, $3::text, $4::uuid)
order by ledger.contact_id, ledger.object, ledger.key
limit $5::bigint
