//! Postgres: pool, migrations, COPY, leases, runs. Nothing here knows a platform.
