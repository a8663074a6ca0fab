-- Lines of IdoSell orders: the price of one is gross and in the order's currency. Orders that are counted in net
-- prices, or without VAT, have net lines where those and not the gross ones add up to the cost of goods. Goods for
-- loyalty points cost no money. Category, page and picture come from the product.
insert into mapped_order_items (
    source_key, line, product_key, variation_key, sku, name, quantity, unit_price, line_total
)
with lines as (
    select
        s.source_key,
        line,
        nullif(nullif(item ->> 'productId', '0'), '') as product_key,
        nullif(canonical.as_text(item ->> 'sizeId'), 'uniw') as size_key,
        canonical.as_text(item ->> 'productSizeCodeExternal') as size_code,
        canonical.as_text(item ->> 'productCode') as product_code,
        canonical.as_text(canonical.decoded(item ->> 'productName')) as name,
        canonical.as_number(item ->> 'productQuantity') as quantity,
        case when item ->> 'orderSalesMode' = 'points' then 0 else canonical.as_number(item ->> 'productOrderPrice') end as gross,
        case when item ->> 'orderSalesMode' = 'points' then 0 else canonical.as_number(item ->> 'productOrderPriceNet') end as net,
        canonical.as_number(d -> 'payments' -> 'orderCurrency' ->> 'orderProductsCost') as goods,
        d -> 'payments' ->> 'orderWorthCalculateType' = 'net' or d -> 'payments' ->> 'orderVatExists' = 'n' as may_be_net
    from source_orders s
    cross join lateral (select s.payload -> 'orderDetails') as details (d)
    cross join lateral jsonb_array_elements(canonical.as_list(d -> 'productsResults')) with ordinality as items (item, line)
    where s.source_key in (select source_key from mapped_orders)
),
counted as (
    select
        lines.*,
        coalesce(
            may_be_net
            and abs(sum(quantity * gross) over of_order - goods) > 0.01 * (1 + count(*) over of_order)
            and abs(sum(quantity * net) over of_order - goods) <= 0.01 * (1 + count(*) over of_order),
            false
        ) as is_net
    from lines
    window of_order as (partition by source_key)
)
select
    source_key,
    line,
    product_key,
    product_key || '-' || size_key,
    coalesce(size_code, product_code, concat_ws('-', product_key, size_key)),
    name,
    quantity,
    price,
    quantity * price
from counted
cross join lateral (select case when is_net then net else gross end) as prices (price);
