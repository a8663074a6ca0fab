-- What a complete walk has missed and this one has seen is in doubt no more.
delete from ops.doubtful_keys as doubtful
using ops.walk_keys as seen
where doubtful.connection = $1
    and doubtful.stream = $2
    and seen.connection = $1
    and seen.stream = $2
    and seen.source_key = doubtful.source_key
