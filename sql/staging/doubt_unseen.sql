-- What staging holds and a complete walk has not seen is in doubt: it may be gone at the shop. $3 is a parent whose
-- list was walked; null where the whole list was.
insert into ops.doubtful_keys as noted (
    connection,
    stream,
    source_key,
    parent_key,
    listed
)
select
    $1,
    $2,
    stored.source_key,
    coalesce($3, ''),
    false
from staging.orders as stored
where stored.connection = $1
    and ($3 is null or stored.parent_key = $3)
    and stored.deleted_at is null
    and not exists (
        select from ops.walk_keys as seen
        where seen.connection = $1
            and seen.stream = $2
            and seen.source_key = stored.source_key
    )
on conflict (connection, stream, source_key) do update
set
    parent_key = excluded.parent_key,
    listed = false,
    asked = false,
    walks = case when noted.listed then 1 else noted.walks + 1 end
