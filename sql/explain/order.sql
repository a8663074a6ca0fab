-- Everything about order $1 as one document: what each value is and why.
select jsonb_build_object(
    'order_id', o.order_id,
    'order', to_jsonb(o),
    'source', jsonb_build_object(
        'connection', o.connection,
        'table', 'staging.orders',
        'key', o.source_key,
        'run', s.run_id,
        'landed', delivery.iso_utc(r.started_at),
        'changed_at_shop', delivery.iso_utc(s.source_updated_at),
        'deleted_at', delivery.iso_utc(s.deleted_at)
    ),
    'status', jsonb_build_object(
        'value', o.status,
        'source_status', o.source_status,
        'rule', case
            when c.mapped_settings -> 'statuses' ? o.source_status then 'orders.statuses of the pipeline file'
            when o.status is null then 'not mapped: held until orders.statuses of the pipeline file says what it means'
            else 'the map of the platform ' || c.platform
        end
    ),
    'contact', jsonb_build_object(
        'contact_id', o.contact_id,
        'email', p.email,
        'rule', case
            when account.contact_id is not null then 'the contact of account ' || o.account_key
            when o.account_key is not null then 'the buyer named on it: the shop has no account ' || o.account_key
            else 'the buyer named on it: a guest'
        end
    ),
    'sums', jsonb_build_object(
        'total', o.total,
        'items', o.items_total,
        'shipping', o.shipping,
        'fees', o.extra -> 'fees',
        'discount', o.discount,
        'tax', o.tax,
        'currency', o.currency
    ),
    'items', (
        select coalesce(jsonb_agg(to_jsonb(i) - 'contact_id' - 'order_id' order by i.line), '[]')
        from canonical.order_items i
        where i.contact_id = o.contact_id and i.order_id = o.order_id
    ),
    'rejects', (
        select coalesce(
            jsonb_agg(jsonb_build_object('field', j.field, 'code', j.code, 'reason', j.reason) order by j.field, j.code),
            '[]'
        )
        from canonical.rejects j
        where
            j.connection = o.connection
            and (j.entity, j.key) in (('orders', o.source_key), ('contacts', 'order:' || o.source_key))
    )
) as explained
from canonical.orders o
join ops.connections c using (connection)
left join canonical.contacts p using (contact_id)
left join staging.orders s on s.connection = o.connection and s.source_key = o.source_key
left join ops.runs r on r.run_id = s.run_id
left join lateral (
    select a.contact_id
    from canonical.contact_sources a
    where a.connection = o.connection and a.source_key = 'account:' || o.account_key
    limit 1
) as account on true
where o.order_id = $1::uuid
limit 1
