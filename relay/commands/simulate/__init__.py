"""`relay simulate`: sends signed scenarios to a running relay, and checks its answers."""
