-- Whose cards are to be looked at before they are opted in: one row per address of pg_temp.deliver_desired, in lower
-- case.
-- Nobody is missed whom `wants_in` of contact_requests.sql names, without rendering a request that the look may change;
-- whoever should be is looked at once the request says so. $1 settings, as for contacts.sql.
select distinct lower(coalesce(ledger.payload ->> 'email', desired.payload ->> 'email')) as address
from pg_temp.deliver_desired as desired
left join delivery.ledger
    on ledger.contact_id = coalesce(desired.former_id, desired.key)
    and ledger.target = $1::jsonb ->> 'target'
    and ledger.object = 'contact'
    and ledger.key = coalesce(desired.former_id, desired.key)
where desired.verdict = 'send'
    and coalesce(ledger.state, 'acknowledged') = 'acknowledged'
    and exists (
        select
        from (values ('email'), ('sms')) as channel (name)
        cross join lateral (
            select
                desired.payload #> array['consent', channel.name] as stated,
                ledger.payload #> array['consent', channel.name] as sent
        ) as consent
        where stated ->> 'state' = 'opt_in'
            and (
                coalesce(sent ->> 'state', 'unknown') <> 'opt_in'
                or coalesce(sent ->> 'respected', 'false') = 'true'
                or (stated ->> 'at')::timestamptz > coalesce((sent ->> 'at')::timestamptz, '-infinity')
            )
    )
order by address
