-- What the transform is made of: identity, safe casts, look-ups of what libraries have read, the one way to write a
-- canonical row, and the marts.

-- Identity ------------------------------------------------------------------------------------------------------------

create function canonical.contact_id(salt text, email text, phone text, connection text, source_key text) returns uuid
language sql immutable parallel safe as $$
    select encode(
        substring(
            sha256(
                convert_to(
                    salt || coalesce(
                        'email:' || email,
                        'phone:' || phone,
                        'source:' || connection || chr(31) || source_key
                    ),
                    'UTF8'
                )
            )
            from 1 for 16
        ),
        'hex'
    )::uuid
$$;
comment on function canonical.contact_id is 'The contact that an identity means: the e-mail, else the phone, else the record itself';

create function canonical.order_id(connection text, source_key text) returns uuid
language sql immutable parallel safe as $$
    select md5('order:' || connection || chr(31) || source_key)::uuid
$$;
comment on function canonical.order_id is 'The id of an order: a pure function of shop and key';

-- Casts that give null where a plain cast would stop the whole run ----------------------------------------------------

create function canonical.as_array(value jsonb) returns jsonb
language sql immutable parallel safe as $$
    select case when jsonb_typeof(value) = 'array' then value else '[]'::jsonb end
$$;
comment on function canonical.as_array is 'The value if it is an array, else an empty one';

create function canonical.as_text(value text) returns text
language sql immutable parallel safe as $$
    select nullif(btrim(value, E' \t\r\n\u00a0\u200b\ufeff'), '')
$$;
comment on function canonical.as_text is 'Trimmed of blanks, also those nobody sees; null if nothing is left';

create function canonical.as_number(value text) returns numeric
language sql immutable parallel safe as $$
    -- 14 digits before the point are what numeric(18, 4) holds.
    select case when btrim(value) ~ '^[+-]?[0-9]{1,14}(\.[0-9]{1,40})?$' then btrim(value)::numeric end
$$;
comment on function canonical.as_number is 'A decimal number with a point; null for anything else';

create function canonical.as_timestamp_checked(value text) returns timestamptz
language plpgsql immutable as $$
begin
    return (value || case when value ~ '(Z|[+-][0-9]{2}:?[0-9]{2})$' then '' else '+00' end)::timestamptz;
exception
    when datetime_field_overflow or invalid_datetime_format or invalid_parameter_value then return null;
end
$$;
comment on function canonical.as_timestamp_checked is 'The slow way of as_timestamp, for values that may be impossible, such as 30 February';

create function canonical.as_timestamp(value text) returns timestamptz
language sql immutable as $$
    select case
        when value ~ '^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$'
            then (value || '+00')::timestamptz
        when value ~ '^[12][0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?$'
            then canonical.as_timestamp_checked(value)
    end
$$;
comment on function canonical.as_timestamp is 'An ISO 8601 time, UTC where it names no zone; null for anything else';

create function canonical.as_date_checked(value text) returns date
language plpgsql immutable as $$
begin
    return value::date;
exception
    when datetime_field_overflow or invalid_datetime_format then return null;
end
$$;
comment on function canonical.as_date_checked is 'A date written year first; null if the calendar has no such day';

create function canonical.as_date(value text) returns date
language sql immutable as $$
    select case
        when value ~ '^[12][0-9]{3}-[0-9]{2}-[0-9]{2}' then canonical.as_date_checked(left(value, 10))
        when value ~ '^[12][0-9]{7}$' then canonical.as_date_checked(value)
        -- With points the day comes first wherever it is written so.
        when value ~ '^[0-9]{2}\.[0-9]{2}\.[12][0-9]{3}$'
            then canonical.as_date_checked(right(value, 4) || substr(value, 4, 2) || left(value, 2))
    end
$$;
comment on function canonical.as_date is 'A date as YYYY-MM-DD, YYYYMMDD or DD.MM.YYYY; null for anything else';

create function canonical.as_country(value text) returns text
language sql immutable parallel safe as $$
    select case when btrim(value) ~ '^[A-Za-z]{2}$' then upper(btrim(value)) end
$$;
comment on function canonical.as_country is 'ISO 3166-1 alpha-2, upper case; null for anything else';

-- In plpgsql, as the two look-ups below: an SQL function with a from clause is not inlined, and starting one for every
-- row costs more than all it does.
create function canonical.as_email(value text) returns text
language plpgsql immutable parallel safe as $$
declare
    address constant text := lower(canonical.as_text(value));
begin
    -- RFC 5321: 64 octets before the @, 254 in all. Quoted local parts are left out: no shop and no target takes them.
    if
        address ~ '^[^[:space:]@"(),:;<>\\\[\]]+@([[:alnum:]]([[:alnum:]-]{0,61}[[:alnum:]])?\.)+[[:alpha:]][[:alnum:]-]*[[:alnum:]]$'
        and octet_length(split_part(address, '@', 1)) <= 64
        and octet_length(address) <= 254
        and address !~ '(^\.|\.\.|\.@)'
    then
        return address;
    end if;
    return null;
end
$$;
comment on function canonical.as_email is 'Trimmed and lower-cased; null if it cannot be an address';

create function canonical.e164(raw_phone text, phone_country text) returns text
language plpgsql stable as $$
begin
    if coalesce(raw_phone, '') = '' then
        return null;
    end if;
    return (
        select p.e164
        from canonical.phones p
        where p.raw = left(raw_phone, 100) and p.country = coalesce(phone_country, '')
    );
end
$$;
comment on function canonical.e164 is 'The phone in E.164, as the library read it before the mapping began';

create function canonical.decoded(value text) returns text
language plpgsql stable as $$
begin
    if position('&' in value) = 0 then
        return value;
    end if;
    return coalesce((select t.decoded from canonical.decoded_texts t where t.raw_hash = md5(value)::uuid), value);
end
$$;
comment on function canonical.decoded is 'The text with HTML entities decoded, as the library did before the mapping began';

-- The one way to write a canonical row --------------------------------------------------------------------------------

-- Reads pg_temp.incoming_<entity> (shaped like the table: what the rows should be) and pg_temp.affected_<entity> (the
-- scope columns: which rows were worked out anew). Rows of the scope that are equal stay untouched, others are
-- inserted, updated or deleted, and the same statement writes the change feed. A row whose primary key changes (it
-- moves to another contact) is deleted and inserted, and is one update in the feed.
create function canonical.merge(entity text, scope_columns text[], key_columns text[], run bigint) returns bigint
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
        if written > 1000 then
            execute format('analyze canonical.%I', entity);
        end if;
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
                        from jsonb_each(to_jsonb(e)) o
                        where o.value is distinct from to_jsonb(i) -> o.key
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
    -- What follows in this transaction is planned for the table as it is now.
    if written > 1000 then
        execute format('analyze canonical.%I', entity);
    end if;
    return written;
end
$$;
comment on function canonical.merge is 'Writes what differs between pg_temp.incoming_<entity> and a canonical table, and the change feed with it';

-- Marts ---------------------------------------------------------------------------------------------------------------

create schema marts;
comment on schema marts is 'Views for analysts over the canonical tables';

create view marts.rfm as
with totals as (
    select
        contact_id,
        currency,
        count(*) as frequency,
        sum(total)::numeric(18, 4) as monetary,
        min(placed_at) as first_order_at,
        max(placed_at) as last_order_at
    from canonical.orders
    where status = 'DELIVERED' and currency is not null and placed_at is not null
    group by contact_id, currency
),
ranked as (
    -- The share of buyers strictly below: equal buyers get equal scores, which quintiles by count do not give.
    select
        totals.*,
        percent_rank() over (partition by currency order by last_order_at) as recency_rank,
        percent_rank() over (partition by currency order by frequency) as frequency_rank,
        percent_rank() over (partition by currency order by monetary) as monetary_rank
    from totals
),
scored as (
    select
        ranked.*,
        least(5, 1 + floor(recency_rank * 5))::integer as r,
        least(5, 1 + floor(frequency_rank * 5))::integer as f,
        least(5, 1 + floor(monetary_rank * 5))::integer as m
    from ranked
),
placed as (
    select
        scored.*,
        round((f + m) / 2.0)::integer as value_score
    from scored
)
select
    contact_id,
    currency,
    greatest(0, floor(extract(epoch from now() - last_order_at) / 86400))::integer as recency_days,
    frequency,
    monetary,
    first_order_at,
    last_order_at,
    r,
    f,
    m,
    case
        when r >= 4 and value_score >= 4 then 'champions'
        when r = 3 and value_score >= 4 then 'loyal'
        when r <= 2 and value_score = 5 then 'cannot lose'
        when r <= 2 and value_score >= 3 then 'at risk'
        when r >= 4 and value_score >= 2 then 'potential loyalist'
        when r = 5 then 'new'
        when r = 4 then 'promising'
        when value_score = 3 then 'needs attention'
        when r = 3 then 'about to sleep'
        when r = 2 then 'hibernating'
        else 'lost'
    end as segment
from placed;
comment on view marts.rfm is 'One row per contact and currency with at least one DELIVERED order: recency, frequency, monetary value and what they say';
comment on column marts.rfm.contact_id is 'The contact';
comment on column marts.rfm.currency is 'Sums are never added across currencies';
comment on column marts.rfm.recency_days is 'Whole days since the latest delivered order was placed';
comment on column marts.rfm.frequency is 'Delivered orders';
comment on column marts.rfm.monetary is 'Sum of their totals';
comment on column marts.rfm.first_order_at is 'When the first was placed';
comment on column marts.rfm.last_order_at is 'When the latest was placed';
comment on column marts.rfm.r is 'Recency score, 5 for the most recent fifth of this currency''s buyers';
comment on column marts.rfm.f is 'Frequency score, 5 for the most frequent fifth';
comment on column marts.rfm.m is 'Monetary score, 5 for the highest fifth';
comment on column marts.rfm.segment is 'champions, loyal, potential loyalist, new, promising, needs attention, about to sleep, at risk, cannot lose, hibernating or lost';

create view marts.revenue_by_month as
select
    connection,
    currency,
    date_trunc('month', placed_at at time zone 'UTC')::date as month,
    status,
    count(*) as orders,
    sum(total)::numeric(18, 4) as revenue
from canonical.orders
group by connection, currency, month, status;
comment on view marts.revenue_by_month is 'One row per shop, currency, month (UTC) and status';
comment on column marts.revenue_by_month.connection is 'The shop';
comment on column marts.revenue_by_month.currency is 'ISO 4217';
comment on column marts.revenue_by_month.month is 'First day of the month in which the orders were placed, UTC';
comment on column marts.revenue_by_month.status is 'Canonical status; null while the shop''s status is not mapped';
comment on column marts.revenue_by_month.orders is 'How many orders';
comment on column marts.revenue_by_month.revenue is 'Sum of their totals';

create view marts.category_sales as
select
    c.connection,
    c.source_key as category_key,
    c.path,
    o.currency,
    count(distinct o.order_id) as orders,
    count(distinct o.contact_id) as buyers,
    sum(i.quantity)::numeric(18, 4) as quantity,
    sum(i.line_total)::numeric(18, 4) as revenue
from canonical.orders o
join canonical.order_items i on i.contact_id = o.contact_id and i.order_id = o.order_id
join canonical.product_categories pc on pc.connection = i.connection and pc.product_key = i.product_key
join canonical.categories c on c.connection = pc.connection and c.source_key = pc.category_key
where o.status = 'DELIVERED'
group by c.connection, c.source_key, c.path, o.currency;
comment on view marts.category_sales is 'One row per shop, category and currency, from DELIVERED orders; a product in two categories counts in both';
comment on column marts.category_sales.connection is 'The shop';
comment on column marts.category_sales.category_key is 'The category''s key at the platform';
comment on column marts.category_sales.path is 'Names from the top down to the category';
comment on column marts.category_sales.currency is 'ISO 4217';
comment on column marts.category_sales.orders is 'Orders with a product of this very category';
comment on column marts.category_sales.buyers is 'Contacts who bought one';
comment on column marts.category_sales.quantity is 'Pieces';
comment on column marts.category_sales.revenue is 'Sum of the lines, tax included';
