-- What rendering payloads is made of: cutting at byte limits, platform spellings, and the one view over all rejects.

alter table delivery.consumers add column first_load boolean not null default true;
comment on column delivery.consumers.first_load is 'True until a load has gone through the whole first backlog: until then no automations are fired at the target';

create index rejects_key on delivery.rejects (target, object, key);

-- Byte limits ---------------------------------------------------------------------------------------------------------

-- In plpgsql with the common case first: these are called some thirty times for every event, and an SQL function that
-- cannot be inlined costs more to start than all of this. The database's encoding is UTF-8 (checked at every start).

-- Platforms count bytes, people read letters: the cut goes back to where a letter begins. In UTF-8 every byte of a
-- letter but the first has the form 10xxxxxx, and there are at most three of those.
create function delivery.cut_bytes(value text, max_bytes integer) returns text
language plpgsql immutable parallel safe as $$
declare
    bytes bytea;
    fits integer := greatest(max_bytes, 0);
begin
    if value is null or octet_length(value) <= max_bytes then
        return value;
    end if;
    bytes := convert_to(value, 'UTF8');
    while fits > 0 and get_byte(bytes, fits) & 192 = 128 loop
        fits := fits - 1;
    end loop;
    return convert_from(substring(bytes from 1 for fits), 'UTF8');
end
$$;
comment on function delivery.cut_bytes is 'The longest beginning of the text that fits into so many UTF-8 bytes, cut between letters';

create function delivery.fitting(items text[], separator text, max_bytes integer) returns integer
language plpgsql immutable parallel safe as $$
declare
    item text;
    fits integer := 0;
    bytes integer := 0;
begin
    if octet_length(array_to_string(items, separator)) <= max_bytes then
        return cardinality(items);
    end if;
    foreach item in array coalesce(items, '{}') loop
        bytes := bytes + octet_length(item) + case when fits > 0 then octet_length(separator) else 0 end;
        exit when bytes > max_bytes;
        fits := fits + 1;
    end loop;
    return fits;
end
$$;
comment on function delivery.fitting is 'How many of the first items fit into so many bytes when joined; items must not be null';

create function delivery.cut_list(items text[], separator text, max_bytes integer) returns text
language plpgsql immutable parallel safe as $$
declare
    -- Whole items, so that the n-th of one list still speaks of the n-th of another; only a first item that is too long
    -- by itself is cut between letters.
    fits constant integer := delivery.fitting(items, separator, max_bytes);
begin
    if fits = 0 then
        return nullif(delivery.cut_bytes(items[1], max_bytes), '');
    end if;
    return array_to_string(items[1:fits], separator);
end
$$;
comment on function delivery.cut_list is 'The first items joined, as many as fit into so many bytes; null for none';

-- Spellings -----------------------------------------------------------------------------------------------------------

create function delivery.iso_utc(value timestamptz) returns text
language sql immutable parallel safe as $$
    select to_char(value at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;
comment on function delivery.iso_utc is 'A time as payloads in the ledger carry it: ISO 8601, UTC, microseconds';

create function delivery.epoch_ms(value timestamptz) returns bigint
language sql immutable parallel safe as $$
    select floor(extract(epoch from value) * 1000)::bigint
$$;
comment on function delivery.epoch_ms is 'Milliseconds since 1970';

create function delivery.compact(value jsonb) returns jsonb
language plpgsql immutable parallel safe as $$
begin
    -- Top level only: a null or an empty text, list or object says nothing and is left out.
    return (
        select coalesce(jsonb_object_agg(member.key, member.value), '{}')
        from jsonb_each(value) as member
        where member.value not in ('null', '""', '[]', '{}')
    );
end
$$;
comment on function delivery.compact is 'The object without members that are null or empty';

-- Rejects of all stages -----------------------------------------------------------------------------------------------

create view ops.rejects as
select
    'staging' as stage,
    connection as scope,
    stream as entity,
    source_key as key,
    null::text as field,
    code,
    reason,
    times,
    run_id,
    last_at
from staging.rejects
union all
select
    'canonical',
    connection,
    entity,
    key,
    field,
    code,
    reason,
    1,
    run_id,
    at
from canonical.rejects
union all
select
    'delivery',
    target || '/' || pipeline,
    object,
    key::text,
    null,
    code,
    reason,
    times,
    run_id,
    last_at
from delivery.rejects;
comment on view ops.rejects is 'One row per record or value that a stage could not take, of all stages';
comment on column ops.rejects.stage is 'staging (could not be stored as received), canonical (a value could not be read), delivery (a target or a rule before it refused)';
comment on column ops.rejects.scope is 'The connection; for delivery the target account and the pipeline, with a slash between';
comment on column ops.rejects.entity is 'The stream, canonical table or object';
comment on column ops.rejects.key is 'The source key; for delivery contact_id or order_id';
comment on column ops.rejects.field is 'The canonical column; null for whole records';
comment on column ops.rejects.code is 'Stable code of the reason';
comment on column ops.rejects.reason is 'What is wrong';
comment on column ops.rejects.times is 'How often it was seen';
comment on column ops.rejects.run_id is 'The run that last saw it';
comment on column ops.rejects.last_at is 'When it was last seen';

create index contact_moves_moved_to on canonical.contact_moves (moved_to);
