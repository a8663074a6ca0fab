-- canonical: one meaning for all platforms. Contacts, orders, products, categories, tags, the feed of their changes.
--
-- What hangs on a contact carries contact_id in its primary key, so that it can be distributed by it; a row that moves
-- to another contact is deleted and inserted, never updated in place.

create schema canonical;
comment on schema canonical is 'Contacts, orders, products, categories and tags with one meaning for all platforms';

create table canonical.contacts (
    contact_id uuid primary key,
    email text,
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
    registered boolean not null,
    newsletter boolean not null,
    email_consent text not null check (email_consent in ('opt_in', 'opt_out', 'unknown')),
    email_consent_at timestamptz,
    sms_consent text not null check (sms_consent in ('opt_in', 'opt_out', 'unknown')),
    sms_consent_at timestamptz,
    extra jsonb not null,
    created_at timestamptz,
    updated_at timestamptz
);
create index contacts_email on canonical.contacts (email);
comment on table canonical.contacts is 'One row per person: everybody with an account, a subscription or an order in any connected shop';
comment on column canonical.contacts.contact_id is 'A pure function of the identity (e-mail, else phone, else connection and key) and this database''s salt';
comment on column canonical.contacts.email is 'Trimmed, lower-cased; null where nobody knows a valid one';
comment on column canonical.contacts.phone is 'E.164, for example +48601000101; null where no source gives a valid one';
comment on column canonical.contacts.first_name is 'Given name; the newest non-null value of all sources, like every personal field';
comment on column canonical.contacts.last_name is 'Family name';
comment on column canonical.contacts.company is 'Company';
comment on column canonical.contacts.birthday is 'Date of birth';
comment on column canonical.contacts.street is 'Street, house and flat';
comment on column canonical.contacts.postal_code is 'Postal code';
comment on column canonical.contacts.city is 'City';
comment on column canonical.contacts.region is 'State, province or region as the shop writes it';
comment on column canonical.contacts.country is 'ISO 3166-1 alpha-2';
comment on column canonical.contacts.language is 'Language code as the shop writes it';
comment on column canonical.contacts.registered is 'True if any shop has an account for this person';
comment on column canonical.contacts.newsletter is 'True if any shop lists this person as a newsletter subscriber';
comment on column canonical.contacts.email_consent is 'opt_in, opt_out or unknown; the latest explicit statement, opt_out when two are equally late';
comment on column canonical.contacts.email_consent_at is 'Time of that statement; null while unknown';
comment on column canonical.contacts.sms_consent is 'As email_consent, for text messages';
comment on column canonical.contacts.sms_consent_at is 'Time of that statement; null while unknown';
comment on column canonical.contacts.extra is 'Further attributes by name; the newest value of all sources per name';
comment on column canonical.contacts.created_at is 'Earliest creation of any of its sources';
comment on column canonical.contacts.updated_at is 'Latest change of any of its sources';

create table canonical.contact_sources (
    contact_id uuid not null,
    connection text not null,
    source_key text not null,
    kind text not null check (kind in ('account', 'subscriber', 'guest', 'order')),
    raw_email text,
    raw_phone text,
    email text,
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
    registered boolean not null,
    newsletter boolean not null,
    email_consent text not null check (email_consent in ('opt_in', 'opt_out', 'unknown')),
    email_consent_at timestamptz,
    sms_consent text not null check (sms_consent in ('opt_in', 'opt_out', 'unknown')),
    sms_consent_at timestamptz,
    extra jsonb not null,
    created_at timestamptz,
    updated_at timestamptz,
    primary key (contact_id, connection, source_key)
);
create index contact_sources_key on canonical.contact_sources (connection, source_key);
comment on table canonical.contact_sources is 'One row per account, subscription or guest order: what it says of its contact';
comment on column canonical.contact_sources.contact_id is 'The contact it speaks of';
comment on column canonical.contact_sources.connection is 'The shop';
comment on column canonical.contact_sources.source_key is 'account:…, subscriber:… or order:… and the record''s key at the platform';
comment on column canonical.contact_sources.kind is 'account, subscriber, guest (the buyer of an order made without an account) or order (consent that an account''s holder gave with an order)';
comment on column canonical.contact_sources.raw_email is 'E-mail as received';
comment on column canonical.contact_sources.raw_phone is 'Phone as received';
comment on column canonical.contact_sources.email is 'E-mail, trimmed and lower-cased; null if it is none';
comment on column canonical.contact_sources.phone is 'Phone in E.164; null if it is none';
comment on column canonical.contact_sources.first_name is 'Given name';
comment on column canonical.contact_sources.last_name is 'Family name';
comment on column canonical.contact_sources.company is 'Company';
comment on column canonical.contact_sources.birthday is 'Date of birth';
comment on column canonical.contact_sources.street is 'Street, house and flat';
comment on column canonical.contact_sources.postal_code is 'Postal code';
comment on column canonical.contact_sources.city is 'City';
comment on column canonical.contact_sources.region is 'State, province or region';
comment on column canonical.contact_sources.country is 'ISO 3166-1 alpha-2';
comment on column canonical.contact_sources.language is 'Language code';
comment on column canonical.contact_sources.registered is 'True for an account';
comment on column canonical.contact_sources.newsletter is 'True for a newsletter subscription';
comment on column canonical.contact_sources.email_consent is 'What this record says of e-mail consent';
comment on column canonical.contact_sources.email_consent_at is 'When it said so: the shop''s own time if it gives one, else when Wharf first saw this value';
comment on column canonical.contact_sources.sms_consent is 'What this record says of text messages';
comment on column canonical.contact_sources.sms_consent_at is 'When it said so';
comment on column canonical.contact_sources.extra is 'Further attributes by name';
comment on column canonical.contact_sources.created_at is 'When the record was created at the shop';
comment on column canonical.contact_sources.updated_at is 'When the record was last changed at the shop';

create table canonical.consent_statements (
    contact_id uuid not null,
    channel text not null check (channel in ('email', 'sms')),
    connection text not null,
    source_key text not null,
    stated_at timestamptz not null,
    state text not null check (state in ('opt_in', 'opt_out')),
    run_id bigint not null,
    primary key (contact_id, channel, connection, source_key, stated_at)
);
comment on table canonical.consent_statements is 'One row per consent statement ever seen; kept when its record is changed or deleted, so that an opt-out outlives its source';
comment on column canonical.consent_statements.contact_id is 'The contact';
comment on column canonical.consent_statements.channel is 'email or sms';
comment on column canonical.consent_statements.connection is 'The shop that said it';
comment on column canonical.consent_statements.source_key is 'The record that said it, as in contact_sources';
comment on column canonical.consent_statements.stated_at is 'When it was stated';
comment on column canonical.consent_statements.state is 'opt_in or opt_out';
comment on column canonical.consent_statements.run_id is 'The run that saw it';

create table canonical.contact_moves (
    contact_id uuid primary key,
    moved_to uuid not null,
    email text,
    run_id bigint not null,
    moved_at timestamptz not null default now()
);
comment on table canonical.contact_moves is 'One row per contact that was left without sources because its identity changed at the shop';
comment on column canonical.contact_moves.contact_id is 'The contact that is no more';
comment on column canonical.contact_moves.moved_to is 'The contact its source speaks of now';
comment on column canonical.contact_moves.email is 'The e-mail it had';
comment on column canonical.contact_moves.run_id is 'The run that moved it';
comment on column canonical.contact_moves.moved_at is 'When';

create table canonical.orders (
    contact_id uuid not null,
    order_id uuid not null,
    connection text not null,
    source_key text not null,
    account_key text,
    number text,
    status text check (status in ('INITIALIZED', 'IN_PROGRESS', 'DELIVERED', 'CANCELLED', 'ABANDONED_SHOPPING_CART')),
    source_status text,
    payment_status text,
    currency text,
    total numeric(18, 4),
    items_total numeric(18, 4),
    discount numeric(18, 4),
    shipping numeric(18, 4),
    tax numeric(18, 4),
    placed_at timestamptz,
    updated_at timestamptz,
    delivered_at timestamptz,
    cancelled_at timestamptz,
    payment_method text,
    delivery_method text,
    pickup_place text,
    utm jsonb not null,
    extra jsonb not null,
    primary key (contact_id, order_id)
);
create index orders_order on canonical.orders (order_id);
create index orders_key on canonical.orders (connection, source_key);
create index orders_account on canonical.orders (connection, account_key) where account_key is not null;
comment on table canonical.orders is 'One row per order of any shop, drafts and cancelled ones included';
comment on column canonical.orders.contact_id is 'The buyer';
comment on column canonical.orders.order_id is 'A pure function of connection and source_key';
comment on column canonical.orders.connection is 'The shop';
comment on column canonical.orders.source_key is 'The order''s key at the platform';
comment on column canonical.orders.account_key is 'The buyer''s account at the platform; null for guests';
comment on column canonical.orders.number is 'The number that people see';
comment on column canonical.orders.status is 'INITIALIZED, IN_PROGRESS, DELIVERED, CANCELLED, ABANDONED_SHOPPING_CART; null while the shop''s status is not mapped';
comment on column canonical.orders.source_status is 'The shop''s own status';
comment on column canonical.orders.payment_status is 'paid, unpaid or refunded; null where the platform does not tell';
comment on column canonical.orders.currency is 'ISO 4217';
comment on column canonical.orders.total is 'What the buyer pays, tax and shipping included';
comment on column canonical.orders.items_total is 'Sum of the items after discount, tax included';
comment on column canonical.orders.discount is 'Discount, tax included';
comment on column canonical.orders.shipping is 'Shipping, tax included';
comment on column canonical.orders.tax is 'Tax within the total';
comment on column canonical.orders.placed_at is 'When it was placed';
comment on column canonical.orders.updated_at is 'When the shop last changed it';
comment on column canonical.orders.delivered_at is 'When it was finished';
comment on column canonical.orders.cancelled_at is 'When it was cancelled';
comment on column canonical.orders.payment_method is 'Payment method in the shop''s words';
comment on column canonical.orders.delivery_method is 'Delivery method in the shop''s words';
comment on column canonical.orders.pickup_place is 'Pick-up point, where one was chosen';
comment on column canonical.orders.utm is 'Campaign attribution: source, medium, campaign, content, term, id';
comment on column canonical.orders.extra is 'Further attributes: refunded (sum given back), returned (true if sent back whole), fees, coupons';

create table canonical.order_items (
    contact_id uuid not null,
    order_id uuid not null,
    line integer not null,
    connection text not null,
    product_key text,
    variation_key text,
    sku text,
    name text,
    quantity numeric(18, 4),
    unit_price numeric(20, 6),
    line_total numeric(18, 4),
    url text,
    image_url text,
    primary key (contact_id, order_id, line)
);
create index order_items_order on canonical.order_items (order_id);
create index order_items_product on canonical.order_items (connection, product_key);
comment on table canonical.order_items is 'One row per line of an order';
comment on column canonical.order_items.contact_id is 'The buyer';
comment on column canonical.order_items.order_id is 'The order';
comment on column canonical.order_items.line is 'Place within the order, from 1';
comment on column canonical.order_items.connection is 'The shop';
comment on column canonical.order_items.product_key is 'The product''s key at the platform; null once the product is gone';
comment on column canonical.order_items.variation_key is 'The variation''s key; null where there is none';
comment on column canonical.order_items.sku is 'Stock-keeping unit';
comment on column canonical.order_items.name is 'Name at the time of the order';
comment on column canonical.order_items.quantity is 'How many';
comment on column canonical.order_items.unit_price is 'Price of one after discount, tax included';
comment on column canonical.order_items.line_total is 'Price of the line after discount, tax included';
comment on column canonical.order_items.url is 'The product''s page';
comment on column canonical.order_items.image_url is 'The product''s picture';

create table canonical.products (
    connection text not null,
    source_key text not null,
    parent_key text,
    sku text,
    name text,
    status text,
    price numeric(18, 4),
    regular_price numeric(18, 4),
    currency text,
    stock numeric(18, 4),
    available boolean,
    url text,
    image_url text,
    created_at timestamptz,
    updated_at timestamptz,
    primary key (connection, source_key)
);
comment on table canonical.products is 'One row per product and per variation of a product';
comment on column canonical.products.connection is 'The shop';
comment on column canonical.products.source_key is 'The product''s key at the platform';
comment on column canonical.products.parent_key is 'For a variation: the product it belongs to';
comment on column canonical.products.sku is 'Stock-keeping unit';
comment on column canonical.products.name is 'Name';
comment on column canonical.products.status is 'The shop''s own status, for example publish or draft';
comment on column canonical.products.price is 'Price now, as the shop shows it';
comment on column canonical.products.regular_price is 'Price without a sale';
comment on column canonical.products.currency is 'ISO 4217; null where the platform does not give it with the product';
comment on column canonical.products.stock is 'Pieces in stock; null where not counted';
comment on column canonical.products.available is 'Whether it can be bought now';
comment on column canonical.products.url is 'Its page';
comment on column canonical.products.image_url is 'Its main picture';
comment on column canonical.products.created_at is 'When it was created';
comment on column canonical.products.updated_at is 'When it was last changed';

create table canonical.product_categories (
    connection text not null,
    product_key text not null,
    category_key text not null,
    primary key (connection, product_key, category_key)
);
create index product_categories_category on canonical.product_categories (connection, category_key);
comment on table canonical.product_categories is 'One row per product and category it stands in';
comment on column canonical.product_categories.connection is 'The shop';
comment on column canonical.product_categories.product_key is 'The product';
comment on column canonical.product_categories.category_key is 'The category';

create table canonical.categories (
    connection text not null,
    source_key text not null,
    parent_key text,
    name text,
    path text[] not null,
    depth integer not null,
    primary key (connection, source_key)
);
comment on table canonical.categories is 'One row per product category';
comment on column canonical.categories.connection is 'The shop';
comment on column canonical.categories.source_key is 'The category''s key at the platform';
comment on column canonical.categories.parent_key is 'The category above; null at the top';
comment on column canonical.categories.name is 'Name, entities decoded';
comment on column canonical.categories.path is 'Names from the top down to this one';
comment on column canonical.categories.depth is 'Length of the path: 1 at the top';

create table canonical.contact_tags (
    contact_id uuid not null,
    tag text not null,
    origin text not null check (origin in ('registered', 'newsletter', 'category', 'pipeline')),
    first_at timestamptz,
    last_at timestamptz,
    primary key (contact_id, tag, origin)
);
comment on table canonical.contact_tags is 'One row per contact, tag and reason for the tag';
comment on column canonical.contact_tags.contact_id is 'The contact';
comment on column canonical.contact_tags.tag is 'The tag';
comment on column canonical.contact_tags.origin is 'registered (has an account), newsletter (subscribed, no account), category (bought in it), pipeline (set by the pipeline file)';
comment on column canonical.contact_tags.first_at is 'First time the reason held: registration, subscription, or first order in the category';
comment on column canonical.contact_tags.last_at is 'Last time: for a category, the latest order in it';

create table canonical.changes (
    seq bigint generated always as identity primary key,
    run_id bigint not null,
    entity text not null,
    key text not null,
    contact_id uuid,
    op text not null check (op in ('insert', 'update', 'delete')),
    old jsonb,
    at timestamptz not null default now()
);
create index changes_run on canonical.changes (run_id);
comment on table canonical.changes is 'The change feed: one row per inserted, updated or deleted canonical row, written in the transaction that changed it';
comment on column canonical.changes.seq is 'Order of writing; unique, but not a watermark: read by run_id, below the oldest unfinished run';
comment on column canonical.changes.run_id is 'The run that made the change';
comment on column canonical.changes.entity is 'Table: contacts, orders, order_items, products, …';
comment on column canonical.changes.key is 'The row''s key, its parts joined by a colon';
comment on column canonical.changes.contact_id is 'The contact the row hangs on (after the change; before it for a delete); null for products and categories';
comment on column canonical.changes.op is 'insert, update or delete';
comment on column canonical.changes.old is 'For an update: the changed fields with their old values; for a delete: the whole row; null for an insert';
comment on column canonical.changes.at is 'When';

create table canonical.rejects (
    connection text not null,
    entity text not null,
    key text not null,
    field text not null,
    code text not null,
    reason text not null,
    value text,
    run_id bigint not null,
    at timestamptz not null default now(),
    primary key (connection, entity, key, field, code)
);
comment on table canonical.rejects is 'One row per value that could not be taken as the shop gave it; the record itself is kept and flows on unless the reason says it is held';
comment on column canonical.rejects.connection is 'The shop';
comment on column canonical.rejects.entity is 'contacts, orders, products or categories';
comment on column canonical.rejects.key is 'The source key of the record';
comment on column canonical.rejects.field is 'The canonical column';
comment on column canonical.rejects.code is 'Stable code: unmapped-status, bad-email, bad-phone, bad-number, bad-date, totals-differ, missing-parent, category-loop, …';
comment on column canonical.rejects.reason is 'What is wrong and what becomes of the record';
comment on column canonical.rejects.value is 'The value as received';
comment on column canonical.rejects.run_id is 'The run that found it';
comment on column canonical.rejects.at is 'When';

-- Values that SQL cannot read and a library can, once per distinct value: what the transform asks and Rust answers.
create table canonical.phones (
    raw text not null,
    country text not null,
    e164 text,
    primary key (raw, country)
);
comment on table canonical.phones is 'One row per distinct phone as written, with its E.164 form';
comment on column canonical.phones.raw is 'As written';
comment on column canonical.phones.country is 'The country it was read in, where it has no country code of its own; empty if none is known';
comment on column canonical.phones.e164 is 'E.164; null if it is no valid number';

create table canonical.decoded_texts (
    raw_hash uuid primary key,
    decoded text not null
);
comment on table canonical.decoded_texts is 'One row per distinct text that holds HTML entities, with the text they stand for';
comment on column canonical.decoded_texts.raw_hash is 'MD5 of the text as received';
comment on column canonical.decoded_texts.decoded is 'The text with entities decoded';
