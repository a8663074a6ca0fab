-- Ends a queue's statement: without what is pending only because everything is compared. $1 target, $2 pipeline.
    and exists (
        select from delivery.pending as changed
        where changed.target = $1::text
            and changed.pipeline = $2::text
            and changed.object = pending.object
            and changed.key = pending.key
            and not changed.is_backfill
    )
