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

-- Casts that platforms share whose times name no zone, whose languages have three letters, and whose lists may be maps.

create function canonical.as_list(value jsonb) returns jsonb
language sql immutable parallel safe as $$
    select case jsonb_typeof(value)
        when 'array' then value
        when 'object' then jsonb_path_query_array(value, '$.*')
        else '[]'::jsonb
    end
$$;
comment on function canonical.as_list is 'The elements of an array, or of an object keyed by number or id; else none';

create function canonical.as_local_time_checked(value text, zone text) returns timestamptz
language plpgsql immutable as $$
declare
    local constant timestamp := value::timestamp;
begin
    return least(local at time zone zone, (local - interval '1 hour') at time zone zone + interval '1 hour');
exception
    when datetime_field_overflow or invalid_datetime_format or invalid_parameter_value then return null;
end
$$;
comment on function canonical.as_local_time_checked is 'The slow way of as_local_time, for values that may be impossible, such as 30 February';

create function canonical.as_local_time(value text, zone text) returns timestamptz
language sql immutable as $$
    select case
        -- Of the hour that is written twice when clocks go back, the first.
        when value ~ '^(199[0-9]|2[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[ T]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$'
            then least(
                value::timestamp at time zone zone,
                (value::timestamp - interval '1 hour') at time zone zone + interval '1 hour'
            )
        when value ~ '^(199[0-9]|2[0-9]{3})-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?$'
            then canonical.as_local_time_checked(value, zone)
    end
$$;
comment on function canonical.as_local_time is 'A time or day without a zone, read in the zone given; null for zero dates and anything else';

create function canonical.as_language(value text) returns text
language sql immutable parallel safe as $$
    select case
        when lower(btrim(value)) ~ '^[a-z]{2}$' then lower(btrim(value))
        else (
            jsonb_build_object(
                'pol', 'pl', 'eng', 'en', 'ger', 'de', 'deu', 'de', 'fre', 'fr', 'fra', 'fr', 'cze', 'cs', 'ces', 'cs',
                'slo', 'sk', 'slk', 'sk', 'ukr', 'uk', 'rus', 'ru', 'spa', 'es', 'ita', 'it', 'hun', 'hu', 'rum', 'ro',
                'ron', 'ro', 'lit', 'lt', 'lav', 'lv', 'est', 'et', 'dut', 'nl', 'nld', 'nl', 'por', 'pt', 'swe', 'sv',
                'dan', 'da', 'nor', 'no', 'fin', 'fi', 'gre', 'el', 'ell', 'el', 'bul', 'bg', 'hrv', 'hr', 'slv', 'sl',
                'tur', 'tr', 'bel', 'be', 'srp', 'sr', 'gle', 'ga', 'mlt', 'mt'
            ) ->> lower(btrim(value))
        )
    end
$$;
comment on function canonical.as_language is 'ISO 639-1 of a language written in two letters or three; null for anything else';

create function canonical.is_relay(address text, more_domains jsonb) returns boolean
language sql immutable parallel safe as $$
    select
        coalesce(
            lower(address) ~ '@(.*\.)?(allegromail\.(pl|com|cz|sk|hu)|user\.allegrogroup\.pl|marketplace\.amazon\.[a-z.]+|members\.ebay\.[a-z.]+)$'
            or exists (
                select from jsonb_array_elements_text(canonical.as_array(more_domains)) as domain
                where lower(btrim(address)) like '%@' || lower(ltrim(domain, '@'))
                    or lower(btrim(address)) like '%.' || lower(ltrim(domain, '@'))
            ),
            false
        )
$$;
comment on function canonical.is_relay is 'Whether an e-mail address is a marketplace''s relay: one of the best known, or of the domains given';
