"""Argo CD's health script: its words are ours and Argo CD's, and, where a Lua is at hand, what it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bowline_operator.status import ConditionType
from chart.rendering import ROOT

SCRIPT = (ROOT / "docs" / "argocd-health.lua").read_text(encoding="utf-8")


def test_it_asks_for_conditions_that_there_are() -> None:
    asked = re.findall(r'condition\("(\w+)"\)', SCRIPT)

    assert asked == ["Ready", "Stalled", "Paused", "Reconciling"]
    assert set(asked) <= set(ConditionType)


def test_it_answers_in_argo_cds_words() -> None:
    answers = re.findall(r'health\("(\w+)"', SCRIPT)

    assert set(answers) == {"Progressing", "Degraded", "Suspended", "Healthy"}
    # The table of the page is about these four.
    page = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")
    for answer in answers:
        assert f"| {answer} |" in page


def test_it_needs_no_library_that_argo_cd_keeps_from_scripts() -> None:
    assert not re.search(r"\b(io|os|string|math|require|debug)\b\s*[.(]", SCRIPT)


def said(kind: str, status: str, reason: str = "Any", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message or kind}


READY = said("Ready", "True", "Streaming", "source-0 is streaming")
NOT_READY = said("Ready", "False")

HEALTH: Mapping[str, tuple[str, Sequence[Mapping[str, str]], Mapping[str, Any]]] = {
    "streaming": ("Healthy: Streaming: source-0 is streaming", [READY], {}),
    "on its way": ("Progressing: Reconciling", [NOT_READY, said("Reconciling", "True")], {}),
    "stalled": ("Degraded: Stalled", [NOT_READY, said("Stalled", "True")], {}),
    "paused": ("Suspended: Paused", [NOT_READY, said("Paused", "True")], {}),
    "pausing": (
        "Progressing: Ready", [said("Ready", "False", "Paused"), said("Paused", "False")], {},
    ),
    "stalled while paused": (
        "Degraded: Stalled", [NOT_READY, said("Paused", "True"), said("Stalled", "True")], {},
    ),
    "refused": ("Degraded: Ready", [said("Ready", "False", "RequestRefused")], {}),
    "without reports": ("Progressing: Ready", [said("Ready", "Unknown", "ReportMissing")], {}),
    "not seen yet": (
        "Progressing: waits for the operator to see this spec", [READY], {"generation": 3},
    ),
    "deleted": (
        "Progressing: is being deleted, held by: bowline.dev/cleanup", [said("Stalled", "True")],
        {"deletionTimestamp": "2030-01-31T22:00:00Z", "finalizers": ["bowline.dev/cleanup"]},
    ),
}  # fmt: skip


def asked(migration: Mapping[str, Any]) -> str:
    # Argo CD's own Lua is 5.1.
    lua = pytest.importorskip("lupa.lua51", reason="no Lua is installed").LuaRuntime()

    def table(value: Any) -> Any:
        if isinstance(value, Mapping):
            return lua.table_from({name: table(each) for name, each in value.items()})
        return lua.table_from([table(each) for each in value]) if isinstance(value, list) else value

    lua.globals().obj = table(migration)
    answer = lua.execute(SCRIPT)
    return f"{answer['status']}: {answer['message']}"


@pytest.mark.parametrize("what", HEALTH)
def test_argo_cd_shows_a_migration_that_is(what: str) -> None:
    expected, conditions, metadata = HEALTH[what]
    migration = {
        "metadata": {"generation": 2, **metadata},
        "status": {"observedGeneration": 2, "phase": "Streaming", "conditions": [*conditions]},
    }

    assert asked(migration) == expected


def test_argo_cd_does_not_call_healthy_what_nobody_looked_at() -> None:
    assert asked({"metadata": {"generation": 1}}).startswith("Progressing")
