-- What run $1 has changed so far and later steps go by. Asked for by its number: joined with pg_temp.mapping, the
-- planner would not know that it is a small part, and read the whole feed.
insert into run_changes (seq, entity, key, contact_id, op, old)
select
    seq,
    entity,
    key,
    contact_id,
    op,
    old
from canonical.changes
where
    run_id = $1
    and seq > (select coalesce(max(seq), 0) from run_changes)
    and entity in ('contact_sources', 'products', 'orders', 'order_items', 'product_categories', 'categories')
