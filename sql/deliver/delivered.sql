-- How many orders a target account holds as DELIVERED, and how many it would after a load. $1 target.
with held as (
    -- The last thing said of an order, whatever it was sent as.
    select distinct on (ledger.key) ledger.key, ledger.payload ->> 'status' = 'DELIVERED' as is_delivered
    from delivery.ledger
    where ledger.target = $1::text and ledger.object <> 'contact' and ledger.state = 'acknowledged'
    order by ledger.key, ledger.sent_at desc
)
select
    count(*) filter (where held.is_delivered),
    count(*) filter (where coalesce(scored.is_delivered, held.is_delivered))
from held
full join pg_temp.deliver_scored as scored on scored.key = held.key
