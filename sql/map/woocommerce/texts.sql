-- Texts that may hold HTML entities (sheet, section 4: names are HTML-escaped).
select payload ->> 'name' from source_categories
union
select payload ->> 'name' from source_products
union
select payload ->> 'name' from source_variations
union
select line ->> 'name' from source_orders, jsonb_array_elements(canonical.as_array(payload -> 'line_items')) as line
union
select line ->> 'method_title'
from source_orders, jsonb_array_elements(canonical.as_array(payload -> 'shipping_lines')) as line
union
select payload ->> 'payment_method_title' from source_orders
union
select payload -> 'billing' ->> 'company' from source_orders
union
select payload -> 'billing' ->> 'company' from source_customers
