-- Phones to be read by the library before the mapping: as written, and the country they are read in.
select
    payload -> 'billing' ->> 'phone' as raw,
    coalesce(canonical.as_country(payload -> 'billing' ->> 'country'), m.default_country, '') as country
from source_customers, mapping m
union
select
    payload -> 'billing' ->> 'phone',
    coalesce(canonical.as_country(payload -> 'billing' ->> 'country'), m.default_country, '')
from source_orders, mapping m
