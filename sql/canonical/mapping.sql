-- What a transform knows of the connection it maps; one row, filled by the transform.
create temp table mapping (
    connection text not null,
    platform text not null,
    run_id bigint not null,
    -- Staging rows of later runs are mapped; 0 maps everything.
    since_run bigint not null,
    -- Where the watermark then stands: nothing of a run up to this one can land any more. Rows of later runs that have
    -- landed are mapped now and, as more may follow, again next time.
    staged_run bigint not null,
    settings jsonb not null,
    default_country text,
    -- When the last complete walks began that the last transform knew of, of the lists that tell of people: what
    -- contact_sources says of a record it said at that moment or later. Null where one has never been walked.
    people_seen_at timestamptz,
    -- Stream by stream, when the last complete walk began that this transform knows of.
    walked jsonb not null,
    -- Whether tag names or switches differ from those of the last transform.
    tags_changed boolean not null,
    salt text not null
) on commit drop;
