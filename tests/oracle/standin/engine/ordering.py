"""ORDER BY: NULL is the greatest unless said otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from oracle.standin.backend import Value
from oracle.standin.engine.conversion import key_of
from oracle.standin.engine.datatypes import DataType
from oracle.standin.engine.evaluation import Env
from oracle.standin.engine.tree import OrderItem

if TYPE_CHECKING:
    from oracle.standin.engine.compiler import Compiler

T = TypeVar("T")


def sorted_by(
    things: list[T], kind: DataType, value: Callable[[T], Value], item: OrderItem
) -> list[T]:
    """Sort by one item, keeping the order of equals."""
    key = key_of(kind)
    nulls = [thing for thing in things if value(thing) is None]
    others = [thing for thing in things if value(thing) is not None]
    others.sort(key=lambda thing: key(value(thing)), reverse=item.descending)
    first = item.descending if item.nulls_first is None else item.nulls_first
    return nulls + others if first else others + nulls


def ordered(compiler: Compiler, items: Sequence[OrderItem]) -> Callable[[Iterable[Env]], list[Env]]:
    """A sort of environments."""
    compiled = [(compiler.value(item.expr), item) for item in items]

    def sort(envs: Iterable[Env]) -> list[Any]:
        found = list(envs)
        # The last item first: sorts are stable.
        for value, item in reversed(compiled):
            found = sorted_by(found, value.type, value.run, item)
        return found

    return sort
