-- Tables that rendering reads and whose statistics are missing or far off, as after a first extract: the planner would
-- read them whole for every slice.
select format('%I.%I', schemaname, relname) as name
from pg_stat_user_tables as tables
where (
        (schemaname = 'canonical' and relname in ('contacts', 'contact_sources', 'contact_tags', 'orders', 'order_items'))
        or (schemaname = 'delivery' and relname in ('pending', 'ledger'))
    )
    and (
        -- Not by the time of the last analyze: a server that crashed has forgotten that, but not the statistics.
        not exists (
            select from pg_stats where pg_stats.schemaname = tables.schemaname and pg_stats.tablename = tables.relname
        )
        or n_mod_since_analyze > 0.2 * n_live_tup
    )
order by 1
