-- Consent by intervals: what has no time of its own lies somewhere between the last sight of the former value and the
-- first of the new one. And what tells a withdrawal at a target from a card that nobody ever opted in.

alter table ops.cursors add column mapped_full_at timestamptz;
comment on column ops.cursors.mapped_full_at is 'When the last complete walk began whose records have been mapped: a value that changes after that was seen by that walk as it was before';

alter table canonical.consent_statements add column taken_back_run bigint;
comment on column canonical.consent_statements.taken_back_run is 'The run that saw the same record say the contrary without a later time: it is in force no longer, whatever its date; null while it counts';
comment on column canonical.consent_statements.stated_at is 'When it was stated: the shop''s own time if it gives one, else the earliest moment for an agreement (-infinity where nothing tells), the latest for a withdrawal';
comment on column canonical.contact_sources.email_consent_at is 'When it said so: the shop''s own time if it gives one, else the earliest moment for an agreement (null where nothing tells), the latest for a withdrawal';
comment on column canonical.contacts.email_consent_at is 'Time of that statement; null while unknown, and of an agreement without any date, which is older than every other statement';

-- When a record made a statement, so that a withdrawal is never dated too early and an agreement never too late.
-- said_at: the shop's own time; recorded_at: what dates a refusal that was there at first sight; known_state, known_at:
-- what the record said at the last transform; is_observed: whether it was understood then as it is now; last_sight:
-- when a complete walk that saw the former value began; seen_at: now.
create function canonical.consent_time(
    state text,
    said_at timestamptz,
    recorded_at timestamptz,
    known_state text,
    known_at timestamptz,
    is_observed boolean,
    last_sight timestamptz,
    seen_at timestamptz
)
returns timestamptz
language sql immutable parallel safe as $$
    select case
        when state not in ('opt_in', 'opt_out') then null
        when known_state = state then greatest(known_at, given_at)
        when state = 'opt_in' then case
            when given_at > known_at or known_state is distinct from 'opt_out' then coalesce(given_at, sight)
            else sight
        end
        when known_state = 'opt_in' and (given_at is null or given_at <= known_at) then seen_at
        when is_observed then coalesce(given_at, seen_at)
        else coalesce(given_at, least(recorded_at, seen_at), seen_at)
    end
    from (
        -- Clocks and zones differ by hours; what lies further ahead is no time at all.
        select case
            when said_at <= seen_at + interval '1 day' or state = 'opt_out' and said_at is not null
                then least(said_at, seen_at)
        end as given_at,
        case when is_observed then last_sight end as sight
    ) as given
$$;
comment on function canonical.consent_time is 'When a record made its statement of consent: its own time, else the early end of an agreement''s interval and the late end of a withdrawal''s; null for an agreement of which nothing tells';

alter table delivery.ledger add column first_call_at timestamptz;
alter table delivery.ledger add column opted_in text[] not null default '{}';
comment on column delivery.ledger.first_call_at is 'Of contacts: when the first call that carried it began; a card made later than that was made by Wharf. Null where that is not known';
comment on column delivery.ledger.opted_in is 'Of contacts: the channels (email, sms) in which the card has ever been opted in, by Wharf or seen so; complete where first_call_at is known';

create table delivery.consent_decisions (
    target text not null,
    contact_id uuid not null,
    channel text not null check (channel in ('email', 'sms')),
    stated_at timestamptz,
    decided_at timestamptz not null default clock_timestamp(),
    pipeline text not null,
    reason text not null,
    primary key (contact_id, target, channel, decided_at)
);
comment on table delivery.consent_decisions is 'One row per opt-in that a person had followed although the target shows an opt-out (wharf rejects retry --opt-in); never changed, never deleted';
comment on column delivery.consent_decisions.target is 'The target account';
comment on column delivery.consent_decisions.contact_id is 'The contact';
comment on column delivery.consent_decisions.channel is 'email or sms';
comment on column delivery.consent_decisions.stated_at is 'The time of the shop''s opt-in that it is about; null where that has none';
comment on column delivery.consent_decisions.decided_at is 'When it was decided: an opt-out at the target counts again if it is later';
comment on column delivery.consent_decisions.pipeline is 'The pipeline that listed it';
comment on column delivery.consent_decisions.reason is 'The reason that was listed';
