-- Default privileges, today's regime, on top of the older one: exactly the statements that the platform ran.
-- They take back less than was granted: truncate, references and trigger on tables and update on sequences
-- stay, PUBLIC keeps execute on functions, and what supabase_admin creates keeps every grant.

alter default privileges for role postgres in schema public
revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
revoke execute on functions from anon, authenticated, service_role;
