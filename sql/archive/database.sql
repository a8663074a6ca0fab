-- The snapshot's frame: when it is, which database, and up to which run every change is in it. $1 is the archive's own
-- run, whose earlier stages have committed.

select
    statement_timestamp() as taken_at,
    left(encode(sha256(convert_to('archive:' || (select value from ops.settings where name = 'identity_salt'), 'UTF8')), 'hex'), 16)
        as database,
    coalesce(
        (select min(run_id) - 1 from ops.runs where finished_at is null and run_id <> $1::bigint),
        (select max(run_id) from ops.runs),
        0
    ) as watermark;
