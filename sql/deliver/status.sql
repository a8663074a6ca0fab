-- Everything `wharf status` shows, as one document. $1 a pipeline or null for all, $2 how many runs.
with last_runs as (
    select *
    from ops.runs
    where $1::text is null or runs.pipeline = $1
    order by runs.run_id desc
    limit $2::bigint
),
steps as (
    select
        step.run_id,
        jsonb_agg(
            jsonb_build_object(
                'stage', step.stage,
                'subject', step.subject,
                'seconds', extract(epoch from step.finished_at - step.started_at)::double precision,
                'counts', step.counts
            )
            order by step.step
        ) as steps
    from ops.run_steps as step
    where step.run_id in (select last_runs.run_id from last_runs)
    group by step.run_id
),
runs as (
    select
        last_runs.run_id,
        jsonb_build_object(
            'run_id', last_runs.run_id,
            'pipeline', last_runs.pipeline,
            'command', last_runs.command,
            'started_at', to_char(last_runs.started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'seconds', extract(epoch from last_runs.finished_at - last_runs.started_at)::double precision,
            'outcome', last_runs.outcome,
            'error', last_runs.error,
            'steps', coalesce(steps.steps, '[]')
        ) as run
    from last_runs
    left join steps on steps.run_id = last_runs.run_id
),
streams as (
    select
        cursors.connection,
        cursors.stream,
        jsonb_build_object(
            'connection', cursors.connection,
            'stream', cursors.stream,
            'watermark', to_char(cursors.watermark at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'walking', cursors.walk is not null
        ) as cursor
    from ops.cursors
    where $1::text is null
        or cursors.connection in (
            -- Steps are named connection/stream.
            select split_part(step.subject, '/', 1)
            from ops.run_steps as step
            join ops.runs on runs.run_id = step.run_id
            where runs.pipeline = $1 and step.stage = 'extract'
        )
),
pending as (
    select
        pending.target,
        pending.pipeline,
        count(*) filter (where pending.object = 'contact') as contacts,
        count(*) filter (where pending.object = 'order') as orders
    from delivery.pending
    group by pending.target, pending.pipeline
),
guarded as (
    select
        guarded.target,
        guarded.pipeline,
        count(*) as contacts,
        min(guarded.held_at) as since
    from delivery.guarded
    join delivery.pending
        on pending.target = guarded.target
        and pending.pipeline = guarded.pipeline
        and pending.object = 'contact'
        and pending.key = guarded.key
    group by guarded.target, guarded.pipeline
),
held_objects as (
    select ledger.target, ledger.object, count(*) as n
    from delivery.ledger
    where ledger.state = 'acknowledged'
    group by ledger.target, ledger.object
),
ledgers as (
    select held_objects.target, jsonb_object_agg(held_objects.object, held_objects.n) as objects
    from held_objects
    group by held_objects.target
),
unknown as (
    select ledger.target, count(*) as n from delivery.ledger where ledger.state = 'held' group by ledger.target
),
targets as (
    select
        consumers.target,
        consumers.pipeline,
        jsonb_build_object(
            'target', consumers.target,
            'pipeline', consumers.pipeline,
            'taken_over_through_run', consumers.run_id,
            'first_load', consumers.first_load,
            'pending_contacts', coalesce(pending.contacts, 0),
            'pending_orders', coalesce(pending.orders, 0),
            'ledger', coalesce(ledgers.objects, '{}'),
            'held', coalesce(unknown.n, 0),
            'guarded', coalesce(guarded.contacts, 0),
            'guarded_since', to_char(guarded.since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        ) as target_status
    from delivery.consumers
    left join pending on pending.target = consumers.target and pending.pipeline = consumers.pipeline
    left join guarded on guarded.target = consumers.target and guarded.pipeline = consumers.pipeline
    left join ledgers on ledgers.target = consumers.target
    left join unknown on unknown.target = consumers.target
    where $1::text is null or consumers.pipeline = $1
),
reject_counts as (
    select rejects.stage, rejects.scope, rejects.code, count(*) as n
    from ops.rejects
    group by rejects.stage, rejects.scope, rejects.code
),
working as (
    select
        leases.name,
        jsonb_build_object(
            'name', leases.name,
            'holder', leases.holder,
            'run_id', leases.run_id,
            'since', to_char(leases.taken_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        ) as lease
    from ops.leases
    join ops.runs on runs.run_id = leases.run_id
    where runs.finished_at is null and leases.holder <> ''
)
select jsonb_build_object(
    'runs', (select coalesce(jsonb_agg(run order by run_id desc), '[]') from runs),
    'streams', (select coalesce(jsonb_agg(cursor order by connection, stream), '[]') from streams),
    'targets', (select coalesce(jsonb_agg(target_status order by target, pipeline), '[]') from targets),
    'rejects', (
        select coalesce(
            jsonb_agg(
                jsonb_build_object('stage', stage, 'scope', scope, 'code', code, 'n', n)
                order by stage, scope, code
            ),
            '[]'
        )
        from reject_counts
    ),
    'working', (select coalesce(jsonb_agg(lease order by name), '[]') from working)
) as status
