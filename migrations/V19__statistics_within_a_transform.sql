-- What follows in a transform is planned for its tables as they are by then. Autovacuum, which looks in after a
-- minute, counts the pages that the transform has written and none of its rows, because they are not committed: the
-- planner then takes a table of thousands for empty and reads it once per row of another. Taken within the transform,
-- statistics are true, and autovacuum leaves the table alone until it ends.

create function canonical.refresh_statistics(entity text, written bigint)
returns void
language plpgsql as $$
declare
    known bigint := (select reltuples from pg_class where oid = format('canonical.%I', entity)::regclass);
begin
    -- Of a large table a few rows more change no plan, and reading a sample of it costs more than they did.
    if written > 1000 or (written > 0 and written >= known / 10) then
        execute format('analyze canonical.%I', entity);
    end if;
end
$$;

create or replace function canonical.merge(entity text, scope_columns text[], key_columns text[], run bigint)
returns bigint
language plpgsql as $$
declare
    target regclass := format('canonical.%I', entity)::regclass;
    all_columns text[];
    primary_columns text[];
    scope_match text;
    key_match text;
    key_text text;
    update_clause text;
    moved text;
    contact_new text := 'null::uuid';
    contact_old text := 'null::uuid';
    fresh boolean;
    written bigint;
begin
    select array_agg(attname order by attnum) into all_columns
    from pg_attribute
    where attrelid = target and attnum > 0 and not attisdropped;

    select array_agg(a.attname order by a.attnum) into primary_columns
    from pg_index i
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
    where i.indrelid = target and i.indisprimary;

    select string_agg(format('t.%1$I = a.%1$I', c), ' and ') into scope_match from unnest(scope_columns) c;
    select string_agg(format('i.%1$I = e.%1$I', c), ' and ') into key_match from unnest(key_columns) c;
    select string_agg(format('i.%1$I is distinct from e.%1$I', c), ' or ') into moved from unnest(primary_columns) c;
    select string_agg(format('%%1$s.%I::text', c), ' || '':'' || ' order by ordinality) into key_text
    from unnest(key_columns) with ordinality as k (c, ordinality);
    select coalesce('update set ' || string_agg(format('%1$I = excluded.%1$I', c), ', '), 'nothing') into update_clause
    from unnest(all_columns) c
    where c <> all (primary_columns);
    if 'contact_id' = any (all_columns) then
        contact_new := 'i.contact_id';
        contact_old := 'e.contact_id';
    end if;

    execute format(
        'select not exists (select from canonical.%1$I t join pg_temp.affected_%1$I a on %2$s)', entity, scope_match
    ) into fresh;

    if fresh then
        -- Nothing there yet, as in a first run: no comparison, two plain inserts.
        execute format(
            $sql$
            with feed as (
                insert into canonical.changes (run_id, entity, key, contact_id, op)
                select %2$L, %1$L, %3$s, %4$s, 'insert' from pg_temp.incoming_%1$I i
            )
            insert into canonical.%1$I select * from pg_temp.incoming_%1$I
            $sql$,
            entity, run, format(key_text, 'i'), contact_new
        );
        get diagnostics written = row_count;
        perform canonical.refresh_statistics(entity, written);
        return written;
    end if;

    execute format(
        $sql$
        with existing as materialized (
            select t.* from canonical.%1$I t join pg_temp.affected_%1$I a on %2$s
        ),
        differing as materialized (
            select
                i as new_row,
                e as old_row,
                coalesce(%3$s, %4$s) as key,
                coalesce(%5$s, %6$s) as contact_id,
                i.%7$I is not null as has_new,
                e.%7$I is not null as has_old,
                e.%7$I is not null and (i.%7$I is null or %8$s) as leaves,
                case
                    when e.%7$I is null then null
                    when i.%7$I is null then to_jsonb(e)
                    else (
                        select jsonb_object_agg(o.key, o.value)
                        -- offset 0 keeps the new row from being made into JSON once per column.
                        from (select to_jsonb(e) as was, to_jsonb(i) as is_now offset 0) as sides,
                            jsonb_each(sides.was) as o
                        where o.value is distinct from sides.is_now -> o.key
                    )
                end as old
            from pg_temp.incoming_%1$I i
            full join existing e on %9$s
            where row(i.*) is distinct from row(e.*)
        ),
        removed as (
            delete from canonical.%1$I t
            using differing d
            where d.leaves and %10$s
        ),
        written as (
            insert into canonical.%1$I
            select %11$s from differing d where d.has_new
            on conflict (%12$s) do %13$s
        )
        insert into canonical.changes (run_id, entity, key, contact_id, op, old)
        select
            %14$L,
            %1$L,
            key,
            contact_id,
            case when not has_old then 'insert' when has_new then 'update' else 'delete' end,
            old
        from differing
        $sql$,
        entity,
        scope_match,
        format(key_text, 'i'),
        format(key_text, 'e'),
        contact_new,
        contact_old,
        key_columns[1],
        moved,
        key_match,
        (select string_agg(format('t.%1$I = (d.old_row).%1$I', c), ' and ') from unnest(primary_columns) c),
        (select string_agg(format('(d.new_row).%I', c), ', ' order by o) from unnest(all_columns) with ordinality as x (c, o)),
        (select string_agg(format('%I', c), ', ') from unnest(primary_columns) c),
        update_clause,
        run
    );
    get diagnostics written = row_count;
    perform canonical.refresh_statistics(entity, written);
    return written;
end
$$;
