-- Delivery rejects become pending again. $1 code or null, $2 key or null, $3 the code of unknown outcomes: those were
-- held, and are given free because a person has looked; $4 the code of opt-outs that were kept, which stay: the same
-- opt-in comes to the same, unless a person decides (opt_in.sql). Gives how many records that is.
with taken as (
    delete from delivery.rejects
    where ($1::text is null or code = $1) and ($2::uuid is null or key = $2) and code <> $4
    returning target, pipeline, object, key, code, run_id
),
restored as (
    -- Of what the target held before, the ledger says that again.
    update delivery.ledger
    set payload = ledger.payload #> '{sending,before}', state = 'acknowledged'
    from taken
    where taken.code = $3::text
        and ledger.target = taken.target
        and ledger.object = taken.object
        and ledger.key = taken.key
        and ledger.state = 'held'
        and ledger.payload #> '{sending,before}' is not null
),
freed as (
    delete from delivery.ledger
    using taken
    where taken.code = $3::text
        and ledger.target = taken.target
        and ledger.object = taken.object
        and ledger.key = taken.key
        and ledger.state = 'held'
        and ledger.payload #> '{sending,before}' is null
),
again as (
    select
        target,
        pipeline,
        case when object = 'contact' then 'contact' else 'order' end as object,
        key,
        max(run_id) as run_id
    from taken
    group by 1, 2, 3, 4
),
written as (
    insert into delivery.pending (target, pipeline, object, key, run_id)
    select * from again
    on conflict (target, pipeline, object, key) do update set attempts = 0
)
select count(*) from again
