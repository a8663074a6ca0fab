-- delivery: what was sent where, what waits to be sent, and what was refused.

create schema delivery;
comment on schema delivery is 'What was sent to the targets, what waits, and what they refused';

create table delivery.consumers (
    target text not null,
    pipeline text not null,
    run_id bigint not null default 0,
    settings_hash text,
    full_at timestamptz,
    primary key (target, pipeline)
);
comment on table delivery.consumers is 'One row per pipeline and target account: how far the change feed has been taken over into delivery.pending';
comment on column delivery.consumers.target is 'The target account, as named in the pipeline file';
comment on column delivery.consumers.pipeline is 'The pipeline';
comment on column delivery.consumers.run_id is 'Changes of runs up to this one have been taken over';
comment on column delivery.consumers.settings_hash is 'Hash of the settings that shape payloads; when it changes, every object is compared again';
comment on column delivery.consumers.full_at is 'When every object was last compared with the ledger';

create table delivery.pending (
    target text not null,
    pipeline text not null,
    object text not null,
    key uuid not null,
    run_id bigint not null,
    attempts integer not null default 0,
    primary key (target, pipeline, object, key)
);
comment on table delivery.pending is 'One row per object whose payload may differ from what the target last acknowledged';
comment on column delivery.pending.target is 'The target account';
comment on column delivery.pending.pipeline is 'The pipeline whose settings shape the payload';
comment on column delivery.pending.object is 'contact or order';
comment on column delivery.pending.key is 'contact_id or order_id';
comment on column delivery.pending.run_id is 'The newest run that changed it; a change during a load keeps the row';
comment on column delivery.pending.attempts is 'How often sending it has failed since the change';

create table delivery.ledger (
    target text not null,
    object text not null,
    key uuid not null,
    contact_id uuid not null,
    payload jsonb not null,
    state text not null check (state in ('sending', 'acknowledged', 'held')),
    target_id text,
    batch_id bigint,
    sent_at timestamptz not null default now(),
    confirmed_at timestamptz,
    run_id bigint not null,
    primary key (contact_id, target, object, key)
);
create index ledger_key on delivery.ledger (target, object, key);
create index ledger_batch on delivery.ledger (batch_id) where state <> 'acknowledged';
comment on table delivery.ledger is 'One row per object that a target holds, or may hold: the last payload it acknowledged';
comment on column delivery.ledger.target is 'The target account';
comment on column delivery.ledger.object is 'contact, or the kind of event in lower case: purchase, cancellation, return';
comment on column delivery.ledger.key is 'contact_id or order_id';
comment on column delivery.ledger.contact_id is 'The contact it hangs on';
comment on column delivery.ledger.payload is 'The desired state that was acknowledged (or is being sent)';
comment on column delivery.ledger.state is 'sending: intent written, outcome unknown yet; acknowledged; held: the outcome could not be found out, never sent again by itself';
comment on column delivery.ledger.target_id is 'The target''s own id of it, where it gave one';
comment on column delivery.ledger.batch_id is 'The call that carried it';
comment on column delivery.ledger.sent_at is 'When it was acknowledged, or when the intent was written';
comment on column delivery.ledger.confirmed_at is 'When the target was seen to hold it, where its writes are asynchronous';
comment on column delivery.ledger.run_id is 'The run that sent it';

create table delivery.batches (
    batch_id bigint generated always as identity primary key,
    target text not null,
    pipeline text not null,
    operation text not null,
    run_id bigint not null,
    items integer not null,
    keys uuid[] not null,
    state text not null check (state in ('intent', 'acknowledged', 'partial', 'refused', 'unknown', 'superseded')),
    target_reference text,
    detail text,
    started_at timestamptz not null default now(),
    finished_at timestamptz
);
create index batches_open on delivery.batches (target) where finished_at is null;
comment on table delivery.batches is 'One row per call that changes something at a target: the intent before it, the outcome after';
comment on column delivery.batches.batch_id is 'Number of the batch';
comment on column delivery.batches.target is 'The target account';
comment on column delivery.batches.pipeline is 'The pipeline';
comment on column delivery.batches.operation is 'The operation, as the target''s connector names it';
comment on column delivery.batches.run_id is 'The run';
comment on column delivery.batches.items is 'How many records it carries';
comment on column delivery.batches.keys is 'Their keys';
comment on column delivery.batches.state is 'intent, acknowledged, partial (some refused), refused, unknown (outcome not known), superseded (repeated by a later batch because the target deduplicates)';
comment on column delivery.batches.target_reference is 'The target''s id of the call, where it gave one';
comment on column delivery.batches.detail is 'What the target said';
comment on column delivery.batches.started_at is 'When the intent was written';
comment on column delivery.batches.finished_at is 'When the outcome was written';

create table delivery.rejects (
    target text not null,
    pipeline text not null,
    object text not null,
    key uuid not null,
    code text not null,
    reason text not null,
    payload jsonb,
    run_id bigint not null,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    times integer not null default 1,
    primary key (target, pipeline, object, key, code)
);
comment on table delivery.rejects is 'One row per record that a target, or a rule before it, refused';
comment on column delivery.rejects.target is 'The target account';
comment on column delivery.rejects.pipeline is 'The pipeline';
comment on column delivery.rejects.object is 'contact, purchase, cancellation or return';
comment on column delivery.rejects.key is 'contact_id or order_id';
comment on column delivery.rejects.code is 'Stable code of the reason';
comment on column delivery.rejects.reason is 'What the target said, or what is missing';
comment on column delivery.rejects.payload is 'What was to be sent';
comment on column delivery.rejects.run_id is 'The run that last tried';
comment on column delivery.rejects.first_at is 'First refused';
comment on column delivery.rejects.last_at is 'Last refused';
comment on column delivery.rejects.times is 'How often it was refused';
