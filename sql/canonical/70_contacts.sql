-- Contacts: for each field the newest value that any source gives; for consent the latest explicit statement.
-- Affected are those whose sources changed in this run, on the old side and on the new.
insert into affected_contacts (contact_id)
select contact_id
from run_changes
where entity = 'contact_sources'
union
select (old ->> 'contact_id')::uuid
from run_changes
where entity = 'contact_sources' and old ? 'contact_id';

analyze affected_contacts;

insert into incoming_contacts
with sources as materialized (
    select s.*
    from canonical.contact_sources s
    join affected_contacts using (contact_id)
),
newest_first as (
    -- Equal times are decided by shop and key, so that the outcome never depends on the order of rows. Sorted once
    -- here: an order by in each aggregate would sort every contact once per field.
    select *
    from sources
    -- Consent given with an account's order says nothing else, and goes when the account goes.
    where kind <> 'order'
    order by contact_id, updated_at desc nulls last, connection, source_key
),
fields as (
    select
        contact_id,
        max(email) as email,
        (array_agg(phone) filter (where phone is not null))[1] as phone,
        (array_agg(first_name) filter (where first_name is not null))[1] as first_name,
        (array_agg(last_name) filter (where last_name is not null))[1] as last_name,
        (array_agg(company) filter (where company is not null))[1] as company,
        (array_agg(birthday) filter (where birthday is not null))[1] as birthday,
        (array_agg(street) filter (where street is not null))[1] as street,
        (array_agg(postal_code) filter (where postal_code is not null))[1] as postal_code,
        (array_agg(city) filter (where city is not null))[1] as city,
        (array_agg(region) filter (where region is not null))[1] as region,
        (array_agg(country) filter (where country is not null))[1] as country,
        (array_agg(language) filter (where language is not null))[1] as language,
        bool_or(registered) as registered,
        bool_or(newsletter) as newsletter,
        min(created_at) as created_at,
        max(updated_at) as updated_at
    from newest_first
    group by contact_id
),
extras as (
    select
        s.contact_id,
        jsonb_object_agg(
            e.key, e.value order by s.updated_at nulls first, s.connection desc, s.source_key desc
        ) as extra
    from sources s
    cross join jsonb_each(s.extra) e
    where s.extra <> '{}'
    group by s.contact_id
),
consents as (
    select distinct on (contact_id, channel)
        contact_id,
        channel,
        state,
        -- An agreement without any date is older than all else.
        nullif(stated_at, '-infinity') as stated_at
    from canonical.consent_statements
    join affected_contacts using (contact_id)
    where taken_back_run is null
    order by contact_id, channel, consent_statements.stated_at desc, state desc
)
select
    f.contact_id,
    f.email,
    f.phone,
    f.first_name,
    f.last_name,
    f.company,
    f.birthday,
    f.street,
    f.postal_code,
    f.city,
    f.region,
    f.country,
    f.language,
    f.registered,
    f.newsletter,
    coalesce(e.state, 'unknown'),
    e.stated_at,
    coalesce(t.state, 'unknown'),
    t.stated_at,
    coalesce(x.extra, '{}'),
    f.created_at,
    f.updated_at
from fields f
left join extras x using (contact_id)
left join consents e on e.contact_id = f.contact_id and e.channel = 'email'
left join consents t on t.contact_id = f.contact_id and t.channel = 'sms';

analyze incoming_contacts;

-- A contact left without sources is marked as moved to where its sources speak now; one that comes back is unmarked.
delete from canonical.contact_moves
where contact_id in (select contact_id from incoming_contacts);

insert into canonical.contact_moves (contact_id, moved_to, email, run_id)
select distinct on (gone.contact_id)
    gone.contact_id,
    c.contact_id,
    gone.email,
    m.run_id
from run_changes c
cross join mapping m
join canonical.contacts gone on gone.contact_id = (c.old ->> 'contact_id')::uuid
where
    c.entity = 'contact_sources'
    and c.op = 'update'
    and c.old ? 'contact_id'
    and not exists (select from incoming_contacts i where i.contact_id = gone.contact_id)
-- An account speaks for the person more than a guest order does.
order by gone.contact_id, c.key, c.seq
on conflict (contact_id) do update
set moved_to = excluded.moved_to, email = excluded.email, run_id = excluded.run_id, moved_at = now();

select canonical.merge('contacts', array['contact_id'], array['contact_id'], run_id)
from mapping;
