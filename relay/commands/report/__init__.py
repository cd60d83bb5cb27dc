"""`relay report`: the accountant's page."""
