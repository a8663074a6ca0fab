-- Categories of WooCommerce products: flat, without parents, in no useful order (sheet, section 4). Variations have
-- none of their own; an order line names the parent product.
insert into mapped_product_categories (product_key, category_key)
select distinct
    source_key,
    category ->> 'id'
from source_products, jsonb_array_elements(canonical.as_array(payload -> 'categories')) as category
where category ->> 'id' is not null;
