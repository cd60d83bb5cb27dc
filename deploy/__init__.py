"""How the relay is put into production, and the tests of it: `make deploy-test`."""
