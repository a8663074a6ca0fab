-- Everything pending of orders, oldest first. An order is one row even while it moves from one contact to another.
insert into pg_temp.deliver_queue (position, key, run_id)
select
    row_number() over (order by placed.placed_at nulls last, pending.key),
    pending.key,
    pending.run_id
from pg_temp.deliver_pending as pending
left join lateral (
    select min(orders.placed_at) as placed_at from canonical.orders where orders.order_id = pending.key
) as placed on true
where pending.object = 'order'
