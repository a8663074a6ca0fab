-- What a walk over keys has seen and staging does not hold, or thinks deleted, is in doubt: it may never have landed.
-- What could not be stored is known.
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
    seen.source_key,
    '',
    true
from ops.walk_keys as seen
left join staging.orders as stored
    on stored.connection = $1
    and stored.source_key = seen.source_key
where seen.connection = $1
    and seen.stream = $2
    and (stored.source_key is null or stored.deleted_at is not null)
    and not exists (
        select from staging.rejects as rejected
        where rejected.connection = $1
            and rejected.stream = $2
            and rejected.source_key = seen.source_key
            and rejected.code <> 'altered'
    )
on conflict (connection, stream, source_key) do update
set listed = true, asked = false
