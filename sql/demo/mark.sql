-- What a demo has made, the next one may empty.
insert into ops.settings (name, value)
values ('demo', 'made by wharf demo and emptied by the next one')
on conflict (name) do nothing;
