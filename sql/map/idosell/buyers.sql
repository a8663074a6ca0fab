-- Buyers of IdoSell orders whose customer record is not known: the order is all there is of them. Orders of
-- marketplaces bear relay addresses; unless the connection says otherwise such a buyer is nobody who can be written to.
insert into mapped_contact_sources (
    source_key, kind, raw_email, raw_phone, phone, first_name, last_name, company, street, postal_code, city, country,
    extra, created_at, updated_at
)
select
    'order:' || s.source_key,
    'guest',
    case
        when not is_hidden then coalesce(
            canonical.as_text(p."clientResult" -> 'clientAccount' ->> 'clientEmail'),
            canonical.as_text(p."orderDetails" -> 'auctionInfo' ->> 'auctionClientEmail')
        )
    end,
    case when not is_hidden then coalesce(phone1, phone2) end,
    case when not is_hidden then coalesce(canonical.e164(phone1, country), canonical.e164(phone2, country)) end,
    canonical.as_text(b ->> 'clientFirstName'),
    canonical.as_text(b ->> 'clientLastName'),
    canonical.as_text(canonical.decoded(b ->> 'clientFirm')),
    canonical.as_text(b ->> 'clientStreet'),
    canonical.as_text(b ->> 'clientZipCode'),
    canonical.as_text(b ->> 'clientCity'),
    canonical.as_country(b ->> 'clientCountryId'),
    case when is_relay then jsonb_build_object('marketplace', true) else '{}' end,
    placed_at,
    -- What the buyer said was said with the order; later changes of the order are the shop's.
    placed_at
from source_orders s
cross join mapping m
cross join lateral jsonb_to_record(s.payload) as p ("clientResult" jsonb, "orderDetails" jsonb)
left join staging.customers a
    on a.connection = s.connection
    and a.source_key = p."clientResult" -> 'clientAccount' ->> 'clientId'
    and a.deleted_at is null
cross join lateral (
    select
        p."clientResult" -> 'clientBillingAddress',
        coalesce(
            canonical.as_country(p."clientResult" -> 'clientBillingAddress' ->> 'clientCountryId'),
            m.default_country
        ),
        coalesce(
            canonical.as_text(p."clientResult" -> 'clientAccount' ->> 'clientPhone1'),
            canonical.as_text(p."clientResult" -> 'clientBillingAddress' ->> 'clientPhone1')
        ),
        coalesce(
            canonical.as_text(p."clientResult" -> 'clientAccount' ->> 'clientPhone2'),
            canonical.as_text(p."clientResult" -> 'clientBillingAddress' ->> 'clientPhone2')
        ),
        canonical.as_local_time(canonical.as_text(p."orderDetails" ->> 'orderAddDate'), m.settings ->> 'time_zone'),
        p."orderDetails" -> 'orderSourceResults' ->> 'orderSourceType' in ('auction', 'auctions', 'marketplace')
        or canonical.as_text(p."orderDetails" -> 'orderSourceResults' ->> 'auctionsServiceName') is not null
        or canonical.is_relay(p."clientResult" -> 'clientAccount' ->> 'clientEmail', m.settings -> 'relay_domains')
) as read (b, country, phone1, phone2, placed_at, is_relay)
cross join lateral (select is_relay and m.settings ->> 'marketplace' = 'exclude') as hiding (is_hidden)
where
    a.source_key is null
    and s.source_key in (select source_key from mapped_orders);
