-- How many runs besides a restore have done anything here, or are at work. $1 the restore that asks, or null.
select
    count(*)
from ops.runs
where
    runs.run_id is distinct from $1::bigint
    and (
        (runs.finished_at is null and runs.command <> 'restore')
        or exists (select from ops.run_steps as step where step.run_id = runs.run_id and runs.command <> 'restore')
    )
