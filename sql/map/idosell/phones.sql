-- Phones to be read by the library before the mapping: as written, and the country they are read in.
select
    phone as raw,
    coalesce(canonical.as_country(b ->> 'clientCountryId'), m.default_country, '') as country
from source_customers s
cross join mapping m
cross join lateral (select s.payload -> 'clientBillingAddress') as billing (b)
cross join lateral (values (b ->> 'clientPhone1'), (b ->> 'clientPhone2')) as phones (phone)
union
select
    phone,
    coalesce(canonical.as_country(b ->> 'clientCountryId'), m.default_country, '')
from source_orders s
cross join mapping m
cross join lateral jsonb_to_record(s.payload) as p ("clientResult" jsonb)
cross join lateral (
    select p."clientResult" -> 'clientBillingAddress', p."clientResult" -> 'clientAccount'
) as parts (b, a)
cross join lateral (
    values
        (canonical.as_text(a ->> 'clientPhone1')),
        (canonical.as_text(a ->> 'clientPhone2')),
        (canonical.as_text(b ->> 'clientPhone1')),
        (canonical.as_text(b ->> 'clientPhone2'))
) as phones (phone)
union
select
    s.payload ->> 'phone_cellular',
    coalesce(m.default_country, '')
from source_subscribers s
cross join mapping m
