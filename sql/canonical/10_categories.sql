-- Categories: a changed one may move or rename everything below it, so the connection's whole tree (a few thousand rows
-- at most) is worked out anew whenever any changed, and canonical.merge writes only what differs. A category without a
-- name has its key for one, and no place in paths: they become tags.
insert into affected_categories (connection, source_key)
select m.connection, c.source_key
from mapping m
join canonical.categories c using (connection)
where exists (select from changed_categories)
union
select m.connection, source_key
from mapping m, mapped_categories;

insert into incoming_categories (connection, source_key, parent_key, name, path, depth)
with recursive tree as (
    select source_key, parent_key, name
    from mapped_categories
    union all
    select
        c.source_key,
        c.parent_key,
        case when c.name <> c.source_key or c.path[cardinality(c.path)] = c.name then c.name end
    from canonical.categories c
    join mapping using (connection)
    where
        exists (select from changed_categories)
        and c.source_key not in (select source_key from changed_categories)
),
walked as (
    -- The top: no parent, or one that the shop does not have.
    select source_key, parent_key, name, array_remove(array[name], null) as path, 1 as depth
    from tree t
    where not exists (select from tree p where p.source_key = t.parent_key)
    union all
    select t.source_key, t.parent_key, t.name, w.path || array_remove(array[t.name], null), w.depth + 1
    from walked w
    join tree t on t.parent_key = w.source_key
),
looped as (
    -- What the walk does not reach hangs on itself: each such category stands alone.
    select source_key, parent_key, name, array_remove(array[name], null) as path, 1 as depth
    from tree
    where source_key not in (select source_key from walked)
)
select m.connection, source_key, parent_key, coalesce(name, source_key), path, depth
from (table walked union all table looped) as placed, mapping m;

insert into mapped_problems (entity, key, field, code, reason, value)
select
    'categories',
    i.source_key,
    'parent_key',
    case when p.source_key is null then 'missing-parent' else 'category-loop' end,
    case
        when p.source_key is null then 'the category above is not among the shop''s; this one is taken as a top category'
        else 'the categories above lead back to this one; it is taken as a top category'
    end,
    i.parent_key
from incoming_categories i
left join incoming_categories p on p.source_key = i.parent_key
where i.parent_key is not null and i.depth = 1
union all
select 'categories', source_key, 'name', 'no-name', 'the category has no name in any language; it gives no tag', null
from incoming_categories
where name = source_key and path[cardinality(path)] is distinct from name;

analyze incoming_categories, affected_categories;
select canonical.merge('categories', array['connection', 'source_key'], array['connection', 'source_key'], run_id)
from mapping;
