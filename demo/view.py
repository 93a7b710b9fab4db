"""What the demo shows while it runs: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

LINE_SECONDS = 3.0
FRAME_SECONDS = 0.5


@dataclass
class Scene:
    """What is to be seen now; whoever knows something writes it here."""

    started: float = field(default_factory=time.monotonic)
    stages: list[tuple[str, float, float | None]] = field(default_factory=list)  #: name, start, end
    status: Callable[[], Mapping[str, Any]] = dict
    figures: Callable[[], Mapping[str, Any]] = dict

    def begin(self, stage: str) -> None:
        self.end()
        self.stages.append((stage, time.monotonic(), None))

    def end(self) -> None:
        if self.stages and self.stages[-1][2] is None:
            name, start, _ = self.stages[-1]
            self.stages[-1] = (name, start, time.monotonic())


class View:
    """Shows a scene from a thread of its own until it is closed."""

    def __init__(self, console: Console, scene: Scene) -> None:
        self._console = console
        self._scene = scene
        self._stop = threading.Event()
        self._rate = Rate()
        self._thread = threading.Thread(target=self._run, name="view", daemon=True)

    def __enter__(self) -> View:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        if not self._console.is_terminal:
            self._lines()
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while not self._stop.wait(FRAME_SECONDS):
                live.update(self._picture(), refresh=True)

    def _lines(self) -> None:
        """One line a stage, and one now and then."""
        shown = ""
        due = 0.0
        while not self._stop.wait(0.1):
            stage = self._scene.stages[-1][0] if self._scene.stages else ""
            if stage == shown and time.monotonic() < due:
                continue
            elapsed = time.monotonic() - self._scene.started
            facts = [] if stage != shown else self._facts()
            self._console.print(
                f"{elapsed:6.1f} s  {stage}" + (f": {', '.join(facts)}" if facts else ""),
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
            shown, due = stage, time.monotonic() + LINE_SECONDS

    def _facts(self) -> list[str]:
        return [f"{name} {value}" for name, value in self._rows() if value]

    def _rows(self) -> list[tuple[str, str]]:
        status, figures = self._scene.status(), self._scene.figures()
        return [
            ("phase", _phase(status)),
            ("snapshot", _snapshot(status)),
            ("stream", _stream(status)),
            ("writers", self._writers(figures)),
        ]

    def _writers(self, figures: Mapping[str, Any]) -> str:
        if not figures:
            return ""
        acknowledged = figures["outcomes"].get("ok", 0)
        rate = self._rate.per_second(acknowledged)
        return f"{acknowledged} transactions, {rate:.0f}/s on the {figures['side']}"

    def _picture(self) -> Group:
        elapsed = time.monotonic() - self._scene.started
        stages = Table.grid(padding=(0, 2))
        for name, start, end in self._scene.stages:
            took = (end or time.monotonic()) - start
            mark = Text("done", "green") if end else Text("now", "bold yellow")
            stages.add_row(mark, name, f"{took:.1f} s")
        facts = Table.grid(padding=(0, 2))
        for name, value in self._rows():
            facts.add_row(Text(name, "dim"), value)
        return Group(Text(f"Bowline, the whole road: {elapsed:.0f} s", "bold"), stages, "", facts)


class Rate:
    """Per second, over the last few seconds."""

    def __init__(self, seconds: float = 3.0) -> None:
        self._seconds = seconds
        self._points: list[tuple[float, int]] = []

    def per_second(self, total: int) -> float:
        now = time.monotonic()
        self._points.append((now, total))
        while len(self._points) > 2 and self._points[0][0] < now - self._seconds:
            self._points.pop(0)
        (start, first), (end, last) = self._points[0], self._points[-1]
        return (last - first) / (end - start) if end > start else 0.0


def _phase(status: Mapping[str, Any]) -> str:
    if not status.get("phase"):
        return ""
    step = status.get("cutover", {}).get("step", "")
    primary = f"{status.get('primary', '')} is primary, epoch {status.get('epoch', '')}"
    return f"{status['phase']}{f' ({step})' if step else ''}, {primary}"


def _snapshot(status: Mapping[str, Any]) -> str:
    snapshot = status.get("snapshot") or {}
    tables = snapshot.get("tables", [])
    if not tables:
        return ""
    rows = sum(table.get("rows", 0) for table in tables)
    done = sum(bool(table.get("done")) for table in tables)
    return f"{rows} rows, {done} of {len(tables)} tables"


def _stream(status: Mapping[str, Any]) -> str:
    for stream in status.get("streams", []):
        if stream.get("active"):
            imported = (stream.get("imported") or {}).get("total", 0)
            lag = (stream.get("lag") or {}).get("p99")
            return f"{stream['direction']}, {imported} changes" + (
                f", lag p99 {lag * 1000:.0f} ms" if lag is not None else ""
            )
    return ""
