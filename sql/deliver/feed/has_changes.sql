-- Whether a pipeline has something to send that changed, besides what is pending only because everything is compared.
-- A pipeline that has never been loaded has not. Parameters: target, pipeline.
select
    exists (
        select from delivery.pending
        where target = $1 and pipeline = $2 and not is_backfill
    )
    or exists (
        select from canonical.changes
        where run_id > (select run_id from delivery.consumers where target = $1 and pipeline = $2)
    )
