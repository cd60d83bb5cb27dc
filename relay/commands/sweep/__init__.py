"""`relay sweep`: compares Stripe's paid Checkout Sessions with the database, in both directions."""
