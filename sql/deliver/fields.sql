-- What contacts.fields give for the contacts in hand: each expression stands in place of the marker, as one row (name,
-- value as text). A statement of its own, because it is run by a role that reads canonical and marts and nothing else.
insert into pg_temp.deliver_properties (contact_id, properties)
select
    c.contact_id,
    jsonb_object_agg(field.name, field.value order by field.name) filter (where field.value <> '') as properties
from canonical.contacts as c
/*rfm*/
cross join lateral (
    values
        /*fields*/
        (null::text, null::text)
) as field (name, value)
where c.contact_id in (select candidate.key from pg_temp.deliver_candidates as candidate)
    and field.name is not null
group by c.contact_id
