-- The keys in doubt that the platform has not been asked for yet, parent by parent, behind a parent and a key.
select
    parent_key,
    source_key,
    listed
from ops.doubtful_keys
where connection = $1
    and stream = $2
    and not asked
    and (parent_key, source_key) > ($3, $4)
order by
    parent_key,
    source_key
limit $5
