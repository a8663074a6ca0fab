-- What the archive tells the rest: how far the change feed is kept there, so that the database may forget it.

create table ops.archives (
    place text primary key,
    snapshot text not null,
    taken_at timestamptz not null,
    feed_run bigint not null
);
comment on table ops.archives is 'One row per place that snapshots were written to: the last of them';
comment on column ops.archives.place is 'The folder or URL, without credentials';
comment on column ops.archives.snapshot is 'Name of the last complete snapshot there';
comment on column ops.archives.taken_at is 'The instant that it shows';
comment on column ops.archives.feed_run is 'Changes of runs up to this one are in the archive there';

comment on column ops.settings.name is 'Name of the setting; identity_salt makes contact ids say nothing about the person, restored names a database that came from an archive';
