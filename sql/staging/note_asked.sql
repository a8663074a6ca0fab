-- Keys that the platform has been asked for and has not given.
update ops.doubtful_keys
set asked = true
where connection = $1
    and stream = $2
    and source_key = any($3)
