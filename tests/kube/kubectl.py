"""kubectl, as the administrator of some cluster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


class Kubectl:
    """Runs `program` with the kubeconfig `config`."""

    def __init__(self, program: str | Path, config: Path) -> None:
        self.command = [str(program), f"--kubeconfig={config}"]
        self.config = config

    def kubectl(self, *words: str, given: object = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl; `given` goes to its standard input as JSON."""
        return subprocess.run(
            [*self.command, *words],
            input=None if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def do(self, *words: str, given: object = None) -> str:
        """Run kubectl, which must succeed; what it prints."""
        done = self.kubectl(*words, given=given)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def get(self, *words: str) -> Any:
        """What kubectl prints as JSON."""
        return json.loads(self.do("get", *words, "-o", "json"))
