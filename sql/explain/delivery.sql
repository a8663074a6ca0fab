-- What was sent of some objects, what waits, and what was refused. $1 the ids, $2 whether payloads are wanted.
with targets as (
    select
        l.target,
        l.object,
        l.key,
        jsonb_build_object(
            'state', l.state,
            'sent_at', delivery.iso_utc(l.sent_at),
            'confirmed_at', delivery.iso_utc(l.confirmed_at),
            'target_id', l.target_id,
            'batch', l.batch_id,
            'run', l.run_id
        ) || case when $2::boolean then jsonb_build_object('payload', l.payload) else '{}' end as told
    from delivery.ledger l
    where l.key = any ($1::uuid[])
)
select jsonb_build_object(
    'ledger', (
        select coalesce(
            jsonb_agg(jsonb_build_object('target', target, 'object', object, 'key', key) || told order by target, object, key),
            '[]'
        )
        from targets
    ),
    'batches', (
        select coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'batch', b.batch_id,
                    'target', b.target,
                    'operation', b.operation,
                    'run', b.run_id,
                    'items', b.items,
                    'state', b.state,
                    'at', delivery.iso_utc(b.started_at),
                    'detail', b.detail
                )
                order by b.batch_id
            ),
            '[]'
        )
        from delivery.batches b
        where b.keys && $1::uuid[]
    ),
    'pending', (
        select coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'target', p.target,
                    'pipeline', p.pipeline,
                    'object', p.object,
                    'key', p.key,
                    'run', p.run_id,
                    'attempts', p.attempts
                )
                order by p.target, p.pipeline, p.object, p.key
            ),
            '[]'
        )
        from delivery.pending p
        where p.key = any ($1::uuid[])
    ),
    'rejects', (
        select coalesce(
            jsonb_agg(
                jsonb_build_object(
                    'target', r.target,
                    'pipeline', r.pipeline,
                    'object', r.object,
                    'key', r.key,
                    'code', r.code,
                    'reason', r.reason,
                    'times', r.times,
                    'last_at', delivery.iso_utc(r.last_at)
                )
                order by r.last_at desc, r.object, r.key, r.code
            ),
            '[]'
        )
        from delivery.rejects r
        where r.key = any ($1::uuid[])
    )
) as told
