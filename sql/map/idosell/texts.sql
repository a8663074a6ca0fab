-- Texts that may hold HTML entities: names of things and companies. A payload is taken apart once.
select name
from source_categories s
cross join lateral jsonb_array_elements(canonical.as_list(s.payload -> 'lang_data')) as said
cross join lateral (
    values (said ->> 'name'), (said ->> 'plural_name'), (said ->> 'singular_name'), (said ->> 'item_textid')
) as names (name)
union
select said ->> 'productName'
from source_products s
cross join lateral jsonb_array_elements(canonical.as_list(s.payload -> 'productDescriptionsLangData')) as said
union
select name ->> '#'
from changed_offers c
join mapping m on true
join staging.offers o on o.connection = m.connection and o.source_key = c.source_key and o.deleted_at is null
cross join lateral jsonb_path_query(o.payload, '$.description[*].name[*]') as name
union
select o.payload ->> '@name'
from changed_offer_categories c
join mapping m on true
join staging.offer_categories o on o.connection = m.connection and o.source_key = c.source_key and o.deleted_at is null
union
select payload -> 'clientBillingAddress' ->> 'clientFirm'
from source_customers
union
select written
from source_orders s
cross join lateral jsonb_to_record(s.payload) as p ("clientResult" jsonb, "orderDetails" jsonb)
cross join lateral (
    select p."clientResult" -> 'clientBillingAddress' ->> 'clientFirm'
    union all
    select p."orderDetails" -> 'dispatch' ->> 'courierName'
    union all
    select payment ->> 'payformName' from jsonb_array_elements(canonical.as_list(p."orderDetails" -> 'prepaids')) as payment
    union all
    select item ->> 'productName' from jsonb_array_elements(canonical.as_list(p."orderDetails" -> 'productsResults')) as item
) as texts (written)
