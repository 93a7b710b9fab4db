"""Cleanup: remove all that the migration made on both sides, and say what stays on purpose."""

from __future__ import annotations

import logging

from bowline_worker.contract import LosingSide, Side, TryAgain, Unsafe
from bowline_worker.roles import Context

log = logging.getLogger("bowline")


def run(context: Context) -> None:
    """Clean both sides; the losing side keeps its fence unless it is to be released. Can be killed and run again.

    A side that can't be reached does not keep the other from being cleaned; it is tried again.
    """
    config = context.config
    left: list[str] = []
    away: list[TryAgain] = []
    _require_open(context, config.primary)
    # The primary last: while its bookkeeping is there, it can be read who was primary.
    for side in (config.primary.other, config.primary):
        keep = side is not config.primary and config.losing_side is not LosingSide.RELEASED
        context.report.update(message=f"cleaning the {side}")
        try:
            left += context.side(side).cleanup(keep_fence=keep)
        except TryAgain as error:
            away.append(error)
            continue
        context.report.update(left_behind=left)
        log.info("cleaned", extra={"fields": {"side": str(side), "keeps_fence": keep}})
    if away:
        raise away[0]
    context.report.update(message="nothing is left but what the report names")


def _require_open(context: Context, primary: Side) -> None:
    """Refuse to open, by removing its fence, a side that no switch has opened."""
    if context.side(primary).found().fenced:
        raise Unsafe(
            f"the {primary} is to stay primary, and its bookkeeping says that it is fenced",
            reason="PrimaryFenced",
            hint="finish or abort the switch that is under way first",
        )
