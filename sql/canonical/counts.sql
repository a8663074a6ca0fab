-- What this transaction has changed on behalf of run $1, by entity. A run that maps several connections has a
-- transaction for each, and a change is stamped with the time at which its transaction began.
select
    entity,
    count(*) filter (where op = 'insert'),
    count(*) filter (where op = 'update'),
    count(*) filter (where op = 'delete')
from canonical.changes
where run_id = $1 and at = transaction_timestamp()
group by entity
order by entity
