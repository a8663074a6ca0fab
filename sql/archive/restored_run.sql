-- The run that a restore is: $1 its number, after all that the archive knows of, $2 who did it.
insert into ops.runs (run_id, pipeline, command, holder, started_at, finished_at, outcome)
overriding system value
values ($1::bigint, 'archive', 'restore', $2::text, now(), clock_timestamp(), 'done')
