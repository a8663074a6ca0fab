-- Every consumer of the change feed and how far behind it is, counted up to a thousand. $1 the last complete run.
with consumers as (
    select
        name,
        'named' as kind,
        run_id,
        seq,
        moved_at,
        entities
    from ops.consumers
    union all
    select
        target || '/' || pipeline,
        'load',
        run_id,
        null,
        null,
        null
    from delivery.consumers
)
select
    name,
    kind,
    run_id,
    seq,
    (
        select count(*)
        from (
            select
            from canonical.changes c
            where
                (c.run_id, c.seq) > (consumers.run_id, coalesce(consumers.seq, 9223372036854775807))
                and c.run_id <= $1::bigint
                and (entities is null or c.entity = any (entities))
            limit 1000
        ) as unread
    ) as behind,
    delivery.iso_utc(moved_at) as moved_at,
    entities
from consumers
order by kind, name
