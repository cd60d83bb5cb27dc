"""`relay expire`: ends checkouts that nobody finished, at Stripe first and then in the database."""
