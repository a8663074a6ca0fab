-- The question that delivery.order_itself answers was asked at three places, each with its own way past the work where
-- nothing at all is different.
create function delivery.order_changed(before jsonb, content jsonb) returns boolean
language sql
immutable
parallel safe
as $$
    select before is distinct from content
        and delivery.order_itself(before) is distinct from delivery.order_itself(content)
$$;
comment on function delivery.order_changed(jsonb, jsonb) is
    'Whether two contents of an order (events.sql) differ in the order itself';
