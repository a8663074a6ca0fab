-- Categories of IdoSell products: the menu items of the chosen shop and menu; where a product is in none, the panel's
-- category; where the API does not know the product, what the offer feed says, in the same order.
insert into mapped_product_categories (product_key, category_key)
with items as (
    select
        s.source_key as product_key,
        'menu-' || (item ->> 'menuItemId') as category_key
    from source_products s
    cross join mapping m
    cross join lateral jsonb_array_elements(canonical.as_list(s.payload -> 'productMenu')) as item
    where
        coalesce(item ->> 'menuItemId', '0') <> '0'
        and (item ->> 'shopId' is null or m.settings -> 'shops' @> to_jsonb(canonical.as_number(item ->> 'shopId')))
        and coalesce(item ->> 'menuId', m.settings ->> 'menu_id') = m.settings ->> 'menu_id'
    union
    select
        o.source_key,
        'menu-' || (item ->> '@id')
    from changed_products
    join mapping m on true
    join staging.offers o
        on o.connection = m.connection and o.source_key = changed_products.source_key and o.deleted_at is null
    cross join lateral jsonb_path_query(o.payload, '$."iaiext:navigation"[*]."iaiext:site"[*]') as site
    cross join lateral jsonb_path_query(site, '$."iaiext:menu"[*]') as menu
    cross join lateral jsonb_path_query(menu, '$.**."iaiext:item"[*]') as item
    where
        item ->> '@id' is not null
        and m.settings -> 'shops' @> to_jsonb(canonical.as_number(site ->> '@id'))
        and menu ->> '@id' = m.settings ->> 'menu_id'
        -- The feed may be hours older than what the API says.
        and not exists (
            select from staging.products known
            where
                known.connection = m.connection
                and known.source_key = o.source_key
                and known.deleted_at is null
        )
),
shown as (
    -- A hidden item, or one of another tree, is no category of this shop.
    select product_key, category_key
    from items
    join mapping m on true
    join staging.categories c
        on c.connection = m.connection and c.source_key = items.category_key and c.deleted_at is null
    where not exists (
        select from jsonb_array_elements(canonical.as_list(c.payload -> 'lang_data')) as said
        where said ->> 'lang_id' = m.settings ->> 'lang_id' and said ->> 'hidden' = 'y'
    )
),
fallback as (
    select
        c.source_key as product_key,
        'panel-' || coalesce(nullif(s.payload ->> 'categoryId', '0'), o.payload -> 'category' -> 0 ->> '@id') as category_key
    from changed_products c
    cross join mapping m
    left join staging.products s
        on s.connection = m.connection and s.source_key = c.source_key and s.deleted_at is null
    left join staging.offers o
        on o.connection = m.connection and o.source_key = c.source_key and o.deleted_at is null
    where c.source_key not in (select product_key from shown)
)
select product_key, category_key from shown
union
select product_key, category_key from fallback where category_key is not null;
