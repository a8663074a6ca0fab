-- WooCommerce product categories: parent 0 is the top; names are HTML-escaped (sheet, section 4).
insert into mapped_categories (source_key, parent_key, name)
select
    source_key,
    nullif(payload ->> 'parent', '0'),
    canonical.as_text(canonical.decoded(payload ->> 'name'))
from source_categories;
