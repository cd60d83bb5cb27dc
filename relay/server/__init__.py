"""What answers Stripe: one route, its signature, its answer, and the process around them."""
