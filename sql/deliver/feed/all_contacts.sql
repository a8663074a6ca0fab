-- One row per contact of this pipeline's connections, and per contact that the target holds and no shop has any more.
-- $1 target account, $2 connections, $3 ignored, $4 the run to note.
select distinct source.contact_id as key, $4::bigint as run_id
from canonical.contact_sources as source
where source.connection = any ($2::text[]) and $3::bigint is not null
union
select ledger.contact_id, $4::bigint
from delivery.ledger
where ledger.target = $1::text and ledger.object = 'contact'
    and not exists (select from canonical.contacts where contacts.contact_id = ledger.contact_id)
