-- One row: the first and the last of the runs up to $1 that have changes in the feed, null where there are none, and
-- how many changes they have.
select
    min(run_id) as first_run,
    max(run_id) as last_run,
    count(*) as changes
from canonical.changes
where run_id <= $1::bigint
