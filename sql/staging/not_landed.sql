-- How many keys are on the shop's list and neither in staging nor among the rejects.
select count(*) as not_landed
from ops.walk_keys as seen
where seen.connection = $1
    and seen.stream = $2
    and not exists (
        select from staging.orders as stored
        where stored.connection = $1
            and stored.source_key = seen.source_key
    )
    and not exists (
        select from staging.rejects as rejected
        where rejected.connection = $1
            and rejected.stream = $2
            and rejected.source_key = seen.source_key
    )
