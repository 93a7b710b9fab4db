"""The stand-in as a process of its own, for those whose load would share one interpreter with it otherwise.

`python -m oracle.standin.process` reads its orders, a line of JSON each, and answers each with a line of JSON. It ends
with its standard input, so it never outlives who started it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oracle.standin.redolog.adversities import Adversities, Chance
from oracle.standin.whole import StandIn
from oracle.standin.wire.faults import RandomDrops

#: What a drop is called beside the adversities of the redo log: per commit, before or after it took effect.
DROP = "drop"


class StandInProcess:
    """The stand-in, while it is entered; `users` with their passwords may do everything."""

    def __init__(
        self,
        users: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        chances: Mapping[str, Chance] | None = None,
        containers: Sequence[str] = ("CDB$ROOT",),
        sys: str = "",
        **log: Any,
    ) -> None:
        """`sys` is the password of SYS, `log` goes to RedoLog.

        `chances` are of the adversities, by name, and of DROP; none strikes unnamed.
        """
        self._orders = {
            "users": list(users), "seed": seed, "containers": list(containers), "sys": sys, "log": log,
        }  # fmt: skip
        self._chances = dict(chances or {})
        self.port = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "oracle.standin.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            start_new_session=True,  # an interrupt at the terminal is for who started it
        )
        self.port = int(self._ask(self._orders)["port"])
        self.set(self._chances)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def set(self, chances: Mapping[str, Chance]) -> None:
        """Turn adversities while it runs."""
        self._ask({"set": dict(chances)})

    def fired(self) -> dict[str, int]:
        """How often each adversity has happened, and each shape that comes without a switch."""
        return dict(self._ask({"fired": True}))

    def _ask(self, order: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the stand-in has ended with {self._process.wait()}")
        return json.loads(answer)


def main() -> None:
    orders = json.loads(sys.stdin.readline())
    adversities = Adversities(seed=orders["seed"])
    drops = RandomDrops(orders["seed"], 0.0)
    users = [(user, password) for user, password in orders["users"]]
    with StandIn(
        users,
        adversities=adversities,
        containers=orders["containers"],
        sys=orders["sys"],
        faults=drops,
        **orders["log"],
    ) as stand_in:
        _answer({"port": stand_in.port})
        for line in sys.stdin:
            order = json.loads(line)
            if "set" in order:
                chances = dict(order["set"])
                drops.chance = float(chances.pop(DROP, drops.chance))
                adversities.set(chances)
            _answer(dict(adversities.fired + drops.fired))


def _answer(content: Mapping[str, Any]) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
