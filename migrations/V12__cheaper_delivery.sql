-- What rendering and sending cost for every record: functions that the planner can take apart, indexes that begin with
-- the key.

-- Both read the session's settings as far as PostgreSQL knows, so as `immutable` they were called as functions, ten
-- times as dear as what they do; as `stable` they are written into the statement.
create or replace function delivery.iso_utc(value timestamptz) returns text
language sql stable parallel safe as $$
    select to_char(value at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

create or replace function delivery.epoch_ms(value timestamptz) returns bigint
language sql stable parallel safe as $$
    select floor(extract(epoch from value) * 1000)::bigint
$$;

-- The common case, a text that fits, is written into the statement too.
alter function delivery.cut_bytes(text, integer) rename to cut_long;
comment on function delivery.cut_long is 'As cut_bytes, for texts that do not fit';

create function delivery.cut_bytes(value text, max_bytes integer) returns text
language sql immutable parallel safe as $$
    select case when octet_length(value) > max_bytes then delivery.cut_long(value, max_bytes) else value end
$$;
comment on function delivery.cut_bytes is 'The longest beginning of the text that fits into so many bytes of UTF-8';

-- Nothing calls it any more: null and empty members are left out where an object is built.
drop function delivery.compact(jsonb);

-- Beginning with the account, it looked selective while statistics were young: every look-up read the whole account.
drop index delivery.ledger_key;
create index ledger_key on delivery.ledger (key);
