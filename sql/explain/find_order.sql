-- The orders that $1 may mean: an id, a number or a shop's key. $2 the connection or null. exact tells those that it
-- does mean; others are near.
with asked as (
    select
        btrim($1::text) as word,
        case when $1::text ~* '^\s*[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\s*$' then btrim($1::text)::uuid end as id
),
found as (
    select o.order_id, o.connection, o.number, o.source_key, o.placed_at, true as exact
    from asked
    join canonical.orders o on o.order_id = asked.id or o.number = asked.word
    where $2::text is null or o.connection = $2::text
    union all
    select o.order_id, o.connection, o.number, o.source_key, o.placed_at, o.number is null
    from asked
    join canonical.orders o
        on o.source_key = asked.word and o.connection in (select c.connection from ops.connections c)
    where $2::text is null or o.connection = $2::text
    union all
    (
        select o.order_id, o.connection, o.number, o.source_key, o.placed_at, false
        from asked
        join canonical.orders o on o.number like '%' || asked.word || '%'
        where asked.id is null and asked.word ~ '^[0-9A-Za-z-]{3,}$' and ($2::text is null or o.connection = $2::text)
        limit 5
    )
)
select
    order_id,
    connection || ' ' || coalesce(number, source_key) || coalesce(' of ' || placed_at::date, '') as name,
    bool_or(exact) as exact
from found
group by order_id, name
order by exact desc, name
limit 10
