-- What is proven gone at the shop, as in gone.sql.
update staging.orders as stored
set
    deleted_at = now(),
    run_id = $4
from ops.doubtful_keys as doubtful
where stored.connection = $1
    and stored.deleted_at is null
    and doubtful.connection = $1
    and doubtful.stream = $2
    and not doubtful.listed
    and (doubtful.asked or doubtful.walks >= $3)
    and doubtful.source_key = stored.source_key
