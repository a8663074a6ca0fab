-- Tables that rendering reads and whose statistics are missing or far off, as after a first extract: the planner would
-- read them whole for every slice.
select format('%I.%I', schemaname, relname) as name
from pg_stat_user_tables
where (
        (schemaname = 'canonical' and relname in ('contacts', 'contact_sources', 'contact_tags', 'orders', 'order_items'))
        or (schemaname = 'delivery' and relname in ('pending', 'ledger'))
    )
    and (
        (last_analyze is null and last_autoanalyze is null)
        or n_mod_since_analyze > 0.2 * n_live_tup
    )
order by 1
