-- Consent on WooCommerce records. The core has none (sheet, section 7): it is read from the meta keys that the
-- connection names, and stays unknown otherwise. An unticked box at the checkout is no withdrawal, so an order can only
-- opt in.
truncate mapped_consents;

insert into mapped_consents (kind, source_key, channel, state, stated_at)
with rules as (
    select
        jsonb_build_object('key', rule ->> 'key') as meta_key,
        coalesce(rule ->> 'channel', 'email') as channel,
        array(select lower(v) from jsonb_array_elements_text(rule -> 'accepted') v) as accepted,
        array(select lower(v) from jsonb_array_elements_text(rule -> 'refused') v) as refused,
        case when rule ->> 'date_key' is not null then jsonb_build_object('key', rule ->> 'date_key') end as date_key
    from mapping m, jsonb_array_elements(canonical.as_array(m.settings -> 'consent_meta_keys')) as rule
),
records as (
    select 'account' as kind, source_key, payload -> 'meta_data' as entries
    from source_customers
    where exists (select from rules)
    union all
    select 'order', source_key, payload -> 'meta_data'
    from source_orders
    where exists (select from rules)
),
statements as (
    select
        r.kind,
        r.source_key,
        rules.channel,
        case
            when lower(btrim(entry ->> 'value')) = any (rules.accepted) then 'opt_in'
            when r.kind = 'account' and lower(btrim(entry ->> 'value')) = any (rules.refused) then 'opt_out'
        end as state,
        canonical.as_timestamp(
            replace(
                jsonb_path_query_first(r.entries, '$[*] ? (@.key == $key)', rules.date_key) ->> 'value', ' ', 'T'
            )
        ) as stated_at
    from records r
    cross join rules
    -- A path picks the entry inside the value; taking all entries apart would make ten rows of every record.
    cross join jsonb_path_query(r.entries, '$[*] ? (@.key == $key)', rules.meta_key) as entry
)
-- Where two keys speak of one channel the later statement counts, and the withdrawal when they are equally late.
select distinct on (kind, source_key, channel)
    kind,
    source_key,
    channel,
    state,
    stated_at
from statements
where state is not null
order by kind, source_key, channel, stated_at desc nulls last, state desc;

analyze mapped_consents;
