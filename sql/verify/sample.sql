-- A sample of what an account is said to hold, the same one for the same seed. $1 target account, $2 seed, $3 how many.
select
    ledger.object,
    ledger.key,
    ledger.contact_id,
    ledger.target_id,
    ledger.payload,
    extract(epoch from clock_timestamp() - ledger.sent_at)::double precision as age
from delivery.ledger
where ledger.target = $1::text and ledger.state = 'acknowledged' and ledger.payload -> 'gone' is null
order by hashtextextended(ledger.object || ledger.key::text, $2::bigint)
limit $3::bigint
