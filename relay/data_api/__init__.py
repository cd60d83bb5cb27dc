"""Calls the database through Supabase's Data API. Only this package knows supabase-py and its HTTP client."""
