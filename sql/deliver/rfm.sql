-- One RFM row per contact: of several currencies the one with the most orders, then the highest sum.
insert into pg_temp.deliver_rfm
select distinct on (contact_id)
    contact_id,
    currency,
    recency_days,
    frequency,
    monetary,
    first_order_at,
    last_order_at,
    r,
    f,
    m,
    segment
from marts.rfm
order by contact_id, frequency desc, monetary desc, currency;

analyze pg_temp.deliver_rfm;
