-- Opt-outs made at a target account, as its list says them: the latest of each address. $1 target, $2 run, and one
-- array per column: $3 and on.
insert into delivery.opt_outs (target, channel, address, opted_out_at, run_id)
select
    $1,
    read.channel,
    read.address,
    max(read.at),
    $2
from unnest($3::text[], $4::text[], $5::timestamptz[]) as read (channel, address, at)
group by read.channel, read.address
on conflict (target, channel, address) do update
set opted_out_at = excluded.opted_out_at, run_id = excluded.run_id
where opt_outs.opted_out_at < excluded.opted_out_at
