-- Columns whose values are given out by a sequence, one row each. $1 the tables (schema.table).
select
    format('%I.%I', n.nspname, c.relname) as table_name,
    format('%I', a.attname) as column_name,
    pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname) as sequence_name
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attidentity <> '' and not a.attisdropped
where n.nspname || '.' || c.relname = any ($1::text[] || 'ops.runs'::text)
