-- What is known of a shop, that `--is-new` would take for gone: a line per figure. $1 the connection.
select 'orders' as what, count(*) as n from canonical.orders where orders.connection = $1
union all
select 'products', count(*) from canonical.products where products.connection = $1
union all
select 'contacts', count(distinct source.contact_id)
from canonical.contact_sources as source
where source.connection = $1
union all
select 'of them contacts that no other shop knows', count(*)
from (
    select source.contact_id
    from canonical.contact_sources as source
    group by source.contact_id
    having bool_and(source.connection = $1)
) as own
