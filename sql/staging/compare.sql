-- One row: what staging holds, and how much of it the walk has not seen.
select
    count(*) as live,
    count(*) - count(seen.source_key) as unseen
from staging.orders as stored
left join ops.walk_keys as seen
    on seen.connection = $1
    and seen.stream = $2
    and seen.source_key = stored.source_key
where stored.connection = $1
    and stored.deleted_at is null
