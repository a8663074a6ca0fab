-- Keys that a walk has seen; a repeated one counts once.
insert into ops.walk_keys (
    connection,
    stream,
    source_key
)
select
    $1,
    $2,
    source_key
from unnest($3::text[]) as seen (source_key)
on conflict do nothing
