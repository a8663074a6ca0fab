-- Consent at IdoSell, per shop and channel (sheet, section 7). The newsletter's own list is the authority: what a
-- customer's record says counts only where that list does not know the person. With several shops whoever agreed in one
-- has agreed. A zero date is no statement; but who had agreed and has no statement any more has withdrawn.
--
-- Records arrive in any order, over several runs, and must come to the same: each says its own word with its own date,
-- the answer of a shop that another shop's outvotes says nothing, not even in history, and no word is older than the
-- agreement that the account's own record tells of.
truncate mapped_consents;

-- What an account says of consent hangs on what the list says, and whose the list's word is on the account.
insert into changed_customers (source_key)
select distinct a.source_key
from changed_subscribers c
cross join mapping m
join staging.customers a
    on a.connection = m.connection and a.source_key = split_part(c.source_key, '-', 2) and a.deleted_at is null
where a.source_key not in (select source_key from changed_customers);

insert into changed_subscribers (source_key)
select s.source_key
from changed_customers c
cross join mapping m
cross join lateral (
    select channel || '-' || c.source_key || ending as source_key
    from unnest(array['email', 'sms']) as channel
    cross join (
        select '' as ending
        union all
        select '-' || shop from mapping, jsonb_array_elements_text(settings -> 'shops') as shop
    ) as endings
) as wanted
join staging.subscribers s on s.connection = m.connection and s.source_key = wanted.source_key
where s.source_key not in (select source_key from changed_subscribers);

-- The answers of one person for several shops are read together.
insert into changed_subscribers (source_key)
select s.source_key
from (
    select distinct regexp_replace(source_key, '^((email|sms)-[0-9]+)-[0-9]+$', '\1') as person
    from changed_subscribers
    where source_key ~ '^(email|sms)-[0-9]+(-[0-9]+)?$'
) as changed
cross join mapping m
cross join lateral (
    select person as source_key
    union all
    select person || '-' || shop from jsonb_array_elements_text(m.settings -> 'shops') as shop
) as wanted
join staging.subscribers s on s.connection = m.connection and s.source_key = wanted.source_key
where s.source_key not in (select source_key from changed_subscribers);

insert into mapped_consents (kind, source_key, channel, state, stated_at)
with rows as (
    select
        s.source_key,
        case when s.source_key like 'sms-%' then 'sms' else 'email' end as channel,
        regexp_replace(s.source_key, '^((email|sms)-[0-9]+)-[0-9]+$', '\1') as person,
        s.payload
    from source_subscribers s
),
answers as (
    select
        r.source_key,
        r.person,
        lower(canonical.as_text(shop ->> 'approval')) as approval,
        canonical.as_local_time(canonical.as_text(shop ->> 'date_modification'), m.settings ->> 'time_zone') as said_at
    from rows r
    cross join mapping m
    cross join lateral (
        select key, value
        from jsonb_each(
            case when jsonb_typeof(r.payload -> 'shops') = 'object' then r.payload -> 'shops' else '{}' end
        )
        union all
        select null, value from jsonb_array_elements(canonical.as_array(r.payload -> 'shops'))
    ) as said (key, shop)
    where m.settings -> 'shops' @> to_jsonb(coalesce(canonical.as_number(shop ->> 'shop_id'), canonical.as_number(key)))
),
by_row as (
    select
        source_key,
        person,
        bool_or(approval = 'y') as agreed,
        max(said_at) filter (where approval = 'y') as agreed_at,
        max(said_at) filter (where approval = 'n') as refused_at
    from answers
    group by source_key, person
),
by_person as (
    select person, bool_or(agreed) as agreed, max(agreed_at) as agreed_at, max(refused_at) as refused_at
    from by_row
    group by person
),
claims as (
    -- What accounts' own records say.
    select
        a.source_key,
        channel,
        max(
            canonical.as_local_time(
                canonical.as_text(coalesce(approval ->> 'newsletterEmailApprovalDate', approval ->> 'newsletterSmsApprovalDate')),
                m.settings ->> 'time_zone'
            )
        ) as agreed_at
    from (
        select source_key from source_customers
        union
        select payload ->> 'client_number' from rows
    ) as wanted
    cross join mapping m
    join staging.customers a
        on a.connection = m.connection and a.source_key = wanted.source_key and a.deleted_at is null
    cross join unnest(array['email', 'sms']) as channel
    cross join lateral jsonb_array_elements(
        canonical.as_list(
            a.payload
            -> case channel when 'email' then 'newsletterEmailApprovalsData' else 'newsletterSmsApprovalsData' end
        )
    ) as approval
    where m.settings -> 'shops' @> to_jsonb(canonical.as_number(approval ->> 'shopId'))
    group by a.source_key, channel
),
said as (
    select
        'subscriber' as kind,
        r.source_key,
        r.channel,
        case
            when own.agreed and not is_refused then 'opt_in'
            when p.agreed and not is_refused then 'outvoted'
            -- A refusal without a date is what the shop says of everybody who was never asked.
            when own.refused_at is not null then 'opt_out'
            when own.agreed then 'opt_in'
        end as state,
        case
            when own.agreed and not is_refused then own.agreed_at
            when p.agreed and not is_refused then p.agreed_at
            else own.refused_at
        end as stated_at,
        c.agreed_at as claimed_at,
        p.refused_at is not null as has_refused,
        'subscriber:' || r.source_key as own_key,
        'account:' || coalesce(r.payload ->> 'client_number', '') as other_key
    from rows r
    left join by_person p using (person)
    left join by_row own on own.source_key = r.source_key
    left join claims c on c.source_key = r.payload ->> 'client_number' and c.channel = r.channel
    -- An agreement without a date is older than every refusal that has one.
    cross join lateral (
        select p.refused_at is not null and coalesce(p.agreed_at, c.agreed_at) is null
    ) as weighed (is_refused)
    union all
    select
        'account',
        s.source_key,
        channel,
        case when c.agreed_at is not null then 'opt_in' end,
        c.agreed_at,
        null,
        false,
        'account:' || s.source_key,
        null
    from source_customers s
    cross join mapping m
    cross join unnest(array['email', 'sms']) as channel
    left join claims c using (source_key, channel)
    where not exists (
        -- Key by key, by the index: a condition on a list of keys was met by reading all subscribers for each account.
        select
        from (
            select channel || '-' || s.source_key as source_key
            union all
            select channel || '-' || s.source_key || '-' || shop
            from jsonb_array_elements_text(m.settings -> 'shops') as shop
        ) as wanted
        join staging.subscribers known
            on known.connection = m.connection
            and known.source_key = wanted.source_key
            and known.deleted_at is null
    )
),
known as (
    select
        s.*,
        coalesce(case s.channel when 'email' then own.email_consent else own.sms_consent end, 'unknown') as own_state,
        case s.channel when 'email' then other.email_consent else other.sms_consent end as other_state,
        case s.channel when 'email' then other.email_consent_at else other.sms_consent_at end as other_at
    from said s
    cross join mapping m
    left join canonical.contact_sources own on own.connection = m.connection and own.source_key = s.own_key
    left join canonical.contact_sources other on other.connection = m.connection and other.source_key = s.other_key
)
select
    kind,
    source_key,
    channel,
    coalesce(state, 'opt_out'),
    -- Withdrawn without a date that could tell when: the day it was first seen stays.
    case when state is not null then greatest(stated_at, claimed_at, case when other_state = 'opt_in' then other_at end) end
from known
where
    state is not null
    or own_state in ('opt_in', 'opt_out')
    or (own_state = 'unknown' and (other_state = 'opt_in' or claimed_at is not null) and not has_refused);

-- What the refusal of one shop meant as long as another shop's consent was not known it does not mean any more.
delete from canonical.consent_statements said
using mapped_consents outvoted
cross join mapping m
join canonical.contact_sources holder
    on holder.connection = m.connection and holder.source_key = 'subscriber:' || outvoted.source_key
where
    outvoted.state = 'outvoted'
    and said.contact_id = holder.contact_id
    and said.channel = outvoted.channel
    and said.connection = holder.connection
    and said.source_key = holder.source_key
    and said.state = 'opt_out'
    and said.stated_at >= outvoted.stated_at;

delete from mapped_consents where state = 'outvoted';

analyze mapped_consents;
