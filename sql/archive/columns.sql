-- What the archive keeps: one row per column of every staging table, of the tables named in $1 (schema.table) and of
-- every mart, in the order of their columns, with the columns of the table's primary key and its size on the disk (null
-- for what is computed). Types of domains are those beneath; types of arrays are those of their elements.

with relations as (
    select
        c.oid,
        n.nspname as schema,
        c.relname as relation,
        c.relkind in ('v', 'm') as is_view,
        c.reltuples,
        case when c.relkind <> 'v' then pg_table_size(c.oid) end as stored_bytes
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where
        (n.nspname = 'staging' and c.relkind in ('r', 'p'))
        or (n.nspname || '.' || c.relname = any ($1::text[]) and c.relkind in ('r', 'p'))
        or (n.nspname = 'marts' and c.relkind in ('r', 'p', 'v', 'm'))
),
columns as (
    select
        r.oid,
        r.schema,
        r.relation,
        r.is_view,
        r.reltuples,
        r.stored_bytes,
        a.attnum,
        a.attname,
        format_type(a.atttypid, a.atttypmod) as written_type,
        case when declared.typtype = 'd' then declared.typbasetype else declared.oid end as base_type,
        case when declared.typtype = 'd' then declared.typtypmod else a.atttypmod end as modifier
    from relations r
    join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
    join pg_type declared on declared.oid = a.atttypid
)
select
    c.schema::text,
    c.relation::text,
    c.is_view,
    nullif(c.reltuples, -1)::bigint as estimated_rows,
    c.stored_bytes,
    c.attname::text as column_name,
    c.written_type,
    coalesce(element.typname, base.typname)::text as type_name,
    coalesce(element.typtype, base.typtype) = 'e' as is_enum,
    element.oid is not null as is_array,
    coalesce(element.oid, base.oid) as type_oid,
    c.modifier,
    array(
        select a.attname::text
        from pg_index i
        cross join unnest(i.indkey) with ordinality as k (attnum, place)
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
        where i.indrelid = c.oid and i.indisprimary
        order by k.place
    ) as key_columns
from columns c
join pg_type base on base.oid = c.base_type
-- Types such as name and point can be indexed like arrays but are none: real arrays are of variable length.
left join pg_type element on element.oid = base.typelem and base.typcategory = 'A' and base.typlen = -1
order by c.schema, c.relation, c.attnum;
