-- One row per contact of this pipeline whose payload may differ because of changes in the feed.
-- $1 target account, $2 connections, $3 the last run taken over before, $4 the last run to take over now.
with feed as (
    select
        contact_id,
        (old ->> 'contact_id')::uuid as old_contact_id,
        run_id
    from canonical.changes
    where run_id > $3::bigint and run_id <= $4::bigint
        and entity in ('contacts', 'contact_sources', 'contact_tags', 'orders')
),
touched as (
    select contact_id, run_id from feed where contact_id is not null
    union all
    select old_contact_id, run_id from feed where old_contact_id is not null
    union all
    -- The contact that another one became: it is what a rename is sent for.
    select moves.moved_to, feed.run_id
    from feed
    join canonical.contact_moves as moves on moves.contact_id = feed.contact_id
),
newest as (
    select contact_id, max(run_id) as run_id from touched group by contact_id
)
select contact_id as key, run_id
from newest
where exists (
        select from canonical.contact_sources as source
        where source.contact_id = newest.contact_id and source.connection = any ($2::text[])
    )
    -- What the target holds concerns us even when no shop has it any more.
    or exists (
        select from delivery.ledger
        where ledger.contact_id = newest.contact_id and ledger.target = $1::text and ledger.object = 'contact'
    )
