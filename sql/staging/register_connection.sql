-- A shop as the pipeline file describes it. An unchanged description writes nothing.
insert into ops.connections as stored (
    connection,
    platform,
    base_url,
    settings
)
values ($1, $2, $3, $4)
on conflict (connection) do update
set
    platform = excluded.platform,
    base_url = excluded.base_url,
    settings = excluded.settings
where (stored.platform, stored.base_url, stored.settings)
    is distinct from (excluded.platform, excluded.base_url, excluded.settings)
