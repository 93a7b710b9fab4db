"""A server that stands in for YugabyteDB: PostgreSQL behind a relay that reports, refuses and fails as YugabyteDB does.

It is not YugabyteDB. What the relay does to a statement is said in `refusals` (each with the address of its source), in
`rewriting` and in `stream`; everything else is PostgreSQL's own answer. What it does not do: DDL is a part of its
transaction, as PostgreSQL's; a slot has one consumer; a COPY fails before its rows or at COMMIT, never in between.
docs/yugabytedb.md says what was never tried on the real one.
"""
