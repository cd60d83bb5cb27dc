"""`relay simulate`: signed scenarios, sent to a running relay."""
