"""The real driver carries what we bind, and fetches what we expect, without a digit more or less."""

from __future__ import annotations

from collections.abc import Iterator

import oracledb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowline_worker.endpoints.oracle.redo import Mark
from bowline_worker.endpoints.oracle.types import Answer, OracleColumn, Policy, Strange, Terms
from oracle.type_cases import CASES, Case, column, number, supported
from oracle.wire_rig import ECHO, running


@pytest.fixture(scope="module")
def connection() -> Iterator[oracledb.Connection]:
    with running() as rig, rig.connected() as opened:
        yield opened


def echoed(connection: oracledb.Connection, bind_type: str, value: object) -> object:
    """Send a value to the server and fetch it again."""
    with connection.cursor() as cursor:
        cursor.setinputsizes(getattr(oracledb, bind_type))
        cursor.execute(ECHO, [value], fetch_decimals=True, fetch_lobs=False)
        (found,) = cursor.fetchone() or (None,)
        return found


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_bind_arrives_as_it_was_and_is_fetched_as_the_same_text(
    connection: oracledb.Connection, case: Case, data: st.DataObject
) -> None:
    kind = supported(case.column)
    text = kind.from_driver(case.driver(data.draw(case.stored)))
    bound = kind.to_oracle(text)
    if isinstance(bound, Mark):
        return
    found = echoed(connection, kind.bind_type, bound)

    assert found == bound or (found != found and bound != bound)  # NaN
    if kind.select_form == "{}":
        assert kind.from_driver(found) == text


@pytest.mark.parametrize(
    "of", [number(38, 0), number(1, 127), number(None, None), column("FLOAT", data_precision=126)]
)
def test_the_largest_number_of_a_column_can_be_bound(
    connection: oracledb.Connection, of: OracleColumn
) -> None:
    terms = Terms(policy=Policy(answers={Strange.INFINITE_NUMBER: Answer.REPLACEMENT}))
    kind = supported(of, terms)
    largest = kind.to_oracle(b"-Infinity")

    assert echoed(connection, kind.bind_type, largest) == largest
