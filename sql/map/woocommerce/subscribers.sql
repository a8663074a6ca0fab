-- WordPress users with the role subscriber (sheet, section 4: newsletter sign-ups without purchase). registered_date
-- carries its zone.
insert into mapped_contact_sources (
    source_key, kind, raw_email, first_name, last_name, language, newsletter, created_at, updated_at
)
select
    'subscriber:' || source_key,
    'subscriber',
    canonical.as_text(payload ->> 'email'),
    canonical.as_text(payload ->> 'first_name'),
    canonical.as_text(payload ->> 'last_name'),
    lower(left(canonical.as_text(payload ->> 'locale'), 2)),
    true,
    canonical.as_timestamp(payload ->> 'registered_date'),
    canonical.as_timestamp(payload ->> 'registered_date')
from source_subscribers;
