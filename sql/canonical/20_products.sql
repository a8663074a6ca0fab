-- Products and the categories they stand in.
insert into affected_products (connection, source_key)
select connection, source_key
from mapping, (table changed_products union table changed_variations) as changed;

insert into incoming_products
select
    m.connection, source_key, parent_key, sku, name, status, price, regular_price, currency, stock, available, url,
    image_url,
    created_at, updated_at
from mapped_products, mapping m;

insert into affected_product_categories (connection, product_key)
select connection, source_key
from mapping, changed_products;

insert into incoming_product_categories (connection, product_key, category_key)
select connection, product_key, category_key
from mapping, mapped_product_categories;

analyze incoming_products, affected_products, incoming_product_categories, affected_product_categories;
select canonical.merge('products', array['connection', 'source_key'], array['connection', 'source_key'], run_id)
from mapping;
select canonical.merge(
    'product_categories',
    array['connection', 'product_key'],
    array['connection', 'product_key', 'category_key'],
    run_id
)
from mapping;
