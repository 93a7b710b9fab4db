"""Reads statements as section 2 of the facts has them, for the reader that the log's tests compare with.

Written from the facts alone, and by nothing of the product: so that one mistake is not made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

INSERT, DELETE, UPDATE = 1, 2, 3


class Statement(NamedTuple):
    """What a statement says, with its values as text."""

    cells: Mapping[str, str | None]
    where: Mapping[str, str | None]
    rowid: str | None = None


class Scanner:
    """Reads one statement."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def eat(self, word: str) -> bool:
        found = self.text.startswith(word, self.at)
        self.at += len(word) * found
        return found

    def must(self, word: str) -> None:
        if not self.eat(word):
            raise ValueError(f"no {word!r} at {self.at} of {self.text!r}")

    def name(self) -> str:
        self.must('"')
        end = self.text.index('"', self.at)
        name, self.at = self.text[self.at : end], end + 1
        return name

    def string(self) -> str:
        self.must("'")
        parts = []
        while True:
            end = self.text.index("'", self.at)
            parts.append(self.text[self.at : end])
            self.at = end + 1
            if not self.eat("'"):
                return "'".join(parts)

    def value(self) -> str | None:
        if self.eat("NULL"):
            return None
        if self.eat("EMPTY_CLOB()"):
            return ""
        if not self.eat("UNISTR("):
            return self.string()
        text = self.string()
        self.must(")")
        decoded = (
            text.encode("ascii").decode("unicode_escape") if "\\" not in text else unistr(text)
        )
        return decoded + (self.value() or "") if self.eat(" || ") else decoded

    def pairs(self, between: str) -> dict[str, str | None]:
        done: dict[str, str | None] = {}
        while True:
            name = self.name()
            done[name] = None if self.eat(" IS NULL") else self._equal()
            if not self.eat(between):
                return done

    def _equal(self) -> str | None:
        self.must(" = ")
        return self.value()

    def listed(self, item: Callable[[], str | None]) -> Iterator[str | None]:
        self.must("(")
        yield item()
        while self.eat(","):
            yield item()
        self.must(")")


def unistr(text: str) -> str:
    units = b""
    at = 0
    while at < len(text):
        if text[at] != "\\":
            units += text[at].encode("utf-16-be")
            at += 1
        else:
            units += bytes.fromhex(text[at + 1 : at + 5])
            at += 5
    return units.decode("utf-16-be")


def parse(text: str, op: int) -> Statement:
    scan = Scanner(text)
    scan.must({INSERT: "insert into ", UPDATE: "update ", DELETE: "delete from "}[op])
    scan.name()
    scan.must(".")
    scan.name()
    cells: dict[str, str | None] = {}
    if op == INSERT:
        names = [name or "" for name in scan.listed(scan.name)]
        scan.must(" values ")
        cells = dict(zip(names, scan.listed(scan.value), strict=True))
    elif op == UPDATE:
        scan.must(" set ")
        cells = scan.pairs(", ")
    where: dict[str, str | None] = {}
    rowid = None
    if scan.eat(" where "):
        if scan.eat("ROWID = "):
            rowid = scan.string()
        else:
            where = scan.pairs(" and ")
    if scan.at != len(text):
        raise ValueError(f"{text[scan.at :]!r} is left of {text!r}")
    return Statement(cells, where, rowid)


def lob_image(text: str) -> dict[str, str | None]:
    """Read by which other columns a block of dbms_lob names its row."""
    scan = Scanner(text[text.index(" where ") + 7 :])
    image = scan.pairs(" and ")
    scan.must(" for update;")
    return image
