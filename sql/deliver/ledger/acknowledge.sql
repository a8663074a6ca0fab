-- What a target took: one ledger row per record. $1 target, $3 run, and one array per column: $2 batch, $4 and on.
with taken as (
    select *
    from unnest($2::bigint[], $4::text[], $5::uuid[], $6::uuid[], $7::jsonb[], $8::text[], $9::boolean[])
        as record (batch_id, object, key, contact_id, payload, target_id, is_seen)
)
insert into delivery.ledger (
    target,
    object,
    key,
    contact_id,
    payload,
    state,
    target_id,
    batch_id,
    confirmed_at,
    run_id
)
select
    $1,
    taken.object,
    taken.key,
    taken.contact_id,
    taken.payload,
    'acknowledged',
    taken.target_id,
    taken.batch_id,
    case when taken.is_seen then now() end,
    $3
from taken
on conflict (contact_id, target, object, key) do update
set payload = excluded.payload,
    state = 'acknowledged',
    target_id = coalesce(excluded.target_id, ledger.target_id),
    batch_id = excluded.batch_id,
    sent_at = now(),
    confirmed_at = coalesce(excluded.confirmed_at, ledger.confirmed_at),
    run_id = excluded.run_id
