-- Tables that rendering reads and whose statistics are missing or far off, as after a first extract: the planner would
-- read them whole for every slice.
select format('%I.%I', schemaname, relname) as name
from pg_stat_user_tables as tables
where (
        (schemaname = 'canonical' and relname in ('contacts', 'contact_sources', 'contact_tags', 'orders', 'order_items'))
        or (schemaname = 'delivery' and relname in ('pending', 'ledger'))
    )
    and (
        not exists (
            select from pg_stats where pg_stats.schemaname = tables.schemaname and pg_stats.tablename = tables.relname
        )
        -- Not by the rows changed since the last analyze: a transform takes statistics before it commits, and its rows
        -- are counted as changes after that. Nor by its time: a server that crashed has forgotten that.
        or abs(n_live_tup - (select reltuples from pg_class where pg_class.oid = tables.relid)) > 0.2 * n_live_tup
    )
order by 1
