-- One row: how many of the keys $2 staging has held as they are since before the run $3.
select count(*)
from staging.orders
where connection = $1
    and source_key = any($2)
    and deleted_at is null
    and run_id < $3
