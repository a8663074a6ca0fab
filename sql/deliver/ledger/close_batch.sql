-- Finishes a batch that was looked into, once none of its records is open. $1 batch.
update delivery.batches
set finished_at = now(),
    state = case
        when exists (select from delivery.ledger where ledger.batch_id = $1 and ledger.state = 'held') then 'unknown'
        when (select count(*) from delivery.ledger where ledger.batch_id = $1) >= batches.items then 'acknowledged'
        when exists (select from delivery.ledger where ledger.batch_id = $1) then 'partial'
        else 'refused'
    end
where batches.batch_id = $1
    and batches.finished_at is null
    and not exists (select from delivery.ledger where ledger.batch_id = $1 and ledger.state = 'sending')
