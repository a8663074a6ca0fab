-- IdoSell orders. The platform gives no total: it is the sum of goods, delivery, payment and insurance in the order's
-- own currency (sheet, section 4). Times are local. An order that was begun and never placed is left out once it was
-- placed after all.
insert into changed_orders (source_key)
select distinct due.source_key
from (
    -- Returns change what is known of their order.
    select r.parent_key as source_key
    from changed_refunds c
    join mapping m on true
    join staging.refunds r on r.connection = m.connection and r.source_key = c.source_key
    where r.parent_key is not null
    union all
    select 'unfinished-' || source_key from changed_orders
) as due
join mapping m on true
join staging.orders o on o.connection = m.connection and o.source_key = due.source_key
where due.source_key not in (select source_key from changed_orders);

analyze changed_orders;

insert into mapped_orders (
    source_key, account_key, number, source_status, payment_status, currency, total, shipping, fees, placed_at,
    updated_at, delivered_at, cancelled_at, payment_method, delivery_method, pickup_place, extra
)
select
    s.source_key,
    nullif(p."clientResult" -> 'clientAccount' ->> 'clientId', '0'),
    coalesce(canonical.as_text(p."orderId"), p."orderSerialNumber"),
    status,
    case
        when money.repaid > 0 and money.repaid >= money.paid then 'refunded'
        when money.paid - money.repaid >= total and (total > 0 or money.paid > 0) then 'paid'
        -- Paid on delivery or later: only what has arrived counts.
        when status in ('finished', 'finished_ext') and d.payments ->> 'orderPaymentType' in ('cash_on_delivery', 'tradecredit')
            then 'paid'
        else 'unpaid'
    end,
    upper(canonical.as_text(c."currencyId")),
    total,
    delivery,
    coalesce(payform, 0) + coalesce(insurance, 0),
    canonical.as_local_time(canonical.as_text(d."orderAddDate"), zone),
    coalesce(
        canonical.as_local_time(canonical.as_text(d."orderChangeDate"), zone),
        canonical.as_local_time(canonical.as_text(d."orderAddDate"), zone)
    ),
    canonical.as_local_time(canonical.as_text(d."receivedDate"), zone),
    -- The shop keeps no time of cancellation: the last change at the first sight of the status stands for it.
    case
        when status in ('canceled', 'false', 'lost', 'missing', 'returned', 'complained', 'joined')
            then canonical.as_local_time(canonical.as_text(d."orderChangeDate"), zone)
    end,
    coalesce(money.form, canonical.as_text(d.payments ->> 'orderPaymentType')),
    canonical.as_text(canonical.decoded(d.dispatch ->> 'courierName')),
    place.words,
    jsonb_strip_nulls(
        jsonb_build_object(
            'serial_number', canonical.as_text(p."orderSerialNumber"),
            'shop_id', canonical.as_number(d."orderSourceResults" ->> 'shopId'),
            'source_type', canonical.as_text(d."orderSourceResults" ->> 'orderSourceType'),
            'external_id', canonical.as_text(d."orderSourceResults" -> 'orderSourceDetails' ->> 'orderExternalId'),
            'referrer', canonical.as_text(d."orderSourceResults" -> 'orderSourceDetails' ->> 'sourcePageUrl'),
            'marketplace', canonical.as_text(d."orderSourceResults" ->> 'auctionsServiceName'),
            'wholesale', case when p."orderType" in ('p', 't') then true end,
            'payment_code', canonical.as_text(d.payments ->> 'orderPaymentType'),
            'paid', nullif(money.paid - money.repaid, 0),
            'sent_at', canonical.as_local_time(canonical.as_text(d."orderDispatchDate"), zone),
            'discount_code', canonical.as_text(d."discountCode" ->> 'discountCodeName'),
            'discount_card', canonical.as_text(d."discountCard" ->> 'discountCardName'),
            'rebate_percent', nullif(canonical.as_number(d.payments ->> 'orderRebatePercent'), 0),
            'currency_rate', canonical.as_number(c."orderCurrencyValue") / nullif(canonical.as_number(c."orderCurrencyScale"), 0),
            'base_currency', canonical.as_text(coalesce(base ->> 'billingCurrency', base ->> 'currencyId')),
            'base_total', coalesce(canonical.as_number(base ->> 'orderProductsCost'), 0)
                + coalesce(canonical.as_number(base ->> 'orderDeliveryCost'), 0)
                + coalesce(canonical.as_number(base ->> 'orderPayformCost'), 0)
                + coalesce(canonical.as_number(base ->> 'orderInsuranceCost'), 0),
            'own_status', d."orderStatusId",
            'joined', case when status = 'joined' then true end,
            'refunded', nullif(back.refunded, 0),
            'returned', case when status = 'returned' or back.pieces >= goods.pieces then true end
        )
    )
from source_orders s
cross join mapping m
cross join lateral (select m.settings ->> 'time_zone') as zones (zone)
cross join lateral jsonb_to_record(s.payload) as p (
    "orderId" text, "orderSerialNumber" text, "orderType" text, "clientResult" jsonb, "orderDetails" jsonb
)
cross join lateral jsonb_to_record(
    case when jsonb_typeof(p."orderDetails") = 'object' then p."orderDetails" else '{}' end
) as d (
    "orderStatus" text,
    "orderStatusId" text,
    "orderAddDate" text,
    "orderChangeDate" text,
    "orderDispatchDate" text,
    "receivedDate" text,
    payments jsonb,
    prepaids jsonb,
    "orderSourceResults" jsonb,
    dispatch jsonb,
    "productsResults" jsonb,
    "discountCode" jsonb,
    "discountCard" jsonb
)
cross join lateral (
    select
        case when jsonb_typeof(d.payments -> 'orderCurrency') = 'object' then d.payments -> 'orderCurrency' else '{}' end,
        d.payments -> 'orderBaseCurrency'
) as amounts (currency_part, base)
cross join lateral jsonb_to_record(currency_part) as c (
    "currencyId" text,
    "orderCurrencyValue" text,
    "orderCurrencyScale" text,
    "orderProductsCost" text,
    "orderDeliveryCost" text,
    "orderPayformCost" text,
    "orderInsuranceCost" text
)
cross join lateral (
    select
        canonical.as_number(c."orderProductsCost"),
        canonical.as_number(c."orderDeliveryCost"),
        canonical.as_number(c."orderPayformCost"),
        canonical.as_number(c."orderInsuranceCost")
) as costs (products, delivery, payform, insurance)
cross join lateral (
    select products + coalesce(delivery, 0) + coalesce(payform, 0) + coalesce(insurance, 0)
) as sums (total)
cross join lateral (
    -- A status of the shop's own counts where the pipeline file says what it means, by number or by name.
    select case
        when s.source_key like 'unfinished-%' then 'unfinished'
        when m.settings -> 'statuses' ? d."orderStatusId" then d."orderStatusId"
        when m.settings -> 'statuses' ? (m.settings -> 'own_statuses' -> d."orderStatusId" ->> 'name')
            then m.settings -> 'own_statuses' -> d."orderStatusId" ->> 'name'
        else coalesce(canonical.as_text(d."orderStatus"), d."orderStatusId", '')
    end
) as statuses (status)
cross join lateral (
    select
        coalesce(sum(amount) filter (where is_booked and kind in ('payment', 'advance')), 0) as paid,
        coalesce(sum(amount) filter (where is_booked and kind = 'repayment'), 0) as repaid,
        (array_agg(form order by is_booked desc, line) filter (where form is not null and kind in ('payment', 'advance')))[1] as form
    from jsonb_array_elements(canonical.as_list(d.prepaids)) with ordinality as prepaid (payment, line)
    cross join lateral (
        select
            abs(canonical.as_number(payment ->> 'paymentValue')),
            coalesce(canonical.as_text(payment ->> 'paymentType'), 'payment'),
            coalesce(payment ->> 'paymentStatus', '') in ('y', 'processed'),
            canonical.as_text(canonical.decoded(payment ->> 'payformName'))
    ) as parts (amount, kind, is_booked, form)
    where payment ->> 'currencyId' is null or payment ->> 'currencyId' = c."currencyId"
) as money
cross join lateral (
    select sum(canonical.as_number(item ->> 'productQuantity'))
    from jsonb_array_elements(canonical.as_list(d."productsResults")) as item
) as goods (pieces)
cross join lateral (
    select
        sum(
            canonical.as_number(item ->> 'quantity')
            * coalesce(canonical.as_number(item ->> 'order_price'), canonical.as_number(item ->> 'price'))
        ),
        sum(canonical.as_number(item ->> 'quantity'))
    from staging.refunds r
    cross join lateral jsonb_array_elements(canonical.as_list(r.payload -> 'products')) as item
    where
        r.connection = s.connection
        and r.parent_key = s.source_key
        and r.deleted_at is null
        and (r.payload ->> 'status_numeric' = '2' or r.payload ->> 'parentStatusNumeric' = '2' or r.payload ->> 'status' = 'accepted')
) as back (refunded, pieces)
cross join lateral (
    select
        p."clientResult" -> 'clientPickupPointAddress',
        p."clientResult" -> 'clientDeliveryAddress'
) as addresses (point, delivered_to)
cross join lateral (
    select case
        when jsonb_typeof(point) = 'object' and point <> '{}'
            then canonical.as_text(
                concat_ws(
                    ', ',
                    coalesce(canonical.as_text(point ->> 'name'), canonical.as_text(point ->> 'externalPickupPointId')),
                    canonical.as_text(point ->> 'street'),
                    canonical.as_text(concat_ws(' ', canonical.as_text(point ->> 'zipCode'), canonical.as_text(point ->> 'city')))
                )
            )
        when delivered_to ->> 'clientDeliveryAddressType' in ('pickupPoint', 'warehouse')
            then canonical.as_text(
                concat_ws(
                    ', ',
                    canonical.as_text(delivered_to ->> 'clientDeliveryAddressStreet'),
                    canonical.as_text(
                        concat_ws(
                            ' ',
                            canonical.as_text(delivered_to ->> 'clientDeliveryAddressZipCode'),
                            canonical.as_text(delivered_to ->> 'clientDeliveryAddressCity')
                        )
                    )
                )
            )
    end
) as place (words)
where
    s.source_key not like 'unfinished-%'
    or not exists (
        select from staging.orders placed
        where
            placed.connection = s.connection
            and placed.source_key = substr(s.source_key, length('unfinished-') + 1)
            and placed.deleted_at is null
    );
