"""What the suites share: one signer, one event builder, one shop, one stand-in of Stripe. No test module is in here."""
