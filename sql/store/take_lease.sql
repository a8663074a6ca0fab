-- Notes a new holder; the caller has the session lock of the lease. Parameters: lease, holder, run.
-- Waits for a transaction of the former holder that checked its number and has not ended yet.
insert into ops.leases as leases (
    name,
    holder,
    run_id,
    token
)
values (
    $1,
    $2,
    $3,
    1
)
on conflict (name) do update
set
    holder = excluded.holder,
    run_id = excluded.run_id,
    token = leases.token + 1,
    taken_at = now(),
    wanted_at = null,
    queued_at = null
returning token
