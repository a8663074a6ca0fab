-- Tables that rendering reads and whose statistics are missing or far off, as after a first extract: the planner would
-- read them whole for every slice.
select format('%I.%I', seen.schemaname, seen.relname) as name
from pg_stat_user_tables as seen
join pg_class as kept on kept.oid = seen.relid
where (
        (
            seen.schemaname = 'canonical'
            and seen.relname in ('contacts', 'contact_sources', 'contact_tags', 'orders', 'order_items')
        )
        or (seen.schemaname = 'delivery' and seen.relname in ('pending', 'ledger'))
    )
    and (
        not exists (
            select from pg_stats where pg_stats.schemaname = seen.schemaname and pg_stats.tablename = seen.relname
        )
        -- Not by the rows changed since the last analyze: a transform takes statistics before it commits, and its rows
        -- are counted as changes after that. Nor by its time: a server that crashed has forgotten that.
        or abs(seen.n_live_tup - kept.reltuples) > 0.2 * seen.n_live_tup
    )
order by 1
