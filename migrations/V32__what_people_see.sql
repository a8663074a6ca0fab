-- How a run ended, told apart by what has to be done next; what a pipeline is, for `wharf status`; rejects with their
-- value and the time of their first sight.

alter table ops.runs drop constraint runs_outcome_check;
alter table ops.runs add constraint runs_outcome_check
check (outcome in ('done', 'rejects', 'waits', 'stopped', 'decision', 'failed', 'died'));
comment on column ops.runs.outcome is 'done, rejects (done, some records were refused for the first time), waits (nothing is wrong: the load window is closed, or another process is at the same work), stopped (can be continued by running it again), decision (a person has to decide something first), failed, died (closed by a later run)';
comment on column ops.runs.error is 'The message it ended with, free of secrets; for waits, what it waits for';

create table ops.pipelines (
    pipeline text primary key,
    connections text[] not null,
    target text not null,
    platform text not null,
    fresh_within interval
);
comment on table ops.pipelines is 'One row per pipeline that has ever worked on this database, as its file was when it last began';
comment on column ops.pipelines.pipeline is 'Name of the pipeline';
comment on column ops.pipelines.connections is 'The shops that it reads';
comment on column ops.pipelines.target is 'The target account';
comment on column ops.pipelines.platform is 'The target''s platform';
comment on column ops.pipelines.fresh_within is 'How old what was read may be before wharf status calls it stale; null for no limit';

-- Beside the cursors, which are archived when they change: this changes with every run.
create table ops.readings (
    connection text not null,
    stream text not null,
    read_at timestamptz not null,
    primary key (connection, stream)
);
comment on table ops.readings is 'One row per stream of a connection: how fresh it is';
comment on column ops.readings.connection is 'The connection';
comment on column ops.readings.stream is 'The stream';
comment on column ops.readings.read_at is 'When the last reading began that ended well, or had nothing due: what staging holds is as fresh as that';

create or replace view ops.rejects as
select
    'staging' as stage,
    connection as scope,
    stream as entity,
    source_key as key,
    null::text as field,
    code,
    reason,
    times,
    run_id,
    last_at,
    first_at,
    null::text as value
from staging.rejects
union all
select
    'canonical',
    connection,
    entity,
    key,
    field,
    code,
    reason,
    1,
    run_id,
    at,
    at,
    value
from canonical.rejects
union all
select
    'delivery',
    target || '/' || pipeline,
    object,
    key::text,
    null,
    code,
    reason,
    times,
    run_id,
    last_at,
    first_at,
    null
from delivery.rejects;
comment on column ops.rejects.first_at is 'When it was first seen';
comment on column ops.rejects.value is 'The value as received, where a single value could not be read; it may be personal';
