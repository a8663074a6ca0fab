-- Contacts of a call whose outcome is open that have another address by now and that the ledger does not know: they may
-- have a card under the address they had, so they are looked for there like a rename that is open. Without that the
-- account would get a second card and the first one would be forgotten. $1 target account, $2 batch, $3 run.
insert into delivery.ledger (
    target,
    object,
    key,
    contact_id,
    payload,
    state,
    batch_id,
    run_id
)
select
    $1::text,
    'contact',
    moves.contact_id,
    moves.contact_id,
    jsonb_build_object(
        'email', moves.email,
        'tags', '[]'::jsonb,
        'consent', '{"email": {"state": "unknown"}, "sms": {"state": "unknown"}}'::jsonb,
        'sending', jsonb_build_object('address', moves.email)
    ),
    'sending',
    batches.batch_id,
    $3::bigint
from delivery.batches
cross join lateral unnest(batches.keys) as carried (contact_id)
join canonical.contact_moves as moves on moves.contact_id = carried.contact_id
where batches.batch_id = $2::bigint
    and moves.email is not null
    and not exists (select from canonical.contacts where contacts.contact_id = moves.contact_id)
on conflict (contact_id, target, object, key) do nothing
