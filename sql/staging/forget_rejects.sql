-- What was wrong with an older version of a record is over: of those that have landed anew ($3) all of it; of those
-- that came as they are stored ($4) all but that characters were replaced.
delete from staging.rejects
where connection = $1
    and stream = $2
    and (source_key = any($3) or (source_key = any($4) and code <> 'altered'))
