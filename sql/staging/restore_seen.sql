-- What was marked deleted and is on the shop's list of keys after all.
update staging.orders as stored
set
    deleted_at = null,
    run_id = $2
from ops.walk_keys as seen
where stored.connection = $1
    and stored.deleted_at is not null
    and seen.connection = $1
    and seen.stream = $3
    and seen.source_key = stored.source_key
