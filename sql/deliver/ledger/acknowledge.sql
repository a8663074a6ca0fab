-- What a target took: one ledger row per record. $1 target, $3 run, and one array per column: $2 batch, $4 and on.
with taken as (
    select
        record.*,
        case when object = 'contact' then batches.started_at end as called_at,
        case
            when object = 'contact' then array(
                select channel
                from unnest(array['email', 'sms']) as channel
                where payload #>> array['consent', channel, 'state'] = 'opt_in'
                    and payload #>> array['consent', channel, 'respected'] is null
            )
            else '{}'
        end as opted_in
    from unnest($2::bigint[], $4::text[], $5::uuid[], $6::uuid[], $7::jsonb[], $8::text[], $9::boolean[])
        as record (batch_id, object, key, contact_id, payload, target_id, is_seen)
    left join delivery.batches using (batch_id)
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
    run_id,
    first_call_at,
    opted_in
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
    $3,
    taken.called_at,
    taken.opted_in
from taken
on conflict (contact_id, target, object, key) do update
set payload = excluded.payload,
    state = 'acknowledged',
    target_id = coalesce(excluded.target_id, ledger.target_id),
    batch_id = excluded.batch_id,
    sent_at = now(),
    confirmed_at = coalesce(excluded.confirmed_at, ledger.confirmed_at),
    run_id = excluded.run_id,
    opted_in = case
        when ledger.opted_in @> excluded.opted_in then ledger.opted_in
        else array(select unnest(ledger.opted_in) union select unnest(excluded.opted_in) order by 1)
    end
