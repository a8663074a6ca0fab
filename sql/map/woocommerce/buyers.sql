-- Buyers of WooCommerce orders. Guests exist nowhere else (sheet, section 4): the order's billing address is all that
-- is known of them. For an account's order only the consent given with it is taken; the rest is the account's to say.
insert into mapped_contact_sources (
    source_key, kind, account_key, raw_email, raw_phone, phone, first_name, last_name, company, street, postal_code,
    city, region, country, email_consent, email_consent_at, sms_consent, sms_consent_at, created_at, updated_at
)
select
    'order:' || s.source_key,
    case when a.source_key is null then 'guest' else 'order' end,
    a.source_key,
    canonical.as_text(b ->> 'email'),
    canonical.as_text(b ->> 'phone'),
    canonical.e164(b ->> 'phone', coalesce(canonical.as_country(b ->> 'country'), m.default_country)),
    canonical.as_text(b ->> 'first_name'),
    canonical.as_text(b ->> 'last_name'),
    canonical.as_text(canonical.decoded(b ->> 'company')),
    -- The shipping address stands in as a whole, never line by line.
    canonical.as_text(concat_ws(' ', canonical.as_text(address ->> 'address_1'), canonical.as_text(address ->> 'address_2'))),
    canonical.as_text(address ->> 'postcode'),
    canonical.as_text(address ->> 'city'),
    canonical.as_text(address ->> 'state'),
    canonical.as_country(address ->> 'country'),
    coalesce(e.state, 'unknown'),
    coalesce(e.stated_at, case when e.state is not null then canonical.as_timestamp(p.date_created_gmt) end),
    coalesce(t.state, 'unknown'),
    coalesce(t.stated_at, case when t.state is not null then canonical.as_timestamp(p.date_created_gmt) end),
    canonical.as_timestamp(p.date_created_gmt),
    -- What the buyer said was said with the order; later changes of the order are the shop's.
    canonical.as_timestamp(p.date_created_gmt)
from source_orders s
cross join mapping m
cross join lateral jsonb_to_record(s.payload) as p (
    customer_id text, date_created_gmt text, billing jsonb, shipping jsonb
)
left join staging.customers a
    on a.connection = s.connection
    and a.source_key = p.customer_id
    and a.deleted_at is null
cross join lateral (select p.billing) as billing (b)
cross join lateral (
    -- The buyer may have given no more than a country.
    select case
        when concat(b ->> 'address_1', b ->> 'city') <> '' then b
        when concat(p.shipping ->> 'address_1', p.shipping ->> 'city') <> '' then p.shipping
        when concat(b ->> 'postcode', b ->> 'state', b ->> 'country') <> '' then b
        else p.shipping
    end
) as place (address)
left join mapped_consents e on e.kind = 'order' and e.source_key = s.source_key and e.channel = 'email'
left join mapped_consents t on t.kind = 'order' and t.source_key = s.source_key and t.channel = 'sms'
where a.source_key is null or e.state is not null or t.state is not null;
