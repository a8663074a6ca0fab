-- How far a stream has been read, stored with the records it speaks of.
insert into ops.cursors (
    connection,
    stream,
    watermark,
    walk,
    full_at,
    reread_at,
    compared_at,
    parents_run,
    bookmark
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (connection, stream) do update
set
    watermark = excluded.watermark,
    walk = excluded.walk,
    full_at = excluded.full_at,
    reread_at = excluded.reread_at,
    compared_at = excluded.compared_at,
    parents_run = excluded.parents_run,
    bookmark = excluded.bookmark
