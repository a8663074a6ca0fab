-- How many contacts of this pipeline's connections a plan need not look at. $1 connections.
select count(*) as not_pending
from (
    select contact_id
    from canonical.contact_sources
    where connection = any ($1::text[])
    group by contact_id
) as ours
where not exists (
    select
    from pg_temp.deliver_pending as pending
    where pending.object = 'contact' and pending.key = ours.contact_id
)
