-- Has the next transform work out everything canonical: all of staging counts as changed, and so does what every source
-- says, except for consent and its times, which only these rows know.
update canonical.contact_sources
set extra = '{"": null}';

update ops.connections
set mapped_run = 0, mapped_settings = null;
