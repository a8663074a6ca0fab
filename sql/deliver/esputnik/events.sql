-- The call that each candidate order takes next: one row per order in pg_temp.deliver_candidates that exists.
--
--   order        Add orders: whenever the order itself differs from what was acknowledged (delivery.order_changed). It
--                knows the order's id, so a resend updates; but each one makes an event there, so nothing is sent
--                that says nothing new
--   event        orderCreated for an order that eSputnik has no event of; orderDelivered and orderCancelled once in
--                the life of an order, where nothing but the status changed and the create is known to have been
--                accepted; orderUpdated, which creates what is absent, for all else: other changes (before a status
--                event, with the status of before), and a status that comes for the second time
--   past event   orderCreated in place of all that for an old order that eSputnik knows nothing of: no workflow starts
--
-- An order is old while this pipeline's first load lasts, and afterwards if it was there before.
-- `old_orders` says what becomes of it: a past event, nothing at all, or the same as of a new one, which starts
-- workflows. What changes in an order of which a past event was sent goes as any change does.
--
-- `orders_via` chooses between Add orders, events, and both: Add orders first, the event once that was acknowledged
-- (`has_next`).
--
-- verdict: send, same (all was sent), skip (a filter leaves it out), hold (needs a person: status not mapped, or an
-- earlier outcome is unknown), wait (its contact is not there yet), reject: what eSputnik would ignore without a
-- word (sheet, sections 5.4 and 5.5).
--
-- Money: every amount is converted first where a rate says so, then the total (less shipping, where that stands
-- beside the items) is shared out over the lines in cents, in proportion to their own totals, so discounts, fees
-- and taxes are within the prices. A line whose share does not divide by its quantity becomes two items a cent
-- apart; one of a broken quantity becomes one piece. So items (and shipping) always add up to totalCost.
--
-- An event holds at most 20 kB: categories go first and names are cut at 60 letters, then the lines that do not fit
-- are put together into one last item with their sum. What does not fit even so is rejected. $1 settings, as for
-- contacts.sql.
with settings as (
    select
        $1::jsonb ->> 'target' as target,
        $1::jsonb ->> 'pipeline' as pipeline,
        array(select jsonb_array_elements_text($1::jsonb -> 'connections')) as connections,
        ($1::jsonb ->> 'placed_after')::date::timestamp at time zone 'UTC' as placed_after,
        ($1::jsonb ->> 'placed_before')::date::timestamp at time zone 'UTC' as placed_before,
        $1::jsonb ->> 'consent' = 'opt_in_only' and $1::jsonb ->> 'without_consent' = 'skip' as needs_consent,
        $1::jsonb #>> '{deliver,orders_via}' in ('orders', 'both') as via_orders,
        $1::jsonb #>> '{deliver,orders_via}' in ('events', 'both') as via_events,
        $1::jsonb #>> '{deliver,event_version}' = 'v1' as is_escaped,
        $1::jsonb #>> '{deliver,event_key}' as event_key,
        $1::jsonb #>> '{deliver,time_zone}' as zone,
        $1::jsonb #> '{deliver,currencies}' as currencies,
        $1::jsonb #>> '{deliver,default_currency}' as default_currency,
        $1::jsonb #>> '{deliver,convert_to}' as convert_to,
        coalesce($1::jsonb #> '{deliver,rates}', '{}') as rates,
        $1::jsonb #>> '{deliver,shipping}' as shipping_rule,
        $1::jsonb #>> '{deliver,order_id}' as order_id_rule,
        coalesce(
            ($1::jsonb #>> '{deliver,prefix_ids}')::boolean,
            jsonb_array_length($1::jsonb -> 'connections') > 1
        ) as has_prefix,
        $1::jsonb #>> '{deliver,product_id}' as product_id_rule,
        nullif($1::jsonb #>> '{deliver,item_url}', '') as item_url,
        nullif($1::jsonb #>> '{deliver,item_image_url}', '') as item_image_url,
        ($1::jsonb #>> '{deliver,carts}')::boolean as sends_carts,
        coalesce($1::jsonb #>> '{deliver,old_orders}', 'past_events') as old_orders,
        coalesce(consumer.first_load, true) as is_first_load,
        consumer.history_until,
        20000 as most_bytes
    from (values (1)) as one (row)
    left join delivery.consumers as consumer
        on consumer.target = $1::jsonb ->> 'target' and consumer.pipeline = $1::jsonb ->> 'pipeline'
),
orders as materialized (
    select
        orders.*,
        orders.placed_at < settings.placed_after
        or orders.placed_at >= settings.placed_before
        or (orders.placed_at is null and coalesce(settings.placed_after, settings.placed_before) is not null)
        as is_left_out,
        settings.is_first_load or coalesce(orders.placed_at <= settings.history_until, false) as is_old
    from pg_temp.deliver_candidates as candidate
    cross join settings
    join canonical.orders on orders.order_id = candidate.key
),
sent as materialized (
    -- By order alone: the contact that the order hangs on may have changed since.
    select
        candidate.key as order_id,
        said.object,
        said.payload,
        said.state,
        said.state = 'held'
        and exists (
            select
            from delivery.rejects
            where rejects.target = settings.target
                and rejects.object = said.object
                and rejects.key = candidate.key
                and rejects.code = 'outcome-unknown'
        ) as is_held
    from pg_temp.deliver_candidates as candidate
    cross join settings
    cross join lateral (
        select distinct on (ledger.object = 'order')
            ledger.object,
            ledger.payload - 'sending' as payload,
            ledger.state
        from delivery.ledger
        where ledger.key = candidate.key
            and ledger.target = settings.target
            and ledger.object in ('order', 'event', 'past event')
        order by ledger.object = 'order', ledger.sent_at desc, ledger.state <> 'acknowledged' desc
    ) as said
),
named_before as materialized (
    -- An order keeps the id under which it was first sent, whatever its number has become: updates find it by that.
    select sent.order_id, min(sent.payload #>> '{order,externalOrderId}') as external_order_id
    from sent
    group by sent.order_id
),
contacts as materialized (
    select
        buyer.contact_id,
        contact.email,
        case
            when length(regexp_replace(contact.phone, '\D', '', 'g')) between 5 and 15
                then regexp_replace(contact.phone, '\D', '', 'g')
        end as phone,
        account.external_id,
        ledger.confirmed_at is not null or coalesce(verdict.is_confirmed, false) as is_confirmed,
        case when contact.email is not null then contact.email_consent else contact.sms_consent end as consent,
        case
            when ledger.state = 'acknowledged' then 'ready'
            when ledger.state is not null then 'held'
            when verdict.verdict is not null then case verdict.verdict when 'send' then 'ready' else verdict.verdict end
            when exists (
                select
                from pg_temp.deliver_pending as pending
                where pending.object = 'contact' and pending.key = buyer.contact_id
            ) then 'pending'
            when exists (
                select
                from delivery.rejects
                where rejects.target = settings.target
                    and rejects.pipeline = settings.pipeline
                    and rejects.object = 'contact'
                    and rejects.key = buyer.contact_id
                    and rejects.code <> 'opt-out-kept'
            ) then 'reject'
            else 'skip'
        end as state
    from (select distinct contact_id from orders) as buyer
    cross join settings
    left join canonical.contacts as contact on contact.contact_id = buyer.contact_id
    left join delivery.ledger
        on ledger.contact_id = buyer.contact_id
        and ledger.target = settings.target
        and ledger.object = 'contact'
        and ledger.key = buyer.contact_id
        -- Its address alone may be there, on the list of unsubscribed ones.
        and ledger.payload -> 'imported' is null
    left join pg_temp.deliver_verdicts as verdict on verdict.contact_id = buyer.contact_id
    left join lateral (
        select
            case when settings.has_prefix then source.connection || '-' else '' end
            || case
                when starts_with(source.source_key, 'account:') then substr(source.source_key, 9)
                else source.source_key
            end as external_id
        from canonical.contact_sources as source
        where source.contact_id = buyer.contact_id
            and source.kind = 'account'
            and source.connection = any (settings.connections)
        order by
            array_position(settings.connections, source.connection),
            length(source.source_key),
            source.source_key
        limit 1
    ) as account on true
),
priced as materialized (
    select
        orders.*,
        named.currency as given_currency,
        case
            when settings.currencies ? named.currency then 1
            else (settings.rates ->> named.currency)::numeric
        end as factor
    from orders
    cross join settings
    cross join lateral (
        select coalesce(nullif(upper(btrim(orders.currency)), ''), settings.default_currency) as currency
    ) as named
),
sums as materialized (
    select
        priced.*,
        case when settings.currencies ? given_currency then given_currency else settings.convert_to end as own_currency,
        round(total * factor * 100) as total_cents,
        least(
            greatest(round(coalesce(shipping, 0) * factor * 100), 0),
            greatest(round(total * factor * 100), 0)
        ) as shipping_cents
    from priced
    cross join settings
),
wanted as materialized (
    -- Of an order that is left out, waits or is refused whatever is in it, nothing more is worked out.
    select
        sums.order_id,
        sums.contact_id
    from sums
    cross join settings
    left join contacts on contacts.contact_id = sums.contact_id
    where sums.status is not null
        and (sums.status <> 'ABANDONED_SHOPPING_CART' or settings.sends_carts)
        and (
            (
                contacts.state = 'ready'
                and is_left_out is not true
                and (contacts.consent = 'opt_in' or not settings.needs_consent)
                and factor is not null
            )
            or exists (select from sent where sent.order_id = sums.order_id)
            or exists (select from pg_temp.deliver_steps as step where step.key = sums.order_id)
        )
),
items as materialized (
    select item.*
    from wanted
    cross join lateral (
        -- One look-up for each order: joined by both columns, a handful of lines would be expected of all of them.
        select *
        from canonical.order_items
        where order_items.contact_id = wanted.contact_id and order_items.order_id = wanted.order_id
        offset 0
    ) as item
),
goods as materialized (
    select
        good.connection,
        good.product_key,
        nullif(btrim(products.url), '') as url,
        nullif(btrim(products.image_url), '') as image_url,
        category.path as category
    from (select distinct connection, product_key from items where product_key is not null) as good
    left join canonical.products on products.connection = good.connection and products.source_key = good.product_key
    left join lateral (
        select array_to_string(categories.path, '/') as path
        from canonical.product_categories
        join canonical.categories
            on categories.connection = product_categories.connection
            and categories.source_key = product_categories.category_key
        where product_categories.connection = good.connection and product_categories.product_key = good.product_key
        order by categories.depth desc, categories.path
        limit 1
    ) as category on true
),
lines as materialized (
    select
        item.order_id,
        item.line,
        nullif(
            btrim(
                case
                    when settings.product_id_rule = 'product_key' then coalesce(item.product_key, item.sku)
                    else coalesce(nullif(btrim(item.sku), ''), item.product_key)
                end
            ),
            ''
        ) as id,
        nullif(btrim(item.name), '') as name,
        item.quantity,
        coalesce(nullif(btrim(item.url), ''), goods.url, settings.item_url) as url,
        coalesce(nullif(btrim(item.image_url), ''), goods.image_url, settings.item_image_url) as image_url,
        goods.category,
        greatest(coalesce(item.line_total, item.unit_price * item.quantity, 0), 0) as weight
    from items as item
    cross join settings
    left join goods on goods.connection = item.connection and goods.product_key = item.product_key
),
weighed as (
    select
        lines.*,
        sums.total_cents - case when settings.shipping_rule = 'in_items' then 0 else sums.shipping_cents end as to_share,
        case
            when sum(weight) over whole > 0 then weight
            -- Where nothing has a price, pieces count.
            when sum(greatest(quantity, 0)) over whole > 0 then greatest(coalesce(quantity, 0), 0)
            else 1
        end as part
    from lines
    cross join settings
    join sums on sums.order_id = lines.order_id
    window whole as (partition by lines.order_id)
),
shared as (
    select
        weighed.*,
        -- Rounding the sums so far, not the parts: whatever they are, the shares add up.
        round(to_share * sum(part) over running / sum(part) over whole)
        - round(to_share * (sum(part) over running - part) / sum(part) over whole) as cents
    from weighed
    window
        whole as (partition by order_id),
        running as (partition by order_id order by line rows between unbounded preceding and current row)
),
pieces as materialized (
    select
        shared.order_id,
        shared.line,
        piece.n,
        shared.id,
        shared.name,
        shared.category,
        shared.url,
        shared.image_url,
        piece.quantity,
        piece.cost
    from shared
    cross join lateral (
        select
            1 as n,
            case
                when quantity = trunc(quantity) then quantity - mod(cents, nullif(quantity, 0))
                -- A broken quantity whose price comes out even stays as it is.
                when mod(cents, nullif(quantity, 0)) = 0 then quantity
                else 1
            end as quantity,
            case
                when quantity = trunc(quantity) then div(cents, nullif(quantity, 0)) / 100
                when mod(cents, nullif(quantity, 0)) = 0 then cents / quantity / 100
                else cents / 100
            end as cost
        union all
        select 2, mod(cents, nullif(quantity, 0)), (div(cents, nullif(quantity, 0)) + 1) / 100
        where quantity = trunc(quantity) and mod(cents, nullif(quantity, 0)) > 0
    ) as piece
    where piece.quantity is null or piece.quantity > 0
    union all
    select
        sums.order_id,
        2147483647,
        1,
        'shipping',
        coalesce(nullif(btrim(sums.delivery_method), ''), 'Shipping'),
        null,
        coalesce(settings.item_url, first.url),
        coalesce(settings.item_image_url, first.image_url),
        1,
        sums.shipping_cents / 100
    from sums
    cross join settings
    cross join lateral (
        select lines.url, lines.image_url from lines where lines.order_id = sums.order_id order by lines.line limit 1
    ) as first
    where settings.shipping_rule = 'as_item' and sums.shipping_cents > 0
),
lacking as (
    select
        order_id,
        string_agg(format('line %s lacks %s', line, what), '; ' order by line) as what
    from (
        select
            lines.order_id,
            lines.line,
            concat_ws(
                ', ',
                case when id is null then 'externalItemId' end,
                case when name is null then 'name' end,
                case when quantity is null or quantity <= 0 then 'quantity' end,
                case when url is null then 'url' end,
                case when image_url is null then 'imageUrl' end
            ) as what
        from lines
    ) as checked
    where what <> ''
    group by order_id
),
baskets as materialized (
    select
        order_id,
        jsonb_agg(
            jsonb_strip_nulls(jsonb_build_object(
                'externalItemId', id,
                'name', name,
                'category', category,
                'quantity', trim_scale(quantity),
                'cost', trim_scale(cost),
                'url', url,
                'imageUrl', image_url
            ))
            order by line, n
        ) as items
    from pieces
    group by order_id
),
contents as materialized (
    select
        sums.*,
        settings.zone as own_zone,
        contacts.email,
        contacts.phone,
        contacts.external_id,
        contacts.is_confirmed,
        contacts.consent,
        contacts.state as contact_state,
        numbered.external_order_id,
        lacking.what as lacking,
        jsonb_strip_nulls(jsonb_build_object(
            'externalOrderId', numbered.external_order_id,
            'externalCustomerId', contacts.external_id,
            'email', contacts.email,
            'phone', contacts.phone,
            'totalCost', trim_scale(total_cents / 100),
            -- Written in the account's zone, with its offset.
            'date', to_char(placed_at at time zone settings.zone, 'YYYY-MM-DD"T"HH24:MI:SS')
                || case when ahead < interval '0' then '-' else '+' end
                || to_char(abs(extract(epoch from ahead))::integer / 3600, 'FM00') || ':'
                || to_char(abs(extract(epoch from ahead))::integer / 60 % 60, 'FM00'),
            'currency', own_currency,
            'shipping', trim_scale(nullif(shipping_cents, 0) / 100),
            'discount', trim_scale(nullif(round(discount * factor, 2), 0)),
            'taxes', trim_scale(nullif(round(tax * factor, 2), 0)),
            'restoreUrl', nullif(btrim(extra ->> 'restore_url'), ''),
            'statusDescription', nullif(btrim(source_status), ''),
            'storeId', sums.connection,
            'source', 'online',
            'deliveryMethod', nullif(btrim(delivery_method), ''),
            'paymentMethod', nullif(btrim(payment_method), ''),
            'deliveryAddress', nullif(btrim(pickup_place), ''),
            'additionalInfo', nullif(
                jsonb_strip_nulls(
                    jsonb_build_object(
                        'payment_status', payment_status,
                        'original_currency', case when factor <> 1 then given_currency end,
                        'original_total', case when factor <> 1 then trim_scale(round(total, 2))::text end
                    )
                    || (
                        select coalesce(jsonb_object_agg('utm_' || name, value), '{}')
                        from jsonb_each_text(utm) as parameter (name, value)
                        where value <> ''
                    )
                ),
                '{}'
            ),
            'items', baskets.items
        )) as content
    from sums
    cross join settings
    left join contacts on contacts.contact_id = sums.contact_id
    left join lacking on lacking.order_id = sums.order_id
    left join baskets on baskets.order_id = sums.order_id
    left join named_before on named_before.order_id = sums.order_id
    cross join lateral (
        select
            coalesce(
                named_before.external_order_id,
                case when settings.has_prefix then sums.connection || '-' else '' end
                || nullif(
                    btrim(
                        case
                            when settings.order_id_rule = 'key' then sums.source_key
                            else coalesce(nullif(btrim(sums.number), ''), sums.source_key)
                        end
                    ),
                    ''
                )
            ) as external_order_id
    ) as numbered
    cross join lateral (
        select (placed_at at time zone settings.zone) - (placed_at at time zone 'UTC') as ahead
    ) as zoned
),
compared as materialized (
    select
        contents.*,
        coalesce(order_step.payload, by_order.payload) as order_base,
        coalesce(event_step.payload, by_event.payload) as event_base,
        coalesce(by_order.state = 'sending' or by_order.is_held, false)
        or coalesce(by_event.state = 'sending' or by_event.is_held, false) as is_open,
        -- The create is known to have been accepted: not a past event, nor one whose outcome was left unknown.
        coalesce(by_event.object = 'event' and by_event.state = 'acknowledged', false)
        or coalesce(by_order.state = 'acknowledged', order_step.payload is not null, false) as is_sure,
        case when coalesce(event_step.object, by_event.object) = 'past event' then
            coalesce(event_step.payload, by_event.payload)
        end as past_base,
        old.is_unknown and settings.old_orders = 'past_events' as is_past,
        old.is_unknown and settings.old_orders = 'leave_out' as is_left_behind
    from contents
    cross join settings
    left join sent as by_order on by_order.order_id = contents.order_id and by_order.object = 'order'
    left join sent as by_event on by_event.order_id = contents.order_id and by_event.object <> 'order'
    left join pg_temp.deliver_steps as order_step
        on order_step.key = contents.order_id and order_step.object = 'order'
    left join pg_temp.deliver_steps as event_step
        on event_step.key = contents.order_id and event_step.object in ('event', 'past event')
    cross join lateral (
        select
            contents.is_old
            and by_order.order_id is null
            and by_event.order_id is null
            and order_step.key is null
            and event_step.key is null as is_unknown
    ) as old
),
stepped as materialized (
    select
        compared.*,
        settings.via_orders
        and not is_past
        and (
            told_base is null
            or told_base ->> 'status' is distinct from status
            or delivery.order_changed(told_base -> 'order', content)
        ) as needs_order,
        (settings.via_events or is_past)
        and (
            event_base is null
            or event_base ->> 'status' is distinct from status
            or delivery.order_changed(event_base -> 'order', content)
        ) as needs_event,
        status_event,
        event_base is not null
        and status_event is not null
        and event_base ->> 'status' is distinct from status
        and is_sure
        and not coalesce(event_base -> 'sent' ? status_event, false) as may_tell_status,
        delivery.order_changed(
            (event_base -> 'order') - 'statusDescription',
            content - 'statusDescription'
        ) as has_other_changes
    from compared
    cross join settings
    cross join lateral (
        select
            case status when 'DELIVERED' then 'orderDelivered' when 'CANCELLED' then 'orderCancelled' end as status_event,
            coalesce(order_base, past_base) as told_base
    ) as told
),
chosen as materialized (
    select
        stepped.*,
        case
            when needs_order then 'order'
            when needs_event and is_past then 'past event'
            else 'event'
        end as object,
        case
            when event_base is null then 'orderCreated'
            when may_tell_status and not has_other_changes then status_event
            else 'orderUpdated'
        end as event_type,
        -- What changed besides goes first, with the status of before.
        may_tell_status and has_other_changes as is_split
    from stepped
),
parameters as materialized (
    select
        chosen.order_id,
        case when is_split then event_base ->> 'status' else status end as told_status,
        -- In the order in which people read them.
        (
            select jsonb_agg(jsonb_build_object('name', parameter.name, 'value', parameter.value) order by parameter.place)
            from (
                values
                    (1, 'externalOrderId', external_order_id),
                    (2, 'externalCustomerId', external_id),
                    (3, 'email', email),
                    (4, 'phone', phone)
            ) as parameter (place, name, value)
            where parameter.value is not null
        ) as ids,
        (
            select jsonb_agg(jsonb_build_object('name', parameter.name, 'value', parameter.value) order by parameter.place)
            from (
                values
                    (1, 'totalCost', content ->> 'totalCost'),
                    (2, 'status', case when is_split then event_base ->> 'status' else status end),
                    (3, 'date', to_char(placed_at at time zone own_zone, 'YYYY-MM-DD"T"HH24:MI:SS')),
                    (4, 'currency', content ->> 'currency'),
                    (5, 'shipping', content ->> 'shipping'),
                    (6, 'discount', content ->> 'discount'),
                    (7, 'taxes', content ->> 'taxes'),
                    (8, 'restoreUrl', content ->> 'restoreUrl'),
                    (9, 'statusDescription', content ->> 'statusDescription'),
                    (10, 'storeId', content ->> 'storeId'),
                    (11, 'source', content ->> 'source'),
                    (12, 'deliveryMethod', content ->> 'deliveryMethod'),
                    (13, 'paymentMethod', content ->> 'paymentMethod'),
                    (14, 'deliveryAddress', content ->> 'deliveryAddress')
                union all
                select 15, more.name, more.value
                from jsonb_each_text(content -> 'additionalInfo') as more (name, value)
            ) as parameter (place, name, value)
            where parameter.value is not null
        ) as details,
        (
            -- The signs that an event's key must not hold (sheet, section 5.5).
            select candidate.value
            from (
                values
                    (1, case when settings.event_key = 'order' then external_order_id end),
                    (2, external_id),
                    (3, email),
                    (4, phone)
            ) as candidate (place, value)
            where candidate.value is not null
                and length(candidate.value) <= 300
                and candidate.value !~ '[<;\u2019\\/|"`''^?!,>]'
            order by candidate.place
            limit 1
        ) as key_value
    from chosen
    cross join settings
    where object <> 'order' and needs_event
),
bodies as materialized (
    select
        chosen.order_id,
        parameters.told_status,
        jsonb_strip_nulls(jsonb_build_object(
            'eventTypeKey', event_type,
            'keyValue', key_value,
            'occurred', case
                when object = 'past event' then to_char(placed_at at time zone own_zone, 'YYYY-MM-DD"T"HH24:MI')
            end
        )) as head,
        case when event_type in ('orderCreated', 'orderUpdated') then ids || details else ids end as params,
        case when event_type in ('orderCreated', 'orderUpdated') then content -> 'items' end as items
    from chosen
    join parameters on parameters.order_id = chosen.order_id
),
measured as (
    select
        bodies.*,
        settings.is_escaped,
        settings.most_bytes - octet_length((head || jsonb_build_object('params', params))::text) - 50 as room,
        case
            when settings.is_escaped then octet_length(to_jsonb(items::text)::text)
            else octet_length(items::text)
        end as bytes
    from bodies
    cross join settings
),
shortened as materialized (
    select
        measured.order_id,
        short.items
    from measured
    cross join lateral (
        select
            coalesce(jsonb_agg(lean order by place) filter (where is_kept), '[]')
            || coalesce(
                jsonb_build_array(
                    (array_agg(lean order by place) filter (where not is_kept))[1]
                    || jsonb_build_object(
                        'name', '+' || nullif(count(*) filter (where not is_kept), 0),
                        'quantity', 1,
                        'cost', sum((lean ->> 'quantity')::numeric * (lean ->> 'cost')::numeric) filter (where not is_kept)
                    )
                ),
                '[]'
            ) as items
        from (
            select
                leaned.*,
                sum(size) over () <= room
                or sum(size) over (order by place) <= room - max(size) over () - 100 as is_kept
            from (
                select
                    element.place,
                    lean.lean,
                    2 + case
                        when is_escaped then octet_length(to_jsonb(lean.lean::text)::text)
                        else octet_length(lean.lean::text)
                    end as size
                from jsonb_array_elements(measured.items) with ordinality as element (item, place)
                cross join lateral (
                    select (item - 'category') || jsonb_build_object('name', left(item ->> 'name', 60)) as lean
                ) as lean
            ) as leaned
        ) as counted
    ) as short
    where bytes > room
),
requests as materialized (
    select
        measured.order_id,
        measured.told_status,
        measured.head || jsonb_build_object(
            'params', measured.params || case
                when fitting.items is null then '[]'
                else jsonb_build_array(jsonb_build_object(
                    'name', 'items',
                    'value', case when is_escaped then to_jsonb(fitting.items::text) else fitting.items end
                ))
            end
        ) as request
    from measured
    left join shortened on shortened.order_id = measured.order_id
    cross join lateral (select coalesce(shortened.items, measured.items) as items) as fitting
),
coded as materialized (
    select
        chosen.*,
        requests.told_status,
        requests.request as event_request,
        case
            when status is null then 'hold unmapped-status'
            when status = 'ABANDONED_SHOPPING_CART' and not sends_carts then 'skip cart'
            when is_open then 'hold outcome-unknown'
            when is_left_behind then 'skip old-order'
            when not needs_order and not needs_event then 'same sent'
            when order_base is null
                and event_base is null
                and is_left_out
                then 'skip placed'
            when order_base is null and event_base is null and needs_consent and consent is distinct from 'opt_in'
                then 'skip consent'
            when contact_state = 'skip' then 'skip contact-skipped'
            when contact_state = 'reject' then 'reject contact-rejected'
            when contact_state = 'held' then 'hold contact-held'
            when contact_state is distinct from 'ready' then 'wait contact-pending'
            when external_order_id is null then 'reject no-order-id'
            when coalesce(total, -1) < 0 then 'reject no-total'
            when placed_at is null then 'reject no-date'
            when coalesce(external_id, email, phone) is null then 'reject no-contact-id'
            when given_currency is null then 'reject no-currency'
            when factor is null then 'reject currency-not-taken'
            when lacking is not null and (object = 'order' or event_type in ('orderCreated', 'orderUpdated'))
                then 'reject item-incomplete'
            when octet_length(requests.request::text) > most_bytes then 'reject event-too-long'
            else 'send'
        end as verdict_and_code
    from chosen
    cross join settings
    left join requests on requests.order_id = chosen.order_id
)
select
    order_id as key,
    split_part(verdict_and_code, ' ', 1) as verdict,
    object,
    case object when 'event' then event_type else object end as kind,
    contact_id,
    coalesce(email, phone) as address,
    case
        when verdict_and_code <> 'send' then null
        when object = 'order' then content || jsonb_build_object('status', status)
        else event_request
    end as request,
    case
        when verdict_and_code <> 'send' then null
        when object = 'order' then jsonb_build_object('email', email, 'status', status, 'order', content)
        else jsonb_build_object(
            'email', email,
            'status', told_status,
            'order', content,
            'sent', coalesce(event_base -> 'sent', '{}') || case
                when event_type = status_event then jsonb_build_object(event_type, true)
                else '{}'
            end
        )
    end as payload,
    case when object = 'order' then order_base else event_base end as before,
    case when object = 'order' then needs_event else is_split end as has_next,
    nullif(split_part(verdict_and_code, ' ', 2), '') as code,
    case split_part(verdict_and_code, ' ', 2)
        when 'contact-rejected' then 'the buyer was refused as a contact; see the reject of the contact'
        when 'no-order-id' then 'the shop gives neither a number nor a key for the order (externalOrderId)'
        when 'no-total' then 'the shop gives no total for the order, or one below zero (totalCost)'
        when 'no-date' then 'the shop gives no time for the order (date)'
        when 'no-contact-id' then 'the buyer has no account, no e-mail and no phone (externalCustomerId, email, phone)'
        when 'no-currency' then 'the shop gives no currency for the order; set target.default_currency'
        when 'currency-not-taken' then format(
            'the account does not take %s; set target.convert_to and a rate for it in target.rates',
            given_currency
        )
        when 'item-incomplete' then format(
            '%s; eSputnik ignores such an order without a word; put the product right at the shop, or set target.item_url '
            'and target.item_image_url',
            lacking
        )
        when 'event-too-long' then 'the event is longer than 20 kB even without categories and with its items put together'
    end as reason,
    coalesce(is_confirmed, false) as is_confirmed,
    placed_at
from coded
