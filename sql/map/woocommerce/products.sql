-- WooCommerce products, and variations as products below their parent. Price strings are empty when not set.
insert into mapped_products (
    source_key, parent_key, sku, name, status, price, regular_price, stock, available, url, image_url, created_at,
    updated_at
)
select
    source_key,
    null,
    canonical.as_text(payload ->> 'sku'),
    canonical.as_text(canonical.decoded(payload ->> 'name')),
    payload ->> 'status',
    canonical.as_number(payload ->> 'price'),
    canonical.as_number(payload ->> 'regular_price'),
    canonical.as_number(payload ->> 'stock_quantity'),
    payload ->> 'status' = 'publish' and payload ->> 'stock_status' in ('instock', 'onbackorder'),
    canonical.as_text(payload ->> 'permalink'),
    -- The first picture is the main one.
    canonical.as_text(payload -> 'images' -> 0 ->> 'src'),
    canonical.as_timestamp(payload ->> 'date_created_gmt'),
    canonical.as_timestamp(payload ->> 'date_modified_gmt')
from source_products
on conflict do nothing;

-- A variation is called by its attributes alone ("Black, M"): the parent's name is put in front. parent_id is missing
-- in older answers, the list it came from tells then.
insert into mapped_products (
    source_key, parent_key, sku, name, status, price, regular_price, stock, available, url, image_url, created_at,
    updated_at
)
select
    v.source_key,
    coalesce(v.parent_key, v.payload ->> 'parent_id'),
    canonical.as_text(v.payload ->> 'sku'),
    concat_ws(
        ' - ',
        canonical.as_text(canonical.decoded(p.payload ->> 'name')),
        canonical.as_text(canonical.decoded(v.payload ->> 'name'))
    ),
    v.payload ->> 'status',
    canonical.as_number(v.payload ->> 'price'),
    canonical.as_number(v.payload ->> 'regular_price'),
    canonical.as_number(v.payload ->> 'stock_quantity'),
    v.payload ->> 'status' = 'publish' and v.payload ->> 'stock_status' in ('instock', 'onbackorder'),
    canonical.as_text(v.payload ->> 'permalink'),
    canonical.as_text(v.payload -> 'image' ->> 'src'),
    canonical.as_timestamp(v.payload ->> 'date_created_gmt'),
    canonical.as_timestamp(v.payload ->> 'date_modified_gmt')
from source_variations v
left join staging.products p
    on p.connection = v.connection and p.source_key = coalesce(v.parent_key, v.payload ->> 'parent_id')
on conflict do nothing;
