-- Notes how far the feed has been taken over, and while a first load lasts, until when the orders of its shops were
-- there before it: what was placed later is news.
-- $1 target account, $2 pipeline, $3 the last run taken over, $4 hash of the settings, $5 whether everything was taken
-- over, $6 the settings, $7 whether it is a first load, $8 the connections.
insert into delivery.consumers (
    target,
    pipeline,
    run_id,
    settings_hash,
    settings,
    full_at,
    first_load,
    history_until
)
values (
    $1,
    $2,
    $3,
    $4,
    $6,
    now(),
    $7,
    case
        when $7
            then (
                -- An order of the future was dated by a clock that was wrong.
                select max(orders.placed_at)
                from canonical.orders
                where orders.connection = any ($8::text[]) and orders.placed_at <= now()
            )
    end
)
on conflict (target, pipeline) do update
set
    run_id = excluded.run_id,
    settings_hash = excluded.settings_hash,
    settings = excluded.settings,
    full_at = case when $5 then now() else consumers.full_at end,
    first_load = consumers.first_load or excluded.first_load,
    history_until = greatest(consumers.history_until, excluded.history_until)
