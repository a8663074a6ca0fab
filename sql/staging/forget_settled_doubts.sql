-- What has been proven, and what the shop listed and did not give: the next walk tells of it anew.
delete from ops.doubtful_keys
where connection = $1
    and stream = $2
    and (listed or asked or walks >= $3)
