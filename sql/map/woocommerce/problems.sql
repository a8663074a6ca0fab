-- WooCommerce values that could not be taken. Only rows whose column came out null are looked at again.
insert into mapped_problems (entity, key, field, code, reason, value)
select
    'orders',
    o.source_key,
    field,
    code,
    reason,
    left(value, 200)
from mapped_orders o
join source_orders s using (source_key)
cross join lateral (
    values
        ('total', 'bad-number', 'the order''s total is not a number; it is kept without one', s.payload ->> 'total', o.total is null),
        ('discount', 'bad-number', 'the discount is not a number; it is kept without one',
            s.payload ->> 'discount_total', o.discount is null),
        ('shipping', 'bad-number', 'the shipping cost is not a number; it is kept without one',
            s.payload ->> 'shipping_total', o.shipping is null),
        ('placed_at', 'bad-date', 'the order has no readable creation date', s.payload ->> 'date_created_gmt', o.placed_at is null)
) as checks (field, code, reason, value, failed)
where (o.total is null or o.discount is null or o.shipping is null or o.placed_at is null) and failed;
