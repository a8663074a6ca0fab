-- What is known of a target account, that `--is-new` would set aside or forget: a line per figure. $1 the account.
select 'records of the ledger' as what, count(*) as n from delivery.ledger where ledger.target = $1
union all
select 'of them contacts', count(*) from delivery.ledger where ledger.target = $1 and ledger.object = 'contact'
union all
select 'pending records', count(*) from delivery.pending where pending.target = $1
union all
select 'rejects', count(*) from delivery.rejects where rejects.target = $1
