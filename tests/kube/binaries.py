"""Kubernetes' own programs: those of KUBEBUILDER_ASSETS (envtest's convention), else built from `tools/go.mod`, once.

What was built stays in a cache outside the checkout, in a directory that the module's sums name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parent / "tools"
VERSION = "v1.36.3"


class NoControlPlane(Exception):
    """Something is missing, or did not start; the message says what to do."""


def cache() -> Path:
    """Where things live that are made once for all checkouts."""
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "bowline"


def binaries(*names: str) -> dict[str, Path]:
    """The paths of these programs; builds all that the Go module names where one is missing (some minutes)."""
    asked = os.environ.get("KUBEBUILDER_ASSETS")
    place = Path(asked) if asked else _built(names)
    found = {name: shutil.which(name, path=str(place)) for name in names}
    if missing := [name for name, path in found.items() if path is None]:
        raise NoControlPlane(
            f"no {', '.join(missing)} in KUBEBUILDER_ASSETS ({place}): put it there, or unset it and have Go"
            if asked
            else f"{TOOLS / 'go.mod'} does not build {', '.join(missing)}: name it there as a tool"
        )
    return {name: Path(path) for name, path in found.items() if path}


def distribution(name: str, package: str) -> str:
    """The path of a program that a package of the distribution brings."""
    directories = os.pathsep.join(
        filter(None, (os.environ.get("KUBEBUILDER_ASSETS"), os.environ.get("PATH"), "/usr/sbin"))
    )
    if found := shutil.which(name, path=directories):
        return found
    raise NoControlPlane(f"no {name}: install the package `{package}` (as root, .ci/run does)")


def succeed(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that must succeed; what it prints."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoControlPlane(
            f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def _built(names: tuple[str, ...]) -> Path:
    sums = b"".join((TOOLS / name).read_bytes() for name in ("go.mod", "go.sum", "pause/main.go"))
    place = cache() / "kube" / hashlib.sha256(sums).hexdigest()[:16]
    if all((place / name).exists() for name in names):
        return place
    if shutil.which("go") is None:
        raise NoControlPlane(
            f"no {', '.join(names)}: set KUBEBUILDER_ASSETS to a directory that has them, or install Go (the version "
            f"that {TOOLS / 'go.mod'} names) to build them"
        )
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock:  # two sessions at once build once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all((place / name).exists() for name in names):
            _build(place)
    return place


def _build(place: Path) -> None:
    print(f"building Kubernetes {VERSION} into {place}: some minutes, once", flush=True)
    major, minor = VERSION.lstrip("v").split(".")[:2]
    version = "k8s.io/component-base/version"
    flags = f"-s -w -X {version}.gitVersion={VERSION} -X {version}.gitMajor={major} -X {version}.gitMinor={minor}"
    part = (
        place / "part"
    )  # moved when whole: a build that was cut off leaves no half program behind
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    done = subprocess.run(
        [
            "go",
            "build",
            "-C",
            str(TOOLS),
            "-trimpath",
            "-o",
            f"{part}/",
            "-ldflags",
            flags,
            "tool",
            "./pause",
        ],
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
        check=False,
    )
    if done.returncode:
        shutil.rmtree(part)
        raise NoControlPlane("`go build` of Kubernetes' programs failed: see above")
    for program in part.iterdir():
        program.rename(place / program.name)
    part.rmdir()


if __name__ == "__main__":
    try:
        for found in binaries(*sys.argv[1:]).values():
            print(found)
    except NoControlPlane as error:
        sys.exit(f"error: {error}")
