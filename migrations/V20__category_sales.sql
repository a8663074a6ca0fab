-- Lines find their order by the order alone, which says the contact. Asked for both, the planner takes them for
-- independent, expects hardly a row, and then reads all lines once per product that is in a category: hours, in a shop
-- of a million orders.
create or replace view marts.category_sales as
select
    c.connection,
    c.source_key as category_key,
    c.path,
    o.currency,
    count(distinct o.order_id) as orders,
    count(distinct o.contact_id) as buyers,
    sum(i.quantity)::numeric(18, 4) as quantity,
    sum(i.line_total)::numeric(18, 4) as revenue
from canonical.orders o
join canonical.order_items i on i.order_id = o.order_id
join canonical.product_categories pc on pc.connection = i.connection and pc.product_key = i.product_key
join canonical.categories c on c.connection = pc.connection and c.source_key = pc.category_key
where o.status = 'DELIVERED'
group by c.connection, c.source_key, c.path, o.currency;
