-- Orders and their lines.
analyze mapped_orders, mapped_order_items;

insert into affected_orders (order_id)
select canonical.order_id(connection, source_key)
from mapping, changed_orders;

insert into affected_order_items (order_id)
table affected_orders;

insert into incoming_orders
with lines as (
    select source_key, sum(line_total) as items_total
    from mapped_order_items
    group by source_key
),
placed as (
    select
        m.connection,
        canonical.order_id(m.connection, o.source_key) as order_id,
        o.*,
        -- The account's contact; without an account (a guest, or a user since deleted) the buyer's own.
        coalesce(account.contact_id, buyer.contact_id) as contact_id,
        coalesce(override.status, s.status) as status,
        coalesce(m.settings ->> 'unknown_status' = 'keep', false) as keeps_status,
        lines.items_total
    from mapped_orders o
    cross join mapping m
    left join canonical.contact_sources account
        on account.connection = m.connection and account.source_key = 'account:' || o.account_key
    left join canonical.contact_sources buyer
        on buyer.connection = m.connection and buyer.source_key = 'order:' || o.source_key and buyer.kind = 'guest'
    left join mapped_statuses s on s.source_status = o.source_status
    left join lateral (select m.settings -> 'statuses' ->> o.source_status) as override (status) on true
    left join lines on lines.source_key = o.source_key
)
select
    p.contact_id,
    p.order_id,
    p.connection,
    p.source_key,
    p.account_key,
    p.number,
    -- A status that nobody has explained holds the order, unless the platform goes on with the last one known.
    case
        when p.status is null and p.keeps_status then coalesce(known.status, 'INITIALIZED')
        else p.status
    end,
    p.source_status,
    p.payment_status,
    p.currency,
    p.total,
    p.items_total,
    p.discount,
    p.shipping,
    p.tax,
    p.placed_at,
    p.updated_at,
    p.delivered_at,
    -- The first time that was seen stays: the shop has no own one, and later saves would move it.
    case when p.status = 'CANCELLED' then coalesce(known.cancelled_at, p.cancelled_at) end,
    p.payment_method,
    p.delivery_method,
    p.pickup_place,
    p.utm,
    p.extra || case when p.fees is null then '{}' else jsonb_build_object('fees', p.fees) end
from placed p
left join canonical.orders known on known.order_id = p.order_id;

insert into incoming_order_items
select
    o.contact_id,
    o.order_id,
    i.line,
    o.connection,
    i.product_key,
    i.variation_key,
    i.sku,
    i.name,
    i.quantity,
    i.unit_price,
    i.line_total,
    coalesce(variation.url, product.url),
    coalesce(variation.image_url, product.image_url, i.image_url)
from mapped_order_items i
join incoming_orders o using (source_key)
left join canonical.products product on product.connection = o.connection and product.source_key = i.product_key
left join canonical.products variation
    on variation.connection = o.connection and variation.source_key = i.variation_key;

insert into examined (entity, key)
select 'orders', source_key from changed_orders;

insert into mapped_problems (entity, key, field, code, reason, value)
select
    'orders',
    source_key,
    'status',
    'unmapped-status',
    case
        when i.status is null
            then 'the shop''s status is not known; the order is held until orders.statuses of the pipeline file says what it means'
        else 'the shop''s status is not known; the order keeps the last one known (INITIALIZED if there was none) until orders.statuses of the pipeline file says what it means'
    end,
    source_status
from incoming_orders i
cross join mapping m
where
    i.status is null
    or (
        m.settings ->> 'unknown_status' = 'keep'
        and not exists (select from mapped_statuses s where s.source_status = i.source_status)
        and m.settings -> 'statuses' ->> i.source_status is null
    )
union all
-- A cent a line and one for the rest: shops round line by line.
select
    'orders',
    source_key,
    'total',
    'totals-differ',
    format('lines, shipping and fees add up to %s, not to the total; it is kept as the shop gives it', parts),
    total::text
from incoming_orders o
cross join lateral (
    select items_total + coalesce(shipping, 0) + coalesce((extra ->> 'fees')::numeric, 0)
) as sums (parts)
where
    abs(total - parts) > 0.01 * (1 + (select count(*) from mapped_order_items i where i.source_key = o.source_key));

analyze incoming_orders, affected_orders, incoming_order_items, affected_order_items;
select canonical.merge('orders', array['order_id'], array['order_id'], run_id)
from mapping;
select canonical.merge('order_items', array['order_id'], array['order_id', 'line'], run_id)
from mapping;
