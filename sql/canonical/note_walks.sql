-- What complete walks have seen is mapped by now: a value that changes from here on was seen by them as it was. Read
-- before any staging row was, because a walk may end meanwhile whose records are not mapped.
update ops.cursors c
set mapped_full_at = walk.full_at::timestamptz
from mapping m
cross join jsonb_each_text(m.walked) as walk (stream, full_at)
where
    c.connection = m.connection
    and c.stream = walk.stream
    and c.mapped_full_at is distinct from walk.full_at::timestamptz
