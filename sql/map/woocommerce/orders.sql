-- WooCommerce orders. Amounts are strings in the order's currency; totals are gross, lines and parts are net with their
-- tax beside them (sheet, section 4), so gross = net + tax everywhere below.
--
-- jsonb_to_record takes a payload apart once; an operator per field would decompress it once per field.
insert into mapped_orders (
    source_key, account_key, number, source_status, payment_status, currency, total, discount, shipping, fees, tax,
    placed_at, updated_at, delivered_at, cancelled_at, payment_method, delivery_method, utm, extra
)
select
    s.source_key,
    -- 0 is a guest.
    nullif(p.customer_id, '0'),
    coalesce(canonical.as_text(p.number), s.source_key),
    p.status,
    case
        when p.status = 'refunded' then 'refunded'
        when canonical.as_text(p.date_paid_gmt) is not null then 'paid'
        else 'unpaid'
    end,
    upper(canonical.as_text(p.currency)),
    canonical.as_number(p.total),
    canonical.as_number(p.discount_total) + coalesce(canonical.as_number(p.discount_tax), 0),
    canonical.as_number(p.shipping_total) + coalesce(canonical.as_number(p.shipping_tax), 0),
    (
        select sum(canonical.as_number(fee ->> 'total') + coalesce(canonical.as_number(fee ->> 'total_tax'), 0))
        from jsonb_array_elements(canonical.as_array(p.fee_lines)) as fee
    ),
    canonical.as_number(p.total_tax),
    canonical.as_timestamp(p.date_created_gmt),
    canonical.as_timestamp(p.date_modified_gmt),
    canonical.as_timestamp(p.date_completed_gmt),
    -- The shop keeps no time of cancellation: the last change at the first sight of the status stands for it.
    case
        when p.status in ('cancelled', 'failed', 'refunded', 'trash')
            then canonical.as_timestamp(p.date_modified_gmt)
    end,
    canonical.as_text(canonical.decoded(p.payment_method_title)),
    canonical.as_text(canonical.decoded(p.shipping_lines -> 0 ->> 'method_title')),
    case
        -- A typed-in address is attributed as (direct), which is no campaign.
        when meta ->> '_wc_order_attribution_utm_source' = '(direct)' then '{}'
        else jsonb_strip_nulls(
            jsonb_build_object(
                'source', meta ->> '_wc_order_attribution_utm_source',
                'medium', meta ->> '_wc_order_attribution_utm_medium',
                'campaign', meta ->> '_wc_order_attribution_utm_campaign',
                'content', meta ->> '_wc_order_attribution_utm_content',
                'term', meta ->> '_wc_order_attribution_utm_term',
                'id', meta ->> '_wc_order_attribution_utm_id'
            )
        )
    end,
    jsonb_strip_nulls(
        jsonb_build_object(
            'returned', case when p.status = 'refunded' then true end,
            'refunded', (
                select -sum(canonical.as_number(refund ->> 'total'))
                from jsonb_array_elements(canonical.as_array(p.refunds)) as refund
            ),
            'coupons', (
                select jsonb_agg(coupon ->> 'code')
                from jsonb_array_elements(canonical.as_array(p.coupon_lines)) as coupon
            ),
            'payment_code', canonical.as_text(p.payment_method),
            'source_type', meta ->> '_wc_order_attribution_source_type',
            'referrer', meta ->> '_wc_order_attribution_referrer',
            'device', meta ->> '_wc_order_attribution_device_type',
            'meta', (
                select jsonb_object_agg(key, value)
                from jsonb_each(meta)
                where key !~ '^_' and jsonb_typeof(value) in ('string', 'number', 'boolean')
            )
        )
    )
from source_orders s
cross join lateral jsonb_to_record(s.payload) as p (
    number text,
    status text,
    currency text,
    total text,
    total_tax text,
    discount_total text,
    discount_tax text,
    shipping_total text,
    shipping_tax text,
    customer_id text,
    payment_method text,
    payment_method_title text,
    date_created_gmt text,
    date_modified_gmt text,
    date_paid_gmt text,
    date_completed_gmt text,
    meta_data jsonb,
    fee_lines jsonb,
    shipping_lines jsonb,
    coupon_lines jsonb,
    refunds jsonb
)
cross join lateral (
    select coalesce(jsonb_object_agg(entry ->> 'key', entry -> 'value'), '{}')
    from jsonb_array_elements(canonical.as_array(p.meta_data)) as entry
    where entry ->> 'key' is not null
) as attributes (meta);
