-- IdoSell products: what the API says, with the page, pictures and prices of the offer feed where there is one; a
-- product that only the feed knows is taken from there. Sizes are variations: their code for people is PRODUCT-SIZE,
-- and a product of one size (uniw) is its own variation. -1 pieces means that stock is not counted (sheet, section 4).
-- What the feed calls anything but in_stock cannot be bought whatever its pieces. A price and its currency are of one
-- source: whoever the feed was made for may pay in another currency than the panel's.
insert into changed_products (source_key)
select source_key
from (table changed_offers union table changed_offer_prices) as changed
where source_key not in (select source_key from changed_products);

analyze changed_products;

create temp table if not exists idosell_sizes (
    product_key text not null,
    size_key text not null,
    name text,
    sku text,
    price numeric,
    stock numeric,
    is_counted boolean,
    on_sale boolean,
    primary key (product_key, size_key)
) on commit drop;
truncate idosell_sizes;

create temp table if not exists idosell_products (
    product_key text primary key,
    api jsonb,
    offer jsonb,
    light jsonb
) on commit drop;
truncate idosell_products;

insert into idosell_products (product_key, api, offer, light)
select
    c.source_key,
    s.payload,
    o.payload,
    l.payload
from changed_products c
cross join mapping m
left join staging.products s
    on s.connection = m.connection and s.source_key = c.source_key and s.deleted_at is null
left join staging.offers o
    on o.connection = m.connection and o.source_key = c.source_key and o.deleted_at is null
left join staging.offer_prices l
    on l.connection = m.connection and l.source_key = c.source_key and l.deleted_at is null
where s.source_key is not null or o.source_key is not null;

-- The sizes of a product with their stock, of the API where it knows the product, else of the feed.
insert into idosell_sizes (product_key, size_key, name, sku, price, stock, is_counted, on_sale)
with listed as (
    select
        p.product_key,
        size ->> 'sizeId' as size_key,
        size ->> 'sizePanelName' as name,
        null as sku,
        null as price,
        null as available
    from idosell_products p
    cross join lateral jsonb_array_elements(canonical.as_list(p.api -> 'productSizes')) as size
    union all
    select
        p.product_key,
        size ->> 'sizeId',
        size ->> 'sizePanelName',
        size ->> 'productSizeCodeExternal',
        coalesce(size ->> 'productPromoRetailPrice', size ->> 'productRetailPrice'),
        null
    from idosell_products p
    cross join lateral jsonb_array_elements(canonical.as_list(p.api -> 'productSizesAttributes')) as size
    union all
    select
        p.product_key,
        size ->> '@id',
        coalesce(size ->> '@panel_name', size ->> '@name'),
        null,
        size -> 'price' -> 0 ->> '@gross',
        size ->> '@available'
    from idosell_products p
    cross join lateral jsonb_path_query(p.offer, '$.sizes[*].size[*]') as size
    where p.api is null
),
counted as (
    select
        p.product_key,
        size ->> 'sizeId' as size_key,
        canonical.as_number(size ->> 'productSizeQuantity') as pieces
    from idosell_products p
    cross join lateral jsonb_array_elements(canonical.as_list(p.api -> 'productStocksData' -> 'productStocksQuantities')) as stock
    cross join lateral jsonb_array_elements(canonical.as_list(stock -> 'productSizesData')) as size
    union all
    select
        p.product_key,
        size ->> '@id',
        canonical.as_number(stock ->> '@quantity')
    from idosell_products p
    cross join lateral jsonb_path_query(coalesce(p.light, p.offer), '$.sizes[*].size[*]') as size
    cross join lateral jsonb_array_elements(canonical.as_array(size -> 'stock')) as stock
    where p.api -> 'productStocksData' is null
),
stocks as (
    select
        product_key,
        size_key,
        sum(pieces) filter (where pieces >= 0) as pieces,
        bool_or(pieces < 0) as endless
    from counted
    group by product_key, size_key
)
select
    l.product_key,
    l.size_key,
    max(canonical.as_text(l.name)),
    max(canonical.as_text(l.sku)),
    max(nullif(canonical.as_number(l.price), 0)),
    (array_agg(case when not s.endless then s.pieces end))[1],
    coalesce(bool_or(s.pieces is not null and not s.endless), false),
    coalesce(bool_and(l.available = 'in_stock'), true)
from listed l
left join stocks s on s.product_key = l.product_key and s.size_key = l.size_key
where l.size_key is not null
group by l.product_key, l.size_key;

analyze idosell_products, idosell_sizes;

insert into mapped_products (
    source_key, parent_key, sku, name, status, price, regular_price, currency, stock, available, url, image_url,
    created_at, updated_at
)
with stock as (
    select
        product_key,
        sum(stock) as pieces,
        bool_and(is_counted) as is_counted,
        bool_or(on_sale and (not is_counted or stock > 0)) as there
    from idosell_sizes
    group by product_key
)
select
    p.product_key,
    null,
    coalesce(
        canonical.as_text(p.api ->> 'productDisplayedCode'),
        canonical.as_text(p.offer ->> '@code_on_card'),
        p.product_key
    ),
    coalesce(canonical.as_text(canonical.decoded(said.names ->> 'productName')), offered.name),
    case
        when p.api ->> 'productIsDeleted' = 'y' then 'deleted'
        when p.api ->> 'productIsVisible' = 'n' then 'hidden'
        else 'visible'
    end,
    priced.price,
    coalesce(
        nullif(canonical.as_number(p.api ->> 'productStrikethroughRetailPrice'), 0),
        nullif(canonical.as_number(p.offer -> 'strikethrough_retail_price' -> 0 ->> '@gross'), 0),
        nullif(canonical.as_number(p.api ->> 'productRetailPrice'), 0),
        nullif(canonical.as_number(p.offer -> 'srp' -> 0 ->> '@gross'), 0)
    ),
    upper(coalesce(canonical.as_text(priced.currency), m.settings ->> 'currency')),
    case when s.is_counted then s.pieces end,
    coalesce(p.api ->> 'productIsDeleted', 'n') <> 'y'
    and coalesce(p.api ->> 'productIsVisible', 'y') <> 'n'
    and coalesce(s.there, true),
    coalesce(
        canonical.as_text(p.offer -> 'card' -> 0 ->> '@url'),
        own.url
    ),
    coalesce(
        canonical.as_text(p.offer -> 'images' -> 0 -> 'large' -> 0 -> 'image' -> 0 ->> '@url'),
        pictured.url,
        canonical.as_text(p.api -> 'productIcon' ->> 'productIconLargeUrl')
    ),
    canonical.as_local_time(p.api ->> 'productAddingTime', m.settings ->> 'time_zone'),
    canonical.as_local_time(p.api ->> 'productModificationTime', m.settings ->> 'time_zone')
from idosell_products p
cross join mapping m
left join stock s on s.product_key = p.product_key
left join lateral (
    select name as names
    from jsonb_array_elements(canonical.as_list(p.api -> 'productDescriptionsLangData')) with ordinality as names (name, place)
    order by (name ->> 'langId' = m.settings ->> 'lang_id') desc nulls last, place
    limit 1
) as said on true
left join lateral (
    select
        (
            select canonical.as_text(canonical.decoded(name ->> '#'))
            from jsonb_array_elements(canonical.as_array(p.offer -> 'description' -> 0 -> 'name'))
                with ordinality as names (name, place)
            order by (name ->> '@xml:lang' = m.settings ->> 'lang_id') desc nulls last, place
            limit 1
        ) as name,
        coalesce(p.offer ->> '@currency', p.offer -> '..' ->> '@currency') as currency
) as offered on true
left join lateral (
    select price, currency
    from (
        values
            (
                1,
                case
                    when m.settings ->> 'iof_prices' = 'light'
                        then nullif(canonical.as_number(p.light -> 'price' -> 0 ->> '@gross'), 0)
                end,
                coalesce(p.light ->> '@currency', p.light -> '..' ->> '@currency', offered.currency)
            ),
            (2, nullif(canonical.as_number(p.offer -> 'price' -> 0 ->> '@gross'), 0), offered.currency),
            (3, nullif(canonical.as_number(p.api ->> 'productPromoRetailPrice'), 0), p.api ->> 'currencyId'),
            (4, nullif(canonical.as_number(p.api ->> 'productRetailPrice'), 0), p.api ->> 'currencyId')
    ) as known (place, price, currency)
    where price is not null
    order by place
    limit 1
) as priced on true
left join lateral (
    select canonical.as_text(coalesce(picture ->> 'productImageLargeUrl', picture ->> 'productImageMediumUrl')) as url
    from jsonb_array_elements(canonical.as_list(p.api -> 'productImages')) with ordinality as pictures (picture, place)
    order by canonical.as_number(picture ->> 'productImagePriority') nulls last, place
    limit 1
) as pictured on true
left join lateral (
    -- An address of the shop's own choice, where it has one for the chosen shop and language.
    select canonical.as_text(coalesce(address ->> 'urlAddress', address ->> 'url')) as url
    from jsonb_path_query(p.api, '$.productIndividualUrlsData[*].**{0 to 3} ? (exists(@.urlAddress) || exists(@.url))') as address
    where canonical.as_text(coalesce(address ->> 'urlAddress', address ->> 'url')) ~ '^https?://'
    limit 1
) as own on true
on conflict do nothing;

-- A product of one size has no variations.
insert into mapped_products (
    source_key, parent_key, sku, name, status, price, regular_price, currency, stock, available, url, image_url,
    created_at, updated_at
)
select
    p.source_key || '-' || z.size_key,
    p.source_key,
    coalesce(z.sku, p.source_key || '-' || z.size_key),
    concat_ws(' - ', p.name, z.name),
    p.status,
    coalesce(case when p.price is null then z.price end, p.price),
    p.regular_price,
    p.currency,
    case when z.is_counted then z.stock end,
    p.status = 'visible' and z.on_sale and (not z.is_counted or z.stock > 0),
    p.url,
    p.image_url,
    p.created_at,
    p.updated_at
from idosell_sizes z
join mapped_products p on p.source_key = z.product_key
where z.size_key <> 'uniw'
on conflict do nothing;

-- The code of the one size is the product's own.
update mapped_products p
set sku = coalesce(z.sku, p.sku)
from idosell_sizes z
where z.product_key = p.source_key and z.size_key = 'uniw' and z.sku is not null;

-- Sizes that came and sizes that went are worked out anew with their product.
insert into changed_variations (source_key)
select source_key
from mapped_products
where parent_key is not null
union
select v.source_key
from changed_products c
cross join mapping m
join canonical.products v on v.connection = m.connection and v.parent_key = c.source_key;
