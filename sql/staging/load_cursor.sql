-- How far a stream has been read.
select
    watermark,
    walk,
    full_at,
    reread_at,
    compared_at,
    parents_run,
    bookmark
from ops.cursors
where connection = $1
    and stream = $2
