-- What a plan holds and nobody has queued becomes pending, as after comparing everything. $1 target account,
-- $2 pipeline, $3 the run to note, $4 the account's lease, $5 its number.
insert into delivery.pending (target, pipeline, object, key, run_id)
select
    $1::text,
    $2::text,
    planned.object,
    planned.key,
    $3::bigint
from pg_temp.deliver_plan_keys as planned
cross join (select ops.assert_lease($4::text, $5::bigint)) as lease
on conflict (target, pipeline, object, key) do nothing
