"""The report as figures and as a page; `relay report` and `relay desk` show it."""
