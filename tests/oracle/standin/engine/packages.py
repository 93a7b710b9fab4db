"""The few procedures of packages that everyone has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from oracle.standin.backend import OraError, Value

if TYPE_CHECKING:
    from oracle.standin.engine.machine import Procedure
    from oracle.standin.engine.session import Session


def argument(
    positional: Sequence[Value], named: Mapping[str, Value], place: int, name: str
) -> Value:
    """An argument by its place or its name; None where it is missing."""
    if place < len(positional):
        return positional[place]
    return named.get(name)


def _text(value: Value) -> str | None:
    return None if value is None else str(value)


def _set_identifier(
    session: Session, positional: Sequence[Value], named: Mapping[str, Value]
) -> None:
    value = argument(positional, named, 0, "CLIENT_ID")
    session.attributes["client_identifier"] = _text(value)


def _clear_identifier(
    session: Session, positional: Sequence[Value], named: Mapping[str, Value]
) -> None:
    session.attributes["client_identifier"] = None


def _set_module(session: Session, positional: Sequence[Value], named: Mapping[str, Value]) -> None:
    session.attributes["module"] = _text(argument(positional, named, 0, "MODULE_NAME"))
    session.attributes["action"] = _text(argument(positional, named, 1, "ACTION_NAME"))


def _set_action(session: Session, positional: Sequence[Value], named: Mapping[str, Value]) -> None:
    session.attributes["action"] = _text(argument(positional, named, 0, "ACTION_NAME"))


def _set_client_info(
    session: Session, positional: Sequence[Value], named: Mapping[str, Value]
) -> None:
    session.attributes["client_info"] = _text(argument(positional, named, 0, "CLIENT_INFO"))


def _gather(session: Session, positional: Sequence[Value], named: Mapping[str, Value]) -> None:
    """Statistics: there are none."""
    owner = argument(positional, named, 0, "OWNNAME")
    table = argument(positional, named, 1, "TABNAME")
    if session.find_table(_text(owner), str(table)) is None:
        raise OraError(20000, f"Unable to analyze TABLE {owner!r}.{table!r}")


PROCEDURES: dict[str, Procedure] = {
    "DBMS_SESSION.SET_IDENTIFIER": _set_identifier,
    "DBMS_SESSION.CLEAR_IDENTIFIER": _clear_identifier,
    "DBMS_APPLICATION_INFO.SET_MODULE": _set_module,
    "DBMS_APPLICATION_INFO.SET_ACTION": _set_action,
    "DBMS_APPLICATION_INFO.SET_CLIENT_INFO": _set_client_info,
    "DBMS_STATS.GATHER_TABLE_STATS": _gather,
}
