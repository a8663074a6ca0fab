-- The tables that rendering works in: temporary, private to one session, so that rendering itself can be read-only.

-- Every slice is a statement of milliseconds; compiling it takes seconds.
set jit = off;

-- What is written here is private, and what is not is written before something that waits for the disk.
set synchronous_commit = off;

-- What is to be looked at, in the order in which it is.
create temporary table deliver_queue (
    position bigint primary key,
    key uuid not null,
    run_id bigint not null
);

-- The part of the queue that is in hand.
create temporary table deliver_candidates (
    key uuid primary key,
    run_id bigint not null
);

-- What contacts.fields give for the contacts in hand (fields.sql).
create temporary table deliver_properties (
    contact_id uuid primary key,
    properties jsonb
);

-- What the account should hold of the contacts in hand (contacts.sql).
create temporary table deliver_desired (
    key uuid primary key,
    verdict text not null,
    code text,
    reason text,
    former_id uuid,
    payload jsonb
);

-- The contacts in hand that wait for the outcome of a call (deliver_unsettled_now).
create temporary table deliver_unsettled (
    key uuid primary key
);

-- The exclusive or of what the contacts in hand are rendered from (fingerprints.sql). Empty in a plan.
create temporary table deliver_inputs (
    contact_id uuid primary key,
    inputs bigint not null
);

-- What the account said of addresses that were asked for; addresses it does not hold are absent.
create temporary table deliver_seen (
    address text primary key,
    email_opted_out boolean not null,
    sms_opted_out boolean not null,
    created_at timestamptz,
    modified_at timestamptz
);

-- What a plan has found for contacts, in place of the ledger that a load would have written by then. Empty in a load.
create temporary table deliver_verdicts (
    contact_id uuid primary key,
    verdict text not null,
    former_id uuid,
    is_confirmed boolean not null default false
);

-- What a plan has found for objects that take several calls, in place of the ledger. Empty in a load.
create temporary table deliver_steps (
    key uuid,
    object text,
    payload jsonb not null,
    is_open boolean not null,
    primary key (key, object)
);

-- What would become of contacts that the account holds, as the guard weighs them.
create temporary table deliver_toll (
    key uuid primary key,
    reasons text[] not null
);

-- What a plan has found that orders would be at the target, where it scores customers by them. Empty in a load.
create temporary table deliver_scored (
    key uuid primary key,
    is_delivered boolean not null
);

-- The RFM row of each contact, filled where the pipeline's fields use it: of several currencies the one with most
-- orders.
create temporary table deliver_rfm (
    contact_id uuid primary key,
    currency text,
    recency_days integer,
    frequency bigint,
    monetary numeric,
    first_order_at timestamptz,
    last_order_at timestamptz,
    r integer,
    f integer,
    m integer,
    segment text
);
