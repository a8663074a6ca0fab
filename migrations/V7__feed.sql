-- The change feed for many readers: how far it is complete, named consumers, which runs may still write staging rows.

alter table ops.runs add column extracts text[];
comment on column ops.runs.extracts is 'The connections whose staging rows this run may write; null while that is not known: any';

-- How far the feed is -------------------------------------------------------------------------------------------------

create table ops.feed (
    one boolean primary key default true check (one),
    written_run bigint not null,
    closed_run bigint not null,
    pruned_run bigint not null default 0
);
comment on table ops.feed is 'One row: how far the change feed has been written and pruned. Run numbers in the feed never fall as transactions commit';
comment on column ops.feed.one is 'Always true: there is one row';
comment on column ops.feed.written_run is 'The highest run that has written to the feed; a transform of a lower one takes a new number';
comment on column ops.feed.closed_run is 'No transform writes changes of this run, or of a lower one, any more';
comment on column ops.feed.pruned_run is 'Changes of runs up to this one may have been pruned';

insert into ops.feed (written_run, closed_run)
select coalesce(max(run_id), 0), 0
from canonical.changes;

-- Readers go by run, and within a run by seq.
create index changes_position on canonical.changes (run_id, seq);
drop index canonical.changes_run;
create index changes_key on canonical.changes (key, seq);
create index changes_contact on canonical.changes (contact_id, seq) where contact_id is not null;

create function ops.may_write_feed(run ops.runs) returns boolean
language sql stable as $$
    select
        run.finished_at is null
        -- None of these writes canonical rows, and none of the others does any more once it loads or archives.
        and run.command not in ('extract', 'load', 'archive', 'plan', 'verify', 'rejects', 'changes')
        and not exists (
            select from ops.run_steps step where step.run_id = run.run_id and step.stage in ('load', 'archive')
        )
$$;
comment on function ops.may_write_feed is 'Whether a run may still transform';

create function ops.may_write_staging(run ops.runs, shop text) returns boolean
language sql stable as $$
    select
        run.finished_at is null
        and run.command not in ('transform', 'load', 'archive', 'plan', 'verify', 'rejects', 'changes')
        and (run.extracts is null or shop = any (run.extracts))
        and not exists (
            select from ops.run_steps step
            where step.run_id = run.run_id and step.stage in ('transform', 'load', 'archive')
        )
$$;
comment on function ops.may_write_staging is 'Whether a run may still write staging rows of a connection';

-- Run numbers are given out before a run's row can be seen, and rows can become visible out of order. So the two bounds
-- below are read while no run can be begun. The lock is given back at once by undoing the block that took it, so that a
-- caller's long transaction keeps nobody from beginning a run. A transaction that sees one instant all along would see
-- that instant's runs, and the lock would be worth nothing.
create function canonical.complete_run(own_run bigint default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog as $$
declare
    bound bigint;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'canonical.complete_run() needs a transaction that is read committed'
            using hint = 'ask it before the transaction begins; what it answers stays true';
    end if;
    begin
        lock table ops.runs in share mode;
        select
            coalesce(
                (
                    select min(runs.run_id) - 1
                    from ops.runs
                    where
                        runs.finished_at is null
                        and runs.run_id is distinct from own_run
                        -- One that has been overtaken writes with a new number, which is higher than all there are.
                        and runs.run_id > feed.closed_run
                        and runs.run_id >= feed.written_run
                        and ops.may_write_feed(runs)
                ),
                (select max(runs.run_id) from ops.runs),
                0
            )
        into bound
        from ops.feed;
        raise sqlstate 'WH000';
    exception
        when sqlstate 'WH000' then null;
    end;
    return bound;
end
$$;
comment on function canonical.complete_run is 'The watermark of the change feed: every change of a run up to this one is there to be read. own_run counts as finished';

create function ops.staged_run(shop text, own_run bigint) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog as $$
declare
    bound bigint;
begin
    begin
        lock table ops.runs in share mode;
        select
            coalesce(
                (
                    select min(runs.run_id) - 1
                    from ops.runs
                    where
                        runs.finished_at is null
                        and runs.run_id <> own_run
                        and ops.may_write_staging(runs, shop)
                ),
                (select max(runs.run_id) from ops.runs),
                0
            )
        into bound;
        raise sqlstate 'WH000';
    exception
        when sqlstate 'WH000' then null;
    end;
    return bound;
end
$$;
comment on function ops.staged_run is 'Every staging row that a run up to this one will ever write for the connection is there. own_run counts as finished';

create function canonical.changes_after(after_run bigint) returns setof canonical.changes
language plpgsql volatile as $$
declare
    -- Asked first: the rows are then looked for in a later instant, in which every run up to it has committed.
    complete constant bigint := canonical.complete_run();
begin
    return query
    select *
    from canonical.changes c
    where c.run_id > after_run and c.run_id <= complete
    order by c.run_id, c.seq;
end
$$;
comment on function canonical.changes_after is 'The complete changes after a run, in order; the highest run_id given is where to go on';

-- Named consumers ----------------------------------------------------------------------------------------------------

create table ops.consumers (
    name text primary key,
    run_id bigint not null,
    seq bigint,
    entities text[],
    holder text not null default '',
    created_at timestamptz not null default now(),
    moved_at timestamptz not null default now()
);
comment on table ops.consumers is 'One row per named reader of the change feed (wharf changes --consumer): how far it has read';
comment on column ops.consumers.name is 'The name it was given';
comment on column ops.consumers.run_id is 'Changes of lower runs have been read; those of this one up to seq';
comment on column ops.consumers.seq is 'How far within the run; null: all of it';
comment on column ops.consumers.entities is 'The only entities it asks for; null for all';
comment on column ops.consumers.holder is 'Host, process and a random word of its last reader';
comment on column ops.consumers.created_at is 'When it was first used';
comment on column ops.consumers.moved_at is 'When it last moved on';
