-- Marks what the ledger holds just as planned, queues the rest, and counts both. $1 target account.
with done as (
    update pg_temp.deliver_plan as planned
    set is_done = true
    from delivery.ledger
    where ledger.target = $1::text
        and ledger.object = planned.object
        and ledger.key = planned.key
        and ledger.state = 'acknowledged'
        and delivery.planned_hash(ledger.payload) = planned.payload_hash
    returning planned.object, planned.key
),
queued as (
    insert into pg_temp.deliver_plan_keys (object, key)
    select distinct case when planned.object = 'contact' then 'contact' else 'order' end, planned.key
    from pg_temp.deliver_plan as planned
    where not exists (select from done where done.object = planned.object and done.key = planned.key)
    returning object
)
select
    (select count(*) from pg_temp.deliver_plan) as planned,
    (select count(*) from done) as done,
    (select count(*) from queued) as queued
