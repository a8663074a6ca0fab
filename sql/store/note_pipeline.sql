-- Notes what a pipeline is: $1 its name, $2 the shops it reads, $3 the target account, $4 its platform, $5 how old what
-- was read may be, in seconds, or null. Nothing is written where that is known already.
insert into ops.pipelines as pipelines (
    pipeline,
    connections,
    target,
    platform,
    fresh_within
)
values (
    $1,
    $2,
    $3,
    $4,
    make_interval(secs => $5::double precision)
)
on conflict (pipeline) do update
set
    connections = excluded.connections,
    target = excluded.target,
    platform = excluded.platform,
    fresh_within = excluded.fresh_within
where (pipelines.connections, pipelines.target, pipelines.platform, pipelines.fresh_within)
    is distinct from (excluded.connections, excluded.target, excluded.platform, excluded.fresh_within)
