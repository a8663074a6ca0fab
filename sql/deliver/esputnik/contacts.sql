-- What eSputnik should hold of each candidate contact: one row per row of pg_temp.deliver_candidates.
--
-- verdict: send (the payload is the desired state), skip (a filter of the pipeline file leaves it out), reject (it
-- cannot be sent, the code says why), gone (no shop has it any more). Filters decide who enters; whom the account
-- already holds is kept up to date whatever the filters say, so that an opt-out always gets through. Whoever is
-- imported is confirmed at once, so nobody is of whom it is not known that they agreed (sheet, section 5.1).
--
-- The payload is the whole card in our words; contact_requests.sql turns it into calls. What eSputnik would refuse the
-- whole contact for (a name, a phone, a value of a field) is left out instead. Sheet, sections 5.1, 5.6 and 7.
-- $1 settings: connections, pipeline settings, and `deliver`, what the account's settings say and what was learned
-- there.
with settings as (
    select
        $1::jsonb ->> 'target' as target,
        $1::jsonb -> 'tags' as tags,
        $1::jsonb ->> 'consent' as consent_choice,
        ($1::jsonb ->> 'created_after')::date::timestamp at time zone 'UTC' as created_after,
        ($1::jsonb ->> 'created_before')::date::timestamp at time zone 'UTC' as created_before,
        ($1::jsonb ->> 'placed_after')::date::timestamp at time zone 'UTC' as placed_after,
        ($1::jsonb ->> 'placed_before')::date::timestamp at time zone 'UTC' as placed_before,
        $1::jsonb ->> 'without_consent' = 'send' as orders_without_consent,
        array(select jsonb_array_elements_text($1::jsonb -> 'connections')) as connections,
        $1::jsonb #>> '{deliver,unknown_consent}' as unknown_choice,
        $1::jsonb #>> '{deliver,phones}' as phones,
        $1::jsonb #>> '{deliver,time_zone}' as zone,
        coalesce(
            ($1::jsonb #>> '{deliver,prefix_ids}')::boolean,
            jsonb_array_length($1::jsonb -> 'connections') > 1
        ) as has_prefix,
        $1::jsonb #> '{deliver,group_names}' as group_names,
        coalesce($1::jsonb #> '{deliver,learned,fields}', '{}') as fields,
        -- Letters of any alphabet, whatever the locale of the database.
        'A-Za-z\u00AA\u00B5\u00BA\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u02BB\u02BD-\u02C1\u0370-\u0373\u0376\u0377'
        || '\u037B-\u037D\u037F\u0386\u0388-\u03F5\u03F7-\u0481\u048A-\u0556\u0560-\u0588'
        || '\u05D0-\u05EA\u05EF-\u05F2\u0610-\u061A\u0620-\u065F\u066E-\u06D3\u06D5-\u06DC\u06E1-\u06E8\u06EA-\u06EF'
        || '\u0900-\u0963\u0971-\u09E3\u0A01-\u0A5E\u0A81-\u0AE3\u0B01-\u0B63\u0B82-\u0BCD\u0C00-\u0C63\u0C80-\u0CE3'
        || '\u0D00-\u0D63\u0E01-\u0E3A\u0E40-\u0E4E\u0E81-\u0ECD\u0F40-\u0F84\u1000-\u103F\u10A0-\u10FA\u10FC-\u135A'
        || '\u1E00-\u1FBC\u1FC2-\u1FCC\u1FD0-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FFC\u3005-\u3007\u3041-\u3096\u30A1-\u30FA'
        || '\u30FC-\u30FE\u3105-\u312F\u3131-\u318E\u3400-\u4DBF\u4E00-\u9FFF\uA640-\uA66E\uAC00-\uD7A3\uF900-\uFAFF'
        || '\uFB00-\uFB06' as letters
),
candidates as materialized (
    select
        candidate.key,
        renames.former_id,
        renames.former_id is not null
        or exists (
            select
            from delivery.ledger
            where ledger.contact_id = candidate.key
                and ledger.target = settings.target
                and ledger.object = 'contact'
                and ledger.key = candidate.key
        ) as is_known,
        exists (
            select
            from canonical.contact_sources as source
            where source.contact_id = candidate.key and source.connection = any (settings.connections)
        ) as is_ours,
        settings.orders_without_consent
        and exists (
            select
            from canonical.orders
            where orders.contact_id = candidate.key
                and orders.connection = any (settings.connections)
                and orders.status is not null
                and (settings.placed_after is null or orders.placed_at >= settings.placed_after)
                and (settings.placed_before is null or orders.placed_at < settings.placed_before)
        ) as is_needed_by_orders,
        account.external_id
    from pg_temp.deliver_candidates as candidate
    cross join settings
    left join pg_temp.deliver_renames as renames on renames.key = candidate.key
    left join lateral (
        -- The account's key at the first connection of the pipeline file that has one.
        select
            case when settings.has_prefix then source.connection || '-' else '' end
            || case
                when starts_with(source.source_key, 'account:') then substr(source.source_key, 9)
                else source.source_key
            end as external_id
        from canonical.contact_sources as source
        where source.contact_id = candidate.key
            and source.kind = 'account'
            and source.connection = any (settings.connections)
        order by
            array_position(settings.connections, source.connection),
            length(source.source_key),
            source.source_key
        limit 1
    ) as account on true
),
segments as (
    select contact_id, jsonb_agg(distinct name order by name) as tags
    from (
        select
            tag.contact_id,
            btrim(
                case tag.origin
                    when 'registered' then settings.tags ->> 'registered'
                    -- Only without an account.
                    when 'newsletter' then case when not contact.registered then settings.tags ->> 'newsletter' end
                    when 'pipeline' then tag.tag
                end
            ) as name
        from pg_temp.deliver_candidates as candidate
        cross join settings
        join canonical.contact_tags as tag on tag.contact_id = candidate.key
        join canonical.contacts as contact on contact.contact_id = candidate.key
        union all
        select candidate.key, btrim(always.name)
        from pg_temp.deliver_candidates as candidate
        cross join settings
        cross join jsonb_array_elements_text((settings.tags -> 'always') || settings.group_names) as always (name)
    ) as names
    where name <> ''
    group by contact_id
),
raw_values as (
    select
        contact.contact_id,
        field.value ->> 'id' as id,
        field.value ->> 'type' as kind,
        field.value -> 'values' as allowed,
        btrim(
            case field.name
                when 'company' then contact.company
                when 'birthday' then contact.birthday::text
                when 'country' then contact.country
                when 'registered_at' then to_char(contact.created_at at time zone settings.zone, 'YYYY-MM-DD"T"HH24:MI')
                when 'consent_at' then to_char(contact.email_consent_at at time zone settings.zone, 'YYYY-MM-DD"T"HH24:MI')
            end
        ) as own,
        btrim(properties.properties ->> field.name) as stated
    from pg_temp.deliver_candidates as candidate
    cross join settings
    join canonical.contacts as contact on contact.contact_id = candidate.key
    left join pg_temp.deliver_properties as properties on properties.contact_id = candidate.key
    cross join jsonb_each(settings.fields) as field (name, value)
),
field_values as (
    -- As the type of each field wants it (sheet, section 5.1); what does not fit is left out.
    select
        contact_id,
        jsonb_object_agg(id, value) as fields
    from raw_values
    cross join lateral (select coalesce(stated, own) as given) as given
    cross join lateral (
        select
            nullif(
                btrim(
                    case
                        when kind = 'textarea' then left(given, 5000)
                        when kind = 'number' then
                            case
                                when given ~ '^[+-]?\d{1,15}(\.\d+)?$'
                                    and round(given::numeric) between -2147483648 and 2147483647
                                    then round(given::numeric)::text
                            end
                        when kind = 'decimal' then case when given ~ '^[+-]?\d{1,15}(\.\d+)?$' then given end
                        when kind = 'date' then
                            case
                                when given ~ '^\d{4}-\d{2}-\d{2}' then left(given, 10)
                                when given ~ '^\d{2}(/\d{2}/\d{4}|\.\d{2}\.(\d{2}|\d{4}))$' then given
                            end
                        when kind = 'datetime' then
                            case
                                when given ~ '^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}' then overlay(left(given, 16) placing 'T' from 11)
                                when given ~ '^\d{4}-\d{2}-\d{2}$' then given || 'T00:00'
                            end
                        when kind = 'combobox' then (
                            select allowed_value
                            from jsonb_array_elements_text(allowed) as choice (allowed_value)
                            where lower(allowed_value) = lower(given)
                            order by allowed_value <> given
                            limit 1
                        )
                        when kind = 'checkboxlist' then (
                            select string_agg(allowed_value, ',' order by place)
                            from jsonb_array_elements_text(allowed) with ordinality as choice (allowed_value, place)
                            where lower(allowed_value) in (
                                select lower(btrim(part)) from unnest(string_to_array(given, ',')) as part
                            )
                        )
                        else left(regexp_replace(given, '[%^*|~\\{]', ' ', 'g'), 1000)
                    end
                ),
                ''
            ) as value
    ) as fitting
    where value is not null
    group by contact_id
),
people as materialized (
    select
        candidate.*,
        contact.contact_id is not null as exists_here,
        contact.email,
        nullif(regexp_replace(contact.phone, '\D', '', 'g'), '') as digits,
        contact.email_consent,
        contact.sms_consent,
        contact.sms_consent_at,
        contact.created_at,
        nullif(regexp_replace(btrim(normalize(contact.first_name)), '\s+', ' ', 'g'), '') as first_name,
        nullif(regexp_replace(btrim(normalize(contact.last_name)), '\s+', ' ', 'g'), '') as last_name,
        contact as contact
    from candidates as candidate
    left join canonical.contacts as contact on contact.contact_id = candidate.key
),
checked as materialized (
    select
        people.*,
        -- Words of letters and at most three digits, with apostrophe or hyphen inside; a dot only after a short word.
        coalesce(
            length(first_name) <= 40
            and first_name ~ name_pattern
            and first_name ~ letter
            and first_name !~ long_word_with_dot
            and length(regexp_replace(first_name, '\D', '', 'g')) <= 3
            and (
                select
                    count(*) filter (where length(word) > 3) <= 3 and count(*) filter (where length(word) <= 3) <= 3
                from unnest(string_to_array(first_name, ' ')) as word
            ),
            false
        ) as has_first_name,
        coalesce(
            length(last_name) <= 40
            and last_name ~ name_pattern
            and last_name ~ letter
            and last_name !~ long_word_with_dot
            and length(regexp_replace(last_name, '\D', '', 'g')) <= 3,
            false
        ) as has_last_name,
        case
            when length(digits) between 5 and 15
                and case settings.phones
                    when 'opted_in' then sms_consent = 'opt_in'
                    else sms_consent <> 'opt_out'
                end
                -- A phone that opted out there comes back only by a later opt-in.
                and not exists (
                    select
                    from delivery.opt_outs
                    where opt_outs.target = settings.target
                        and opt_outs.channel = 'sms'
                        and opt_outs.address = digits
                        and not coalesce(sms_consent = 'opt_in' and sms_consent_at > opt_outs.opted_out_at, false)
                )
                then digits
        end as phone,
        -- Without an e-mail it is the phone that would be written to.
        case when email is not null then email_consent else sms_consent end as consent
    from people
    cross join settings
    cross join lateral (
        select
            '^[0-9' || letters || ']+([''\u2019\u02BC-][0-9' || letters || ']+)*\.?'
            || '( [0-9' || letters || ']+([''\u2019\u02BC-][0-9' || letters || ']+)*\.?)*$' as name_pattern,
            '[0-9' || letters || ']{4,}\.' as long_word_with_dot,
            '[' || letters || ']' as letter
    ) as patterns
),
judged as materialized (
    select
        checked.*,
        case
            when not exists_here then 'gone'
            when not is_ours then 'other-shop'
            when is_known then null
            when consent_choice = 'opt_in_only' and consent <> 'opt_in' and not is_needed_by_orders then 'consent'
            when consent = 'unknown' and unknown_choice = 'skip' then 'unknown-consent'
            when created_after is not null and (created_at is null or created_at < created_after) then 'created'
            when created_before is not null and (created_at is null or created_at >= created_before) then 'created'
        end as left_out,
        case
            when email is null and phone is null then 'no-channel'
            when octet_length(split_part(email, '@', 1)) > 64 or octet_length(email) > 254 then 'email-too-long'
        end as refused
    from checked
    cross join settings
)
select
    key,
    case
        when left_out = 'gone' then 'gone'
        when left_out is not null then 'skip'
        when refused is not null then 'reject'
        else 'send'
    end as verdict,
    coalesce(left_out, refused) as code,
    case coalesce(left_out, refused)
        when 'no-channel' then 'eSputnik knows contacts by e-mail or phone and this one has neither that it takes; add one at the shop'
        when 'email-too-long' then 'an e-mail address has at most 64 characters before the @ and 254 in all; correct it at the shop'
    end as reason,
    former_id,
    case
        when left_out is null and refused is null then jsonb_strip_nulls(jsonb_build_object(
            'email', nullif(email, ''),
            'phone', phone,
            'first_name', case when has_first_name then first_name end,
            'last_name', case when has_last_name then last_name end,
            'external_id', nullif(external_id, ''),
            'address', case
                when concat(
                    btrim((contact).street),
                    btrim((contact).postal_code),
                    btrim((contact).city),
                    btrim((contact).region)
                ) <> ''
                    then jsonb_build_object(
                        'region', nullif(btrim((contact).region), ''),
                        'town', nullif(btrim((contact).city), ''),
                        'address', nullif(btrim((contact).street), ''),
                        'postcode', nullif(btrim((contact).postal_code), '')
                    )
            end,
            'lang', case
                when (contact).language ~ '^[A-Za-z]{2,3}([-_][A-Za-z]{2})?$' then
                    lower(split_part(translate((contact).language, '_', '-'), '-', 1))
                    || coalesce('-' || upper(nullif(split_part(translate((contact).language, '_', '-'), '-', 2), '')), '')
            end,
            'fields', field_values.fields,
            'tags', coalesce(segments.tags, '[]'),
            'consent', jsonb_build_object(
                'email', jsonb_build_object(
                    'state', email_consent,
                    'at', delivery.iso_utc((contact).email_consent_at)
                ),
                'sms', jsonb_build_object('state', sms_consent, 'at', delivery.iso_utc(sms_consent_at))
            )
        ))
    end as payload
from judged
left join segments on segments.contact_id = judged.key
left join field_values on field_values.contact_id = judged.key
