-- mapped_contact_sources → canonical.contact_sources: who the record speaks of, and since when it says what it says.
-- Used twice in a transform: for accounts and subscriptions, then for the buyers of orders.
insert into incoming_contact_sources
with identified as (
    select
        m.connection,
        m.run_id,
        m.salt,
        s.*,
        canonical.as_email(s.raw_email) as email,
        holder.contact_id as holder_id
    from mapped_contact_sources s
    cross join mapping m
    -- Consent given with an account's order is the account holder's, whatever address the order bears.
    left join canonical.contact_sources holder
        on s.kind = 'order'
        and holder.connection = m.connection
        and holder.source_key = 'account:' || s.account_key
),
known as (
    select k.*
    from canonical.contact_sources k
    join affected_contact_sources using (connection, source_key)
)
select
    coalesce(
        i.holder_id,
        canonical.contact_id(i.salt, i.email, i.phone, i.connection, i.source_key)
    ),
    i.connection,
    i.source_key,
    i.kind,
    i.raw_email,
    i.raw_phone,
    i.email,
    i.phone,
    case when i.kind <> 'order' then i.first_name end,
    case when i.kind <> 'order' then i.last_name end,
    case when i.kind <> 'order' then i.company end,
    i.birthday,
    case when i.kind <> 'order' then i.street end,
    case when i.kind <> 'order' then i.postal_code end,
    case when i.kind <> 'order' then i.city end,
    case when i.kind <> 'order' then i.region end,
    case when i.kind <> 'order' then i.country end,
    i.language,
    i.registered,
    i.newsletter,
    i.email_consent,
    -- When a statement was made: the shop's own time, but never in the future, where it would outrank every later one.
    -- A value that changed without a later time is dated when Wharf saw the change: an unsubscription that touches no
    -- date must still win over what was said before it.
    case
        when i.email_consent = 'unknown' then null
        when k.email_consent = i.email_consent and i.email_consent_at is null then k.email_consent_at
        when k.email_consent in ('opt_in', 'opt_out') and k.email_consent <> i.email_consent
            and (i.email_consent_at is null or i.email_consent_at <= k.email_consent_at) then now()
        when k.email_consent = i.email_consent and i.email_consent_at < k.email_consent_at then k.email_consent_at
        else least(now(), coalesce(i.email_consent_at, i.updated_at, i.created_at, now()))
    end,
    i.sms_consent,
    case
        when i.sms_consent = 'unknown' then null
        when k.sms_consent = i.sms_consent and i.sms_consent_at is null then k.sms_consent_at
        when k.sms_consent in ('opt_in', 'opt_out') and k.sms_consent <> i.sms_consent
            and (i.sms_consent_at is null or i.sms_consent_at <= k.sms_consent_at) then now()
        when k.sms_consent = i.sms_consent and i.sms_consent_at < k.sms_consent_at then k.sms_consent_at
        else least(now(), coalesce(i.sms_consent_at, i.updated_at, i.created_at, now()))
    end,
    i.extra,
    i.created_at,
    i.updated_at
from identified i
left join known k on k.connection = i.connection and k.source_key = i.source_key;

analyze incoming_contact_sources, affected_contact_sources;

-- Every statement is kept. A source that moves to another contact takes what it has said along.
insert into canonical.consent_statements (contact_id, channel, connection, source_key, stated_at, state, run_id)
select i.contact_id, s.channel, i.connection, i.source_key, s.stated_at, s.state, m.run_id
from incoming_contact_sources i
cross join mapping m
join canonical.contact_sources k
    on k.connection = i.connection and k.source_key = i.source_key and k.contact_id <> i.contact_id
join canonical.consent_statements s
    on s.contact_id = k.contact_id and s.connection = k.connection and s.source_key = k.source_key
on conflict do nothing;

insert into canonical.consent_statements (contact_id, channel, connection, source_key, stated_at, state, run_id)
select contact_id, channel, i.connection, source_key, stated_at, state, m.run_id
from incoming_contact_sources i
cross join mapping m
cross join lateral (
    values ('email', email_consent_at, email_consent), ('sms', sms_consent_at, sms_consent)
) as said (channel, stated_at, state)
where state <> 'unknown'
on conflict (contact_id, channel, connection, source_key, stated_at) do update
set state = excluded.state, run_id = excluded.run_id
where consent_statements.state <> excluded.state;

select canonical.refresh_statistics('consent_statements', count(*))
from incoming_contact_sources
where email_consent <> 'unknown' or sms_consent <> 'unknown';

insert into mapped_problems (entity, key, field, code, reason, value)
select 'contacts', source_key, 'email', 'bad-email', 'not an e-mail address; the contact is known without it', left(raw_email, 200)
from incoming_contact_sources
where raw_email is not null and email is null
union all
select 'contacts', source_key, 'phone', 'bad-phone', 'not a valid phone number; the contact is known without it', left(raw_phone, 200)
from incoming_contact_sources
where raw_phone is not null and phone is null;

-- Rejects of these records are written anew at the end.
insert into examined (entity, key)
select 'contacts', source_key from affected_contact_sources;

select canonical.merge('contact_sources', array['connection', 'source_key'], array['connection', 'source_key'], run_id)
from mapping;

truncate mapped_contact_sources, incoming_contact_sources, affected_contact_sources;
