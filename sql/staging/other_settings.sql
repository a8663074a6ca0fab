-- Another pipeline that describes shop $1 otherwise than pipeline $2 does, and did so first. One that has not run for a
-- month is taken for given up.
select
    other.pipeline,
    other.settings
from ops.connection_settings own
join ops.connection_settings other
    on other.connection = own.connection
    and other.pipeline <> own.pipeline
    and other.settings <> own.settings
    and other.changed_at <= own.changed_at
where
    own.connection = $1
    and own.pipeline = $2
    and exists (
        select from ops.runs
        where runs.pipeline = other.pipeline and runs.started_at > now() - interval '30 days'
    )
order by other.changed_at
limit 1
