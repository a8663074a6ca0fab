-- What the files of every target read: temporary views over the session's tables, filled in by what is in hand.

-- The settings that every file also has as its parameter. One row.
create temporary table deliver_settings (
    value jsonb not null
);

-- For each contact in hand the one whose card becomes its own, because its address changed at the shop: only where the
-- account does not hold the contact itself yet.
create temporary view deliver_renames as
with recursive formers as (
    -- Who became this contact, over any number of changes.
    select candidate.key, moves.contact_id as former_id, moves.moved_at
    from pg_temp.deliver_candidates as candidate
    join canonical.contact_moves as moves on moves.moved_to = candidate.key
    union
    select formers.key, moves.contact_id, moves.moved_at
    from formers
    join canonical.contact_moves as moves on moves.moved_to = formers.former_id
)
select distinct on (formers.key) formers.key, formers.former_id
from formers
cross join pg_temp.deliver_settings as settings
join delivery.ledger
    on ledger.contact_id = formers.former_id
    and ledger.target = settings.value ->> 'target'
    and ledger.object = 'contact'
    and ledger.key = formers.former_id
    and ledger.state = 'acknowledged'
where not exists (
        select
        from delivery.ledger as own
        where own.contact_id = formers.key
            and own.target = settings.value ->> 'target'
            and own.object = 'contact'
            and own.key = formers.key
            and own.payload -> 'imported' is null
    )
    and not exists (select from canonical.contacts where contacts.contact_id = formers.former_id)
order by formers.key, formers.moved_at desc, formers.former_id;

-- The contacts in hand that wait: what became of a call is not known yet that created or renamed their own card, or one
-- that they were before, or an event is still looked for under a former address. Whatever was rendered before that is
-- settled would go to a card that may be called otherwise by now. Read once for each slice, before anything else of it
-- (deliver_unsettled): what is settled meanwhile is rendered the next time.
create temporary view deliver_unsettled_now as
with recursive calls as (
    select
        ledger.contact_id,
        ledger.object,
        (ledger.payload #>> '{sending,former_id}')::uuid as former_id
    from pg_temp.deliver_settings as settings
    join delivery.ledger on ledger.target = settings.value ->> 'target'
    where ledger.state <> 'acknowledged' and (ledger.object = 'contact' or ledger.state = 'sending')
),
selves as (
    select candidate.key, candidate.key as self_id
    from pg_temp.deliver_candidates as candidate
    where exists (select from calls)
    union
    select selves.key, moves.contact_id
    from selves
    join canonical.contact_moves as moves on moves.moved_to = selves.self_id
)
select distinct selves.key
from selves
join calls
    on calls.former_id = selves.self_id
    or (calls.contact_id = selves.self_id and (calls.object = 'contact' or selves.self_id <> selves.key));

-- For each contact in hand that is no more: whether the account has, or is about to get, the one that it became,
-- and whether its card is renamed for that one.
create temporary view deliver_successors as
with recursive successors as (
    select desired.key, moves.moved_to as successor_id
    from pg_temp.deliver_desired as desired
    join canonical.contact_moves as moves on moves.contact_id = desired.key
    where desired.verdict = 'gone'
    union
    select successors.key, moves.moved_to
    from successors
    join canonical.contact_moves as moves on moves.contact_id = successors.successor_id
)
select
    successors.key,
    bool_or(
        verdict.verdict = 'send'
        or exists (
            select
            from delivery.ledger
            where ledger.contact_id = successors.successor_id
                and ledger.target = settings.value ->> 'target'
                and ledger.object = 'contact'
                and ledger.key = successors.successor_id
        )
    ) as successor_is_there,
    bool_or(verdict.former_id = successors.key) as is_renamed
from successors
cross join pg_temp.deliver_settings as settings
join canonical.contacts on contacts.contact_id = successors.successor_id
left join pg_temp.deliver_verdicts as verdict on verdict.contact_id = successors.successor_id
group by successors.key;

-- Opt-outs that the record which stated them has taken back.
create temporary view deliver_taken_back as
select contact_id, channel, stated_at
from canonical.consent_statements
where state = 'opt_out' and taken_back_run is not null;

-- When a person last decided that an opt-in is followed whatever this target shows.
create temporary view deliver_decisions as
select decision.contact_id, decision.channel, decision.stated_at, max(decision.decided_at) as decided_at
from delivery.consent_decisions as decision
cross join pg_temp.deliver_settings as settings
where decision.target = settings.value ->> 'target'
group by decision.contact_id, decision.channel, decision.stated_at;
