-- Statistics were two fifths of a transform where 1 % of a large table had changed: 1.6 s of 4.2 s with 100,000
-- orders. They are taken where they can change a plan: a shop's rows come for the first time, or all again, or
-- a tenth of the table is new. What a table becomes little by little, autovacuum sees between transforms.
create or replace function canonical.refresh_statistics(entity text, written bigint)
returns void
language plpgsql as $$
declare
    known bigint := (select reltuples from pg_class where oid = format('canonical.%I', entity)::regclass);
    maps_everything boolean := (select mapping.since_run = 0 from pg_temp.mapping);
begin
    if written > 0 and written >= known / 10 or written > 1000 and maps_everything then
        execute format('analyze canonical.%I', entity);
    end if;
end
$$;
