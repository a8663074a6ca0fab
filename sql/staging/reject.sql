-- What could not be stored as received. Seen again, a row counts up and keeps the newest bytes. A record that has
-- landed with characters replaced is rid of what kept it from landing before.
with record as (
    select *
    from unnest($4::text[], $5::text[], $6::text[], $7::bytea[]) as record (source_key, code, reason, raw)
),

over as (
    delete from staging.rejects
    using record
    where rejects.connection = $1
        and rejects.stream = $2
        and rejects.source_key = record.source_key
        and record.code = 'altered'
        and rejects.code not in (select same.code from record as same where same.source_key = record.source_key)
)

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
from record
on conflict (connection, stream, source_key, code) do update
set
    reason = excluded.reason,
    raw = excluded.raw,
    run_id = excluded.run_id,
    last_at = now(),
    times = stored.times + 1
