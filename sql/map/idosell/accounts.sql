-- IdoSell customers as sources of contacts: those with an account, and those who bought without one (isUnregistered).
-- The billing address is the address. Addresses of marketplaces are relays: unless the connection says otherwise, their
-- holders are nobody who can be written to.
insert into mapped_contact_sources (
    source_key, kind, account_key, raw_email, raw_phone, phone, first_name, last_name, company, birthday, street,
    postal_code, city, country, language, registered, email_consent, email_consent_at, sms_consent, sms_consent_at,
    extra, created_at, updated_at
)
select
    'account:' || s.source_key,
    'account',
    s.source_key,
    case when not is_hidden then canonical.as_text(p."clientEmail") end,
    case when not is_hidden then coalesce(canonical.as_text(b ->> 'clientPhone1'), canonical.as_text(b ->> 'clientPhone2')) end,
    case
        when not is_hidden then coalesce(
            canonical.e164(b ->> 'clientPhone1', country),
            canonical.e164(b ->> 'clientPhone2', country)
        )
    end,
    canonical.as_text(b ->> 'clientFirstName'),
    canonical.as_text(b ->> 'clientLastName'),
    canonical.as_text(canonical.decoded(b ->> 'clientFirm')),
    canonical.as_date(p."clientPersonalData" ->> 'clientBirthDate'),
    canonical.as_text(b ->> 'clientStreet'),
    canonical.as_text(b ->> 'clientZipCode'),
    canonical.as_text(b ->> 'clientCity'),
    canonical.as_country(b ->> 'clientCountryId'),
    canonical.as_language(p."clientPreferences" ->> 'langId'),
    p."isUnregistered" is distinct from 'y',
    coalesce(e.state, 'unknown'),
    e.stated_at,
    coalesce(t.state, 'unknown'),
    t.stated_at,
    jsonb_strip_nulls(
        jsonb_build_object(
            'login', canonical.as_text(p."clientLogin"),
            'client_type', canonical.as_text(p."clientType"),
            'wholesaler', case when p."clientPreferences" ->> 'clientIsWholesaler' = 'yes' then true end,
            'vat_number', canonical.as_text(b ->> 'clientNip'),
            'external_code', canonical.as_text(p."clientCodeExternal"),
            'discount_group', canonical.as_text(p."clientPreferences" ->> 'clientGroupDiscountName'),
            'marketplace', case when is_relay then true end
        )
    ),
    canonical.as_local_time(canonical.as_text(p."clientRegistrationDate"), m.settings ->> 'time_zone'),
    canonical.as_local_time(canonical.as_text(p."clientsLastModificationDate"), m.settings ->> 'time_zone')
from source_customers s
cross join mapping m
cross join lateral jsonb_to_record(s.payload) as p (
    "clientEmail" text,
    "clientLogin" text,
    "clientType" text,
    "clientCodeExternal" text,
    "isUnregistered" text,
    "clientRegistrationDate" text,
    "clientsLastModificationDate" text,
    "clientBillingAddress" jsonb,
    "clientPersonalData" jsonb,
    "clientPreferences" jsonb
)
cross join lateral (
    select
        p."clientBillingAddress",
        coalesce(canonical.as_country(p."clientBillingAddress" ->> 'clientCountryId'), m.default_country),
        canonical.is_relay(p."clientEmail", m.settings -> 'relay_domains')
) as billing (b, country, is_relay)
cross join lateral (select is_relay and m.settings ->> 'marketplace' = 'exclude') as hiding (is_hidden)
left join mapped_consents e on e.kind = 'account' and e.source_key = s.source_key and e.channel = 'email'
left join mapped_consents t on t.kind = 'account' and t.source_key = s.source_key and t.channel = 'sms';
