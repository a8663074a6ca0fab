-- Opens a transform: which staging rows of the connection are to be mapped, and the tables that the map files fill.
-- pg_temp.mapping (one row: connection, platform, run_id, since_run, settings, default_country, salt) is there already.

-- Rows that changed since the last transform, one table of keys per stream. since_run is 0 for a first or full mapping.
create temp table changed_customers on commit drop as
select s.source_key from staging.customers s join mapping m on s.connection = m.connection and s.run_id > m.since_run;
create temp table changed_subscribers on commit drop as
select s.source_key from staging.subscribers s join mapping m on s.connection = m.connection and s.run_id > m.since_run;
create temp table changed_orders on commit drop as
select s.source_key from staging.orders s join mapping m on s.connection = m.connection and s.run_id > m.since_run;
create temp table changed_refunds on commit drop as
select s.source_key from staging.refunds s join mapping m on s.connection = m.connection and s.run_id > m.since_run;
create temp table changed_products on commit drop as
select s.source_key from staging.products s join mapping m on s.connection = m.connection and s.run_id > m.since_run;
create temp table changed_variations on commit drop as
select s.source_key from staging.variations s join mapping m on s.connection = m.connection and s.run_id > m.since_run;
create temp table changed_categories on commit drop as
select s.source_key from staging.categories s join mapping m on s.connection = m.connection and s.run_id > m.since_run;
create temp table changed_offers on commit drop as
select s.source_key from staging.offers s join mapping m on s.connection = m.connection and s.run_id > m.since_run;
create temp table changed_offer_prices on commit drop as
select s.source_key
from staging.offer_prices s
join mapping m on s.connection = m.connection and s.run_id > m.since_run;
create temp table changed_offer_categories on commit drop as
select s.source_key
from staging.offer_categories s
join mapping m on s.connection = m.connection and s.run_id > m.since_run;

-- What the map files read: the changed rows that the shop still has.
create temp view source_customers as
select s.* from staging.customers s join mapping m using (connection) join changed_customers using (source_key)
where s.deleted_at is null;
create temp view source_subscribers as
select s.* from staging.subscribers s join mapping m using (connection) join changed_subscribers using (source_key)
where s.deleted_at is null;
create temp view source_orders as
select s.* from staging.orders s join mapping m using (connection) join changed_orders using (source_key)
where s.deleted_at is null;
create temp view source_products as
select s.* from staging.products s join mapping m using (connection) join changed_products using (source_key)
where s.deleted_at is null;
create temp view source_variations as
select s.* from staging.variations s join mapping m using (connection) join changed_variations using (source_key)
where s.deleted_at is null;
create temp view source_categories as
select s.* from staging.categories s join mapping m using (connection) join changed_categories using (source_key)
where s.deleted_at is null;

-- What the map files fill. A column that a platform does not know stays null.
create temp table mapped_statuses (
    source_status text primary key,
    status text not null
) on commit drop;

create temp table mapped_categories (
    source_key text primary key,
    parent_key text,
    name text
) on commit drop;

create temp table mapped_products (like canonical.products) on commit drop;
alter table mapped_products drop column connection;

create temp table mapped_product_categories (
    product_key text not null,
    category_key text not null,
    primary key (product_key, category_key)
) on commit drop;

-- What records say of consent, for the platform's own files to join.
create temp table mapped_consents (
    kind text not null,
    source_key text not null,
    channel text not null,
    state text not null,
    stated_at timestamptz,
    primary key (kind, source_key, channel)
) on commit drop;

create temp table mapped_contact_sources (
    source_key text primary key,
    kind text not null,
    account_key text,
    raw_email text,
    raw_phone text,
    phone text,
    first_name text,
    last_name text,
    company text,
    birthday date,
    street text,
    postal_code text,
    city text,
    region text,
    country text,
    language text,
    registered boolean not null default false,
    newsletter boolean not null default false,
    email_consent text not null default 'unknown',
    email_consent_at timestamptz,
    sms_consent text not null default 'unknown',
    sms_consent_at timestamptz,
    extra jsonb not null default '{}',
    created_at timestamptz,
    updated_at timestamptz
) on commit drop;

create temp table mapped_orders (
    source_key text primary key,
    account_key text,
    number text,
    source_status text,
    payment_status text,
    currency text,
    total numeric,
    discount numeric,
    shipping numeric,
    fees numeric,
    tax numeric,
    placed_at timestamptz,
    updated_at timestamptz,
    delivered_at timestamptz,
    cancelled_at timestamptz,
    payment_method text,
    delivery_method text,
    pickup_place text,
    utm jsonb not null default '{}',
    extra jsonb not null default '{}'
) on commit drop;

create temp table mapped_order_items (
    source_key text not null,
    line integer not null,
    product_key text,
    variation_key text,
    sku text,
    name text,
    quantity numeric,
    unit_price numeric,
    line_total numeric,
    image_url text,
    primary key (source_key, line)
) on commit drop;

-- Values that could not be taken as the shop gave them; entity is the staging stream's canonical counterpart.
create temp table mapped_problems (
    entity text not null,
    key text not null,
    field text not null,
    code text not null,
    reason text not null,
    value text
) on commit drop;

-- Records whose problems are written anew at the end.
create temp table examined (
    entity text not null,
    key text not null
) on commit drop;

-- What canonical.merge reads: the rows as they should be, and which rows were worked out anew.
create temp table incoming_categories (like canonical.categories) on commit drop;
create temp table affected_categories (connection text, source_key text) on commit drop;
create temp table incoming_products (like canonical.products) on commit drop;
create temp table affected_products (connection text, source_key text) on commit drop;
create temp table incoming_product_categories (like canonical.product_categories) on commit drop;
create temp table affected_product_categories (connection text, product_key text) on commit drop;
create temp table incoming_contact_sources (like canonical.contact_sources) on commit drop;
create temp table affected_contact_sources (connection text, source_key text) on commit drop;
create temp table incoming_orders (like canonical.orders) on commit drop;
create temp table affected_orders (order_id uuid) on commit drop;
create temp table incoming_order_items (like canonical.order_items) on commit drop;
create temp table affected_order_items (order_id uuid) on commit drop;
create temp table incoming_contacts (like canonical.contacts) on commit drop;
create temp table affected_contacts (contact_id uuid primary key) on commit drop;
create temp table incoming_contact_tags (like canonical.contact_tags) on commit drop;
create temp table affected_contact_tags (contact_id uuid primary key) on commit drop;

-- What this run has changed so far (run_changes.sql).
create temp table run_changes (
    seq bigint not null,
    entity text not null,
    key text not null,
    contact_id uuid,
    op text not null,
    old jsonb
) on commit drop;

analyze changed_customers, changed_subscribers, changed_orders, changed_refunds, changed_products, changed_variations,
    changed_categories, changed_offers, changed_offer_prices, changed_offer_categories;
