-- What SALESmanago should hold of each candidate contact: one row per row of pg_temp.deliver_candidates.
--
-- verdict: send (the payload is the desired state), skip (a filter of the pipeline file leaves it out), reject (it
-- cannot be sent, the code says why), gone (no shop has it any more). Filters decide who enters; whom the account
-- already holds is kept up to date whatever the filters say, so that an opt-out always gets through.
--
-- The payload is the whole card in our words; contact_requests.sql turns it into a call. Sheet, sections 5.1 and 7.
-- $1 settings: connections, pipeline settings, and `deliver`, what the account's settings say.
with settings as (
    select
        $1::jsonb ->> 'target' as target,
        $1::jsonb -> 'tags' as tags,
        $1::jsonb #>> '{deliver,lang}' as default_lang,
        $1::jsonb ->> 'consent' as consent_choice,
        ($1::jsonb ->> 'created_after')::date::timestamp at time zone 'UTC' as created_after,
        ($1::jsonb ->> 'created_before')::date::timestamp at time zone 'UTC' as created_before,
        ($1::jsonb ->> 'placed_after')::date::timestamp at time zone 'UTC' as placed_after,
        ($1::jsonb ->> 'placed_before')::date::timestamp at time zone 'UTC' as placed_before,
        $1::jsonb ->> 'without_consent' = 'send' as orders_without_consent,
        array(select jsonb_array_elements_text($1::jsonb -> 'connections')) as connections
),
held as (
    select candidate.key
    from pg_temp.deliver_candidates as candidate
    cross join settings
    join delivery.ledger
        on ledger.contact_id = candidate.key
        and ledger.target = settings.target
        and ledger.object = 'contact'
        and ledger.key = candidate.key
),
renames as (
    select * from pg_temp.deliver_renames
),
candidates as materialized (
    select
        candidate.key,
        renames.former_id,
        candidate.key in (select held.key from held) or renames.former_id is not null as is_known,
        exists (
            select from canonical.contact_sources as source
            where source.contact_id = candidate.key and source.connection = any (settings.connections)
        ) as is_ours,
        ordered.has_ordered,
        settings.orders_without_consent and ordered.needs_contact as is_needed_by_orders
    from pg_temp.deliver_candidates as candidate
    cross join settings
    left join renames on renames.key = candidate.key
    cross join lateral (
        select
            count(*) > 0 as has_ordered,
            coalesce(
                bool_or(
                    (orders.status = 'DELIVERED' or (orders.status = 'IN_PROGRESS' and orders.payment_status = 'paid'))
                    and (settings.placed_after is null or orders.placed_at >= settings.placed_after)
                    and (settings.placed_before is null or orders.placed_at < settings.placed_before)
                ),
                false
            ) as needs_contact
        from canonical.orders
        where orders.contact_id = candidate.key and orders.connection = any (settings.connections)
    ) as ordered
),
accounts as (
    -- The account's key at the first connection of the pipeline file that has one.
    select distinct on (source.contact_id)
        source.contact_id,
        case
            when starts_with(source.source_key, 'account:') then substr(source.source_key, 9)
            else source.source_key
        end as external_id
    from pg_temp.deliver_candidates as candidate
    join canonical.contact_sources as source on source.contact_id = candidate.key
    cross join settings
    where source.kind = 'account' and source.connection = any (settings.connections)
    order by
        source.contact_id,
        array_position(settings.connections, source.connection),
        length(source.source_key),
        source.source_key
),
tag_names as materialized (
    select
        tag.contact_id,
        case tag.origin
            when 'registered' then settings.tags ->> 'registered'
            -- Only without an account.
            when 'newsletter' then case when not contact.registered then settings.tags ->> 'newsletter' end
            when 'category' then case when (settings.tags ->> 'categories')::boolean then tag.tag end
            when 'pipeline' then tag.tag
        end as name
    from pg_temp.deliver_candidates as candidate
    cross join settings
    join canonical.contact_tags as tag on tag.contact_id = candidate.key
    join canonical.contacts as contact on contact.contact_id = candidate.key
    union all
    select candidate.key, always.name
    from pg_temp.deliver_candidates as candidate
    cross join settings
    cross join jsonb_array_elements_text(settings.tags -> 'always') as always (name)
),
spellings as materialized (
    -- The platform's own spelling (sheet, 5.3), or comparisons fail: upper case, no blanks, no commas.
    select
        name,
        replace(upper(btrim(regexp_replace(replace(name, ',', ' '), '\s+', ' ', 'g'))), ' ', '_') as tag
    from (select distinct name from tag_names where name is not null) as names
),
tags as (
    select contact_id, jsonb_agg(tag order by tag collate "C") as tags
    from (
        select distinct tag_names.contact_id, spellings.tag
        from tag_names
        join spellings on spellings.name = tag_names.name
        where spellings.tag <> ''
    ) as spelled_tags
    group by contact_id
),
cards as materialized (
    select
        candidate.*,
        contact.contact_id is not null as exists_here,
        contact.email,
        contact.email_consent,
        contact.created_at,
        -- What is null or empty says nothing and is left out.
        jsonb_strip_nulls(jsonb_build_object(
            'email', nullif(contact.email, ''),
            'name', nullif(concat_ws(' ', btrim(contact.first_name), btrim(contact.last_name)), ''),
            'phone', nullif(contact.phone, ''),
            'company', nullif(btrim(contact.company), ''),
            'external_id', nullif(accounts.external_id, ''),
            -- Somebody who only reads the newsletter has bought nothing yet.
            'state', case when contact.registered or candidate.has_ordered then 'CUSTOMER' else 'PROSPECT' end,
            'address', case
                when concat(btrim(contact.street), btrim(contact.postal_code), btrim(contact.city), contact.country) <> ''
                    then jsonb_build_object(
                        'street', nullif(btrim(contact.street), ''),
                        'zip', nullif(btrim(contact.postal_code), ''),
                        'city', nullif(btrim(contact.city), ''),
                        'country', nullif(contact.country, '')
                    )
            end,
            'province', nullif(btrim(contact.region), ''),
            'birthday', to_char(contact.birthday, 'YYYYMMDD'),
            'lang', upper(coalesce(
                nullif(split_part(translate(contact.language, '-', '_'), '_', 1), ''),
                nullif(settings.default_lang, '')
            )),
            'properties', fields.properties,
            'tags', coalesce(tags.tags, '[]'),
            'consent', jsonb_build_object(
                'email', jsonb_build_object(
                    'state', contact.email_consent,
                    'at', delivery.iso_utc(contact.email_consent_at)
                ),
                'sms', jsonb_build_object(
                    'state', contact.sms_consent,
                    'at', delivery.iso_utc(contact.sms_consent_at)
                )
            )
        )) as payload
    from candidates as candidate
    cross join settings
    left join canonical.contacts as contact on contact.contact_id = candidate.key
    left join accounts on accounts.contact_id = candidate.key
    left join tags on tags.contact_id = candidate.key
    left join pg_temp.deliver_properties as fields on fields.contact_id = candidate.key
),
judged as materialized (
    select
        cards.*,
        case
            when not exists_here then 'gone'
            when not is_ours then 'other-shop'
            when is_known then null
            when consent_choice = 'opt_in_only' and email_consent <> 'opt_in' and not is_needed_by_orders then 'consent'
            when created_after is not null and (created_at is null or created_at < created_after) then 'created'
            when created_before is not null and (created_at is null or created_at >= created_before) then 'created'
        end as left_out,
        -- RFC 5321 and the sheet, section 3: 64 before the @, 254 in all.
        case
            when email is null then 'no-email'
            when octet_length(split_part(email, '@', 1)) > 64 or octet_length(email) > 254 then 'email-too-long'
        end as refused
    from cards
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
        when 'no-email' then 'SALESmanago keys contacts by e-mail and this contact has none; add one at the shop'
        when 'email-too-long' then 'SALESmanago takes at most 64 characters before the @ and 254 in all; correct the address at the shop'
    end as reason,
    former_id,
    case when left_out is null and refused is null then payload end as payload
from judged
