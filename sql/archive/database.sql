-- The snapshot's frame: when it is, which database, and up to which run every change is in it. $1 is the archive's own
-- run, whose earlier stages have committed; $2 the last complete run of the change feed, asked before.

with salted as (
    select
        sha256(convert_to('archive:' || string_agg(value, ':' order by name), 'UTF8')) as fingerprint
    from ops.settings
    -- A database that was restored goes its own way from there: what the other archived later says nothing of it.
    where name in ('identity_salt', 'restored')
)
select
    statement_timestamp() as taken_at,
    left(encode((select fingerprint from salted), 'hex'), 16) as database,
    coalesce((select max(run_id) from ops.runs), 0) as last_run,
    least(
        coalesce(
            (select min(run_id) - 1 from ops.runs where finished_at is null and run_id <> $1::bigint),
            (select max(run_id) from ops.runs),
            0
        ),
        $2::bigint
    ) as watermark;
