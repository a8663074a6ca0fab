-- Targets that import in jobs, say opt-outs only in a list, and update what they hold of an order.

-- Jobs ----------------------------------------------------------------------------------------------------------------

alter table delivery.batches drop constraint batches_state_check;
alter table delivery.batches add constraint batches_state_check check (
    state in ('intent', 'job', 'acknowledged', 'partial', 'refused', 'unknown', 'superseded')
);
comment on column delivery.batches.state is 'intent, job (the target works on it; target_reference is the job''s id), acknowledged, partial (some refused), refused, unknown (outcome not known), superseded (repeated by a later batch because the target deduplicates)';
comment on column delivery.batches.target_reference is 'The target''s id of the call or of the job that it started, where it gave one';

-- Opt-outs made at a target -------------------------------------------------------------------------------------------

create table delivery.opt_outs (
    target text not null,
    channel text not null check (channel in ('email', 'sms')),
    address text not null,
    opted_out_at timestamptz not null,
    run_id bigint not null,
    primary key (target, channel, address)
);
comment on table delivery.opt_outs is 'One row per address that opted out at a target account itself, where the target says so in a list: an older opt-in of the shop never lifts it';
comment on column delivery.opt_outs.target is 'The target account';
comment on column delivery.opt_outs.channel is 'email or sms';
comment on column delivery.opt_outs.address is 'The e-mail address in lower case, or the digits of the phone';
comment on column delivery.opt_outs.opted_out_at is 'When last';
comment on column delivery.opt_outs.run_id is 'The run that read it';

create table delivery.opt_out_readings (
    target text primary key,
    read_until timestamptz not null
);
comment on table delivery.opt_out_readings is 'One row per target account: until when its list of opt-outs has been read';
comment on column delivery.opt_out_readings.target is 'The target account';
comment on column delivery.opt_out_readings.read_until is 'Opt-outs up to this moment are in delivery.opt_outs';

-- Objects that a target updates ---------------------------------------------------------------------------------------

comment on column delivery.ledger.object is 'contact, or what the target''s connector calls what it sends of an order: purchase, cancellation, return; order, event, past event';
comment on column delivery.ledger.payload is 'The desired state that was acknowledged (or is being sent: then the member sending says what was asked for, and what the target held before)';
comment on column delivery.rejects.object is 'contact, or what the target''s connector calls what it sends of an order';

-- Several limits of one account ---------------------------------------------------------------------------------------

comment on column ops.budgets.account is 'The target account, as named in the pipeline files; for a class of calls that has a limit of its own followed by a slash and the class';
comment on column ops.budget_rates.account is 'The target account, or a class of its calls: crm/events';
