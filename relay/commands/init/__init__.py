"""`relay init`: copies the migrations into a Supabase project, new or existing."""
