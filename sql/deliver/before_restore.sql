-- Of orders $1 those that were placed before this database was restored. A day is added, because the shop's clock says
-- when an order was placed, and ours when the database was restored.
select order_id
from canonical.orders
where
    order_id = any ($1)
    and coalesce(placed_at, '-infinity') <= (
        select value::timestamptz + interval '1 day'
        from ops.settings
        where name = 'restored_at'
    )
