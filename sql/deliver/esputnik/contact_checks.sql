-- Whose cards are to be looked at before they are opted in: nobody's. eSputnik says opt-outs in a list, which has
-- been read by now (delivery.opt_outs). $1 settings, as for contacts.sql.
select desired.payload ->> 'email' as address
from pg_temp.deliver_desired as desired
where false and $1::jsonb is null
