-- What plans need: which settings shaped payloads, and hashes of payloads.

alter table delivery.consumers add column settings jsonb;
comment on column delivery.consumers.settings is 'The settings behind settings_hash, by name, so that a plan can say which of them have changed; never a secret';

-- 128 bits, equal for equal payloads however they are written; what plans compare by.
create function delivery.payload_hash(payload jsonb) returns uuid
language sql immutable strict parallel safe as $$
    select (
        lpad(to_hex(jsonb_hash_extended(payload, 0)), 16, '0') || lpad(to_hex(jsonb_hash_extended(payload, 1)), 16, '0')
    )::uuid
$$;
comment on function delivery.payload_hash is 'Fingerprint of a payload or request for plans; null for null';

-- A statement that was not followed because of an opt-out on the card says so in the ledger; a plan cannot know that.
create function delivery.planned_hash(payload jsonb) returns uuid
language sql immutable strict parallel safe as $$
    select delivery.payload_hash(
        case
            -- Consent withdrawn because a contact is gone carries the time of the call.
            when payload ->> 'gone' = 'true' then payload - 'consent'
            else payload #- '{consent,email,respected}' #- '{consent,sms,respected}'
        end
    )
$$;
comment on function delivery.planned_hash is 'Fingerprint of a payload without what only the card at the target, or the time of the call, can tell';
