-- Records that have landed in a newer version: what was wrong with the older one is over.
delete from staging.rejects
where connection = $1
    and stream = $2
    and source_key = any($3)
