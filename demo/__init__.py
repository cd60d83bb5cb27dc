"""`make demo`: one payment end to end on the local stack, told step by step."""
