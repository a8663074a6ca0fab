-- What run $1 has changed, by entity.
select
    entity,
    count(*) filter (where op = 'insert'),
    count(*) filter (where op = 'update'),
    count(*) filter (where op = 'delete')
from canonical.changes
where run_id = $1
group by entity
order by entity
