-- What every session of Wharf is set to, whatever the server's, the database's or the role's defaults are: the one
-- place for it. First what could end these very statements, then what changes what a statement means.
set statement_timeout = 0;
set lock_timeout = 0;
set idle_in_transaction_session_timeout = 0;
set idle_session_timeout = 0;

set default_transaction_isolation = 'read committed';
set default_transaction_read_only = off;
set default_transaction_deferrable = off;
set search_path = public;
set standard_conforming_strings = on;
set backslash_quote = safe_encoding;
set transform_null_equals = off;
set array_nulls = on;
set check_function_bodies = on;
set xmloption = content;
set timezone = 'UTC';
set datestyle = 'ISO, MDY';
set intervalstyle = 'postgres';
set extra_float_digits = 1;
set bytea_output = 'hex';
set lc_numeric = 'C';
set lc_time = 'C';
set quote_all_identifiers = off;
set client_min_messages = 'warning';
-- A policy that hides rows is an error: rows that cannot be seen would be taken for gone.
set row_security = off;

-- The session of a machine that has vanished ends within half a minute, and its locks with it.
set tcp_keepalives_idle = 10;
set tcp_keepalives_interval = 5;
set tcp_keepalives_count = 3;
set tcp_user_timeout = '30s';

-- What not every version, platform or role can set: that a process which was killed while it waited for a long
-- statement is noticed within a second, no limit for whole transactions, triggers that fire.
do $$
declare
    setting text[];
begin
    foreach setting slice 1 in array array[
        ['client_connection_check_interval', '1s'],
        ['transaction_timeout', '0'],
        ['session_replication_role', 'origin']
    ] loop
        begin
            perform set_config(setting[1], setting[2], false);
        exception when others then
            null;
        end;
    end loop;
end
$$;
