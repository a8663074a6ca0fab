-- Texts that may hold HTML entities (sheet, section 4: names are HTML-escaped). A payload is taken apart once.
select payload ->> 'name' from source_categories
union
select payload ->> 'name' from source_products
union
select payload ->> 'name' from source_variations
union
select payload -> 'billing' ->> 'company' from source_customers
union
select written
from source_orders s
cross join lateral jsonb_to_record(s.payload) as p (
    payment_method_title text, billing jsonb, line_items jsonb, shipping_lines jsonb
)
cross join lateral (
    select p.payment_method_title
    union all
    select p.billing ->> 'company'
    union all
    select line ->> 'name' from jsonb_array_elements(canonical.as_array(p.line_items)) as line
    union all
    select line ->> 'method_title' from jsonb_array_elements(canonical.as_array(p.shipping_lines)) as line
) as texts (written)
