-- WooCommerce customers (role=all: every WordPress user) as sources of contacts. The account's e-mail is the identity,
-- the billing e-mail stands in where it is empty (sheet, section 7). A role in newsletter_roles is a subscription, not
-- an account. Meta values that are scalars become extra attributes; keys with a leading underscore are WordPress's own.
insert into mapped_contact_sources (
    source_key, kind, account_key, raw_email, raw_phone, phone, first_name, last_name, company, birthday, street,
    postal_code, city, region, country, registered, newsletter, email_consent, email_consent_at, sms_consent,
    sms_consent_at, extra, created_at, updated_at
)
select
    'account:' || s.source_key,
    'account',
    s.source_key,
    coalesce(canonical.as_text(p.email), canonical.as_text(b ->> 'email')),
    canonical.as_text(b ->> 'phone'),
    canonical.e164(b ->> 'phone', coalesce(canonical.as_country(b ->> 'country'), m.default_country)),
    coalesce(canonical.as_text(p.first_name), canonical.as_text(b ->> 'first_name')),
    coalesce(canonical.as_text(p.last_name), canonical.as_text(b ->> 'last_name')),
    canonical.as_text(canonical.decoded(b ->> 'company')),
    case
        when m.settings ->> 'birthday_meta_key' is not null then (
            select canonical.as_date(meta ->> 'value')
            from jsonb_array_elements(canonical.as_array(p.meta_data)) as meta
            where meta ->> 'key' = m.settings ->> 'birthday_meta_key'
            limit 1
        )
    end,
    canonical.as_text(concat_ws(' ', canonical.as_text(b ->> 'address_1'), canonical.as_text(b ->> 'address_2'))),
    canonical.as_text(b ->> 'postcode'),
    canonical.as_text(b ->> 'city'),
    canonical.as_text(b ->> 'state'),
    canonical.as_country(b ->> 'country'),
    not coalesce(m.settings -> 'newsletter_roles' ? (p.role), false),
    coalesce(m.settings -> 'newsletter_roles' ? (p.role), false),
    coalesce(e.state, 'unknown'),
    e.stated_at,
    coalesce(t.state, 'unknown'),
    t.stated_at,
    jsonb_build_object('role', p.role) || coalesce(
        (
            select jsonb_object_agg(meta ->> 'key', meta -> 'value')
            from jsonb_array_elements(canonical.as_array(p.meta_data)) as meta
            where meta ->> 'key' !~ '^_' and jsonb_typeof(meta -> 'value') in ('string', 'number', 'boolean')
        ),
        '{}'
    ),
    canonical.as_timestamp(p.date_created_gmt),
    -- Null when the user was never edited in the shop.
    coalesce(
        canonical.as_timestamp(p.date_modified_gmt),
        canonical.as_timestamp(p.date_created_gmt)
    )
from source_customers s
cross join mapping m
cross join lateral jsonb_to_record(s.payload) as p (
    email text,
    first_name text,
    last_name text,
    role text,
    date_created_gmt text,
    date_modified_gmt text,
    billing jsonb,
    meta_data jsonb
)
cross join lateral (select p.billing) as billing (b)
left join mapped_consents e on e.kind = 'account' and e.source_key = s.source_key and e.channel = 'email'
left join mapped_consents t on t.kind = 'account' and t.source_key = s.source_key and t.channel = 'sms';
