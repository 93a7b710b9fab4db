"""A server that stands in for YugabyteDB: real PostgreSQL behind a relay that reports, refuses and fails as YugabyteDB does.

It is not YugabyteDB. What the relay does to a statement is said in `refusals` (each with the address of its source) and
in `rewriting`; everything else is PostgreSQL's own answer. docs/yugabytedb.md says what was never tried on the real one.
"""
