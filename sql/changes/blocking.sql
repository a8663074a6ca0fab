-- Consumers that have not read every change of runs up to $1, and the last run that each has read all of; who is
-- furthest behind comes first.
with consumers as (
    select
        name,
        'named' as kind,
        case when seq is null then run_id else run_id - 1 end as passed_run
    from ops.consumers
    union all
    select
        target || '/' || pipeline,
        'load',
        run_id
    from delivery.consumers
)
select
    name,
    kind,
    passed_run
from consumers
where exists (
        select
        from canonical.changes c
        where c.run_id > consumers.passed_run and c.run_id <= $1::bigint
    )
order by passed_run, kind, name
