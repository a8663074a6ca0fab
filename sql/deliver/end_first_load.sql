-- Ends a pipeline's first load into an account where it is over: something was acknowledged, nothing is pending, and
-- nothing of its shops is still on its way: each was read, every list of it whole, all that landed is mapped, and what
-- changed was taken over.
-- A load before anything was extracted, one that was killed, and one of a shop that was read in part end nothing.
-- $1 target account, $2 pipeline.
update delivery.consumers
set first_load = false
where consumers.target = $1
    and consumers.pipeline = $2
    and consumers.first_load
    and not exists (
        select from delivery.pending where pending.target = $1 and pending.pipeline = $2
    )
    and not exists (select from canonical.changes where changes.run_id > consumers.run_id)
    and exists (
        select from delivery.batches
        where batches.target = $1 and batches.pipeline = $2 and batches.state in ('acknowledged', 'partial')
    )
    and not exists (
        select
        from jsonb_array_elements_text(consumers.settings -> 'connections') as shop (connection)
        where exists (
                select from ops.cursors where cursors.connection = shop.connection and cursors.full_at is null
            )
            or ops.has_unmapped(shop.connection)
            or (
                not exists (select from ops.cursors where cursors.connection = shop.connection)
                and not exists (
                    select from canonical.contact_sources as source where source.connection = shop.connection
                )
                and not exists (select from canonical.orders where orders.connection = shop.connection)
            )
    )
