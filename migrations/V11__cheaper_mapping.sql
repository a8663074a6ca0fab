-- What every record pays for: payloads compressed by lz4, which is several times faster than pglz in both directions,
-- and an address check whose regular expression is cheap.

-- A server may be built without lz4; then everything stays as it was.
create function staging.compress_payloads(stream text) returns void
language plpgsql as $$
begin
    execute format('alter table staging.%I alter column payload set compression lz4', stream);
exception
    when feature_not_supported then null;
end
$$;
comment on function staging.compress_payloads is 'Lets payloads that land from now on be compressed by lz4';

select staging.compress_payloads(stream)
from unnest(
    array['customers', 'subscribers', 'orders', 'refunds', 'products', 'variations', 'categories']
) as stream;

-- Nothing is chosen by the inside of a payload; without this, every analyze would read 30,000 of them.
do $$
declare
    stream text;
begin
    foreach stream in array
        array['customers', 'subscribers', 'orders', 'refunds', 'products', 'variations', 'categories']
    loop
        execute format('alter table staging.%I alter column payload set statistics 0', stream);
    end loop;
end
$$;

create or replace function canonical.as_email(value text) returns text
language plpgsql immutable parallel safe as $$
declare
    address constant text := lower(canonical.as_text(value));
    domain constant text := split_part(address, '@', 2);
begin
    -- RFC 5321: 64 octets before the @, 254 in all; RFC 1035: 63 in a label. Quoted local parts are left out: no shop
    -- and no target takes them. A bound within the first expression would make it ten times slower.
    if
        address ~ '^[^[:space:]@"(),:;<>\\\[\]]+@([[:alnum:]]([[:alnum:]-]*[[:alnum:]])?\.)+[[:alpha:]][[:alnum:]-]*[[:alnum:]]$'
        and octet_length(split_part(address, '@', 1)) <= 64
        and octet_length(address) <= 254
        and (octet_length(domain) <= 63 or domain !~ '[^.]{64}')
        and address !~ '(^\.|\.\.|\.@)'
    then
        return address;
    end if;
    return null;
end
$$;
