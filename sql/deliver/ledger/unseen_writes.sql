-- Of contacts that have just been written to those whose cards are to be looked at: not opted in to e-mail, and neither
-- made by this write, because a card says when it was made, nor followed by an event, which is done when answered.
-- $1 target, $2 contacts.
select
    ledger.contact_id,
    lower(ledger.payload ->> 'email') as address,
    batches.started_at
from unnest($2::uuid[]) as written (contact_id)
join delivery.ledger
    on ledger.contact_id = written.contact_id
    and ledger.target = $1
    and ledger.object = 'contact'
    and ledger.key = written.contact_id
join delivery.batches using (batch_id)
where ledger.state = 'acknowledged'
    and ledger.payload ? 'email'
    and not 'email' = any (ledger.opted_in)
    and ledger.first_call_at < batches.started_at
    and coalesce(ledger.confirmed_at < ledger.sent_at, true)
    and not exists (
        select
        from delivery.ledger as event
        where event.contact_id = ledger.contact_id
            and event.target = ledger.target
            and event.object <> 'contact'
            and event.sent_at > ledger.sent_at
    )
order by address
