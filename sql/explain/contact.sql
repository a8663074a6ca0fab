-- Everything about contact $1 as one document: for each value which record gave it and by which rule, and what lost.
-- The orders here are those of canonical/70_contacts.sql; a test compares the winners with the row.
with sources as (
    select
        s.*,
        split_part(s.source_key, ':', 1) as record_kind,
        substr(s.source_key, strpos(s.source_key, ':') + 1) as record_key,
        row_number() over (order by s.updated_at desc nulls last, s.connection, s.source_key) as newest
    from canonical.contact_sources s
    where s.contact_id = $1::uuid
),
staged as (
    select
        s.connection,
        s.source_key,
        jsonb_build_object(
            'connection', s.connection,
            'kind', s.kind,
            'record', s.source_key,
            'table', t.name,
            'key', s.record_key,
            'run', r.run_id,
            'landed', delivery.iso_utc(runs.started_at),
            'changed_at_shop', delivery.iso_utc(s.updated_at)
        ) as source
    from sources s
    cross join lateral (
        select case s.record_kind
            when 'account' then 'staging.customers'
            when 'subscriber' then 'staging.subscribers'
            else 'staging.orders'
        end
    ) as t (name)
    left join lateral (
        select c.run_id
        from staging.customers c
        where s.record_kind = 'account' and c.connection = s.connection and c.source_key = s.record_key
        union all
        select c.run_id
        from staging.subscribers c
        where s.record_kind = 'subscriber' and c.connection = s.connection and c.source_key = s.record_key
        union all
        select c.run_id
        from staging.orders c
        where s.record_kind = 'order' and c.connection = s.connection and c.source_key = s.record_key
    ) as r on true
    left join ops.runs on runs.run_id = r.run_id
),
claims as (
    -- What each record says of each field; place 1 wins.
    select
        f.field,
        f.value,
        f.rule,
        s.connection,
        s.source_key,
        row_number() over (partition by f.field order by f.first, s.newest) as place
    from sources s
    cross join lateral (
        values
            ('email', to_jsonb(s.email), 'identity', null::numeric),
            ('phone', to_jsonb(s.phone), 'newest', null),
            ('first_name', to_jsonb(s.first_name), 'newest', null),
            ('last_name', to_jsonb(s.last_name), 'newest', null),
            ('company', to_jsonb(s.company), 'newest', null),
            ('birthday', to_jsonb(s.birthday), 'newest', null),
            ('street', to_jsonb(s.street), 'newest', null),
            ('postal_code', to_jsonb(s.postal_code), 'newest', null),
            ('city', to_jsonb(s.city), 'newest', null),
            ('region', to_jsonb(s.region), 'newest', null),
            ('country', to_jsonb(s.country), 'newest', null),
            ('language', to_jsonb(s.language), 'newest', null),
            ('registered', to_jsonb(s.registered), 'any', case when s.registered then 0 else 1 end),
            ('newsletter', to_jsonb(s.newsletter), 'any', case when s.newsletter then 0 else 1 end),
            ('created_at', to_jsonb(s.created_at), 'earliest', extract(epoch from s.created_at)),
            ('updated_at', to_jsonb(s.updated_at), 'latest', -extract(epoch from s.updated_at))
    ) as f (field, value, rule, first)
    where s.kind <> 'order' and f.value is not null
    union all
    select
        'extra.' || e.key,
        e.value,
        'newest',
        s.connection,
        s.source_key,
        row_number() over (
            partition by e.key order by s.updated_at desc nulls last, s.connection, s.source_key
        )
    from sources s
    cross join jsonb_each(s.extra) e
    union all
    select
        t.channel || '_consent',
        to_jsonb(t.state),
        'latest statement',
        t.connection,
        t.source_key,
        row_number() over (
            partition by t.channel
            order by t.taken_back_run is not null, t.stated_at desc, t.state desc, t.connection, t.source_key
        )
    from canonical.consent_statements t
    where t.contact_id = $1::uuid
),
stated as (
    select
        c.*,
        coalesce(
            staged.source,
            -- A statement outlives its record.
            jsonb_build_object('connection', c.connection, 'record', c.source_key, 'gone', true)
        ) as source
    from claims c
    left join staged on staged.connection = c.connection and staged.source_key = c.source_key
),
fields as (
    select
        field,
        jsonb_build_object(
            'field', field,
            'value', (array_agg(value order by place))[1],
            'rule', min(rule),
            'from', (array_agg(source order by place))[1],
            'others', coalesce(
                jsonb_agg(jsonb_build_object('value', value, 'from', source) order by place) filter (where place > 1),
                '[]'
            )
        ) as explained
    from stated
    group by field
),
statements as (
    select jsonb_agg(
        jsonb_build_object(
            'channel', channel,
            'state', state,
            'stated_at', delivery.iso_utc(nullif(stated_at, '-infinity')),
            'connection', connection,
            'record', source_key,
            'run', run_id,
            'taken_back_run', taken_back_run
        )
        order by channel, stated_at desc, state desc, connection, source_key
    ) as list
    from canonical.consent_statements
    where contact_id = $1::uuid
),
settings as (
    select
        connection,
        case when mapped_settings -> 'tags' ? 'registered' then mapped_settings -> 'tags' ->> 'registered' else 'rejestracja' end as registered,
        case when mapped_settings -> 'tags' ? 'newsletter' then mapped_settings -> 'tags' ->> 'newsletter' else 'newsletter' end as newsletter,
        canonical.as_array(mapped_settings -> 'tags' -> 'always') as always
    from ops.connections
),
reasons as (
    select
        'registered' as origin,
        t.registered as tag,
        s.created_at as at,
        jsonb_build_object('account', s.source_key, 'connection', s.connection) as reason
    from sources s
    join settings t using (connection)
    where s.registered and s.kind <> 'order'
    union all
    select 'newsletter', t.newsletter, s.created_at, jsonb_build_object('record', s.source_key, 'connection', s.connection)
    from sources s
    join settings t using (connection)
    where s.newsletter and s.kind <> 'order'
    union all
    select 'pipeline', given, s.created_at, jsonb_build_object('setting', 'contacts.tags.always', 'connection', s.connection)
    from sources s
    join settings t using (connection)
    cross join jsonb_array_elements_text(t.always) as given
    where s.kind <> 'order'
    union all
    select
        'category',
        canonical.as_text(replace(level, ',', '')),
        o.placed_at,
        jsonb_build_object(
            'order', coalesce(o.number, o.source_key),
            'connection', o.connection,
            'product', i.name,
            'product_key', i.product_key,
            'path', to_jsonb(c.path)
        )
    from canonical.orders o
    join canonical.order_items i using (contact_id, order_id)
    join canonical.product_categories pc on pc.connection = i.connection and pc.product_key = i.product_key
    join canonical.categories c on c.connection = pc.connection and c.source_key = pc.category_key
    cross join unnest(c.path) as level
    where o.contact_id = $1::uuid and o.status in ('INITIALIZED', 'IN_PROGRESS', 'DELIVERED')
),
tags as (
    select jsonb_agg(
        jsonb_build_object(
            'tag', t.tag,
            'origin', t.origin,
            'first_at', delivery.iso_utc(t.first_at),
            'last_at', delivery.iso_utc(t.last_at),
            'because', (
                select coalesce(jsonb_agg(r.reason order by r.at desc nulls last, r.reason), '[]')
                from reasons r
                where r.origin = t.origin and r.tag = t.tag
            )
        )
        order by t.origin, t.tag
    ) as list
    from canonical.contact_tags t
    where t.contact_id = $1::uuid
),
rejects as (
    select jsonb_agg(
        jsonb_build_object('connection', r.connection, 'record', r.key, 'field', r.field, 'code', r.code, 'reason', r.reason)
        order by r.connection, r.key, r.field
    ) as list
    from canonical.rejects r
    join sources s on s.connection = r.connection and s.source_key = r.key
    where r.entity = 'contacts'
)
select jsonb_build_object(
    'contact_id', c.contact_id,
    'email', c.email,
    'identity', jsonb_build_object(
        'by', case when c.email is not null then 'email' when c.phone is not null then 'phone' else 'record' end,
        'moved_from', (
            select coalesce(
                jsonb_agg(
                    jsonb_build_object(
                        'contact_id', m.contact_id,
                        'email', m.email,
                        'run', m.run_id,
                        'at', delivery.iso_utc(m.moved_at)
                    )
                    order by m.moved_at, m.contact_id
                ),
                '[]'
            )
            from canonical.contact_moves m
            where m.moved_to = c.contact_id
        )
    ),
    'fields', (select coalesce(jsonb_agg(explained order by field), '[]') from fields),
    'consent_statements', coalesce((select list from statements), '[]'),
    'tags', coalesce((select list from tags), '[]'),
    'rejects', coalesce((select list from rejects), '[]'),
    'orders', (
        select coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'order_id', o.order_id,
                    'connection', o.connection,
                    'number', o.number,
                    'status', o.status,
                    'placed_at', delivery.iso_utc(o.placed_at)
                )
                order by o.placed_at desc nulls last, o.order_id
            ),
            '[]'
        )
        from canonical.orders o
        where o.contact_id = c.contact_id
    )
) as explained
from canonical.contacts c
where c.contact_id = $1::uuid
