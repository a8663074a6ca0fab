-- Lines of WooCommerce orders: total is net after discount, total_tax its tax, so the gross unit price is their sum by
-- the quantity (sheet, section 4). product_id is 0 once the product is gone, variation_id 0 if none; sku may be "" or
-- null.
insert into mapped_order_items (
    source_key, line, product_key, variation_key, sku, name, quantity, unit_price, line_total, image_url
)
select
    s.source_key,
    line.number,
    nullif(nullif(item ->> 'product_id', '0'), ''),
    nullif(nullif(item ->> 'variation_id', '0'), ''),
    canonical.as_text(item ->> 'sku'),
    canonical.as_text(canonical.decoded(item ->> 'name')),
    quantity,
    gross / nullif(quantity, 0),
    gross,
    canonical.as_text(item -> 'image' ->> 'src')
from source_orders s
cross join jsonb_array_elements(canonical.as_array(s.payload -> 'line_items')) with ordinality as line (item, number)
cross join lateral (
    select
        canonical.as_number(item ->> 'quantity'),
        canonical.as_number(item ->> 'total') + coalesce(canonical.as_number(item ->> 'total_tax'), 0)
) as amounts (quantity, gross);
