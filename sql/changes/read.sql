-- A page of the change feed in order, each change with its row as it is now, as one JSON text.
-- $1 and $2 the position behind which it begins (no seq: behind the whole run), $3 the last complete run, $4 the only
-- entities that are wanted or null, $5 how many.
with page as materialized (
    select
        c.*,
        -- What stands in front of the first colon, and behind it.
        split_part(c.key, ':', 1) as head,
        substr(c.key, strpos(c.key, ':') + 1) as tail,
        -- Keys that begin with an id.
        case when c.key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:|$)' then left(c.key, 36)::uuid end as id
    from canonical.changes c
    where
        (c.run_id, c.seq) > ($1::bigint, coalesce($2::bigint, 9223372036854775807))
        and c.run_id <= $3::bigint
        and ($4::text[] is null or c.entity = any ($4::text[]))
    order by c.run_id, c.seq
    limit $5::bigint
)
select
    run_id,
    seq,
    json_build_object(
        'run_id', run_id,
        'seq', seq,
        'at', delivery.iso_utc(at),
        'entity', entity,
        'key', key,
        'contact_id', contact_id,
        'op', op,
        'old', old,
        'row', case entity
            when 'contacts' then (
                select to_jsonb(t)
                from canonical.contacts t
                where t.contact_id = id
            )
            when 'contact_sources' then (
                select to_jsonb(t)
                from canonical.contact_sources t
                where t.connection = head and t.source_key = tail
            )
            when 'contact_tags' then (
                select to_jsonb(t)
                from canonical.contact_tags t
                -- A tag may hold colons: the origin is what stands behind the last one.
                where t.contact_id = id and t.tag || ':' || t.origin = tail
            )
            when 'orders' then (
                select to_jsonb(t)
                from canonical.orders t
                where t.order_id = id
            )
            when 'order_items' then (
                select to_jsonb(t)
                from canonical.order_items t
                where t.order_id = id and t.line::text = tail
            )
            when 'products' then (
                select to_jsonb(t)
                from canonical.products t
                where t.connection = head and t.source_key = tail
            )
            when 'product_categories' then (
                select to_jsonb(t)
                from canonical.product_categories t
                where t.connection = head and t.product_key || ':' || t.category_key = tail
                    and t.product_key = split_part(tail, ':', 1)
            )
            when 'categories' then (
                select to_jsonb(t)
                from canonical.categories t
                where t.connection = head and t.source_key = tail
            )
        end
    )::text as change
from page
order by run_id, seq
