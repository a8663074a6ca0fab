-- A card was renamed: what hangs on the old contact hangs on the new one from now on, and the old contact is forgotten,
-- except for what is known of the card: who made it, and in which channels it was ever opted in.
-- Rows are deleted and inserted, because contact_id is what they would be distributed by. $1 target, $2 old, $3 new.
with renamed as (
    select * from unnest($2::uuid[], $3::uuid[]) as pair (former_id, contact_id)
),
removed as (
    delete from delivery.ledger
    using renamed
    where ledger.contact_id = renamed.former_id and ledger.target = $1
    returning ledger.*, renamed.contact_id as new_contact_id
),
inherited as (
    update delivery.ledger
    set first_call_at = removed.first_call_at,
        opted_in = array(select unnest(ledger.opted_in) union select unnest(removed.opted_in) order by 1)
    from removed
    where removed.object = 'contact'
        and ledger.contact_id = removed.new_contact_id
        and ledger.target = removed.target
        and ledger.object = 'contact'
        and ledger.key = removed.new_contact_id
)
insert into delivery.ledger (
    target,
    object,
    key,
    contact_id,
    payload,
    state,
    target_id,
    batch_id,
    sent_at,
    confirmed_at,
    run_id
)
select
    target,
    object,
    key,
    new_contact_id,
    payload,
    state,
    target_id,
    batch_id,
    sent_at,
    confirmed_at,
    run_id
from removed
where object <> 'contact'
on conflict (contact_id, target, object, key) do nothing
