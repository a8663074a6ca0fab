-- What contacts.sql and contact_requests.sql read besides what the common fingerprints.sql names: who has opted out at
-- the account.
select
    contact_id,
    hashtextextended(channel || ' ' || extract(epoch from opted_out_at), 3) as part,
    0 as says
from canonical.contacts
cross join lateral (
    values
        ('email', contacts.email),
        ('sms', regexp_replace(contacts.phone, '\D', '', 'g'))
) as reached (by_channel, by_address)
join delivery.opt_outs on channel = by_channel and address = by_address
where target = /*target*/ /*among*/
