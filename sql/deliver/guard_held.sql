-- How many of this pipeline's contacts the account holds, gone ones not counted. The ledger is the account's; whose a
-- contact is says the call that carried it last. $1 target account, $2 pipeline.
select count(*) as held
from delivery.ledger
left join delivery.batches on batches.batch_id = ledger.batch_id
where ledger.target = $1::text
    and ledger.object = 'contact'
    and ledger.state = 'acknowledged'
    and (
        coalesce(batches.pipeline, $2::text) = $2::text
        or exists (
            select from delivery.pending
            where pending.target = $1::text
                and pending.pipeline = $2::text
                and pending.object = 'contact'
                and pending.key = ledger.key
        )
    )
    and ledger.payload -> 'gone' is null
