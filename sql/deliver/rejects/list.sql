-- Rejects of all stages, the newest first. $1 stage, $2 code, $3 key, each or null, $4 how many at most.
with listed as (
    select *
    from ops.rejects
    where ($1::text is null or rejects.stage = $1)
        and ($2::text is null or rejects.code = $2)
        and ($3::text is null or rejects.key = $3)
    order by rejects.last_at desc, rejects.stage, rejects.scope, rejects.entity, rejects.key, rejects.code
    limit $4
)
select
    listed.stage,
    listed.scope,
    listed.entity,
    listed.key,
    listed.field,
    listed.code,
    listed.reason,
    coalesce(listed.value, contacts.email, contacts.phone, orders.number) as value,
    listed.times,
    to_char(listed.last_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as last_at
from listed
left join canonical.contacts
    -- Keys of other stages are no ids, and conditions are looked at in any order.
    on contacts.contact_id = case when listed.stage = 'delivery' and listed.entity = 'contact' then listed.key::uuid end
left join canonical.orders
    on orders.order_id = case when listed.stage = 'delivery' and listed.entity <> 'contact' then listed.key::uuid end
order by listed.last_at desc, listed.stage, listed.scope, listed.entity, listed.key, listed.code
