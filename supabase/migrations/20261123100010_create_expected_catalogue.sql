-- What the database is compared with: the privileges that somebody else may hold, and what the migrations made.
--
-- Touches: payments.expected_grants, payments.expected_definitions. Each migration writes what it grants into the first,
-- by hand, beside the grant: a restore into a project with wide default privileges, or an event trigger of the project,
-- can change the catalogue, but not what was meant. What is not written there is granted to nobody. The second is read
-- from the catalogue by the last migration, so that its texts are those of this very version of PostgreSQL.
-- An older relay notices nothing.

create table payments.expected_grants (
    object text not null,
    column_name text not null default '',
    grantee text not null,
    privilege text not null,
    constraint expected_grants_pkey primary key (object, column_name, grantee, privilege)
);
comment on table payments.expected_grants is
    'Every privilege that anybody but the owner may hold on the objects of this project.';
comment on column payments.expected_grants.object is
    'As regclass or regprocedure print it with an empty search_path. What is here of public is this project''s.';
comment on column payments.expected_grants.column_name is 'Empty where the privilege is on the whole object.';

create table payments.expected_definitions (
    kind text not null,
    object text not null,
    name text not null,
    definition text not null,
    constraint expected_definitions_pkey primary key (kind, object, name)
);
comment on table payments.expected_definitions is
    'What the migrations made, as payments.definitions() told it then. What differs now is a finding.';
comment on column payments.expected_definitions.object is 'The relation or function, as regclass or regprocedure print it.';
comment on column payments.expected_definitions.name is
    'The column, constraint, index, trigger, policy or rule of the relation; empty where it is the object itself.';

alter table payments.expected_grants enable row level security;
alter table payments.expected_definitions enable row level security;
create policy "Nobody can read expected grants" on payments.expected_grants for select to public using (false);
create policy "Nobody can read expected definitions"
on payments.expected_definitions for select to public using (false);
revoke all on table payments.expected_grants from public, anon, authenticated, service_role;
revoke all on table payments.expected_definitions from public, anon, authenticated, service_role;
