"""What the demo claims beyond equal rows, each looked at from outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from demo import remains, shop
from demo.checker import Verdict
from demo.record import Outcome, Record
from demo.report import Window
from demo.servers import Server
from demo.workload import FENCED

#: What the writers must reach in every streaming phase.
LEAST_RATE = 500
#: Two writers wanted the same row, and the server chose one of them: no news.
CONTENTION = ("40001", "40P01")
#: A statement or session that held up the fence for longer than the grace (spec.cutover.writerGrace) was ended.
ENDED = ("57014", "57P01")
GRACE_SECONDS = 5.0
#: Lines of two schemas that are named where they differ.
NAMED = 5


def is_refused(verdict: Verdict, side: str, dsn: str) -> None:
    """Write to the passive side as the application would; the answer must be the fence's."""
    sqlstate, message = remains.stray_write(dsn)
    verdict.seen = f"{side}: {sqlstate} {message}"
    if sqlstate != FENCED:
        verdict.wrong.append(f"the {side} answered {sqlstate or 'ok'} {message}")


def no_surprises(record: Record) -> Verdict:
    """Failures that neither the fence nor two writers at one row explain."""
    failed = record.of(Outcome.FAILED)
    switches = record.switches()

    def is_at_a_fence(at: float) -> bool:
        return any(
            switch.last_ok - GRACE_SECONDS <= at <= switch.first_ok + GRACE_SECONDS
            for switch in switches
        )

    found = {
        f"{each.op}: {each.sqlstate}"
        for each in failed
        if each.sqlstate not in ("", FENCED, *CONTENTION)
        and not (each.sqlstate in ENDED and is_at_a_fence(each.answered))
    }
    return Verdict("nothing failed but at the fence", f"{len(failed)} refused there", sorted(found))


def fast_enough(windows: Sequence[Window], least: float) -> Verdict:
    return Verdict(
        f"at least {least:.0f} transactions a second in every streaming phase",
        ", ".join(f"{window.rate:.0f}" for window in windows),
        [f"{window.name}: {window.rate:.0f}" for window in windows if window.rate < least],
    )


def nothing_remains(servers: Mapping[str, Server]) -> Verdict:
    verdict = Verdict("nothing of Bowline's is left but its users")
    for side, server in servers.items():
        verdict.wrong += [f"{side}: {what}" for what in remains.remains(server, shop.DATABASE)]
        verdict.seen += f"{side}: {', '.join(remains.users(server))}; "
    verdict.seen = verdict.seen.removesuffix("; ")
    return verdict


def same_schemas(servers: Mapping[str, Server], before: list[str]) -> Verdict:
    verdict = Verdict(
        "pg_dump prints both schemas as it did the source's at first", f"{len(before)} lines"
    )
    for side, server in servers.items():
        after = remains.schema_of(server, shop.DATABASE)
        for line in sorted(set(before) ^ set(after))[:NAMED]:
            verdict.wrong.append(f"{side}: {'gone' if line in before else 'new'}: {line}")
        if before != after and not verdict.wrong:
            verdict.wrong.append(f"{side}: another order, or other repetitions")
    return verdict


def both_open(dsns: Mapping[str, str]) -> Verdict:
    verdict = Verdict("both sides take writes again, as losingSide: Released asks for")
    for side, dsn in dsns.items():
        sqlstate, message = remains.stray_write(dsn)
        if sqlstate:
            verdict.wrong.append(f"the {side} answered {sqlstate} {message}")
    return verdict
