"""Watches `status.json` all the time, and says where it claimed what can't be."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EVERY_SECONDS = 0.05
PHASES = (
    *("Pending", "Assessing", "MigratingSchema", "Snapshotting", "Streaming", "CuttingOver", "CutOver"),
    *("FallbackStreaming", "SwitchingOver", "SwitchedBack", "Completing", "Completed"),
)  # fmt: skip
PRIMARY = {
    "Streaming": "Source", "CuttingOver": "Source", "SwitchedBack": "Source",
    "FallbackStreaming": "Target", "SwitchingOver": "Target", "CutOver": "Target",
}  # fmt: skip
STREAMS_FROM = PHASES.index("Streaming")
#: From each phase, those that may be seen next; all phases before Streaming only go on.
NEXT = {
    "Streaming": {"CuttingOver", "FallbackStreaming", "Completing", "Completed"},
    "CuttingOver": {"Streaming", "SwitchedBack", "FallbackStreaming", "SwitchingOver"},
    "FallbackStreaming": {"SwitchingOver", "SwitchedBack", "Completing", "Completed"},
    "SwitchingOver": {"FallbackStreaming", "SwitchedBack", "CuttingOver"},
    "SwitchedBack": {"CuttingOver", "FallbackStreaming", "Completing", "Completed"},
    "Completing": {"Completed"},
    "Completed": set(),
}


class History:
    """What the status said, from its first word to its last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._last: dict[str, Any] = {}
        self.wrong: list[str] = []
        self.lines: list[str] = []  #: one a change, for those who look for the cause of something
        self._began = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        text = b""
        while not self._stop.wait(EVERY_SECONDS):
            try:
                new = self._path.read_bytes()
            except FileNotFoundError:
                continue
            if new != text:
                text = new
                self._see(json.loads(new))  # it is replaced as a whole: never torn

    def _see(self, now: dict[str, Any]) -> None:
        at = time.monotonic() - self._began
        for claim in [*impossible(now), *contradicts(self._last, now)]:
            self.wrong.append(f"{at:.1f}s: {claim}")
        line = _line(now)
        if not self.lines or not self.lines[-1].endswith(line):
            self.lines.append(f"{at:6.1f}s {line}")
        self._last = now


def impossible(now: Mapping[str, Any]) -> list[str]:
    """Name what one status claims that can't be true together."""
    found = []
    phase, primary = now.get("phase", "Pending"), now.get("primary")
    if PRIMARY.get(phase, primary) != primary:
        found.append(f"phase {phase}, and the {primary} is primary")
    direction = {"Source": "Forward", "Target": "Reverse"}.get(str(primary))
    if now.get("direction") != direction:
        found.append(f"the {primary} is primary, and the direction is {now.get('direction')}")
    verification, stream = now.get("verification") or {}, now.get("activeStream") or {}
    true = {each["type"] for each in now.get("conditions", []) if each.get("status") == "True"}
    if "Verified" in true and not (
        verification.get("equal") and verification.get("epoch") == now.get("epoch")
    ):
        found.append(f"Verified in epoch {now.get('epoch')} by {verification.get('equal')}")
    running = {
        each["role"]
        for each in now.get("jobs", [])
        if each.get("state") == "Running"
        and each["family"].endswith(f"-{str(stream.get('origin')).lower()}-{stream.get('number')}")
    }
    if running != {"capture", "apply"}:
        claims = {"CaughtUp", "FallbackReady", "CutoverReady"} & true
        found += [f"{claim}, and of its stream only {sorted(running)} run" for claim in claims]
    if "FallbackReady" in true and not (stream.get("number") and stream["origin"] == primary):
        found.append(f"FallbackReady with stream {stream}, and the {primary} is primary")
    return found


def contradicts(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what can't follow from what was said before."""
    if not before:
        return []
    found = []
    if not 0 <= now["epoch"] - before["epoch"] <= 1:
        found.append(f"epoch {before['epoch']} became {now['epoch']}")
    if now["epoch"] == before["epoch"] and now["primary"] != before["primary"]:
        found.append(f"the {now['primary']} became primary, and the epoch did not rise")
    if now["cutover"]["attempt"] < before["cutover"]["attempt"]:
        found.append(f"attempt {before['cutover']['attempt']} became {now['cutover']['attempt']}")
    old, new = before["phase"], now["phase"]
    if old == new:
        return found
    if old in NEXT:
        if new not in NEXT[old]:
            found.append(f"{old} became {new}")
    elif PHASES.index(new) < PHASES.index(old):
        found.append(f"{old} became {new}")
    return found


def _line(now: Mapping[str, Any]) -> str:
    cutover = now.get("cutover") or {}
    true = [each["type"] for each in now.get("conditions", []) if each.get("status") == "True"]
    switch = [str(cutover.get(name, "")) for name in ("mode", "attempt", "step", "verdict")]
    jobs = [f"{each['name']}={each.get('state')}" for each in now.get("jobs", [])]
    return " ".join(
        [str(now.get("phase")), f"epoch {now.get('epoch')}", "/".join(switch), ",".join(true),
         " ".join(jobs), str(now.get("message", ""))]
    )  # fmt: skip
