-- Notes which lists a shop has before any is read, so that a list that was never read whole is seen to be missing.
-- One that the shop has no more, and that was never read whole, is forgotten. $1 connection, $2 the streams.
with gone as (
    delete from ops.cursors
    where cursors.connection = $1 and cursors.full_at is null and cursors.stream <> all ($2::text[])
)
insert into ops.cursors (connection, stream)
select $1, stream
from unnest($2::text[]) as stream
on conflict (connection, stream) do nothing
