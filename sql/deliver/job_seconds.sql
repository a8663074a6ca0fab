-- How many seconds jobs of an operation ($2) take at an account ($1): the mean of the last twenty that ended.
with ended as (
    select extract(epoch from batches.finished_at - batches.started_at)::double precision as seconds
    from delivery.batches
    where batches.target = $1
        and batches.operation = $2
        and batches.state in ('acknowledged', 'partial')
        and batches.finished_at is not null
    order by batches.batch_id desc
    limit 20
)
select avg(ended.seconds) as seconds
from ended
