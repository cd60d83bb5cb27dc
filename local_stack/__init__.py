"""A Supabase project's data path on one machine, for the demo, the suites and measurements. Never shipped.

PostgreSQL with the surface of a hosted project, this repository's migrations applied by the Supabase CLI,
PostgREST, and the gateway in front of it.
"""
