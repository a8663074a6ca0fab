-- The last run below which no run may still write to the change feed. $1 the run that asks, which counts as finished.
select
    coalesce(
        (
            select min(runs.run_id) - 1
            from ops.runs
            where runs.finished_at is null
                and runs.run_id is distinct from $1::bigint
                -- Only these write canonical rows, and none of them does any more once it loads or archives.
                and runs.command not in ('extract', 'load', 'archive')
                and not exists (
                    select from ops.run_steps as step
                    where step.run_id = runs.run_id and step.stage in ('load', 'archive')
                )
        ),
        (select max(runs.run_id) from ops.runs),
        0
    )::bigint as run_id
