-- Two back-fills of one account take turns by the half minute, not by the second.

alter table ops.leases add column queued_at timestamptz;
comment on column ops.leases.queued_at is 'When another process last asked for it that can wait for its share; a back-fill then goes on until its own share is used';
comment on column ops.leases.wanted_at is 'When another process last asked for it that has changes to send; a back-fill then lets it go first';
comment on column ops.leases.name is 'extract:CONNECTION, transform, load:ACCOUNT/PIPELINE (what a pipeline has to send there) or target:ACCOUNT';
