-- The demo begins with an empty database: its sandbox does, too.
drop schema if exists delivery, marts, canonical, staging, ops cascade;
drop table if exists wharf_migrations;
