-- The call that brings eSputnik from what it last acknowledged to what is desired: one row per pg_temp.deliver_desired.
--
-- verdict: send (operation, address, envelope and request say what), same (it holds just that), skip and reject as
-- before. A contact may take several calls; each is rendered when the one before has been acknowledged
-- (`has_next`):
--
--   unsubscribe   its address goes on the list of unsubscribed ones, before anything is imported
--   resubscribe   its address comes off that list: only for an opt-in that is later than the opt-out that we sent, or
--                 by which the record that withdrew has taken that back; and later than the one that the person made
--                 at eSputnik (delivery.opt_outs), or decided by a person since (`wharf rejects retry`). Else that one
--                 is kept and noted (`kept`)
--   import        the card; new people are confirmed by it
--   subscribe     a new person of whom it is not known whether they agreed, unconfirmed
--
-- `contactFields` and `customFieldsIDs` name what has a value here, or had one that we sent: an import without them
-- empties what it does not name, and what others have written at eSputnik is not ours to empty. Sheet, sections 5.1
-- to 5.3. $1 settings, as for contacts.sql.
with settings as (
    select
        $1::jsonb ->> 'target' as target,
        $1::jsonb ->> 'deleted' as deleted_choice,
        $1::jsonb #>> '{deliver,dedupe_on}' as dedupe_on,
        $1::jsonb #>> '{deliver,field_id}' as field_id,
        $1::jsonb #> '{deliver,group_names_exclude}' as excluded,
        ($1::jsonb #>> '{deliver,restore_deleted}')::boolean as restores
),
based as materialized (
    -- What the account holds: the contact's own card, or the one that becomes its own.
    select
        desired.key,
        desired.verdict,
        desired.code,
        desired.reason,
        desired.former_id,
        desired.payload as desired,
        case
            when desired.former_id is null then coalesce(step.payload, own.payload)
            else former.payload || coalesce(coalesce(step.payload, own.payload) - 'imported', '{}')
        end as base,
        former.target_id as former_target_id,
        former.payload ->> 'external_id' as former_external_id,
        coalesce(own.state, 'acknowledged') = 'acknowledged'
        and coalesce(former.state, 'acknowledged') = 'acknowledged'
        and unsettled.key is null as is_settled,
        successor.key is not null as is_moved,
        coalesce(successor.successor_is_there, false) as successor_is_there,
        coalesce(successor.is_renamed, false) as is_renamed
    from pg_temp.deliver_desired as desired
    cross join settings
    left join delivery.ledger as own
        on own.contact_id = desired.key
        and own.target = settings.target
        and own.object = 'contact'
        and own.key = desired.key
    left join delivery.ledger as former
        on former.contact_id = desired.former_id
        and former.target = settings.target
        and former.object = 'contact'
        and former.key = desired.former_id
    left join pg_temp.deliver_steps as step on step.key = desired.key and step.object = 'contact'
    left join pg_temp.deliver_successors as successor on successor.key = desired.key
    left join pg_temp.deliver_unsettled as unsettled on unsettled.key = desired.key
),
judged as materialized (
    select
        based.*,
        coalesce(base ->> 'imported', 'true') = 'true' and base is not null as is_imported,
        case
            when verdict in ('skip', 'reject') then verdict
            -- A call whose outcome nobody knows: nothing more is sent to this card until a person has looked.
            when not is_settled then 'wait'
            when verdict = 'send' then 'send'
            when base is null or is_renamed or base ->> 'imported' = 'false' then 'skip'
            when is_moved and not successor_is_there then 'skip'
            when not is_moved and deleted_choice = 'keep' then 'skip'
            when base ->> 'gone' = 'true' and (deleted_choice <> 'opt_out' or is_moved) then 'same'
            else 'gone'
        end as step,
        -- A deleted contact's card keeps all but its segments.
        case
            when verdict <> 'gone' then desired
            when deleted_choice = 'opt_out' and not is_moved then base || jsonb_build_object(
                'gone', true,
                'tags', '[]'::jsonb,
                'consent', (base -> 'consent') || case
                    when base #>> '{consent,email,state}' = 'opt_out' then '{}'
                    else jsonb_build_object(
                        'email', jsonb_build_object('state', 'opt_out', 'at', delivery.iso_utc(now()))
                    )
                end
            )
            else base || '{"gone": true, "tags": []}'
        end as wanted
    from based
    cross join settings
),
stated as (
    select
        judged.*,
        wanted ->> 'email' as email,
        wanted #>> '{consent,email,state}' as state,
        (wanted #>> '{consent,email,at}')::timestamptz as stated_at,
        case
            when base ->> 'email' = wanted ->> 'email' then base #>> '{consent,email,state}'
        end as sent_state,
        case
            when base ->> 'email' = wanted ->> 'email' then (base #>> '{consent,email,at}')::timestamptz
        end as sent_at,
        base #>> '{consent,email,respected}' = 'true' as was_kept,
        opt_outs.opted_out_at,
        decision.decided_at
    from judged
    cross join settings
    left join delivery.opt_outs
        on opt_outs.target = settings.target
        and opt_outs.channel = 'email'
        and opt_outs.address = lower(wanted ->> 'email')
    left join pg_temp.deliver_decisions as decision
        on decision.contact_id = judged.key
        and decision.channel = 'email'
        and wanted #>> '{consent,email,state}' = 'opt_in'
        and decision.stated_at is not distinct from (wanted #>> '{consent,email,at}')::timestamptz
),
wishes as (
    select
        stated.*,
        step in ('send', 'gone')
        and email is not null
        and state = 'opt_out'
        and sent_state is distinct from 'opt_out' as wants_out,
        step = 'send'
        and state = 'opt_in'
        and (
            -- What we have put on the list.
            coalesce(sent_state = 'opt_out' and stated_at > sent_at, false)
            or (
                coalesce(sent_state = 'opt_out', false)
                and exists (
                    select
                    from pg_temp.deliver_taken_back as back
                    where back.contact_id = stated.key and back.channel = 'email' and back.stated_at = stated.sent_at
                )
            )
            -- What the person has, before the shop heard of the opt-in.
            or (
                opted_out_at is not null
                and (
                    sent_state is distinct from 'opt_in'
                    or coalesce(stated_at > coalesce(sent_at, '-infinity'), false)
                    or (was_kept and decided_at is not null)
                )
            )
        ) as wants_in,
        opted_out_at is null
        or coalesce(stated_at > opted_out_at, false)
        or coalesce(opted_out_at <= decided_at, false) as is_later
    from stated
),
decided as materialized (
    select
        wishes.*,
        wants_in and is_later as force_in,
        wants_in and not is_later as is_kept,
        -- A statement that was not followed because of an opt-out there keeps saying so as long as it is the same
        -- one; an opt-in that does not lift what we have sent leaves that standing.
        case
            when step <> 'send' then wanted
            when wants_in and not is_later then
                jsonb_set(wanted, '{consent,email}', (wanted #> '{consent,email}') || '{"respected": true}')
            when wants_in then wanted
            when (base #> '{consent,email}') - 'respected' = wanted #> '{consent,email}' then
                jsonb_set(wanted, '{consent,email}', base #> '{consent,email}')
            when sent_state = 'opt_out' and state <> 'opt_out' and not wants_in then
                jsonb_set(wanted, '{consent,email}', base #> '{consent,email}')
            else wanted
        end as payload
    from wishes
),
steps as materialized (
    select
        decided.*,
        case
            when step not in ('send', 'gone') then step
            when wants_out then 'unsubscribe'
            when force_in then 'resubscribe'
            when step = 'gone' then 'untag'
            when is_imported and former_id is null and base - 'subscribed' = payload then 'same'
            -- Somebody who has not been asked yet, and nothing has changed in that.
            when state = 'unknown' and email is not null and sent_state = 'unknown' and base ? 'subscribed' then 'unconfirmed'
            when state = 'unknown' and email is not null and not is_imported then 'subscribe'
            else 'import'
        end as outcome
    from decided
),
said as (
    -- The payload that is acknowledged by each call: of a list, the consent alone.
    select
        steps.*,
        case
            when outcome in ('unsubscribe', 'resubscribe') then
                case
                    when is_imported and former_id is null then base
                    else jsonb_build_object('imported', false)
                end
                || jsonb_build_object(
                    'email', email,
                    'consent', coalesce(base -> 'consent', '{}') || jsonb_build_object('email', payload #> '{consent,email}')
                )
            when outcome = 'subscribe' then payload || '{"subscribed": true}'
            else payload
        end as acknowledged
    from steps
),
cards as materialized (
    select
        said.*,
        case
            when outcome = 'untag' then base
            else payload
        end as card,
        case
            when outcome = 'untag' then '{}'::jsonb
            else coalesce(case when is_imported then base end, '{}')
        end as sent
    from said
    where outcome in ('import', 'untag', 'subscribe')
),
contacts as (
    select
        cards.key,
        jsonb_strip_nulls(jsonb_build_object(
            'channels', (
                select jsonb_agg(jsonb_build_object('type', channel.type, 'value', channel.value) order by channel.type)
                from (values ('email', card ->> 'email'), ('sms', card ->> 'phone')) as channel (type, value)
                where channel.value is not null
            ),
            'externalCustomerId', card ->> 'external_id',
            'id', case when is_by_id then former_target_id::bigint end,
            'firstName', case when outcome <> 'untag' then card ->> 'first_name' end,
            'lastName', case when outcome <> 'untag' then card ->> 'last_name' end,
            'address', case when outcome <> 'untag' then card -> 'address' end,
            'languageCode', case when outcome <> 'untag' then card ->> 'lang' end,
            'fields', (
                select jsonb_agg(
                    jsonb_build_object('id', field.id::bigint, 'value', field.value)
                    order by field.id::bigint
                )
                from jsonb_each_text(card -> 'fields') as field (id, value)
                where outcome <> 'untag' or (dedupe = 'fieldId' and field.id = settings.field_id)
            )
        )) as contact,
        jsonb_strip_nulls(jsonb_build_object(
            'dedupeOn', dedupe,
            'fieldId', case when dedupe = 'fieldId' then settings.field_id::bigint end,
            'contactFields', case
                -- An empty list might be taken for none; this value is there already.
                when outcome = 'untag' then jsonb_build_array(
                    case
                        when card ? 'external_id' then 'externalCustomerId'
                        when card ? 'email' then 'email'
                        else 'sms'
                    end
                )
                else (
                    select jsonb_agg(field.name order by field.place)
                    from (
                        values
                            (1, 'firstName', '{first_name}'),
                            (2, 'lastName', '{last_name}'),
                            (3, 'email', '{email}'),
                            (4, 'sms', '{phone}'),
                            (5, 'languageCode', '{lang}'),
                            (6, 'address', '{address,address}'),
                            (7, 'town', '{address,town}'),
                            (8, 'region', '{address,region}'),
                            (9, 'postcode', '{address,postcode}'),
                            (10, 'externalCustomerId', '{external_id}')
                    ) as field (place, name, path)
                    where card #> field.path::text[] is not null or sent #> field.path::text[] is not null
                )
            end,
            'customFieldsIDs', (
                select jsonb_agg(id::bigint order by id::bigint)
                from (
                    select jsonb_object_keys(card -> 'fields') as id
                    union
                    select jsonb_object_keys(sent -> 'fields')
                ) as ids
                where outcome <> 'untag'
            ),
            'groupNames', case when outcome <> 'untag' then nullif(card -> 'tags', '[]') end,
            'groupNamesExclude', (
                select jsonb_agg(name order by name collate "C")
                from (
                    select jsonb_array_elements_text(settings.excluded) as name
                    union
                    select jsonb_array_elements_text(base -> 'tags')
                    where is_imported
                    except
                    select jsonb_array_elements_text(card -> 'tags')
                    where outcome <> 'untag'
                ) as names
            ),
            'restoreDeleted', settings.restores
        )) as envelope
    from cards
    cross join settings
    cross join lateral (
        select
            former_id is not null
            and former_target_id ~ '^\d{1,18}$'
            and (card ->> 'external_id' = former_external_id) is not true as is_by_id
    ) as renamed
    cross join lateral (
        select
            case
                when is_by_id then 'id'
                when settings.dedupe_on = 'email_or_sms' then 'email_or_sms'
                when settings.dedupe_on = 'externalCustomerId' and card ? 'external_id' then 'externalCustomerId'
                when settings.dedupe_on = 'fieldId' and card -> 'fields' ? settings.field_id then 'fieldId'
                when settings.dedupe_on = 'sms' and card ? 'phone' then 'sms'
                when card ? 'email' then 'email'
                else 'sms'
            end as dedupe
    ) as recognised
)
select
    said.key,
    case
        when outcome in ('unsubscribe', 'resubscribe', 'import', 'subscribe', 'untag') then 'send'
        when outcome = 'unconfirmed' then 'skip'
        else outcome
    end as verdict,
    case outcome
        when 'unsubscribe' then 'unsubscribe e-mails'
        when 'resubscribe' then 'subscribe e-mails again'
        when 'subscribe' then 'subscribe contacts'
        else 'import contacts'
    end as operation,
    case outcome
        when 'unsubscribe' then 'opt out'
        when 'resubscribe' then 'opt in again'
        when 'subscribe' then 'unconfirmed'
        when 'untag' then 'untag'
        when 'import' then case when former_id is not null then 'rename' when not is_imported then 'new' else 'changed' end
    end as kind,
    coalesce(case when outcome = 'untag' then base ->> 'email' else email end, payload ->> 'phone', base ->> 'phone')
        as address,
    case when outcome in ('import', 'untag') then contacts.envelope end as envelope,
    case outcome
        when 'unsubscribe' then jsonb_build_object('email', email)
        when 'resubscribe' then jsonb_build_object('email', email)
        when 'subscribe' then jsonb_strip_nulls(jsonb_build_object(
            'contact', contacts.contact,
            'groups', contacts.envelope -> 'groupNames'
        ))
        else contacts.contact
    end as request,
    acknowledged as payload,
    base as before,
    case when outcome = 'import' then former_id end as former_id,
    false as needs_check,
    -- Orders that were left out for want of consent, or of the contact itself, are looked at again.
    outcome in ('import', 'subscribe')
    and (not is_imported or (state = 'opt_in' and sent_state is distinct from 'opt_in')) as wakes_orders,
    case when is_kept then 'e-mail' end as kept,
    coalesce(
        code,
        case
            when outcome = 'unconfirmed' then 'unconfirmed'
            when verdict = 'gone' and is_moved then 'moved'
            when not is_settled then 'outcome-unknown'
        end
    ) as code,
    reason,
    outcome in ('unsubscribe', 'resubscribe')
    and (step = 'gone' or not is_imported or former_id is not null or acknowledged <> payload) as has_next
from said
left join contacts on contacts.key = said.key
