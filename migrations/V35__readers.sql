-- Roles that may read and nothing else: of people and BI tools, and of the expressions in contacts.fields.

create function ops.let_read(reader text, schemas text[])
returns void
language plpgsql
as $$
declare
    schema_name text;
begin
    -- Two grants on one object at a time get in each other's way.
    perform pg_advisory_xact_lock(6295376523);
    foreach schema_name in array schemas loop
        if
            not has_schema_privilege(reader, schema_name, 'usage')
            or exists (
                select from pg_class c
                where
                    c.relnamespace = schema_name::regnamespace
                    and c.relkind in ('r', 'p', 'v', 'm', 'f')
                    and not has_table_privilege(reader, c.oid, 'select')
            )
        then
            execute format('grant usage on schema %I to %I', schema_name, reader);
            execute format('grant select on all tables in schema %I to %I', schema_name, reader);
            execute format('alter default privileges in schema %I grant select on tables to %I', schema_name, reader);
        end if;
    end loop;
end
$$;
comment on function ops.let_read(text, text[]) is 'Lets a role read all tables and views of the schemas, those that come later included; to be called by their owner';

create function ops.stop_reading(reader text, schemas text[])
returns void
language plpgsql
as $$
declare
    schema_name text;
begin
    perform pg_advisory_xact_lock(6295376523);
    foreach schema_name in array schemas loop
        execute format('alter default privileges in schema %I revoke select on tables from %I', schema_name, reader);
        execute format('revoke select on all tables in schema %I from %I', schema_name, reader);
        execute format('revoke usage on schema %I from %I', schema_name, reader);
    end loop;
end
$$;
comment on function ops.stop_reading(text, text[]) is 'Takes back what ops.let_read gave';

create function ops.fields_role()
returns text
language plpgsql
as $$
begin
    if not exists (select from pg_roles where rolname = 'wharf_fields') then
        begin
            create role wharf_fields nologin;
        exception
            when insufficient_privilege then
                return null;
            when duplicate_object or unique_violation then
                -- Another database of this server was quicker.
                null;
        end;
    end if;
    perform ops.let_read('wharf_fields', array['canonical', 'marts']);
    begin
        if not pg_has_role(current_user, 'wharf_fields', 'member') then
            execute format('grant wharf_fields to %I', current_user);
        end if;
        perform set_config('role', 'wharf_fields', true);
        perform set_config('role', 'none', true);
    exception
        when insufficient_privilege then
            return null;
    end;
    return 'wharf_fields';
end
$$;
comment on function ops.fields_role() is 'The role under which contacts.fields are worked out: it reads canonical and marts. Made where it is missing; null where this role may not';
