-- What could not be stored as received. Seen again, a row counts up and keeps the newest bytes.
insert into staging.rejects as stored (
    connection,
    stream,
    source_key,
    code,
    reason,
    raw,
    run_id
)
select
    $1,
    $2,
    source_key,
    code,
    reason,
    raw,
    $3
from unnest($4::text[], $5::text[], $6::text[], $7::bytea[])
    as record (source_key, code, reason, raw)
on conflict (connection, stream, source_key, code) do update
set
    reason = excluded.reason,
    raw = excluded.raw,
    run_id = excluded.run_id,
    last_at = now(),
    times = stored.times + 1
