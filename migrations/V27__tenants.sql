-- Who is behind a connection's or an account's name, what becomes of all that is known of the one before, and how long
-- a first load lasts.

create table ops.tenants (
    role text not null check (role in ('connection', 'account')),
    name text not null,
    platform text not null,
    told text,
    address text not null,
    credential text not null,
    seen_at timestamptz not null default now(),
    other jsonb,
    other_at timestamptz,
    primary key (role, name)
);
comment on table ops.tenants is 'One row per connection and target account: who was seen behind its name. Another one is refused (WH-509) until a person says what it is';
comment on column ops.tenants.role is 'connection (a shop) or account (a target)';
comment on column ops.tenants.name is 'The name given in the pipeline file';
comment on column ops.tenants.platform is 'The platform';
comment on column ops.tenants.told is 'What the platform tells of itself; null where it tells nothing. Where it tells, that alone decides';
comment on column ops.tenants.address is 'Host, port and path of the address it was last seen at';
comment on column ops.tenants.credential is 'The public part of the credentials, or a salted hash of the secret one; never a secret';
comment on column ops.tenants.seen_at is 'When it was first seen like this';
comment on column ops.tenants.other is 'Who was refused last, because it is another one: platform, told, address, credential';
comment on column ops.tenants.other_at is 'When that was';

alter table delivery.consumers add column history_until timestamptz;
comment on column delivery.consumers.history_until is 'Orders placed until then were there when the pipeline was first loaded into the account; null where that was not noted';
comment on column delivery.consumers.first_load is 'True until something was acknowledged, every list of the shops has been read whole once, and nothing is pending: until then no automations are fired at the target. Again true from when a shop is added';

create function ops.has_unmapped(shop text) returns boolean
language plpgsql stable as $$
declare
    since constant bigint := coalesce(
        (select connections.mapped_run from ops.connections where connections.connection = shop),
        0
    );
    stream text;
    found_one boolean;
begin
    for stream in select * from ops.staging_streams() loop
        execute format('select exists (select from staging.%I where connection = $1 and run_id > $2)', stream)
        into found_one
        using shop, since;
        if found_one then
            return true;
        end if;
    end loop;
    return false;
end
$$;
comment on function ops.has_unmapped is 'Whether rows of a connection have landed that no transform has mapped yet';

create function ops.staging_streams() returns setof text
language sql stable as $$
    select tables.relname::text
    from pg_class as tables
    join pg_namespace as schemas on schemas.oid = tables.relnamespace
    where schemas.nspname = 'staging'
        and tables.relkind in ('r', 'p')
        and exists (
            select from pg_attribute as columns
            where columns.attrelid = tables.oid and columns.attname = 'deleted_at' and not columns.attisdropped
        )
    order by 1
$$;
comment on function ops.staging_streams is 'The tables that hold records as received, one per stream';

-- The account's name goes on with an empty ledger. What people withdrew at an account (delivery.opt_outs) holds for
-- them wherever they are written to, and stays; from where its list is read on does not.
create function delivery.set_aside_account(account text, aside text) returns table (what text, n bigint)
language plpgsql volatile as $$
declare
    counted bigint;
begin
    update delivery.ledger set target = aside where ledger.target = account;
    get diagnostics counted = row_count;
    what := 'records of the ledger set aside';
    n := counted;
    return next;
    update delivery.batches
    set
        target = aside,
        state = case when batches.finished_at is null then 'unknown' else batches.state end,
        finished_at = coalesce(batches.finished_at, now())
    where batches.target = account;
    get diagnostics counted = row_count;
    what := 'calls set aside';
    n := counted;
    return next;
    delete from delivery.pending where pending.target = account;
    get diagnostics counted = row_count;
    what := 'pending records forgotten';
    n := counted;
    return next;
    delete from delivery.rejects where rejects.target = account;
    get diagnostics counted = row_count;
    what := 'rejects forgotten';
    n := counted;
    return next;
    delete from delivery.fingerprints where fingerprints.target = account;
    delete from delivery.opt_out_readings where opt_out_readings.target = account;
    delete from delivery.consumers where consumers.target = account;
end
$$;
comment on function delivery.set_aside_account is 'Keeps what was sent to an account under another name, so that the next load into an account of that name is a first one';

-- The keys of two shops mean different things, so an order of the new one must not be taken for one that was sent. Of
-- contacts only those are set aside that no other shop knows. The transform that follows in the same transaction takes
-- the rows out of canonical and tells the change feed.
create function ops.set_aside_connection(shop text, suffix text, run bigint) returns table (what text, n bigint)
language plpgsql volatile as $$
declare
    counted bigint;
    total bigint := 0;
    stream text;
begin
    create temporary table aside_orders on commit drop as
    select canonical.order_id(orders.connection, orders.source_key) as key
    from staging.orders
    where orders.connection = shop;
    create temporary table aside_contacts on commit drop as
    select sources.contact_id as key
    from canonical.contact_sources as sources
    group by sources.contact_id
    having bool_and(sources.connection = shop);
    analyze aside_orders, aside_contacts;

    update delivery.ledger
    set target = ledger.target || suffix
    where ledger.object <> 'contact' and ledger.key in (select aside_orders.key from aside_orders);
    get diagnostics counted = row_count;
    what := 'events of its orders set aside in the ledger';
    n := counted;
    return next;
    update delivery.ledger
    set target = ledger.target || suffix
    where ledger.object = 'contact' and ledger.contact_id in (select aside_contacts.key from aside_contacts);
    get diagnostics counted = row_count;
    what := 'contacts that only it knew set aside in the ledger';
    n := counted;
    return next;
    delete from delivery.pending
    where pending.object = 'order' and pending.key in (select aside_orders.key from aside_orders)
        or pending.object = 'contact' and pending.key in (select aside_contacts.key from aside_contacts);
    delete from delivery.rejects
    where rejects.object <> 'contact' and rejects.key in (select aside_orders.key from aside_orders)
        or rejects.object = 'contact' and rejects.key in (select aside_contacts.key from aside_contacts);
    delete from delivery.fingerprints
    where fingerprints.contact_id in (select aside_contacts.key from aside_contacts);
    update delivery.consumers
    set first_load = true
    where consumers.settings -> 'connections' ? shop;

    for stream in select * from ops.staging_streams() loop
        execute format(
            'update staging.%I set deleted_at = now(), run_id = $2 where connection = $1 and deleted_at is null',
            stream
        )
        using shop, run;
        get diagnostics counted = row_count;
        total := total + counted;
    end loop;
    what := 'records of the shop marked as deleted';
    n := total;
    return next;
    delete from staging.rejects where rejects.connection = shop;
    delete from ops.walk_keys where walk_keys.connection = shop;
    delete from ops.cursors where cursors.connection = shop;
end
$$;
comment on function ops.set_aside_connection is 'Takes what one shop said for gone, without a word to any target, so that another shop can stand behind its name';
