-- The call that brings SALESmanago from what it last acknowledged to what is desired: one row per
-- pg_temp.deliver_desired.
--
-- verdict: send (operation, address and request say what), same (it holds just that), skip and reject as before.
-- Here the consent flags are decided (CTE `flags`), after the table in section 5.1 of the sheet:
--
--   given      forceOptIn, once per statement; what we opted out is lifted by a later statement, or where the record
--              that withdrew says the contrary now. An opt-out found on the card is kept (`kept`), unless the shop's
--              statement is later than the card's last change; or nobody but us has changed the card, and we opted it
--              out, or made it and it was never opted in; or a person has decided since (`wharf rejects retry`)
--   withdrawn  forceOptOut, once per statement
--   unknown    neither: an existing card stays as it is, a new one is opted out by the platform
--
-- The whole card is sent whenever anything differs. Empty fields are left out, as the platform's own library does:
-- whether null erases is not documented [unverified], so a value that vanished at the shop stays on the card. The
-- language stands only in the single call, the batch has no place for it per contact; it alone causes no call. $1
-- settings, as for contacts.sql.
with settings as (
    select
        $1::jsonb ->> 'target' as target,
        $1::jsonb ->> 'deleted' as deleted_choice,
        $1::jsonb #>> '{deliver,consent_name}' as consent_name
),
based as materialized (
    -- What the account holds: the contact's own card, or the one that is to be renamed.
    select
        desired.key,
        desired.verdict,
        desired.code,
        desired.reason,
        desired.former_id,
        desired.payload as desired,
        ledger.payload as base,
        case when unsettled.key is not null then 'sending' else ledger.state end as base_state,
        ledger.first_call_at,
        ledger.opted_in,
        moved.key is not null as is_moved,
        coalesce(moved.successor_is_there, false) as successor_is_there,
        coalesce(moved.is_renamed, false) as is_renamed
    from pg_temp.deliver_desired as desired
    cross join settings
    left join delivery.ledger
        on ledger.contact_id = coalesce(desired.former_id, desired.key)
        and ledger.target = settings.target
        and ledger.object = 'contact'
        and ledger.key = coalesce(desired.former_id, desired.key)
    left join pg_temp.deliver_successors as moved on moved.key = desired.key
    left join pg_temp.deliver_unsettled as unsettled on unsettled.key = desired.key
),
judged as materialized (
    select
        based.*,
        case
            when verdict in ('skip', 'reject') then verdict
            -- Until it is known what became of a rename, nothing more is sent to this card.
            when base_state <> 'acknowledged' then 'wait'
            when verdict = 'send' then 'send'
            when base is null or is_renamed then 'skip'
            when is_moved and not successor_is_there then 'skip'
            when base ->> 'gone' = 'true' then 'same'
            when not is_moved and deleted_choice = 'keep' then 'skip'
            when deleted_choice = 'opt_out' then 'opt_out'
            else 'untag'
        end as step,
        -- A deleted contact's card keeps all but its tags.
        case
            when verdict <> 'gone' then desired
            when deleted_choice = 'opt_out' then base || jsonb_build_object(
                'gone', true,
                'tags', '[]'::jsonb,
                'consent', jsonb_build_object(
                    'email', jsonb_build_object('state', 'opt_out', 'at', delivery.iso_utc(now())),
                    'sms', jsonb_build_object('state', 'opt_out', 'at', delivery.iso_utc(now()))
                )
            )
            else base || '{"gone": true, "tags": []}'
        end as wanted
    from based
    cross join settings
),
statements as (
    select
        judged.key,
        channel.name as channel,
        wanted #>> array['consent', channel.name, 'state'] as state,
        (wanted #>> array['consent', channel.name, 'at'])::timestamptz as stated_at,
        base #>> array['consent', channel.name, 'state'] as sent_state,
        (base #>> array['consent', channel.name, 'at'])::timestamptz as sent_stated_at,
        base #>> array['consent', channel.name, 'respected'] = 'true' as was_kept,
        case channel.name when 'email' then seen.email_opted_out else seen.sms_opted_out end as is_opted_out_there,
        seen.modified_at,
        -- The call before which there was no card was ours.
        coalesce(seen.created_at >= date_trunc('milliseconds', first_call_at), false) as is_made_by_us,
        channel.name = any (opted_in) as was_opted_in,
        seen.created_at,
        -- Its last change is our last write.
        coalesce(
            seen.modified_at between date_trunc('milliseconds', ours.began_at) and ours.ended_at,
            false
        ) as is_changed_by_us,
        decision.decided_at
    from judged
    cross join settings
    cross join (values ('email'), ('sms')) as channel (name)
    left join pg_temp.deliver_seen as seen
        on seen.address = lower(coalesce(base ->> 'email', wanted ->> 'email'))
    left join lateral (
        -- Everything of ours changes a card, events included.
        select
            batches.started_at as began_at,
            greatest(written.sent_at, written.confirmed_at) as ended_at
        from delivery.ledger as written
        left join delivery.batches using (batch_id)
        where written.contact_id = coalesce(judged.former_id, judged.key)
            and written.target = settings.target
            and seen.address is not null
        order by written.sent_at desc
        limit 1
    ) as ours on true
    left join pg_temp.deliver_decisions as decision
        on decision.contact_id = judged.key
        and decision.channel = channel.name
        and wanted #>> array['consent', channel.name, 'state'] = 'opt_in'
        and decision.stated_at is not distinct from (wanted #>> array['consent', channel.name, 'at'])::timestamptz
    where step in ('send', 'untag', 'opt_out')
),
wishes as materialized (
    select
        statements.*,
        state = 'opt_in'
        and (
            coalesce(sent_state, 'unknown') = 'unknown'
            or coalesce(stated_at > coalesce(sent_stated_at, '-infinity'), false)
            or (
                sent_state = 'opt_out'
                and exists (
                    select
                    from pg_temp.deliver_taken_back as back
                    where back.contact_id = statements.key
                        and back.channel = statements.channel
                        and back.stated_at = statements.sent_stated_at
                )
            )
            or (was_kept and decided_at is not null)
        ) as wants_in,
        state = 'opt_out'
        and (sent_state is distinct from 'opt_out' or stated_at is distinct from sent_stated_at) as wants_out
    from statements
),
flags as (
    select
        key,
        channel,
        -- Whatever we sent before: the person may have subscribed and left at the account itself since.
        wants_in as needs_check,
        wants_in and not is_kept as force_in,
        wants_out as force_out,
        wants_in and is_kept as kept
    from wishes
    cross join lateral (
        select
            coalesce(is_opted_out_there, false)
            and not coalesce(stated_at > modified_at, false)
            and not coalesce(modified_at <= decided_at, false)
            and not coalesce(
                (is_changed_by_us or (is_made_by_us and modified_at = created_at))
                and (sent_state = 'opt_out' or (is_made_by_us and not was_opted_in))
                and not coalesce(was_kept, false),
                false
            ) as is_kept
    ) as guard
),
decided as materialized (
    select
        judged.*,
        coalesce(email.force_in, false) as email_in,
        coalesce(email.force_out, false) as email_out,
        coalesce(sms.force_in, false) as sms_in,
        coalesce(sms.force_out, false) as sms_out,
        email.needs_check or sms.needs_check as needs_check,
        array_to_string(
            array_remove(array[case when email.kept then 'e-mail' end, case when sms.kept then 'text messages' end], null),
            ' and '
        ) as kept,
        -- A statement that was not followed because of an opt-out there keeps saying so as long as it is the same one.
        case
            when base is null and not coalesce(email.kept or sms.kept, false) then wanted
            else wanted || jsonb_build_object('consent', jsonb_build_object(
                'email', case
                    when email.kept then wanted #> '{consent,email}' || '{"respected": true}'
                    when email.force_in then wanted #> '{consent,email}'
                    when (base #> '{consent,email}') - 'respected' = wanted #> '{consent,email}' then base #> '{consent,email}'
                    else wanted #> '{consent,email}'
                end,
                'sms', case
                    when sms.kept then wanted #> '{consent,sms}' || '{"respected": true}'
                    when sms.force_in then wanted #> '{consent,sms}'
                    when (base #> '{consent,sms}') - 'respected' = wanted #> '{consent,sms}' then base #> '{consent,sms}'
                    else wanted #> '{consent,sms}'
                end
            ))
        end as payload,
        case
            when base is not null then array(
                select tag
                from jsonb_array_elements_text(base -> 'tags') as tag
                where not coalesce(wanted -> 'tags' ? tag, false)
                order by tag collate "C"
            )
        end as tags_to_remove
    from judged
    left join flags as email on email.key = judged.key and email.channel = 'email'
    left join flags as sms on sms.key = judged.key and sms.channel = 'sms'
),
outcomes as materialized (
    select
        decided.*,
        case
            when step <> 'send' then step
            when former_id is null and base - 'lang' = payload - 'lang' then 'same'
            else 'send'
        end as outcome
    from decided
),
requests as materialized (
    select
        outcomes.*,
        case
            -- What is null or empty says nothing and is left out.
            when outcome in ('send', 'untag', 'opt_out') then jsonb_strip_nulls(
                case
                    when outcome <> 'send' then jsonb_build_object(
                        'contact', jsonb_build_object('email', base ->> 'email')
                    )
                    else jsonb_build_object(
                        'contact', jsonb_build_object(
                            -- A rename is addressed to the card as it is called there.
                            'email', coalesce(case when former_id is not null then base ->> 'email' end, payload ->> 'email'),
                            'name', payload ->> 'name',
                            'phone', payload ->> 'phone',
                            'company', payload ->> 'company',
                            'externalId', payload ->> 'external_id',
                            'state', payload ->> 'state',
                            'address', case
                                when payload ? 'address' then jsonb_build_object(
                                    'streetAddress', payload #>> '{address,street}',
                                    'zipCode', payload #>> '{address,zip}',
                                    'city', payload #>> '{address,city}',
                                    'country', payload #>> '{address,country}'
                                )
                            end
                        ),
                        'newEmail', case when former_id is not null then payload ->> 'email' end,
                        'lang', case when former_id is not null then payload ->> 'lang' end,
                        'province', payload ->> 'province',
                        'birthday', payload ->> 'birthday',
                        'properties', payload -> 'properties',
                        'tags', nullif(payload -> 'tags', '[]'),
                        -- The agreement's own record, where the account has one of this name (it must exist already).
                        'consentDetails', case
                            when consent_name is not null and (email_in or email_out) then jsonb_build_array(
                                jsonb_build_object(
                                    'consentName', consent_name,
                                    'consentAccept', email_in,
                                    'agreementDate', delivery.epoch_ms((payload #>> '{consent,email,at}')::timestamptz),
                                    'optOut', email_out
                                )
                            )
                        end
                    )
                end
                || jsonb_build_object(
                    'removeTags', case when tags_to_remove <> '{}' then to_jsonb(tags_to_remove) end,
                    'forceOptIn', email_in,
                    'forceOptOut', email_out,
                    'forcePhoneOptIn', sms_in,
                    'forcePhoneOptOut', sms_out
                )
            )
        end as request
    from outcomes
    cross join settings
)
select
    key,
    case when outcome in ('untag', 'opt_out') then 'send' else outcome end as verdict,
    case when former_id is not null then 'rename contact' else 'upsert contacts' end as operation,
    case outcome
        when 'untag' then 'untag'
        when 'opt_out' then 'opt out'
        when 'send' then case when former_id is not null then 'rename' when base is null then 'new' else 'changed' end
    end as kind,
    request #>> '{contact,email}' as address,
    request,
    payload,
    base as before,
    former_id,
    coalesce(needs_check, false) as needs_check,
    -- Orders that were left out for want of consent, or of the contact itself, are looked at again.
    outcome = 'send'
    and (
        base is null
        or (payload #>> '{consent,email,state}' = 'opt_in' and base #>> '{consent,email,state}' <> 'opt_in')
    ) as wakes_orders,
    nullif(kept, '') as kept,
    coalesce(code, case when verdict = 'gone' and is_moved then 'moved' when base_state <> 'acknowledged' then 'outcome-unknown' end) as code,
    reason
from requests
