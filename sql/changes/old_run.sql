-- The last run of which every change is older than $1 seconds; $2, the last complete run, at most.
select
    least(
        (select min(run_id) - 1 from canonical.changes where at >= now() - make_interval(secs => $1::double precision)),
        $2::bigint
    ) as old_run
