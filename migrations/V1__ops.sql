-- ops: what Wharf knows of its own work. Who runs what, how far each stream has been read, who holds which lease.

create schema ops;
comment on schema ops is 'Wharf''s own book-keeping: runs, steps, cursors and leases';

create table ops.settings (
    name text primary key,
    value text not null
);
comment on table ops.settings is 'One row per setting of this database that must never change once data exists';
comment on column ops.settings.name is 'Name of the setting; identity_salt makes contact ids say nothing about the person';
comment on column ops.settings.value is 'Its value';

insert into ops.settings (name, value)
values ('identity_salt', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));

create table ops.runs (
    run_id bigint generated always as identity primary key,
    pipeline text not null,
    command text not null,
    holder text not null,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    outcome text check (outcome in ('done', 'rejects', 'stopped', 'failed', 'died')),
    error text
);
create index runs_unfinished on ops.runs (run_id) where finished_at is null;
comment on table ops.runs is 'One row per command that worked on a pipeline';
comment on column ops.runs.run_id is 'Number of the run; rises with time, so it is the watermark of staging rows and of the change feed';
comment on column ops.runs.pipeline is 'Name of the pipeline file';
comment on column ops.runs.command is 'extract, transform, load, archive or run';
comment on column ops.runs.holder is 'Host, process and a random word of the process that ran it';
comment on column ops.runs.started_at is 'When it began';
comment on column ops.runs.finished_at is 'When it ended; null while it works, or when it died and nobody has taken its leases over yet';
comment on column ops.runs.outcome is 'done, rejects (done, some records were refused), stopped (can be continued), failed, died (closed by a later run)';
comment on column ops.runs.error is 'The message it ended with, free of secrets';

create table ops.run_steps (
    run_id bigint not null,
    step integer not null,
    stage text not null,
    subject text not null,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    counts jsonb not null default '{}',
    primary key (run_id, step)
);
comment on table ops.run_steps is 'One row per stream, entity or operation that a run worked on';
comment on column ops.run_steps.run_id is 'The run';
comment on column ops.run_steps.step is 'Order within the run, from 1';
comment on column ops.run_steps.stage is 'extract, transform, load or archive';
comment on column ops.run_steps.subject is 'The stream (connection/stream), entity or operation';
comment on column ops.run_steps.started_at is 'When it began';
comment on column ops.run_steps.finished_at is 'When it ended; null if it did not';
comment on column ops.run_steps.counts is 'Records and calls counted: read, new, changed, unchanged, deleted, rejected, calls, sent, …';

create table ops.connections (
    connection text primary key,
    platform text not null,
    base_url text not null,
    settings jsonb not null default '{}',
    mapped_settings jsonb,
    mapped_run bigint not null default 0
);
comment on table ops.connections is 'One row per shop that a pipeline has ever read';
comment on column ops.connections.connection is 'The unique name given in the pipeline file';
comment on column ops.connections.platform is 'Platform, as in the pipeline file';
comment on column ops.connections.base_url is 'Where it was last read from';
comment on column ops.connections.settings is 'What the mapping needs to know of the pipeline file, secrets never among it: default country, tag names, status overrides, consent keys';
comment on column ops.connections.mapped_settings is 'The settings of the last transform; when they differ from settings, the whole connection is mapped again';
comment on column ops.connections.mapped_run is 'Watermark of the transform: staging rows of later runs are still to be mapped';

create table ops.cursors (
    connection text not null,
    stream text not null,
    watermark timestamptz,
    walk jsonb,
    full_at timestamptz,
    reread_at timestamptz,
    compared_at timestamptz,
    parents_run bigint,
    primary key (connection, stream)
);
comment on table ops.cursors is 'One row per stream of a connection: how far it has been read';
comment on column ops.cursors.connection is 'The connection';
comment on column ops.cursors.stream is 'The stream';
comment on column ops.cursors.watermark is 'Newest source change that has landed; the next incremental walk asks from here, less the overlap';
comment on column ops.cursors.walk is 'The walk in progress and its position, stored with the page it speaks of; null between walks';
comment on column ops.cursors.full_at is 'When the last complete walk began';
comment on column ops.cursors.reread_at is 'When the last re-read of recent records began';
comment on column ops.cursors.compared_at is 'When the keys were last compared to find deletions';
comment on column ops.cursors.parents_run is 'For lists that hang on other records: the run up to whose changes the parents'' lists have been walked';

-- The keys that a walk in progress has seen. Unlogged: after a crash of the server it is empty, and the walk starts
-- again.
create unlogged table ops.walk_keys (
    connection text not null,
    stream text not null,
    source_key text not null,
    primary key (connection, stream, source_key)
);
comment on table ops.walk_keys is 'One row per record that a walk in progress has seen; what staging holds beyond these was deleted at the shop';
comment on column ops.walk_keys.connection is 'The connection';
comment on column ops.walk_keys.stream is 'The stream';
comment on column ops.walk_keys.source_key is 'The record''s key at the platform';

create table ops.leases (
    name text primary key,
    holder text not null,
    run_id bigint not null,
    token bigint not null,
    taken_at timestamptz not null default now()
);
comment on table ops.leases is 'One row per thing that only one process may work on at a time; who holds it is decided by a session lock of the same name, so a dead holder frees it at once';
comment on column ops.leases.name is 'extract:CONNECTION, transform, or target:ACCOUNT';
comment on column ops.leases.holder is 'Host, process and a random word of the holder';
comment on column ops.leases.run_id is 'The holder''s run; closed as died by whoever takes the lease over';
comment on column ops.leases.token is 'Fencing number, one higher with each holder: a holder that was cut off cannot commit after the next took over';
comment on column ops.leases.taken_at is 'When it was taken';

-- Locks the lease row until the end of the transaction and refuses when it has passed to another holder.
create function ops.assert_lease(lease text, expected_token bigint) returns void
language plpgsql as $$
begin
    perform from ops.leases where name = lease and token = expected_token for share;
    if not found then
        raise exception 'lease % has passed to another process', lease
            using errcode = 'WH501';
    end if;
end
$$;
comment on function ops.assert_lease is 'Called first in every transaction that a lease protects';
