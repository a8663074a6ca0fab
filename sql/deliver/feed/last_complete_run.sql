-- The last run below which no run may still write to the change feed. $1 the run that asks, which counts as finished.
select canonical.complete_run($1::bigint)
