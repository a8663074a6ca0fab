-- IdoSell newsletter subscribers, by e-mail and by SMS, as sources of contacts. Who has an account is the person of the
-- account, whatever address the list bears; who has none, whether they have bought without one or are known here alone,
-- carries the tag of subscribers for as long as they agree.
insert into mapped_contact_sources (
    source_key, kind, raw_email, raw_phone, phone, language, newsletter, email_consent, email_consent_at, sms_consent,
    sms_consent_at, extra, created_at, updated_at
)
select
    'subscriber:' || s.source_key,
    'subscriber',
    case when not is_hidden then address end,
    canonical.as_text(p.phone_cellular),
    canonical.e164(p.phone_cellular, m.default_country),
    canonical.as_language(p.language),
    not has_account and e.state is not distinct from 'opt_in',
    coalesce(e.state, 'unknown'),
    e.stated_at,
    coalesce(t.state, 'unknown'),
    t.stated_at,
    case when is_relay then jsonb_build_object('marketplace', true) else '{}' end,
    -- For people without an account the day of joining; for others the last change of their consent.
    case when not has_account then said_at end,
    said_at
from source_subscribers s
cross join mapping m
cross join lateral jsonb_to_record(s.payload) as p (
    client_number text, registered text, language text, email text, phone_cellular text, shops jsonb
)
left join staging.customers a
    on a.connection = s.connection and a.source_key = p.client_number and a.deleted_at is null
cross join lateral (
    -- The customer's record knows better than the list, where there is one.
    select case
        when a.source_key is null then p.registered is not distinct from 'y'
        else a.payload ->> 'isUnregistered' is distinct from 'y'
    end
) as standing (has_account)
cross join lateral (
    select coalesce(canonical.as_text(a.payload ->> 'clientEmail'), canonical.as_text(p.email))
) as who (address)
cross join lateral (select canonical.is_relay(address, m.settings -> 'relay_domains')) as relay (is_relay)
cross join lateral (select is_relay and m.settings ->> 'marketplace' = 'exclude') as hiding (is_hidden)
cross join lateral (
    select max(canonical.as_local_time(canonical.as_text(shop ->> 'date_modification'), m.settings ->> 'time_zone'))
    from jsonb_array_elements(canonical.as_list(p.shops)) as shop
) as dates (said_at)
left join mapped_consents e on e.kind = 'subscriber' and e.source_key = s.source_key and e.channel = 'email'
left join mapped_consents t on t.kind = 'subscriber' and t.source_key = s.source_key and t.channel = 'sms';
