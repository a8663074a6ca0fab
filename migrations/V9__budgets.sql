-- One budget of calls per target account, for all pipelines and all processes.

create table ops.budgets (
    account text primary key,
    spacing double precision not null default 0,
    late double precision not null default 0,
    calls_per_day integer,
    next_turn_at timestamptz not null default '-infinity',
    quiet_until timestamptz not null default '-infinity',
    day date not null default '-infinity',
    day_calls integer not null default 0,
    serial bigint not null default 0,
    seen_at timestamptz not null default '-infinity'
);
comment on table ops.budgets is 'One row per target account: the turns in which it may be called. Processes reserve turns in blocks; the database''s clock alone decides';
comment on column ops.budgets.account is 'The target account, as named in the pipeline files';
comment on column ops.budgets.spacing is 'Seconds from one turn to the next; 0 where nothing limits';
comment on column ops.budgets.late is 'Seconds that a call may miss its turn by';
comment on column ops.budgets.calls_per_day is 'The most calls of a day (UTC); null where nothing limits';
comment on column ops.budgets.next_turn_at is 'The first turn that nobody has reserved';
comment on column ops.budgets.quiet_until is 'The platform has asked for quiet until then';
comment on column ops.budgets.day is 'The day (UTC) that day_calls counts';
comment on column ops.budgets.day_calls is 'Turns reserved on that day';
comment on column ops.budgets.serial is 'Number of the last block reserved';
comment on column ops.budgets.seen_at is 'When a block was last asked for: a clock that shows less has been set back';

create table ops.budget_rates (
    account text not null,
    pipeline text not null,
    rate text,
    spacing double precision not null,
    late double precision not null,
    calls_per_day integer,
    said_at timestamptz not null default now(),
    primary key (account, pipeline)
);
comment on table ops.budget_rates is 'One row per pipeline and target account: what its file allows. The lowest of the last seven days holds for all';
comment on column ops.budget_rates.account is 'The target account';
comment on column ops.budget_rates.pipeline is 'The pipeline';
comment on column ops.budget_rates.rate is 'The rate as people write it; null for none';
comment on column ops.budget_rates.spacing is 'Seconds between two calls at that rate; 0 for none';
comment on column ops.budget_rates.late is 'Seconds that a call may miss its turn by at that rate';
comment on column ops.budget_rates.calls_per_day is 'The most calls of a day (UTC); null for none';
comment on column ops.budget_rates.said_at is 'When the pipeline last said so: whenever it begins to call';

-- What a pipeline's file allows, said whenever it begins to call. Gives what holds for the account from now on, and who
-- asked for the spacing that does.
create function ops.say_rate(
    in_account text,
    in_pipeline text,
    in_rate text,
    in_spacing double precision,
    in_late double precision,
    in_calls_per_day integer,
    out pipeline text,
    out rate text,
    out spacing double precision
)
language plpgsql as $$
declare
    most_late double precision;
    least_calls integer;
begin
    insert into ops.budgets (account) values (in_account) on conflict do nothing;
    -- Two that begin at once must each see what the other said.
    perform from ops.budgets where budgets.account = in_account for update;
    insert into ops.budget_rates as rates (account, pipeline, rate, spacing, late, calls_per_day, said_at)
    values (in_account, in_pipeline, in_rate, in_spacing, in_late, in_calls_per_day, clock_timestamp())
    on conflict on constraint budget_rates_pkey do update
    set rate = excluded.rate,
        spacing = excluded.spacing,
        late = excluded.late,
        calls_per_day = excluded.calls_per_day,
        said_at = excluded.said_at;
    -- A pipeline that nobody has run for a week is taken for gone.
    delete from ops.budget_rates as rates
    where rates.account = in_account and rates.said_at < clock_timestamp() - interval '7 days';
    select min(rates.late) filter (where rates.spacing > 0), min(rates.calls_per_day)
    into most_late, least_calls
    from ops.budget_rates as rates
    where rates.account = in_account;
    select rates.pipeline, rates.rate, rates.spacing
    into pipeline, rate, spacing
    from ops.budget_rates as rates
    where rates.account = in_account
    order by rates.spacing desc, rates.pipeline = in_pipeline desc, rates.pipeline
    limit 1;
    update ops.budgets
    set spacing = say_rate.spacing,
        late = coalesce(most_late, 0),
        calls_per_day = least_calls,
        -- What was reserved at another spacing cannot be given back at this one.
        serial = budgets.serial + 1
    where budgets.account = in_account;
end
$$;
comment on function ops.say_rate is 'Notes what a pipeline''s file allows; the lowest of all pipelines holds for the account';

-- Reserves turns in a row. Only lengths of time leave this function: what other clocks show does not matter.
create function ops.reserve_turns(
    in_account text,
    in_wanted integer,
    in_pad double precision,
    out verdict text,
    out seconds double precision,
    out spacing double precision,
    out late double precision,
    out turns integer,
    out serial bigint
)
language plpgsql as $$
declare
    budget ops.budgets;
    moment timestamptz;
    starts_at timestamptz;
    back interval;
begin
    select * into budget from ops.budgets where budgets.account = in_account for update;
    if not found then
        raise exception 'the account % has no budget', in_account;
    end if;
    -- Read once the row is ours: whoever waited for it must not use a time from before.
    moment := clock_timestamp();
    if moment < budget.seen_at then
        -- The clock was set back. At least no time has passed since, so everything keeps its distance.
        back := budget.seen_at - moment;
        budget.next_turn_at := budget.next_turn_at - back;
        budget.quiet_until := budget.quiet_until - back;
    end if;
    budget.seen_at := moment;
    if budget.day <> (moment at time zone 'UTC')::date then
        budget.day := (moment at time zone 'UTC')::date;
        budget.day_calls := 0;
    end if;
    spacing := budget.spacing;
    late := budget.late;
    turns := in_wanted;
    if budget.calls_per_day is not null then
        turns := least(turns, budget.calls_per_day - budget.day_calls);
    end if;
    if budget.quiet_until > moment then
        verdict := 'quiet';
        seconds := extract(epoch from budget.quiet_until - moment);
        turns := 0;
    elsif turns <= 0 then
        verdict := 'spent';
        seconds := extract(epoch from (budget.day + 1)::timestamp at time zone 'UTC' - moment);
        turns := 0;
    elsif budget.spacing = 0 and budget.calls_per_day is null then
        verdict := 'unlimited';
        seconds := 1;
        turns := 0;
    else
        verdict := 'turns';
        starts_at := greatest(budget.next_turn_at, moment);
        seconds := extract(epoch from starts_at - moment);
        -- Rounded up to the microsecond, which is all that a timestamp holds.
        budget.next_turn_at := starts_at
            + make_interval(secs => ceil((turns * budget.spacing + in_pad) * 1e6) / 1e6);
        budget.day_calls := budget.day_calls + turns;
        budget.serial := budget.serial + 1;
    end if;
    serial := budget.serial;
    update ops.budgets
    set next_turn_at = budget.next_turn_at,
        quiet_until = budget.quiet_until,
        day = budget.day,
        day_calls = budget.day_calls,
        serial = budget.serial,
        seen_at = budget.seen_at
    where budgets.account = in_account;
end
$$;
comment on function ops.reserve_turns is 'Reserves calls of an account: turns (of which the first is in so many seconds), quiet, spent (for so many seconds) or unlimited';

create function ops.return_turns(in_account text, in_serial bigint, in_unused integer) returns void
language sql as $$
    update ops.budgets
    set next_turn_at = next_turn_at - make_interval(secs => in_unused * spacing),
        day_calls = greatest(day_calls - in_unused, 0)
    where account = in_account and serial = in_serial
$$;
comment on function ops.return_turns is 'Gives the last turns of a block back, if no other was reserved since';

create function ops.hold_turns(in_account text, in_seconds double precision) returns void
language sql as $$
    update ops.budgets
    set quiet_until = greatest(quiet_until, clock_timestamp() + make_interval(secs => in_seconds))
    where account = in_account
$$;
comment on function ops.hold_turns is 'The platform has asked for quiet: no turn is given out for so many seconds';

-- What goes first -----------------------------------------------------------------------------------------------------

alter table delivery.pending add column is_backfill boolean not null default false;
comment on column delivery.pending.is_backfill is 'Pending only because everything is compared: goes after what changed';

alter table ops.leases add column wanted_at timestamptz;
comment on column ops.leases.wanted_at is 'When another process last asked for it; a back-fill then lets it go first';
