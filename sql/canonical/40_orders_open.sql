-- Orders that must be mapped again although they did not change: those whose account came, went or moved to another
-- contact, and those with lines of a product whose page or picture changed. The feed of this very run tells which.
insert into changed_orders (source_key)
with moved_accounts as (
    select split_part(substr(c.key, length(m.connection) + 2), ':', 2) as account_key
    from run_changes c
    cross join mapping m
    where
        c.entity = 'contact_sources'
        and left(c.key, length(m.connection) + 9) = m.connection || ':account:'
        and (c.op <> 'update' or c.old ? 'contact_id')
),
shown_otherwise as (
    select substr(c.key, length(m.connection) + 2) as product_key
    from run_changes c
    cross join mapping m
    where
        c.entity = 'products'
        and left(c.key, length(m.connection) + 1) = m.connection || ':'
        and (c.op <> 'update' or c.old ?| array['url', 'image_url'])
),
due as (
    select o.source_key
    from canonical.orders o
    join mapping m using (connection)
    join moved_accounts a on a.account_key = o.account_key
    union
    select o.source_key
    from canonical.order_items i
    join mapping m using (connection)
    join shown_otherwise p on p.product_key in (i.product_key, i.variation_key)
    join canonical.orders o on o.contact_id = i.contact_id and o.order_id = i.order_id
)
select source_key
from due
where source_key not in (select source_key from changed_orders);

analyze changed_orders;
