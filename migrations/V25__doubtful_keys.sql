-- Absence from a list proves nothing by itself: what a walk has not seen is in doubt until the platform has been asked
-- for it by key, or a second walk has missed it as well.

create table ops.doubtful_keys (
    connection text not null,
    stream text not null,
    source_key text not null,
    parent_key text not null default '',
    listed boolean not null,
    asked boolean not null default false,
    walks integer not null default 1,
    primary key (connection, stream, source_key)
);
create index doubtful_keys_in_order on ops.doubtful_keys (connection, stream, parent_key, source_key);
comment on table ops.doubtful_keys is 'One row per record on which a complete walk and staging do not agree: missed by the walk and in doubt, or on the list and not landed';
comment on column ops.doubtful_keys.connection is 'The connection';
comment on column ops.doubtful_keys.stream is 'The stream';
comment on column ops.doubtful_keys.source_key is 'The record''s key at the platform';
comment on column ops.doubtful_keys.parent_key is 'Key of the record in whose list it is asked for; empty where the stream hangs on no other';
comment on column ops.doubtful_keys.listed is 'True: on the shop''s list and not landed. False: in staging and missed by a complete walk';
comment on column ops.doubtful_keys.asked is 'Whether the platform was asked for it by key, since that walk, and did not give it';
comment on column ops.doubtful_keys.walks is 'How many complete walks in a row have missed it';
comment on table ops.walk_keys is 'One row per record that a walk in progress has seen; what staging holds beyond these is in doubt';

do $$
declare
    stream name;
begin
    for stream in
        select c.relname
        from pg_class as c
        join pg_attribute as a on a.attrelid = c.oid and a.attname = 'payload_hash'
        where c.relnamespace = 'staging'::regnamespace and c.relkind in ('r', 'p')
    loop
        execute format(
            'comment on column staging.%I.payload_hash is %L',
            stream,
            'XXH3-128 of what counts as change in the bytes received, which is all of them unless the stream says otherwise; an equal hash writes nothing'
        );
    end loop;
end
$$;
