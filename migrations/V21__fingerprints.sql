-- What an audit compares by: a million contacts are not rendered again where nothing that rendering reads has changed.

create table delivery.fingerprints (
    contact_id uuid not null,
    target text not null,
    pipeline text not null,
    fingerprint bigint not null,
    primary key (contact_id, target, pipeline)
);
comment on table delivery.fingerprints is 'One row per contact that a load has rendered, so that an audit need not: where the fingerprint still holds, rendering would call for nothing';
comment on column delivery.fingerprints.contact_id is 'The contact';
comment on column delivery.fingerprints.target is 'The target account';
comment on column delivery.fingerprints.pipeline is 'The pipeline';
comment on column delivery.fingerprints.fingerprint is 'Of the settings, of all that rendering reads of the contact, and of the payload that the ledger holds once that has been acknowledged';
