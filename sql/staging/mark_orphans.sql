-- What hangs on a parent that is gone, or has no such list any more, is gone with it. Only parents that changed after
-- run $3 are looked at. `staging.products` and `true` stand for the parents' table and its condition.
with gone as (
    select source_key
    from staging.products
    where connection = $1
        and run_id > $3
        and (deleted_at is not null or (true) is not true)
)
update staging.orders as stored
set
    deleted_at = now(),
    run_id = $2
from gone
where stored.connection = $1
    and stored.parent_key = gone.source_key
    and stored.deleted_at is null
