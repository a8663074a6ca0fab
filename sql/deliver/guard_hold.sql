-- Holds back the weighed contacts of which too many would lose the same, and gives all others free; how many are held
-- back. $1 target account, $2 pipeline, $3 run, $4 of what too many would lose, $5 the load's lease, $6 its number.
with lease as (
    select ops.assert_lease($5::text, $6::bigint)
),
held as (
    select toll.key, toll.reasons
    from pg_temp.deliver_toll as toll
    where toll.reasons && $4::text[]
),
freed as (
    delete from delivery.guarded
    using lease
    where guarded.target = $1::text
        and guarded.pipeline = $2::text
        and not exists (select from held where held.key = guarded.key)
),
noted as (
    insert into delivery.guarded (target, pipeline, key, reasons, run_id)
    select
        $1::text,
        $2::text,
        held.key,
        held.reasons,
        $3::bigint
    from held
    cross join lease
    on conflict (key, target, pipeline) do update
    set reasons = excluded.reasons
    where guarded.reasons <> excluded.reasons
)
select count(*) from held
