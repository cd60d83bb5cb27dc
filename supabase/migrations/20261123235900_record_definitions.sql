-- What the migrations have made becomes what is expected.
--
-- Touches: payments.expected_definitions. It stays the last migration of the first release; a later one that changes an
-- object of an earlier release records that object alone, so that it does not approve of what others have changed since.
-- An older relay notices nothing.

select payments.record_definitions();
