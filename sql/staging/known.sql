-- One row per key of a batch that staging holds already.
-- In all files of this folder `staging.orders` stands for the stream's own table, which the program puts in its place.
select
    source_key,
    payload_hash,
    parent_key,
    source_updated_at,
    deleted_at is not null as deleted,
    run_id
from staging.orders
where connection = $1
    and source_key = any($2)
