"""Splits a plain pg_dump script in its objects. Pure: text in, statements out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bowline_worker.endpoints.base import Statement

#: What may hide text that looks like a header: quoted and dollar-quoted text, comments.
TOKEN = re.compile(
    r"""
    (?P<line>--[^\n]*)
  | (?P<block>/\*.*?\*/)
  | (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*')
  | (?P<text>'(?:[^']|'')*')
  | (?P<name>"(?:[^"]|"")*")
  | (?P<body>\$(?P<tag>[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?\$.*?\$(?P=tag)\$|\$\$.*?\$\$)
    """,
    re.VERBOSE | re.DOTALL,
)
HEADER = re.compile(
    r"-- Name: (?P<name>.*); Type: (?P<kind>[A-Z ]+); Schema: (?P<schema>.*?); Owner: .*"
)
#: The last statement of an object that has an owner.
OWNER = re.compile(r'^ALTER [A-Z ]+ [^\n]* OWNER TO (?:"(?:[^"]|"")+"|\w+);\Z', re.MULTILINE)
ACCESS_METHOD = re.compile(r"^SET default_table_access_method = (?P<name>.+);$", re.MULTILINE)
#: Kinds whose names begin with the kind of the object that they are about.
ABOUT = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})
MATERIALIZED = re.compile(r"CREATE MATERIALIZED VIEW (?P<name>.+?) AS\n")


@dataclass(frozen=True, slots=True)
class _Object:
    kind: str
    name: str
    text: str


def split(script: str, section: str) -> list[Statement]:
    """Take a section's script apart: one statement an object, and one for its owner."""
    found: list[tuple[str, str, str]] = []
    for item in _objects(script):
        text, owner = _without_owner(item.text)
        if text:
            found.append((item.kind, item.name, text))
        if owner:
            found.append(("OWNER", item.name, owner))
    return [
        Statement(section=section, ordinal=ordinal, kind=kind, name=name, sql=text)
        for ordinal, (kind, name, text) in enumerate(found)
    ]


def refreshes(statements: list[Statement]) -> list[str]:
    """The materialized views of a section, in its order, as quoted names."""
    return [
        found["name"]
        for statement in statements
        if statement.kind == "MATERIALIZED VIEW" and (found := MATERIALIZED.match(statement.sql))
    ]


def _objects(script: str) -> Iterator[_Object]:
    """Find the headers that are comments of the script itself, and the text between them."""
    headers = [
        (token.start(), token.end(), header)
        for token in TOKEN.finditer(script)
        if token["line"] is not None and (header := HEADER.fullmatch(token["line"]))
    ]
    method = "heap"
    for index, (start, end, header) in enumerate(headers):
        before = script[headers[index - 1][1] if index else 0 : start]
        if changed := ACCESS_METHOD.findall(before):
            method = changed[-1]
        until = headers[index + 1][0] if index + 1 < len(headers) else len(script)
        text = _trimmed(script[end:until])
        if method != "heap" and header["kind"] in ("TABLE", "MATERIALIZED VIEW"):
            text = f"SET LOCAL default_table_access_method = {method};\n{text}"
        yield _Object(header["kind"], _named(header), text)


def _named(header: re.Match[str]) -> str:
    """With its schema: `public.t`, and where a header speaks of another object `TABLE public.t`."""
    if header["schema"] == "-":
        return header["name"]
    word, name = "", header["name"]
    if header["kind"] in ABOUT and (found := re.match(r"[A-Z ]+ ", name)):
        word, name = found[0], name[found.end() :]
    return f"{word}{header['schema']}.{name}"


def _trimmed(text: str) -> str:
    """Drop what pg_dump puts between two objects: comment frames, settings, commands to psql."""
    lines = text.split("\n")
    while lines and _is_between(lines[-1]):
        lines.pop()
    while lines and (not lines[0].strip() or lines[0] == "--"):
        lines.pop(0)
    return "\n".join(lines)


def _is_between(line: str) -> bool:
    return (
        not line.strip()
        or line.startswith(("--", "\\"))
        or re.fullmatch(r"SET default_\w+ = .*;", line) is not None
    )


def _without_owner(text: str) -> tuple[str, str]:
    found = OWNER.search(text)
    if not found:
        return text, ""
    return text[: found.start()].rstrip(), found[0]
