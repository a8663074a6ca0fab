-- Notes the fingerprints of contacts that were rendered. $1 target account, $2 pipeline, and one array per column: $3
-- and on.
insert into delivery.fingerprints (
    contact_id,
    target,
    pipeline,
    fingerprint
)
select
    rendered.contact_id,
    $1::text,
    $2::text,
    rendered.fingerprint
from unnest($3::uuid[], $4::bigint[]) as rendered (contact_id, fingerprint)
on conflict (contact_id, target, pipeline) do update
set fingerprint = excluded.fingerprint
where fingerprints.fingerprint <> excluded.fingerprint
