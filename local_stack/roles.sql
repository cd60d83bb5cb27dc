-- The roles of a hosted Supabase project with their real attributes. Roles belong to the whole cluster, so
-- each is created, and given its settings, only where it is missing. The lock on the shared catalogue is
-- cluster-wide (advisory locks are not): two databases can be prepared at the same moment.

lock table pg_catalog.pg_authid in share row exclusive mode;

do $$
declare
    v_roles constant text[][] := array[
        -- name, attributes, settings
        ['supabase_admin', 'login superuser createdb createrole replication bypassrls', ''],
        ['postgres', 'login createdb createrole replication bypassrls', 'search_path="$user", public, extensions'],
        ['anon', 'nologin', 'statement_timeout=''3s'''],
        ['authenticated', 'nologin', 'statement_timeout=''8s'''],
        ['service_role', 'nologin bypassrls', ''],
        -- session_preload_libraries (supautils, safeupdate) is left out: no package carries the two.
        ['authenticator', 'login noinherit', 'statement_timeout=''8s'';lock_timeout=''8s'''],
        ['supabase_auth_admin', 'login noinherit createrole', 'idle_in_transaction_session_timeout=''60s''']
    ];
    v_role text[];
    v_setting text;
begin
    foreach v_role slice 1 in array v_roles loop
        if exists (select from pg_catalog.pg_roles where rolname = v_role[1]) then
            continue;
        end if;
        execute format('create role %I with %s', v_role[1], v_role[2]);
        foreach v_setting in array string_to_array(v_role[3], ';') loop
            execute format('alter role %I set %s', v_role[1], v_setting);
        end loop;
    end loop;
end $$;
