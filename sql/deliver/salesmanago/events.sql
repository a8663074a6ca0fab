-- The event that each candidate order calls for: one row per order in pg_temp.deliver_candidates that exists.
--
--   IN_PROGRESS once paid, DELIVERED   PURCHASE, exactly once per order
--   CANCELLED                          CANCELLATION if a PURCHASE was acknowledged, RETURN if the goods came back; once
--   anything else                      nothing; an order whose status is not mapped is held
--
-- verdict: send, same (all its events were sent), skip (no event, or a filter leaves it out), hold (needs a person:
-- status not mapped, or an earlier outcome is unknown), wait (its contact is not there yet), reject.
--
-- Event fields (sheet, sections 5.5 and 7):
--   date         PURCHASE: placed; CANCELLATION, RETURN: cancelled
--   products     ids of the products as `product_id` of the account says (SKU, else the shop's key), joined by a comma,
--                whole ids up to 512 bytes
--   detail1, 3   names and quantities of those products, in the same order, as many as fit
--   detail6, 7   the shop's keys of products and of variations, in the same order
--   value        total; for RETURN the refunded sum
--   externalId   of CANCELLATION and RETURN: what the PURCHASE was acknowledged under; a shop may number anew
--   description  payment method            externalId  order number            detail2  order key
--   detail4      delivery method           detail5     discount                detail8  language
--   detail9      currency                  detail10    shipping                detail11 pick-up point
--   detail12-16  UTM source, medium, campaign, content, term
-- $1 settings, as for contacts.sql.
with settings as (
    select
        $1::jsonb ->> 'target' as target,
        $1::jsonb ->> 'pipeline' as pipeline,
        ($1::jsonb ->> 'placed_after')::date::timestamp at time zone 'UTC' as placed_after,
        ($1::jsonb ->> 'placed_before')::date::timestamp at time zone 'UTC' as placed_before,
        $1::jsonb ->> 'consent' = 'opt_in_only' and $1::jsonb ->> 'without_consent' = 'skip' as needs_consent,
        $1::jsonb #>> '{deliver,product_id}' as product_id,
        delivery.cut_bytes($1::jsonb #>> '{deliver,location}', 255) as location,
        delivery.cut_bytes($1::jsonb #>> '{deliver,shop_domain}', 255) as shop_domain
),
orders as materialized (
    select orders.*
    from pg_temp.deliver_candidates as candidate
    join canonical.orders on orders.order_id = candidate.key
),
sent as (
    -- By order alone: the contact that the order hangs on may have changed since. One look-up for each order, whatever
    -- the planner thinks of a ledger that has just begun to grow.
    select
        candidate.key as order_id,
        events.purchase_state,
        events.purchase_number,
        events.is_undone,
        events.is_open
    from pg_temp.deliver_candidates as candidate
    cross join settings
    cross join lateral (
        select
            max(ledger.state) filter (where ledger.object = 'purchase') as purchase_state,
            max(ledger.payload ->> 'externalId') filter (where ledger.object = 'purchase') as purchase_number,
            bool_or(ledger.object in ('cancellation', 'return')) as is_undone,
            bool_or(ledger.state <> 'acknowledged') as is_open
        from delivery.ledger
        where ledger.key = candidate.key
            and ledger.target = settings.target
            and ledger.object in ('purchase', 'cancellation', 'return')
    ) as events
),
contacts as (
    select
        buyer.contact_id,
        coalesce(ledger.payload ->> 'email', contact.email) as address,
        ledger.confirmed_at is not null or coalesce(verdict.is_confirmed, false) as is_confirmed,
        contact.email_consent,
        contact.language,
        case
            when ledger.state = 'acknowledged' then 'ready'
            when ledger.state is not null then 'held'
            when verdict.verdict is not null then case verdict.verdict when 'send' then 'ready' else verdict.verdict end
            when exists (
                select from pg_temp.deliver_pending as pending
                where pending.object = 'contact' and pending.key = buyer.contact_id
            ) then 'pending'
            when exists (
                select from delivery.rejects
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
    left join pg_temp.deliver_verdicts as verdict on verdict.contact_id = buyer.contact_id
),
called_for as materialized (
    select
        orders.*,
        contacts.address,
        contacts.is_confirmed,
        contacts.language,
        contacts.email_consent,
        contacts.state as contact_state,
        sent.purchase_state,
        sent.purchase_number,
        coalesce(sent.is_undone, false) as is_undone,
        coalesce(sent.is_open, false) as is_open,
        case
            when orders.status = 'CANCELLED' and orders.extra ->> 'returned' = 'true' then 'return'
            when orders.status = 'CANCELLED' then 'cancellation'
            when orders.status = 'DELIVERED' then 'purchase'
            when orders.status = 'IN_PROGRESS' and orders.payment_status = 'paid' then 'purchase'
        end as object
    from orders
    left join contacts on contacts.contact_id = orders.contact_id
    left join sent on sent.order_id = orders.order_id
),
coded as materialized (
    select
        called_for.*,
        case
            when status is null then 'hold unmapped-status'
            when object is null and status = 'IN_PROGRESS' then 'skip not-paid'
            when object is null then 'skip no-event'
            when is_open then 'hold outcome-unknown'
            when object = 'purchase' and purchase_state is not null then 'same sent'
            when object <> 'purchase' and is_undone then 'same sent'
            when object <> 'purchase' and purchase_state is null then 'skip never-purchased'
            when object = 'purchase' and placed_after is not null and (placed_at is null or placed_at < placed_after)
                then 'skip placed'
            when object = 'purchase' and placed_before is not null and (placed_at is null or placed_at >= placed_before)
                then 'skip placed'
            when object = 'purchase' and needs_consent and email_consent is distinct from 'opt_in' then 'skip consent'
            when contact_state = 'skip' then 'skip contact-skipped'
            when contact_state = 'reject' then 'reject contact-rejected'
            when contact_state = 'held' then 'hold contact-held'
            when contact_state is distinct from 'ready' then 'wait contact-pending'
            else 'send'
        end as first_verdict
    from called_for
    cross join settings
),
lines as materialized (
    select
        item.order_id,
        item.line,
        replace(
            case
                when settings.product_id = 'product_key' then coalesce(item.product_key, nullif(btrim(item.sku), ''))
                else coalesce(nullif(btrim(item.sku), ''), item.product_key)
            end,
            ',',
            '_'
        ) as id,
        -- A comma would split the name in two.
        case
            when strpos(item.name, ',') > 0 then regexp_replace(btrim(item.name), '\s*,\s*', ' ', 'g')
            else coalesce(btrim(item.name), '')
        end as name,
        coalesce(trim_scale(item.quantity)::text, '') as quantity,
        coalesce(item.product_key, '') as product_key,
        coalesce(item.variation_key, '') as variation_key
    from coded
    cross join settings
    join canonical.order_items as item on item.contact_id = coded.contact_id and item.order_id = coded.order_id
    where coded.first_verdict = 'send'
),
baskets as (
    select
        order_id,
        array_agg(id order by line) as ids,
        array_agg(name order by line) as names,
        array_agg(quantity order by line) as quantities,
        array_agg(product_key order by line) as product_keys,
        array_agg(variation_key order by line) as variation_keys,
        greatest(1, delivery.fitting(array_agg(id order by line), ',', 512)) as fit
    from lines
    -- A line of no product (its product is gone) has no place in lists that go by product.
    where id <> ''
    group by order_id
),
judged as materialized (
    select
        coded.*,
        delivery.cut_list(baskets.ids, ',', 512) as products,
        delivery.cut_list(baskets.names[1:fit], ',', 255) as names,
        delivery.cut_list(baskets.quantities[1:fit], '/', 255) as quantities,
        delivery.cut_list(baskets.product_keys[1:fit], ',', 255) as product_keys,
        delivery.cut_list(baskets.variation_keys[1:fit], ',', 255) as variation_keys,
        case
            when object = 'purchase' then placed_at
            else coalesce(cancelled_at, updated_at, placed_at)
        end as happened_at,
        case
            when object = 'return' then coalesce(canonical.as_number(extra ->> 'refunded'), total)
            else total
        end as value
    from coded
    left join baskets on baskets.order_id = coded.order_id
),
weighed as materialized (
    select
        judged.*,
        case
            when first_verdict <> 'send' then first_verdict
            when products is null and coalesce(value, 0) = 0 then 'reject empty-order'
            when happened_at is null then 'reject no-date'
            else 'send'
        end as verdict_and_code
    from judged
),
details as materialized (
    select
        weighed.*,
        -- What is null or empty says nothing and is left out.
        case
            when verdict_and_code = 'send' then jsonb_strip_nulls(jsonb_build_object(
                'contactExtEventType', upper(object),
                'date', delivery.epoch_ms(happened_at),
                'products', nullif(products, ''),
                'value', round(value, 2),
                'location', nullif(settings.location, ''),
                'shopDomain', nullif(settings.shop_domain, ''),
                'description', nullif(delivery.cut_bytes(btrim(payment_method), 2048), ''),
                'externalId', nullif(delivery.cut_bytes(coalesce(purchase_number, number, source_key), 255), ''),
                'detail1', nullif(names, ''),
                'detail2', nullif(delivery.cut_bytes(source_key, 255), ''),
                'detail3', nullif(quantities, ''),
                'detail4', nullif(delivery.cut_bytes(btrim(delivery_method), 255), ''),
                'detail5', trim_scale(nullif(discount, 0))::text,
                'detail6', case when product_keys ~ '[^,]' then product_keys end,
                'detail7', case when variation_keys ~ '[^,]' then variation_keys end,
                'detail8', nullif(delivery.cut_bytes(language, 255), ''),
                'detail9', nullif(currency, ''),
                'detail10', trim_scale(nullif(shipping, 0))::text,
                'detail11', nullif(delivery.cut_bytes(btrim(pickup_place), 255), ''),
                'detail12', nullif(delivery.cut_bytes(utm ->> 'source', 255), ''),
                'detail13', nullif(delivery.cut_bytes(utm ->> 'medium', 255), ''),
                'detail14', nullif(delivery.cut_bytes(utm ->> 'campaign', 255), ''),
                'detail15', nullif(delivery.cut_bytes(utm ->> 'content', 255), ''),
                'detail16', nullif(delivery.cut_bytes(utm ->> 'term', 255), '')
            ))
        end as request
    from weighed
    cross join settings
)
select
    order_id as key,
    split_part(verdict_and_code, ' ', 1) as verdict,
    object,
    contact_id,
    address,
    request,
    request || jsonb_build_object('email', address) as payload,
    nullif(split_part(verdict_and_code, ' ', 2), '') as code,
    case split_part(verdict_and_code, ' ', 2)
        when 'empty-order' then 'the order has neither products nor a total; SALESmanago takes no such event'
        when 'no-date' then 'the shop gives no time for the order, and an event needs one'
        when 'contact-rejected' then 'the buyer was refused as a contact; see the reject of the contact'
    end as reason,
    coalesce(is_confirmed, false) as is_confirmed,
    placed_at
from details
