"""Which migrated tables TRUNCATE ... CASCADE reaches: one that is missed keeps rows on the target that are gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bowline_worker.endpoints.oracle import below
from bowline_worker.endpoints.oracle.below import Below
from bowline_worker.endpoints.site import Site
from bowline_worker.model import TableName
from oracle.world import a_site

ITEM, PART = TableName("shop", "item"), TableName("shop", "part")
CAPTURED = {("SHOP", "ITEM"): ITEM, ("SHOP", "PART"): PART}


def key(child: str, parent: str) -> Mapping[str, str | None]:
    """A foreign key between SCHEMA.TABLE and another; a table that is called ? may not be seen."""
    owner, table = child.split(".")
    r_owner, r_table = parent.split(".")
    hidden = r_table == "?"
    return {
        "OWNER": owner,
        "TABLE_NAME": table,
        "R_OWNER": r_owner,
        "R_TABLE": None if hidden else r_table,
    }


@pytest.mark.parametrize(
    ("keys", "table", "expected"),
    [
        ([], "SHOP.ITEM", set()),
        ([key("SHOP.PART", "SHOP.ITEM")], "SHOP.ITEM", {PART}),
        ([key("SHOP.PART", "SHOP.ITEM")], "SHOP.PART", set()),
        ([key("SHOP.PART", "SHOP.ITEM")], "CRM.ITEM", set()),
        ([key("SHOP.PART", "CRM.CASE")], "CRM.CASE", {PART}),
        ([key("SHOP.PART", "CRM.CASE"), key("CRM.CASE", "HR.STAFF")], "HR.STAFF", {PART}),
        ([key("SHOP.PART", "CRM.?")], "CRM.CASE", {PART}),
        ([key("SHOP.PART", "CRM.?")], "HR.STAFF", set()),
        ([key("SHOP.ITEM", "SHOP.ITEM")], "SHOP.ITEM", set()),
        (
            [key("SHOP.PART", "SHOP.ITEM"), key("SHOP.ITEM", "SHOP.PART")],
            "SHOP.ITEM",
            {PART},
        ),
    ],
    ids=[
        "no keys", "child", "parent", "same name elsewhere", "another schema", "grandchild", "hidden parent",
        "hidden parent elsewhere", "itself", "a circle",
    ],
)  # fmt: skip
def test_tables_below_are_found_along_foreign_keys_of_any_schema(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    keys: Sequence[Mapping[str, str | None]],
    table: str,
    expected: set[TableName],
) -> None:
    def of_owners(_: object, __: str, owners: Sequence[str]) -> list[Mapping[str, Any]]:
        return [each for each in keys if each["OWNER"] in owners]

    @contextmanager
    def reading(_: Site) -> Iterator[None]:
        yield None

    monkeypatch.setattr(below, "of_owners", of_owners)
    monkeypatch.setattr(below, "reading", reading)
    owner, name = table.split(".")

    assert Below(a_site(tmp_path, 1), CAPTURED)(owner, name) == expected
