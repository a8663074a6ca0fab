-- IdoSell values that could not be taken. Only rows whose column came out null are looked at again.
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
        ('total', 'bad-number', 'the cost of goods is not a number; the order is kept without a total',
            s.payload -> 'orderDetails' -> 'payments' -> 'orderCurrency' ->> 'orderProductsCost', o.total is null),
        ('placed_at', 'bad-date', 'the order has no readable creation date',
            s.payload -> 'orderDetails' ->> 'orderAddDate', o.placed_at is null),
        ('currency', 'no-currency', 'the order names no currency', null, o.currency is null)
) as checks (field, code, reason, value, failed)
where (o.total is null or o.placed_at is null or o.currency is null) and failed
union all
-- A record may carry faults of its own beside what it says.
select
    'orders',
    s.source_key,
    'errors',
    'shop-error',
    'the shop reports a fault with this order; it is kept as far as it could be read',
    left(fault ->> 'faultString', 200)
from source_orders s
cross join lateral jsonb_array_elements(canonical.as_list(s.payload -> 'errors')) as fault
where
    s.source_key in (select source_key from mapped_orders)
    and jsonb_typeof(fault) = 'object'
    and coalesce(canonical.as_number(fault ->> 'faultCode'), 0) <> 0
union all
select
    'contacts',
    'account:' || s.source_key,
    'birthday',
    'bad-date',
    'the birthday is no date; the contact is known without it',
    left(written, 200)
from source_customers s
cross join lateral (
    select canonical.as_text(s.payload -> 'clientPersonalData' ->> 'clientBirthDate')
) as birthday (written)
where written !~ '^0000-00-00' and canonical.as_date(written) is null;
