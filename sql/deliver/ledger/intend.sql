-- Intents of a call that the target does not deduplicate, before it is made: one row per record, in state sending.
-- What the target held of the object until then stays beside it, for the case that the call is not done. Nothing is
-- written over whose outcome is open. $1 target, $2 batch, $3 run, and one array per column: $4 and on.
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
    $1,
    record.object,
    record.key,
    record.contact_id,
    record.payload,
    'sending',
    $2,
    $3
from unnest($4::text[], $5::uuid[], $6::uuid[], $7::jsonb[]) as record (object, key, contact_id, payload)
on conflict (contact_id, target, object, key) do update
set payload = excluded.payload || jsonb_build_object(
        'sending', (excluded.payload -> 'sending') || jsonb_build_object('before', ledger.payload - 'sending')
    ),
    state = 'sending',
    batch_id = excluded.batch_id,
    run_id = excluded.run_id
-- What a person has left after its outcome stayed unknown is gone by for good.
where ledger.state in ('acknowledged', 'held')
