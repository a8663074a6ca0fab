-- Buyers of the orders as sources of contacts.
insert into affected_contact_sources (connection, source_key)
select connection, 'order:' || source_key
from mapping, changed_orders;
