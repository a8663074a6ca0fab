-- Phones that nobody has read yet. More than 100 characters are no phone; canonical.e164 cuts alike.
select distinct
    left(raw, 100),
    country
from (
    /* phones */
) as asked
where
    canonical.as_text(raw) is not null
    and not exists (select from canonical.phones p where p.raw = left(asked.raw, 100) and p.country = asked.country)
