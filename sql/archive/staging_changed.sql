-- Whether any row of a staging table belongs to a run after $1. Its index begins with the connection: connections are
-- hopped through one by one, so this reads a page or two per connection, not the table.

with recursive connections as (
    (select connection from staging.{table} order by connection limit 1)
    union all
    select (select s.connection from staging.{table} s where s.connection > c.connection order by s.connection limit 1)
    from connections c
    where c.connection is not null
)
select exists (
    select from connections c
    join staging.{table} s on s.connection = c.connection
    where s.run_id > $1::bigint
);
