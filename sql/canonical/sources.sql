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
        holder.contact_id as holder_id,
        -- Other settings read another meaning from the same record, which is no change at the shop.
        c.mapped_settings is not distinct from m.settings as is_understood_as_before,
        case when s.kind in ('account', 'subscriber') then m.people_seen_at end as last_sight
    from mapped_contact_sources s
    cross join mapping m
    join ops.connections c on c.connection = m.connection
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
    -- Most records say nothing, and a call costs.
    case
        when i.email_consent <> 'unknown' then canonical.consent_time(
            i.email_consent,
            i.email_consent_at,
            coalesce(i.updated_at, i.created_at),
            k.email_consent,
            k.email_consent_at,
            k.contact_id is not null and i.is_understood_as_before,
            i.last_sight,
            now()
        )
    end,
    i.sms_consent,
    case
        when i.sms_consent <> 'unknown' then canonical.consent_time(
            i.sms_consent,
            i.sms_consent_at,
            coalesce(i.updated_at, i.created_at),
            k.sms_consent,
            k.sms_consent_at,
            k.contact_id is not null and i.is_understood_as_before,
            i.last_sight,
            now()
        )
    end,
    i.extra,
    i.created_at,
    i.updated_at
from identified i
left join known k on k.connection = i.connection and k.source_key = i.source_key;

analyze incoming_contact_sources, affected_contact_sources;

-- Every statement is kept. A source that moves to another contact takes what it has said along.
insert into canonical.consent_statements (
    contact_id, channel, connection, source_key, stated_at, state, run_id, taken_back_run
)
select i.contact_id, s.channel, i.connection, i.source_key, s.stated_at, s.state, m.run_id, s.taken_back_run
from incoming_contact_sources i
cross join mapping m
join canonical.contact_sources k
    on k.connection = i.connection and k.source_key = i.source_key and k.contact_id <> i.contact_id
join canonical.consent_statements s
    on s.contact_id = k.contact_id and s.connection = k.connection and s.source_key = k.source_key
on conflict do nothing;

-- A record that says opt_in now has taken back the opt_out that it said before, also where that is dated at the end of
-- its interval and this one at the beginning. What others say is compared with the beginning.
update canonical.consent_statements said
set taken_back_run = m.run_id
from incoming_contact_sources i
cross join mapping m
cross join lateral (
    values ('email', email_consent_at, email_consent), ('sms', sms_consent_at, sms_consent)
) as says (channel, stated_at, state)
where
    says.state = 'opt_in'
    and said.contact_id = i.contact_id
    and said.channel = says.channel
    and said.connection = i.connection
    and said.source_key = i.source_key
    and said.state = 'opt_out'
    and said.stated_at >= coalesce(says.stated_at, '-infinity')
    and said.taken_back_run is null;

insert into canonical.consent_statements (contact_id, channel, connection, source_key, stated_at, state, run_id)
select contact_id, channel, i.connection, source_key, coalesce(stated_at, '-infinity'), state, m.run_id
from incoming_contact_sources i
cross join mapping m
cross join lateral (
    values ('email', email_consent_at, email_consent), ('sms', sms_consent_at, sms_consent)
) as said (channel, stated_at, state)
where state <> 'unknown'
on conflict (contact_id, channel, connection, source_key, stated_at) do update
set state = excluded.state, run_id = excluded.run_id, taken_back_run = null
where consent_statements.state <> excluded.state or consent_statements.taken_back_run is not null;

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
