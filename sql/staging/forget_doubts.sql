-- Keys that are in doubt no more.
delete from ops.doubtful_keys
where connection = $1
    and stream = $2
    and source_key = any($3)
