-- What was paid back is no revenue: sums are net of refunds, and what they were before stands beside them.

create function canonical.net_total(total numeric, extra jsonb)
returns numeric
language sql
immutable
parallel safe
as $$
    -- Shops give back more than was paid now and then (a gesture); that is a cost, and no negative revenue.
    select greatest(least(total, 0), total - greatest(0, coalesce(canonical.as_number(extra ->> 'refunded'), 0)))
$$;
comment on function canonical.net_total(numeric, jsonb) is 'The total of an order less what was refunded (extra.refunded), not below 0';

create or replace view marts.rfm as
with totals as (
    select
        contact_id,
        currency,
        count(*) as frequency,
        sum(canonical.net_total(total, extra))::numeric(18, 4) as monetary,
        sum(total)::numeric(18, 4) as gross,
        min(placed_at) as first_order_at,
        max(placed_at) as last_order_at
    from canonical.orders
    where status = 'DELIVERED' and currency is not null and placed_at is not null
    group by contact_id, currency
),
ranked as (
    -- The share of the other buyers who are strictly below: equal buyers get equal scores, which quintiles by count do
    -- not give. Where many are equal, the scores above theirs are empty.
    select
        totals.*,
        percent_rank() over (partition by currency order by last_order_at) as recency_rank,
        percent_rank() over (partition by currency order by frequency) as frequency_rank,
        percent_rank() over (partition by currency order by monetary) as monetary_rank
    from totals
),
scored as (
    select
        ranked.*,
        least(5, 1 + floor(recency_rank * 5))::integer as r,
        least(5, 1 + floor(frequency_rank * 5))::integer as f,
        least(5, 1 + floor(monetary_rank * 5))::integer as m
    from ranked
),
placed as (
    select
        scored.*,
        round((f + m) / 2.0)::integer as value_score
    from scored
)
select
    contact_id,
    currency,
    greatest(0, floor(extract(epoch from now() - last_order_at) / 86400))::integer as recency_days,
    frequency,
    monetary,
    first_order_at,
    last_order_at,
    r,
    f,
    m,
    case
        when r >= 4 and value_score >= 4 then 'champions'
        when r = 3 and value_score >= 4 then 'loyal'
        when r <= 2 and value_score = 5 then 'cannot lose'
        when r <= 2 and value_score >= 3 then 'at risk'
        when r >= 4 and value_score >= 2 then 'potential loyalist'
        when r = 5 then 'new'
        when r = 4 then 'promising'
        when value_score = 3 then 'needs attention'
        when r = 3 then 'about to sleep'
        when r = 2 then 'hibernating'
        else 'lost'
    end as segment,
    gross
from placed;
comment on column marts.rfm.monetary is 'Sum of their totals less what was refunded';
comment on column marts.rfm.gross is 'Sum of their totals before refunds';
comment on column marts.rfm.r is 'Recency score, 1 to 5 by the share of this currency''s other buyers whose latest order is older: below a fifth 1, from four fifths on 5. Equal buyers have equal scores';
comment on column marts.rfm.f is 'Frequency score, 1 to 5 by the share of the other buyers with fewer orders. Equal buyers have equal scores: where seven of ten bought once, these have 1 and nobody has 2 or 3';
comment on column marts.rfm.m is 'Monetary score, 1 to 5 by the share of the other buyers who spent less. Equal buyers have equal scores';

-- A joined order was merged into another one, which has its lines: counted here as well, its sum would count twice.
create or replace view marts.revenue_by_month as
select
    connection,
    currency,
    date_trunc('month', placed_at at time zone 'UTC')::date as month,
    status,
    count(*) as orders,
    sum(canonical.net_total(total, extra))::numeric(18, 4) as revenue,
    sum(total)::numeric(18, 4) as gross
from canonical.orders
where extra ->> 'joined' is distinct from 'true'
group by connection, currency, month, status;
comment on view marts.revenue_by_month is 'One row per shop, currency, month (UTC) and status; without orders that were joined with another one';
comment on column marts.revenue_by_month.revenue is 'Sum of their totals less what was refunded';
comment on column marts.revenue_by_month.gross is 'Sum of their totals before refunds';

-- Which line was refunded is not known of every platform: a refund is spread over the order's lines by their share.
create or replace view marts.category_sales as
select
    c.connection,
    c.source_key as category_key,
    c.path,
    o.currency,
    count(distinct o.order_id) as orders,
    count(distinct o.contact_id) as buyers,
    sum(i.quantity)::numeric(18, 4) as quantity,
    sum(
        i.line_total * coalesce(canonical.net_total(o.total, o.extra) / nullif(o.total, 0), 1)
    )::numeric(18, 4) as revenue,
    sum(i.line_total)::numeric(18, 4) as gross
from canonical.orders o
join canonical.order_items i on i.order_id = o.order_id
join canonical.product_categories pc on pc.connection = i.connection and pc.product_key = i.product_key
join canonical.categories c on c.connection = pc.connection and c.source_key = pc.category_key
where o.status = 'DELIVERED'
group by c.connection, c.source_key, c.path, o.currency;
comment on column marts.category_sales.revenue is 'Sum of the lines, tax included, less their share of what was refunded of the order';
comment on column marts.category_sales.gross is 'Sum of the lines, tax included, before refunds';
