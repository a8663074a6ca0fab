-- What rendering reads of contacts that an account holds, as numbers, the same for every platform: rows of (contact_id,
-- part, says). The exclusive or of a contact's parts is its fingerprint: where it is the same, the same is called for.
-- Whatever a platform's contacts.sql and contact_requests.sql read besides is in its own fingerprints.sql.
--
-- The contact's row goes in whole, so that a new column cannot be forgotten. Of sources and tags what is read goes in.
-- Filters decide nothing about whom the account holds. Rows are unique, so the exclusive or tells sets apart. `says` is
-- 1 for the contact itself, 2 for a source of the pipeline's connections, else 0. /*settings*/ stands for a number that
-- settings give, /*target*/ for the account, /*connections*/ for the pipeline's connections, /*among*/ for a condition
-- on contact_id.
select
    contact_id,
    hash_record_extended(contact, /*settings*/) as part,
    1 as says
from canonical.contacts as contact
where true /*among*/
union all
select
    contact_id,
    hashtextextended(connection || ' ' || kind || ' ' || source_key, 1),
    case when connection = any (/*connections*/) then 2 else 0 end
from canonical.contact_sources
where true /*among*/
union all
select
    contact_id,
    hashtextextended(origin || ' ' || tag, 2),
    0
from canonical.contact_tags
where true /*among*/
