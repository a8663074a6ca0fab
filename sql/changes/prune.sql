-- Deletes the oldest changes of runs up to $1, at most $2 of them.
delete from canonical.changes
where seq in (
        select seq
        from canonical.changes
        where run_id <= $1::bigint
        order by run_id, seq
        limit $2::bigint
    )
