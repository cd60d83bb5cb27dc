"""`relay sweep`: Stripe's paid Checkout Sessions and the database, compared both ways."""
