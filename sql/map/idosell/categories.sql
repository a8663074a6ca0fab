-- IdoSell categories, two kinds (sheet, section 4): the shop's menu, which customers see, and the panel's own, which
-- stand in where a product is in no menu. Names are those of the chosen language, else of the first there is. Hidden
-- menu items are left out; what hangs on one hangs on the next one above that is shown. Categories of the offer feed
-- fill what the API has not given.

-- Where an item hangs depends on the items above it: a tree is read whole.
insert into changed_categories (source_key)
select s.source_key
from staging.categories s
join mapping m using (connection)
where
    exists (select from changed_categories)
    and s.source_key not in (select source_key from changed_categories);

insert into mapped_categories (source_key, parent_key, name)
with recursive items as materialized (
    select
        s.source_key,
        split_part(s.source_key, '-', 1) || '-' || nullif(s.payload ->> 'parent_id', '0') as parent_key,
        said.name,
        said.hidden
    from source_categories s
    cross join mapping m
    left join lateral (
        select
            (array_agg(name order by is_chosen desc nulls last, place) filter (where name is not null))[1] as name,
            (array_agg(names ->> 'hidden' order by is_chosen desc nulls last, place))[1] as hidden
        from
            jsonb_array_elements(canonical.as_list(s.payload -> 'lang_data')) with ordinality as listed (names, place),
            coalesce(names ->> 'lang_id' = m.settings ->> 'lang_id', false) as is_chosen,
            coalesce(
                canonical.as_text(canonical.decoded(names ->> 'name')),
                canonical.as_text(canonical.decoded(names ->> 'plural_name')),
                canonical.as_text(canonical.decoded(names ->> 'singular_name')),
                -- The path of a menu item ends with its name.
                canonical.as_text(canonical.decoded(reverse(split_part(reverse(names ->> 'item_textid'), '\', 1))))
            ) as name
    ) as said on true
),
hidden as materialized (
    select source_key, parent_key
    from items
    where hidden = 'y'
),
lifted as (
    select source_key, parent_key
    from items
    -- Not all: hidden items that hang on one another in a ring would never end.
    union
    select l.source_key, h.parent_key
    from lifted l
    join hidden h on h.source_key = l.parent_key
)
select
    i.source_key,
    max(l.parent_key) filter (where l.parent_key not in (select source_key from hidden)),
    max(i.name)
from items i
join lifted l using (source_key)
where i.hidden is distinct from 'y'
group by i.source_key;

-- A path such as "Moda/Sukienki" is the whole name in the feed; the category above is the one named by what stands
-- before the last part.
insert into changed_categories (source_key)
select 'panel-' || source_key
from changed_offer_categories
where 'panel-' || source_key not in (select source_key from changed_categories);

insert into mapped_categories (source_key, parent_key, name)
select
    'panel-' || o.source_key,
    'panel-' || above.source_key,
    canonical.as_text(parts[cardinality(parts)])
from changed_offer_categories
join mapping m on true
join staging.offer_categories o
    on o.connection = m.connection and o.source_key = changed_offer_categories.source_key and o.deleted_at is null
cross join lateral (
    select string_to_array(canonical.decoded(o.payload ->> '@name'), '/')
) as path (parts)
left join lateral (
    select source_key
    from staging.offer_categories p
    where
        p.connection = m.connection
        and p.deleted_at is null
        and cardinality(parts) > 1
        and canonical.decoded(p.payload ->> '@name') = array_to_string(parts[:cardinality(parts) - 1], '/')
    order by source_key
    limit 1
) as above on true
-- What the API says of a category counts.
where not exists (
    select from staging.categories c
    where
        c.connection = m.connection
        and c.source_key = 'panel-' || o.source_key
        and c.deleted_at is null
)
on conflict do nothing;
