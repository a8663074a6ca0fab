-- Closes runs whose process is gone: their lock, which ends with the session that took it, is free.
-- The fencing numbers of their leases rise first; a transaction of theirs that is still open makes that wait.
with unfinished as materialized (
    select
        run_id
    from ops.runs
    where finished_at is null
),

dead as materialized (
    select
        run_id
    from unfinished
    where pg_try_advisory_xact_lock(hashtextextended('wharf run ' || run_id, 0))
),

revoked as (
    update ops.leases
    set
        holder = '',
        run_id = 0,
        token = leases.token + 1
    from dead
    where leases.run_id = dead.run_id
    returning leases.name
)

update ops.runs
set
    finished_at = now(),
    outcome = 'died',
    error = 'the process ended without a word'
from dead
where runs.run_id = dead.run_id
    and runs.finished_at is null
    and (select count(*) from revoked) >= 0
returning
    runs.run_id,
    runs.holder
