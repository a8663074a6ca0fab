-- Records that were marked deleted and are listed again as they were.
update staging.orders
set
    deleted_at = null,
    run_id = $2
where connection = $1
    and source_key = any($3)
    and deleted_at is not null
