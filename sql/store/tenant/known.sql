-- Who was seen behind a name, and who was refused since. $1 role, $2 name.
select
    platform,
    told,
    address,
    credential,
    to_char(seen_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') as seen_at,
    other,
    to_char(other_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') as other_at
from ops.tenants
where role = $1 and name = $2
