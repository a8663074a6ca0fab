-- One shop means one thing, whichever pipelines read it.

create table ops.connection_settings (
    connection text not null,
    pipeline text not null,
    settings jsonb not null,
    changed_at timestamptz not null default clock_timestamp(),
    primary key (connection, pipeline)
);
comment on table ops.connection_settings is 'One row per pipeline that reads a shop: how its file describes it. Where two differ, the one that changed last is refused';
comment on column ops.connection_settings.connection is 'The shop';
comment on column ops.connection_settings.pipeline is 'The pipeline';
comment on column ops.connection_settings.settings is 'What the mapping needs to know of the pipeline file, as in ops.connections';
comment on column ops.connection_settings.changed_at is 'When they were first seen like this';
