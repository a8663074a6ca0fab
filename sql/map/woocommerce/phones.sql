-- Phones to be read by the library before the mapping: as written, and the country they are read in.
select
    p.billing ->> 'phone' as raw,
    coalesce(canonical.as_country(p.billing ->> 'country'), m.default_country, '') as country
from source_customers s
cross join mapping m
cross join lateral jsonb_to_record(s.payload) as p (billing jsonb)
union
select
    p.billing ->> 'phone',
    coalesce(canonical.as_country(p.billing ->> 'country'), m.default_country, '')
from source_orders s
cross join mapping m
cross join lateral jsonb_to_record(s.payload) as p (billing jsonb)
