-- One row per key of a batch that has a reject.
select distinct source_key
from staging.rejects
where connection = $1
    and stream = $2
    and source_key = any($3)
