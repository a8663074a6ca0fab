-- The tables that a mart reads, through any number of views and through none of the functions it calls: $1 is the
-- view's schema, $2 its name.

with recursive read as (
    select c.oid, c.relkind
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1::text and c.relname = $2::text
    union
    select used.oid, used.relkind
    from read
    join pg_rewrite rule on rule.ev_class = read.oid
    join pg_depend d
        on d.classid = 'pg_rewrite'::regclass
        and d.objid = rule.oid
        and d.refclassid = 'pg_class'::regclass
    join pg_class used on used.oid = d.refobjid and used.oid <> read.oid
)
select n.nspname || '.' || c.relname as entity
from read
join pg_class c on c.oid = read.oid
join pg_namespace n on n.oid = c.relnamespace
where read.relkind in ('r', 'p')
order by entity;
