-- Records whose bytes differ from those of last time. One that was thought deleted is back.
with changed as (
    select
        source_key,
        parent_key,
        payload,
        payload_hash,
        source_updated_at
    from unnest($3::text[], $4::text[], $5::jsonb[], $6::uuid[], $7::timestamptz[])
        as record (source_key, parent_key, payload, payload_hash, source_updated_at)
)
update staging.orders as stored
set
    parent_key = changed.parent_key,
    payload = changed.payload,
    payload_hash = changed.payload_hash,
    source_updated_at = changed.source_updated_at,
    deleted_at = null,
    run_id = $2
from changed
where stored.connection = $1
    and stored.source_key = changed.source_key
