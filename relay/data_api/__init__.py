"""The only room that knows supabase-py and its HTTP client: one call, within bounds of time and number."""
