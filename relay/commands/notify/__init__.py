"""`relay notify`: tells people of open exceptions."""
