-- Offer feeds: product files that a shop publishes beside its API, read only when they have changed.

alter table ops.cursors add column bookmark jsonb;
comment on column ops.cursors.bookmark is 'What the last complete walk left behind for the next one, such as which version of a file was read';

select staging.create_stream('offers', 'One row per product of a shop''s offer feed');
select staging.create_stream('offer_prices', 'One row per product of an offer feed''s file of prices and stock');
select staging.create_stream('offer_categories', 'One row per category of an offer feed');

select staging.compress_payloads(stream)
from unnest(array['offers', 'offer_prices', 'offer_categories']) as stream;

-- As for the other streams: nothing is chosen by the inside of a payload.
do $$
declare
    stream text;
begin
    foreach stream in array array['offers', 'offer_prices', 'offer_categories']
    loop
        execute format('alter table staging.%I alter column payload set statistics 0', stream);
    end loop;
end
$$;
