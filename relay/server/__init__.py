"""The HTTP server that answers Stripe: connections, routes, signature, answer, readiness, log, and the process."""
