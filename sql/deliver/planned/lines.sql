-- From the lines of a saved plan to its records.
insert into pg_temp.deliver_plan (object, key, payload_hash, before_hash, request_hash)
select
    record.object,
    record.key,
    record.payload,
    record.before,
    delivery.payload_hash(record.request)
from pg_temp.deliver_plan_lines as lines
cross join lateral jsonb_to_record(lines.line)
    as record (object text, key uuid, payload uuid, before uuid, request jsonb);

drop table pg_temp.deliver_plan_lines;
analyze pg_temp.deliver_plan;
