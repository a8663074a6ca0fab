-- Everything pending of contacts, in the order of work: people first, then those who are no more, because a card that
-- is renamed for the one must not be emptied for the other.
insert into pg_temp.deliver_queue (position, key, run_id)
select
    row_number() over (order by contact.contact_id is null, pending.key),
    pending.key,
    pending.run_id
from pg_temp.deliver_pending as pending
left join canonical.contacts as contact on contact.contact_id = pending.key
where pending.object = 'contact'
    -- What the guard holds back waits; in a plan, and for the guard itself, this is empty.
    and not exists (select from pg_temp.deliver_guarded as guarded where guarded.key = pending.key)
