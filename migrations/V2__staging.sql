-- staging: raw platform data, one table per stream for all platforms, exactly as received.

create schema staging;
comment on schema staging is 'Raw records as the platforms gave them, one table per stream';

-- All streams have the same shape, so it is written once; a new stream is one call in a new migration.
create function staging.create_stream(stream text, description text) returns void
language plpgsql as $$
begin
    execute format($sql$
        create table staging.%1$I (
            connection text not null,
            source_key text not null,
            parent_key text,
            payload jsonb not null,
            payload_hash uuid not null,
            source_updated_at timestamptz,
            deleted_at timestamptz,
            run_id bigint not null,
            primary key (connection, source_key)
        );
        create index %2$I on staging.%1$I (connection, run_id);
        create index %4$I on staging.%1$I (connection, parent_key) where parent_key is not null;
        comment on table staging.%1$I is %3$L;
        comment on column staging.%1$I.connection is 'The connection it was read from';
        comment on column staging.%1$I.source_key is 'The record''s key at the platform';
        comment on column staging.%1$I.parent_key is 'Key of the record it hangs on, where the platform lists it under one';
        comment on column staging.%1$I.payload is 'The record as received';
        comment on column staging.%1$I.payload_hash is 'XXH3-128 of the bytes received; an equal hash writes nothing';
        comment on column staging.%1$I.source_updated_at is 'When the platform says it was last changed';
        comment on column staging.%1$I.deleted_at is 'When Wharf found that the platform no longer has it; null while it does';
        comment on column staging.%1$I.run_id is 'The run that last changed this row';
        $sql$,
        stream, stream || '_run', description, stream || '_parent');
end
$$;
comment on function staging.create_stream is 'Creates a staging table; every stream has this shape';

select staging.create_stream('customers', 'One row per customer account of a shop');
select staging.create_stream('subscribers', 'One row per newsletter subscriber that a platform lists apart from its customers');
select staging.create_stream('orders', 'One row per order of any status, drafts and trash included');
select staging.create_stream('refunds', 'One row per refund; parent_key is the order');
select staging.create_stream('products', 'One row per product');
select staging.create_stream('variations', 'One row per variation of a product; parent_key is the product');
select staging.create_stream('categories', 'One row per product category');

-- What could not be stored as received. Nothing a platform sends is lost: the bytes are kept here.
create table staging.rejects (
    connection text not null,
    stream text not null,
    source_key text not null,
    code text not null,
    reason text not null,
    raw bytea not null,
    run_id bigint not null,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    times integer not null default 1,
    primary key (connection, stream, source_key, code)
);
comment on table staging.rejects is 'One row per record that could not be stored as received';
comment on column staging.rejects.connection is 'The connection it was read from';
comment on column staging.rejects.stream is 'The stream';
comment on column staging.rejects.source_key is 'The record''s key, or hash:… of its bytes where it has none';
comment on column staging.rejects.code is 'no-key, not-json, not-storable (kept here only) or altered (stored with the offending characters replaced)';
comment on column staging.rejects.reason is 'What is wrong, in words';
comment on column staging.rejects.raw is 'The bytes as received';
comment on column staging.rejects.run_id is 'The run that last saw it';
comment on column staging.rejects.first_at is 'First seen';
comment on column staging.rejects.last_at is 'Last seen';
comment on column staging.rejects.times is 'How often it was seen';
