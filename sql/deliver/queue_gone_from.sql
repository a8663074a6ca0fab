-- Where in the queue the contacts begin that are no more; they come last.
select coalesce(min(queue.position), 9223372036854775807)
from pg_temp.deliver_queue as queue
where not exists (select from canonical.contacts where contacts.contact_id = queue.key)
