-- One row per order of this pipeline that may have an event to send because of changes in the feed.
-- $1 target account, $2 connections, $3 the last run taken over before, $4 the last run to take over now.
with feed as (
    -- Lines carry the order's id in front of their number.
    select split_part(key, ':', 1)::uuid as order_id, max(run_id) as run_id
    from canonical.changes
    where run_id > $3::bigint and run_id <= $4::bigint and entity in ('orders', 'order_items') and $1::text is not null
    group by 1
)
select feed.order_id as key, feed.run_id
from feed
where exists (
    select from canonical.orders
    where orders.order_id = feed.order_id and orders.connection = any ($2::text[])
)
