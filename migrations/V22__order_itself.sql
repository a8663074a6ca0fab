-- An order is sent again where it has changed itself: not because one of its products was moved to another category or
-- got another picture, or because its buyer has another phone or an account by now. The change feed leads to none of
-- these orders, and each resend would start workflows at the target.
create function delivery.order_itself(content jsonb) returns jsonb
language sql
immutable
parallel safe
as $$
    select (content - '{externalCustomerId,phone}'::text[]) || jsonb_build_object(
        'items',
        (
            select jsonb_agg(element.item - '{category,url,imageUrl}'::text[] order by element.place)
            from jsonb_array_elements(content -> 'items') with ordinality as element (item, place)
        )
    )
$$;
comment on function delivery.order_itself(jsonb) is 'What eSputnik is told of an order (events.sql, content) without what belongs to its buyer or to the catalogue';
