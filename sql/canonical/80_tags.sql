-- Tags: an account, a subscription without an account, a tag per level of every category bought in, and what the
-- pipeline file gives everybody. Affected are the contacts of changed sources, orders and lines, and the buyers of
-- products whose categories, or the names and places of whose categories, changed.
insert into affected_contact_tags (contact_id)
with feed as (
    select entity, op, key, contact_id, old
    from run_changes
    where entity in ('contact_sources', 'orders', 'order_items', 'product_categories', 'categories')
),
renamed_categories as (
    select substr(f.key, length(m.connection) + 2) as category_key
    from feed f, mapping m
    where
        f.entity = 'categories'
        and left(f.key, length(m.connection) + 1) = m.connection || ':'
        and (f.op <> 'update' or f.old ? 'path')
),
sorted_otherwise as (
    -- The key is connection:product:category; neither key holds a colon at any platform.
    select split_part(substr(f.key, length(m.connection) + 2), ':', 1) as product_key
    from feed f, mapping m
    where f.entity = 'product_categories' and left(f.key, length(m.connection) + 1) = m.connection || ':'
    union
    select pc.product_key
    from mapping m
    join canonical.product_categories pc using (connection)
    join renamed_categories using (category_key)
)
select contact_id from feed where contact_id is not null
union
select (old ->> 'contact_id')::uuid from feed where old ? 'contact_id'
union
select i.contact_id
from mapping m
join canonical.order_items i using (connection)
join sorted_otherwise using (product_key);

-- Names or switches of tags changed in the pipeline file: every contact of the connection.
insert into affected_contact_tags (contact_id)
select distinct s.contact_id
from canonical.contact_sources s
join mapping m using (connection)
-- As a sub-select it is asked once, before any row is read.
where (select tags_changed from mapping)
on conflict do nothing;

analyze affected_contact_tags;

insert into incoming_contact_tags (contact_id, tag, origin, first_at, last_at)
with settings as (
    select
        connection,
        case when settings -> 'tags' ? 'registered' then settings -> 'tags' ->> 'registered' else 'rejestracja' end as registered,
        case when settings -> 'tags' ? 'newsletter' then settings -> 'tags' ->> 'newsletter' else 'newsletter' end as newsletter,
        coalesce((settings -> 'tags' ->> 'categories')::boolean, true) as categories,
        canonical.as_array(settings -> 'tags' -> 'always') as always
    from ops.connections
),
sources as materialized (
    select s.contact_id, s.connection, s.registered, s.newsletter, s.created_at
    from canonical.contact_sources s
    join affected_contact_tags using (contact_id)
    where s.kind <> 'order'
),
registered as (
    select s.contact_id, t.registered as tag, min(s.created_at) as first_at, max(s.created_at) as last_at
    from sources s
    join settings t using (connection)
    where s.registered and t.registered is not null
    group by s.contact_id, t.registered
),
subscribed as (
    select s.contact_id, t.newsletter as tag, min(s.created_at) as first_at, max(s.created_at) as last_at
    from sources s
    join settings t using (connection)
    where
        s.newsletter
        and t.newsletter is not null
        and not exists (select from sources a where a.contact_id = s.contact_id and a.registered)
    group by s.contact_id, t.newsletter
),
bought as (
    -- Reduced to contact and product before it is spread over categories and levels. An order that was cancelled, never
    -- placed or is held for its status has bought nothing. Joined by the order alone, which says the contact: with
    -- both the planner would expect hardly a row.
    select i.contact_id, i.connection, i.product_key, min(o.placed_at) as first_at, max(o.placed_at) as last_at
    from affected_contact_tags
    join canonical.order_items i using (contact_id)
    join canonical.orders o using (order_id)
    where o.status in ('INITIALIZED', 'IN_PROGRESS', 'DELIVERED') and i.product_key is not null
    group by i.contact_id, i.connection, i.product_key
),
bought_in as (
    select b.contact_id, b.connection, pc.category_key, min(b.first_at) as first_at, max(b.last_at) as last_at
    from bought b
    join settings t on t.connection = b.connection and t.categories
    join canonical.product_categories pc on pc.connection = b.connection and pc.product_key = b.product_key
    group by b.contact_id, b.connection, pc.category_key
),
levels as materialized (
    -- Targets separate tags by commas: a name may not hold one.
    select c.connection, c.source_key as category_key, canonical.as_text(replace(level, ',', '')) as tag
    from canonical.categories c, unnest(c.path) as level
),
categories as (
    select b.contact_id, l.tag, min(b.first_at) as first_at, max(b.last_at) as last_at
    from bought_in b
    join levels l using (connection, category_key)
    where l.tag is not null
    group by b.contact_id, l.tag
),
given as (
    select s.contact_id, tag, min(s.created_at) as first_at, max(s.created_at) as last_at
    from sources s
    join settings t using (connection)
    cross join jsonb_array_elements_text(t.always) as tag
    group by s.contact_id, tag
)
select contact_id, tag, 'registered', first_at, last_at from registered
union all
select contact_id, tag, 'newsletter', first_at, last_at from subscribed
union all
select contact_id, tag, 'category', first_at, last_at from categories
union all
select contact_id, tag, 'pipeline', first_at, last_at from given;

analyze incoming_contact_tags;
select canonical.merge('contact_tags', array['contact_id'], array['contact_id', 'tag', 'origin'], run_id)
from mapping;
