-- What hangs on one parent and a walk through that parent's list has not seen is gone at the shop.
update staging.orders as stored
set
    deleted_at = now(),
    run_id = $2
where stored.connection = $1
    and stored.parent_key = $4
    and stored.deleted_at is null
    and not exists (
        select from ops.walk_keys as seen
        where seen.connection = $1
            and seen.stream = $3
            and seen.source_key = stored.source_key
    )
