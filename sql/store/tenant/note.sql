-- Notes whom a name belongs to: who was seen first, the same one with another key or at another address, or who a
-- person has said it is. With $7 that settles the question who was refused. $1 role, $2 name, $3 platform, $4 told,
-- $5 address, $6 credential, $7 whether a person has said so.
insert into ops.tenants (role, name, platform, told, address, credential)
values ($1, $2, $3, $4, $5, $6)
on conflict (role, name) do update
set
    platform = excluded.platform,
    told = coalesce(excluded.told, tenants.told),
    address = excluded.address,
    credential = excluded.credential,
    seen_at = now(),
    other = case when $7 then null else tenants.other end,
    other_at = case when $7 then null else tenants.other_at end
