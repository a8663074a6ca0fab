-- Notes what is archived where: $1 the place, $2 the snapshot's name, $3 its instant, $4 the last run of the feed that
-- is in it.
insert into ops.archives (place, snapshot, taken_at, feed_run)
values ($1::text, $2::text, $3::timestamptz, $4::bigint)
on conflict (place) do update
set snapshot = excluded.snapshot, taken_at = excluded.taken_at, feed_run = excluded.feed_run
