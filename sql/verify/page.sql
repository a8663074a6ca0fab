-- The next part of all that an account is said to hold. $1 target account, $2 contact, $3 object and $4 key of the last
-- row before, $5 how many.
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
where ledger.target = $1::text
    and ledger.state = 'acknowledged'
    and ledger.payload -> 'gone' is null
    and (ledger.contact_id, ledger.object, ledger.key) > ($2::uuid, $3::text, $4::uuid)
order by ledger.contact_id, ledger.object, ledger.key
limit $5::bigint
