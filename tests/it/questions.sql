-- A small shop for docs/questions.md: Ann (account) buys three times, Bob (guest) once, Cid's order waits for its status.

insert into ops.runs (pipeline, command, holder, finished_at, outcome)
values ('shop', 'run', 'test', now(), 'done'), ('shop', 'run', 'test', now(), 'done');

insert into canonical.contacts (
    contact_id, email, registered, newsletter, email_consent, sms_consent, extra
)
values
    ('aaaaaaaa-0000-0000-0000-000000000000', 'ann@shop.example', true, false, 'opt_in', 'unknown', '{}'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'bob@shop.example', false, true, 'opt_out', 'unknown', '{}'),
    ('cccccccc-0000-0000-0000-000000000000', 'cid@shop.example', false, false, 'unknown', 'opt_in', '{}');

insert into canonical.consent_statements (contact_id, channel, connection, source_key, stated_at, state, run_id)
values
    ('aaaaaaaa-0000-0000-0000-000000000000', 'email', 'my-shop', 'account:1', '2024-01-05 10:00+00', 'opt_out', 1),
    ('aaaaaaaa-0000-0000-0000-000000000000', 'email', 'my-shop', 'account:1', '2024-02-05 10:00+00', 'opt_in', 1),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'email', 'my-shop', 'guest:3', '2024-02-01 10:00+00', 'opt_in', 1),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'email', 'my-shop', 'subscriber:9', '2024-03-31 23:30+00', 'opt_out', 1),
    ('cccccccc-0000-0000-0000-000000000000', 'sms', 'my-shop', 'guest:5', '2024-03-01 10:00+00', 'opt_in', 1);

insert into canonical.orders (
    contact_id, order_id, connection, source_key, number, status, source_status, currency, total, placed_at, utm, extra
)
select
    contact_id::uuid,
    canonical.order_id('my-shop', source_key),
    'my-shop',
    source_key,
    'N' || source_key,
    status,
    source_status,
    currency,
    total,
    placed_at::timestamptz,
    utm::jsonb,
    extra::jsonb
from (
    values
        ('aaaaaaaa-0000-0000-0000-000000000000', '1', 'DELIVERED', 'completed', 'PLN', 100.00, '2024-01-10 12:00+00',
            '{"source": "google", "campaign": "spring"}', '{}'),
        ('aaaaaaaa-0000-0000-0000-000000000000', '2', 'DELIVERED', 'completed', 'PLN', 50.50, '2024-01-20 12:00+00', '{}',
            '{"refunded": 10.50}'),
        ('aaaaaaaa-0000-0000-0000-000000000000', '4', 'CANCELLED', 'cancelled', 'PLN', 999.00, '2024-02-02 12:00+00', '{}',
            '{}'),
        ('bbbbbbbb-0000-0000-0000-000000000000', '3', 'DELIVERED', 'completed', 'EUR', 20.00, '2024-02-01 12:00+00',
            '{"source": "google", "campaign": "spring"}', '{}'),
        ('cccccccc-0000-0000-0000-000000000000', '5', null, 'on-the-truck', 'PLN', 70.00, '2024-03-01 12:00+00', '{}', '{}')
) as made (contact_id, source_key, status, source_status, currency, total, placed_at, utm, extra);

insert into canonical.order_items (
    contact_id, order_id, line, connection, product_key, sku, name, quantity, unit_price, line_total
)
select o.contact_id, o.order_id, i.line, 'my-shop', i.product_key, i.sku, i.name, i.quantity, i.price, i.price * i.quantity
from (
    values
        ('1', 1, '10', 'BOOT', 'Boots', 1, 60.00),
        ('1', 2, '11', 'LACE', 'Laces', 2, 20.00),
        ('2', 1, '10', 'BOOT', 'Boots', 1, 50.50),
        ('3', 1, '11', 'LACE', 'Laces', 1, 20.00),
        ('4', 1, '12', 'BAG', 'Bag', 1, 999.00),
        ('5', 1, '10', 'BOOT', 'Boots', 1, 70.00)
) as i (source_key, line, product_key, sku, name, quantity, price)
join canonical.orders o on o.source_key = i.source_key;

insert into canonical.products (connection, source_key, parent_key, sku, name, price, stock, available)
values
    ('my-shop', '10', null, 'BOOT', 'Boots', 60, 5, true),
    ('my-shop', '11', null, 'LACE', 'Laces', 20, null, true),
    ('my-shop', '12', null, 'BAG', 'Bag', 999, 3, true),
    ('my-shop', '13', '12', 'BAG-RED', 'Bag - red', 999, 1, true),
    ('my-shop', '14', null, 'OLD', 'Old bag', 9, 0, false);

insert into canonical.categories (connection, source_key, parent_key, name, path, depth)
values
    ('my-shop', '1', null, 'Shoes', '{Shoes}', 1),
    ('my-shop', '2', '1', 'Winter', '{Shoes, Winter}', 2),
    ('my-shop', '3', null, 'Bags', '{Bags}', 1);

insert into canonical.product_categories (connection, product_key, category_key)
values ('my-shop', '10', '2'), ('my-shop', '11', '1'), ('my-shop', '12', '3');

insert into canonical.contact_tags (contact_id, tag, origin, first_at, last_at)
values
    ('aaaaaaaa-0000-0000-0000-000000000000', 'Shoes', 'category', '2024-01-10 12:00+00', '2024-01-20 12:00+00'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'Shoes', 'category', '2024-02-01 12:00+00', '2024-02-01 12:00+00'),
    ('bbbbbbbb-0000-0000-0000-000000000000', 'Bags', 'category', '2024-02-01 12:00+00', '2024-02-01 12:00+00');

insert into canonical.rejects (connection, entity, key, field, code, reason, value, run_id, at)
values
    ('my-shop', 'contacts', 'guest:5', 'phone', 'bad-phone', 'not a phone', '12', 2, '2024-03-02 12:00+00'),
    ('my-shop', 'contacts', 'guest:3', 'phone', 'bad-phone', 'not a phone', '1', 2, '2024-03-01 12:00+00'),
    ('my-shop', 'orders', '5', 'status', 'unmapped-status', 'not mapped', 'on-the-truck', 2, '2024-03-02 12:00+00');

insert into canonical.changes (run_id, entity, key, op, old, at)
select run_id, 'orders', canonical.order_id('my-shop', '1')::text, op, old::jsonb, at::timestamptz
from (
    values
        (1, 'insert', null, '2024-01-10 13:00+00'),
        (2, 'update', '{"status": "INITIALIZED"}', '2024-01-11 13:00+00'),
        (2, 'update', '{"total": 90, "status": "IN_PROGRESS"}', '2024-01-12 13:00+00'),
        (2, 'update', '{"total": 95}', '2024-01-12 14:00+00')
) as made (run_id, op, old, at);
