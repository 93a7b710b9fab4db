"""What `bowline wait` and `bowline run --until` wait for: `phase=X`, `condition=T`, `condition=T=value`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from bowline_operator.status import ConditionType, Phase, Status, Truth
from bowline_worker.contract import BadConfig


@dataclass(frozen=True, slots=True)
class Awaited:
    """A phase, or a condition with its value."""

    phase: Phase | None = None
    condition: ConditionType | None = None
    truth: Truth = Truth.TRUE

    def holds(self, status: Status, *, generation: int = 0) -> bool:
        """Tell whether it holds for that generation of the spec or a later one."""
        if self.phase is not None:
            return status.phase is self.phase
        found = status.condition(self.condition) if self.condition is not None else None
        if found is None:
            # Stalled and Reconciling are not there while they are not true.
            is_absent = self.condition in (ConditionType.STALLED, ConditionType.RECONCILING)
            seen = bool(status.conditions) and status.observed_generation >= generation
            return is_absent and seen and self.truth is Truth.FALSE
        return found.status is self.truth and found.observed_generation >= generation

    def __str__(self) -> str:
        if self.phase is not None:
            return f"phase={self.phase}"
        return f"condition={self.condition}={self.truth}"

    def now(self, status: Status) -> str:
        """Say how it stands instead."""
        if self.phase is not None or self.condition is None:
            return f"phase is {status.phase}" + (f" ({status.message})" if status.message else "")
        found = status.condition(self.condition)
        if found is None:
            return f"{self.condition} is not there"
        return f"{self.condition} is {found.status}, {found.reason}: {found.message}"


def awaited(text: str) -> Awaited:
    """Read what follows `--for=`."""
    kind, _, value = text.partition("=")
    if kind == "phase" and value:
        return Awaited(phase=Phase(_known(value, list(Phase), "phase")))
    if kind == "condition" and value:
        name, _, truth = value.partition("=")
        return Awaited(
            condition=ConditionType(_known(name, list(ConditionType), "condition")),
            truth=Truth(_known(truth or "True", list(Truth), "value")),
        )
    raise BadConfig(f"{text!r} is not phase=X, condition=T or condition=T=value")


def _known(word: str, choices: list[Phase] | list[ConditionType] | list[Truth], what: str) -> str:
    folded = {str(choice).lower(): str(choice) for choice in choices}
    if word.lower() in folded:
        return folded[word.lower()]
    close = difflib.get_close_matches(word.lower(), list(folded), n=1, cutoff=0.5)
    hint = f"did you mean {folded[close[0]]}?" if close else f"one of {', '.join(folded.values())}"
    raise BadConfig(f"there is no {what} {word!r}", hint=hint)
