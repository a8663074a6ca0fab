-- The contacts that $1 may mean: an id, an e-mail or a phone. exact tells those that it does mean; others are near.
with asked as (
    select
        canonical.as_email($1::text) as email,
        lower(btrim($1::text)) as word,
        case when $1::text ~* '^\s*[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\s*$' then btrim($1::text)::uuid end as id,
        case
            when $1::text ~ '^[[:space:]0-9+()./-]+$' then nullif(ltrim(regexp_replace($1::text, '[^0-9]', '', 'g'), '0'), '')
        end as digits
),
found as (
    select c.contact_id, true as exact
    from asked
    join canonical.contacts c on c.contact_id = asked.id or c.email = asked.email
    union all
    -- As written with the country's code, or without it.
    select c.contact_id, c.phone = '+' || asked.digits or right(c.phone, 9) = asked.digits
    from asked
    join canonical.contacts c on right(c.phone, 7) = right(asked.digits, 7)
    where length(asked.digits) >= 7
    union all
    -- A contact that is no more is explained by the one it has become.
    select c.contact_id, true
    from asked
    join canonical.contact_moves m on m.contact_id = asked.id or m.email = asked.email
    join canonical.contacts c on c.contact_id = m.moved_to
    union all
    (
        select c.contact_id, false
        from asked
        join canonical.contacts c
            on split_part(c.email, '@', 1) = split_part(asked.word, '@', 1)
            or c.email like replace(replace(replace(left(asked.word, 5), '\', '\\'), '%', '\%'), '_', '\_') || '%'
        where asked.id is null and asked.digits is null and length(asked.word) >= 3
        limit 5
    )
)
select c.contact_id, coalesce(c.email, c.phone, c.contact_id::text) as name, bool_or(found.exact) as exact
from found
join canonical.contacts c using (contact_id)
group by c.contact_id, name
order by exact desc, name
limit 10
