-- A person has decided that opt-ins are followed although the target shows an opt-out: written down for each channel,
-- and tried again. $1 the code of opt-outs that were kept, $2 key or null. Gives how many contacts that is.
with taken as (
    delete from delivery.rejects
    where code = $1 and ($2::uuid is null or key = $2)
    returning target, pipeline, key, reason, payload, run_id
),
decided as (
    insert into delivery.consent_decisions (target, contact_id, channel, stated_at, pipeline, reason)
    select
        taken.target,
        taken.key,
        channel,
        (taken.payload #>> array['consent', channel, 'at'])::timestamptz,
        taken.pipeline,
        taken.reason
    from taken
    cross join unnest(array['email', 'sms']) as channel
    where taken.payload #>> array['consent', channel, 'respected'] = 'true'
    on conflict do nothing
),
written as (
    insert into delivery.pending (target, pipeline, object, key, run_id)
    select target, pipeline, 'contact', key, max(run_id)
    from taken
    group by target, pipeline, key
    on conflict (target, pipeline, object, key) do update set attempts = 0
)
select count(distinct (target, key)) from taken
