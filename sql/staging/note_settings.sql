-- How pipeline $2 describes shop $1, and since when.
insert into ops.connection_settings as noted (
    connection,
    pipeline,
    settings
)
values ($1, $2, $3)
on conflict (connection, pipeline) do update
set settings = excluded.settings, changed_at = clock_timestamp()
where noted.settings is distinct from excluded.settings
