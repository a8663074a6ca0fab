-- Accounts and subscriptions as sources of contacts. They come before orders, because an order belongs to the contact
-- that its account speaks of.
insert into affected_contact_sources (connection, source_key)
select connection, 'account:' || source_key from mapping, changed_customers
union all
select connection, 'subscriber:' || source_key from mapping, changed_subscribers;
