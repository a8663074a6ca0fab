-- A saved plan, as it is read and as it is used; temporary, in the session that renders.
create temporary table deliver_plan_lines (
    line jsonb not null
);

create temporary table deliver_plan (
    object text,
    key uuid,
    payload_hash uuid not null,
    before_hash uuid,
    request_hash uuid not null,
    -- Whether the ledger holds it just so.
    is_done boolean not null default false,
    primary key (object, key)
);

-- What is to be done yet, in the words of delivery.pending.
create temporary table deliver_plan_keys (
    object text,
    key uuid,
    primary key (object, key)
);
