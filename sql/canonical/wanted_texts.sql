-- Texts with entities that nobody has decoded yet.
select distinct
    md5(text)::uuid,
    text
from (
    /* texts */
) as asked (text)
where
    position('&' in text) > 0
    and not exists (select from canonical.decoded_texts d where d.raw_hash = md5(asked.text)::uuid)
