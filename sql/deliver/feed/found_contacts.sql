-- One row per contact that fingerprints have found to differ. $1 target account, $2 connections, $3 ignored, $4 the run
-- to note.
select differing.key, $4::bigint as run_id
from pg_temp.deliver_differing as differing
where $1::text is not null and $2::text[] is not null and $3::bigint is not null
