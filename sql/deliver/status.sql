-- Everything `wharf status` shows, as one document. $1 a pipeline or null for all, $2 how many runs.
with named as (
    select *
    from ops.pipelines
    where $1::text is null or pipelines.pipeline = $1
),
last_runs as (
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
alive as (
    -- A run holds a lock named after it as long as its process lives.
    select last_runs.run_id
    from last_runs
    join pg_locks as lock
        on (lock.classid::bigint << 32) | lock.objid::bigint = hashtextextended('wharf run ' || last_runs.run_id, 0)
    where last_runs.finished_at is null
        and lock.locktype = 'advisory'
        and lock.objsubid = 1
        and lock.granted
        and lock.database = (select db.oid from pg_database as db where db.datname = current_database())
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
            'outcome', case
                when last_runs.finished_at is null and alive.run_id is null then 'died'
                else last_runs.outcome
            end,
            'error', case
                when last_runs.finished_at is null and alive.run_id is null
                    then 'the process ended without a word; the next run continues where it was'
                else last_runs.error
            end,
            'steps', coalesce(steps.steps, '[]')
        ) as run
    from last_runs
    left join alive on alive.run_id = last_runs.run_id
    left join steps on steps.run_id = last_runs.run_id
),
limits as (
    select connection, min(named.fresh_within) as fresh_within
    from named
    cross join unnest(named.connections) as connection
    group by connection
),
cursor_ages as (
    select
        cursors.connection,
        cursors.stream,
        cursors.watermark,
        cursors.walk,
        readings.read_at,
        limits.fresh_within,
        -- Of a stretch of time that is read again, the name says which; it is done or not, never stale.
        position(' ' in cursors.stream) > 0 as is_range,
        now() - readings.read_at as age
    from ops.cursors
    left join ops.readings on readings.connection = cursors.connection and readings.stream = cursors.stream
    left join limits on limits.connection = cursors.connection
    where $1::text is null or limits.connection is not null
),
streams as (
    select
        cursor_ages.connection,
        cursor_ages.stream,
        jsonb_build_object(
            'connection', cursor_ages.connection,
            'stream', cursor_ages.stream,
            'watermark', to_char(cursor_ages.watermark at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'walking', cursor_ages.walk is not null,
            'read_at', to_char(cursor_ages.read_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'age_seconds', extract(epoch from cursor_ages.age)::double precision,
            'fresh_within_seconds', extract(epoch from cursor_ages.fresh_within)::double precision,
            'stale', not cursor_ages.is_range and cursor_ages.fresh_within is not null
                and coalesce(cursor_ages.age > cursor_ages.fresh_within, true)
        ) as cursor
    from cursor_ages
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
    select ledger.target, ledger.object, count(*) as n, max(ledger.sent_at) as sent_at
    from delivery.ledger
    where ledger.state = 'acknowledged'
    group by ledger.target, ledger.object
),
ledgers as (
    select
        held_objects.target,
        jsonb_object_agg(held_objects.object, held_objects.n) as objects,
        max(held_objects.sent_at) as sent_at
    from held_objects
    group by held_objects.target
),
unknown as (
    select ledger.target, count(*) as n from delivery.ledger where ledger.state = 'held' group by ledger.target
),
destinations as (
    select consumers.target, consumers.pipeline, consumers.run_id, consumers.first_load
    from delivery.consumers
    union all
    -- Nothing has been loaded there yet.
    select named.target, named.pipeline, null, true
    from named
    where not exists (
        select
        from delivery.consumers
        where consumers.target = named.target and consumers.pipeline = named.pipeline
    )
),
targets as (
    select
        destinations.target,
        destinations.pipeline,
        jsonb_build_object(
            'target', destinations.target,
            'platform', named.platform,
            'pipeline', destinations.pipeline,
            'taken_over_through_run', destinations.run_id,
            'first_load', destinations.first_load,
            'pending_contacts', coalesce(pending.contacts, 0),
            'pending_orders', coalesce(pending.orders, 0),
            'ledger', coalesce(ledgers.objects, '{}'),
            'last_sent_at', to_char(ledgers.sent_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'held', coalesce(unknown.n, 0),
            'guarded', coalesce(guarded.contacts, 0),
            'guarded_since', to_char(guarded.since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        ) as target_status
    from destinations
    left join named on named.target = destinations.target and named.pipeline = destinations.pipeline
    left join pending on pending.target = destinations.target and pending.pipeline = destinations.pipeline
    left join guarded on guarded.target = destinations.target and guarded.pipeline = destinations.pipeline
    left join ledgers on ledgers.target = destinations.target
    left join unknown on unknown.target = destinations.target
    where $1::text is null or destinations.pipeline = $1
),
reject_counts as (
    select rejects.stage, rejects.scope, rejects.code, count(*) as n
    from ops.rejects
    where $1::text is null
        or rejects.scope in (select unnest(named.connections) from named)
        or rejects.scope in (select named.target || '/' || named.pipeline from named)
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
    join pg_locks as lock
        on (lock.classid::bigint << 32) | lock.objid::bigint = hashtextextended('wharf run ' || runs.run_id, 0)
    where runs.finished_at is null
        and leases.holder <> ''
        and lock.locktype = 'advisory'
        and lock.objsubid = 1
        and lock.granted
        and lock.database = (select db.oid from pg_database as db where db.datname = current_database())
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
