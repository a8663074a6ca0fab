-- What the guard holds back: only what it is about, while all else is sent.
create table delivery.guarded (
    target text not null,
    pipeline text not null,
    key uuid not null,
    reasons text[] not null,
    run_id bigint not null,
    held_at timestamptz not null default now(),
    primary key (key, target, pipeline)
);
comment on table delivery.guarded is 'One row per pending contact that the guard holds back, because more contacts than load.guard allows would lose something at once; worked out anew by each load, given free by --allow-mass-change';
comment on column delivery.guarded.target is 'The target account';
comment on column delivery.guarded.pipeline is 'The pipeline';
comment on column delivery.guarded.key is 'The contact';
comment on column delivery.guarded.reasons is 'What would become of it: tags (it loses tags without gaining one), fields (it loses values), consent (it is opted out), gone (no shop has it any more), changed';
comment on column delivery.guarded.run_id is 'The run that held it back first';
comment on column delivery.guarded.held_at is 'Since when';
