-- Whether any staging row of the connection changed since its last transform.
select
    exists (
        select from staging.customers s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
    or exists (
        select from staging.subscribers s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
    or exists (
        select from staging.orders s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
    or exists (
        select from staging.products s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
    or exists (
        select from staging.variations s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
    or exists (
        select from staging.categories s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
    or exists (
        select from staging.refunds s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
    or exists (
        select from staging.offers s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
    or exists (
        select from staging.offer_prices s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
    or exists (
        select from staging.offer_categories s join mapping m on s.connection = m.connection and s.run_id > m.since_run
    )
