-- What contacts.sql reads besides what the common fingerprints.sql names: whether the contact has ordered.
select distinct
    contact_id,
    3::bigint as part,
    0 as says
from canonical.orders
where connection = any (/*connections*/) /*among*/
