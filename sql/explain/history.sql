-- What the change feed says of one row, oldest first: each field with its old value and the one that came then. $1 the
-- entity, $2 the key, $3 the row as it is now, or null.
with changes as (
    select
        c.run_id,
        c.seq,
        c.at,
        c.op,
        c.old
    from canonical.changes c
    where c.key = $2::text and c.entity = $1::text
),
fields as (
    select
        c.run_id,
        c.seq,
        f.key as field,
        f.value as old,
        -- What came is what the field's next change, or the delete, calls old; the last is in the row.
        coalesce(lead(f.value) over (partition by f.key order by c.run_id, c.seq), $3::jsonb -> f.key) as new
    from changes c
    cross join jsonb_each(c.old) f
)
select coalesce(
    jsonb_agg(
        jsonb_build_object(
            'run', c.run_id,
            'at', delivery.iso_utc(c.at),
            'op', c.op,
            'fields', (
                select coalesce(
                    jsonb_agg(jsonb_build_object('field', f.field, 'old', f.old, 'new', f.new) order by f.field),
                    '[]'
                )
                from fields f
                where f.run_id = c.run_id and f.seq = c.seq and c.op = 'update'
            )
        )
        order by c.run_id, c.seq
    ),
    '[]'
) as history
from changes c
