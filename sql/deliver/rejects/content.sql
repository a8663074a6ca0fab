-- What was received, or was to be sent, of one reject: name and text. $1 stage, $2 scope, $3 entity, $4 key, $5 code.
select 'received' as name, convert_from(
    convert_to(encode(raw, 'escape'), 'UTF8'),
    'UTF8'
) as text
from staging.rejects
where $1::text = 'staging' and connection = $2::text and stream = $3::text and source_key = $4::text and code = $5::text
union all
select field || ' as received', coalesce(value, '(nothing)')
from canonical.rejects
where $1::text = 'canonical' and connection = $2::text and entity = $3::text and key = $4::text and code = $5::text
union all
select 'to be sent', jsonb_pretty(payload)
from delivery.rejects
where $1::text = 'delivery' and target || '/' || pipeline = $2::text and object = $3::text and key::text = $4::text
    and code = $5::text and payload is not null
