-- One row per order of this pipeline's connections.
-- $1 target account (ignored), $2 connections, $3 ignored, $4 the run to note.
select orders.order_id as key, $4::bigint as run_id
from canonical.orders
where orders.connection = any ($2::text[]) and $1::text is not null and $3::bigint is not null
