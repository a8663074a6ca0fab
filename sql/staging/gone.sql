-- One row: how many records are proven gone, and how many are only in doubt. Proven is what the platform was asked for
-- and did not give, and what so many complete walks ($3) in a row have missed.
select
    count(*) filter (where doubtful.asked or doubtful.walks >= $3) as gone,
    count(*) filter (where not (doubtful.asked or doubtful.walks >= $3)) as doubtful
from ops.doubtful_keys as doubtful
join staging.orders as stored
    on stored.connection = $1
    and stored.source_key = doubtful.source_key
where doubtful.connection = $1
    and doubtful.stream = $2
    and not doubtful.listed
    and stored.deleted_at is null
