"""What must be true of a seed, looked at with code of its own: rows, the writers' ledger, and the audits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from demo.checker import Verdict
from demo.record import Outcome, Record
from demo.servers import Server
from demo.workload import FENCED

from demo import checker
from soak.shape import BY_NAME
from soak.writers import STRAY_WRITER

#: Two writers wanted the same row, and the server chose one of them; or a writer and the fence each wanted a table
#: that the other one had, and the fence cancelled the statement.
CONTENTION = ("40001", "40P01", "57014")
NAMED = 5
WHOLE = {"visit_old": "visit", "visit_2024": "visit", "visit_new": "visit"}


@dataclass(slots=True)
class Audit:
    """What the appliers did on one side, as its triggers counted."""

    inserts: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    delta: int = 0
    rows: int = 0


def audit_of(server: Server, database: str) -> Audit:
    found = Audit()
    with server.connect(database) as connection:
        for relation, op, writer, n, delta in connection.execute(
            "select relation, op, writer, n, delta from soak.audit"
        ):
            found.rows += 1
            found.delta += delta
            if op == "INSERT" and writer:
                found.inserts[writer, n, WHOLE.get(relation, relation)] += 1
    return found


def applied_once(
    record: Record,
    visible: set[tuple[int, int]],
    audits: Mapping[str, Audit],
    streaming_since: float,
) -> Verdict:
    """See that each transaction's rows came through the stream to the other side once, and never back.

    What the source committed before it streamed may be in the snapshot; then nothing of that table is in the stream.
    """
    verdict = Verdict("each change was applied once, and on the other side only")
    delta = {side: [0, 0] for side in audits}  #: the least and the most that may have come
    for operation in record.operations.values():
        key = (operation.writer, operation.n)
        if key not in visible:
            continue
        kind = BY_NAME[operation.op]
        other = "target" if operation.side == "source" else "source"
        early = operation.side == "source" and operation.at < streaming_since
        delta[other][0] += 0 if early else kind.delta
        delta[other][1] += kind.delta
        for table, count in ({"ledger": 1} | dict(kind.inserts)).items():
            came = audits[other].inserts[(*key, table)]
            back = audits[operation.side].inserts[(*key, table)]
            if came != count and not (early and came == 0):
                verdict.wrong.append(
                    f"{table}: {key} ({operation.op}) came {came} times to the {other}, not {count}"
                )
            if back:
                verdict.wrong.append(f"{table}: {key} came back to the {operation.side}")
    for side, audit in audits.items():
        unknown = {key[:2] for key in audit.inserts} - visible
        verdict.wrong += [f"{side}: {key} was applied and is not there" for key in unknown]
        least, most = delta[side]
        if not least <= audit.delta <= most:
            verdict.wrong.append(
                f"{side}: balances rose by {audit.delta} through the stream, not by {least} to {most}"
            )
    verdict.seen = ", ".join(f"{side}: {audit.rows} rows" for side, audit in audits.items())
    return verdict


def only_the_fence(
    record: Record, *, servers_crashed: bool = False, contention: Sequence[str] = ()
) -> Verdict:
    """See that nothing failed but at the fence, and that the stray was told so."""
    failed = record.of(Outcome.FAILED)
    wrong = Counter(
        f"{'stray' if each.writer == STRAY_WRITER else each.op} at the {each.side}: {each.sqlstate or 'no answer'}"
        for each in failed
        if each.sqlstate != FENCED
        and not (servers_crashed and not each.sqlstate)
        and not (each.sqlstate in (*CONTENTION, *contention) and each.writer != STRAY_WRITER)
    )
    strays = [each for each in failed if each.writer == STRAY_WRITER]
    return Verdict(
        "nothing failed but at the fence",
        f"{len(failed)} refused, {len(strays)} of a stray",
        [f"{what}, {times} times" for what, times in wrong.most_common(NAMED)],
    )


def judge(
    record: Record,
    servers: Mapping[str, Server],
    database: str,
    expected: list[str],
    streaming_since: float,
    *,
    servers_crashed: bool,
) -> list[Verdict]:
    """Everything that must hold when the writers have stopped and both sides are still there."""
    dsns = {side: server.dsn(database) for side, server in servers.items()}
    rows, _ = checker.compare_rows(dsns["source"], dsns["target"])
    ledgers = {side: checker.ledger_of(dsn) for side, dsn in dsns.items()}
    audits = {side: audit_of(server, database) for side, server in servers.items()}
    visible = set.union(*(set(ledger) for ledger in ledgers.values()))
    return [
        rows,
        *checker.check_record(record, ledgers),
        checker.check_single_writer(record, expected),
        applied_once(record, visible, audits, streaming_since),
        only_the_fence(record, servers_crashed=servers_crashed),
        checker.check_sequences(dsns["target" if expected[-1] == "target" else "source"]),
    ]
