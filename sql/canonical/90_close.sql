-- Closes a transform: problems of the records that were looked at are written anew, and the watermark moves in the same
-- transaction as everything it speaks of.
insert into examined (entity, key)
select 'categories', source_key from affected_categories
union all
select 'products', source_key from affected_products;

with outdated as (
    select r.entity, r.key, r.field, r.code
    from canonical.rejects r
    join mapping m using (connection)
    join examined e on e.entity = r.entity and e.key = r.key
    left join mapped_problems p
        on p.entity = r.entity and p.key = r.key and p.field = r.field and p.code = r.code
    where p.key is null
)
delete from canonical.rejects r
using outdated o, mapping m
where
    r.connection = m.connection
    and r.entity = o.entity
    and r.key = o.key
    and r.field = o.field
    and r.code = o.code;

insert into canonical.rejects (connection, entity, key, field, code, reason, value, run_id)
select distinct on (p.entity, p.key, p.field, p.code)
    m.connection,
    p.entity,
    p.key,
    p.field,
    p.code,
    p.reason,
    p.value,
    m.run_id
from mapped_problems p, mapping m
on conflict (connection, entity, key, field, code) do update
set reason = excluded.reason, value = excluded.value, run_id = excluded.run_id
where (rejects.reason, rejects.value) is distinct from (excluded.reason, excluded.value);

update ops.connections c
set mapped_run = greatest(c.mapped_run, m.staged_run), mapped_settings = m.settings
from mapping m
where c.connection = m.connection;
