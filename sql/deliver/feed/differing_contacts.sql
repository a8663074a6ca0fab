-- Contacts of this pipeline that may differ from what the ledger says, by fingerprints; all others would be rendered to
-- what it says already. Whom the account does not hold has none, and is rendered. All parts of a contact, the ledger's
-- payload and the fingerprint that was noted come to nought where nothing has changed.
--
-- One pass over all of it, because joins of five tables take twice as long. `says` goes on from fingerprints.sql: 4 for
-- what the ledger holds, 8 where that says already that the contact is gone. The words between /* and */ stand for
-- literals, because a table can only be made of a statement without parameters, and only that runs in parallel.
create temporary table deliver_differing as
select contact_id as key
from (
    /*parts*/
    union all
    select
        contact_id,
        case when state = 'acknowledged' then jsonb_hash_extended(payload, 4) else 0::bigint end,
        case when state = 'acknowledged' and payload ? 'gone' then 12 else 4 end
    from delivery.ledger
    where target = /*target*/ and object = 'contact'
    union all
    select
        contact_id,
        fingerprint,
        0
    from delivery.fingerprints
    where target = /*target*/ and pipeline = /*pipeline*/
) as parts
group by contact_id
having case
    when bit_or(says) & 1 = 1 then bit_or(says) & 2 = 2 and bit_xor(part) <> 0
    else bit_or(says) & 12 = 4
end
