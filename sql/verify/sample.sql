-- A sample of what an account is said to hold, the same one for the same seed. $1 target account, $2 seed, $3 how many.
select
    ledger.object,
    ledger.key,
    ledger.contact_id,
    ledger.target_id,
    ledger.payload,
    -- An event is shown by the card as it is called now, which may have been renamed since.
    coalesce(contact.payload ->> 'email', ledger.payload ->> 'email') as address,
    ledger.sent_at,
    extract(epoch from clock_timestamp() - ledger.sent_at)::double precision as age
from delivery.ledger
left join delivery.ledger as contact
    on contact.contact_id = ledger.contact_id
    and contact.target = ledger.target
    and contact.object = 'contact'
    and contact.key = ledger.contact_id
where ledger.target = $1::text and ledger.state = 'acknowledged' and ledger.payload -> 'gone' is null
order by hashtextextended(ledger.object || ledger.key::text, $2::bigint)
limit $3::bigint
