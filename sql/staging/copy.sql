-- New records go straight into the table.
copy staging.orders (
    connection,
    source_key,
    parent_key,
    payload,
    payload_hash,
    source_updated_at,
    run_id
)
from stdin binary
