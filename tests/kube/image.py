"""Builds our image where no image registry is reached, and makes an archive of it.

The Dockerfile's base is stood in for by Debian's own Python, from the mirror that this machine has: the Dockerfile is
built as it is. Base and archive are cached outside the checkout; so is podman's storage, that what is made here never
passes for the real base elsewhere. BOWLINE_IMAGE_ARCHIVE names an archive that was made with a registry instead.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from kube.binaries import NoControlPlane, cache, distribution, succeed

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/bowline:test"
PAUSE = "localhost/pause:1"
RUN_ROOT = Path("/run/bowline-podman")
KEPT_ARCHIVES = 3

#: What an image of this machine depends on. The last one is how it is made.
INPUTS = ("Dockerfile", ".dockerignore", "pyproject.toml", "requirements.lock", "README.md", "LICENSE",
          "operator", "worker", "tests/kube/image.py")  # fmt: skip

#: What the real base has besides a minimal Debian.
PACKAGES = "ca-certificates,netbase,tzdata,python3,python3-venv,python3-pip"
#: What the real base leaves out, or is of no use in an image.
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info",
            "var/cache/apt", "var/lib/apt/lists", "var/log")  # fmt: skip
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
#: What of this machine's pip the one in the build is told.
PIP_SETTINGS = ("index_url", "extra_index_url", "trusted_host", "timeout", "retries")
#: This kernel gives no CAP_SYS_RESOURCE and has no systemd: small limits, no journal, cgroups by hand.
PODMAN_SETTINGS = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


def archive() -> Path:
    """The image `localhost/bowline:test` as `podman save` writes it; built where its inputs have changed."""
    if given := os.environ.get("BOWLINE_IMAGE_ARCHIVE"):
        return Path(given)
    found = place() / f"bowline-{fingerprint()}.tar"
    if not found.exists():
        if os.geteuid():
            raise NoControlPlane(
                "an image's base is made as root: do so, or set BOWLINE_IMAGE_ARCHIVE to what `docker save` wrote"
            )
        build()
        save(IMAGE, found)
        archives = sorted(place().glob("bowline-*.tar"), key=lambda each: each.stat().st_mtime)
        for old in archives[:-KEPT_ARCHIVES]:
            old.unlink()
    return found


def place() -> Path:
    directory = cache() / "image"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def fingerprint() -> str:
    """Changes with every file that goes into the image, or says how it is made."""
    digest = hashlib.sha256()
    for name in INPUTS:
        inputs = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*"))
        for path in inputs:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)} {path.stat().st_mode & 0o111}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def build() -> None:
    """Build the Dockerfile as it is, on the stand-in."""
    base = re.findall(r"^ARG PYTHON=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]
    name = f"localhost/{base}"
    if podman("image", "exists", name, check=False).returncode:
        with _base(base.rpartition("-")[2]).open("rb") as layer:
            podman("import", "-", name, given=layer)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as settings:
        settings.write(_pip_settings())
        settings.flush()
        for target, tag in (
            ("build", f"{IMAGE}-build"),
            ("client", f"{IMAGE}-client"),
            ("", IMAGE),
        ):
            # The first two by name, so that what is pruned are not the layers that the next build can use.
            podman(
                "build", "--pull=never", "--network=host", "--layers", f"--tag={tag}",
                *([f"--target={target}"] if target else []),
                f"--build-arg=PYTHON={name}", f"--volume={settings.name}:/etc/pip.conf:ro",
                f"--volume={CERTIFICATES}:{CERTIFICATES}:ro", str(ROOT),
            )  # fmt: skip
    podman("image", "prune", "--force")


def save(image: str, archive: Path) -> None:
    part = archive.with_suffix(f".{os.getpid()}")
    part.unlink(missing_ok=True)
    podman("save", "--format=docker-archive", f"--output={part}", image)
    part.rename(archive)


def pause_archive(program: Path, archive: Path) -> None:
    """An image of one static program that sleeps: what keeps a pod's namespaces."""
    with tempfile.TemporaryDirectory() as directory:
        layer = Path(directory) / "layer.tar"
        with tarfile.open(layer, "w") as tar:
            tar.add(program, "pause")
        podman("import", '--change=ENTRYPOINT ["/pause"]', str(layer), PAUSE)
    save(PAUSE, archive)


def podman(
    *words: str, check: bool = True, given: IO[bytes] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run podman with a storage of our own."""
    settings = place() / "containers.conf"
    settings.write_text(PODMAN_SETTINGS)
    done = subprocess.run(
        [
            distribution("podman", "podman"), f"--root={place() / 'storage'}", f"--runroot={RUN_ROOT}",
            "--storage-driver=overlay", *words,
        ],
        env={**os.environ, "CONTAINERS_CONF": str(settings)},
        stdin=given or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise NoControlPlane(
            f"podman {words[0]} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
    return done


def _base(suite: str) -> Path:
    """Debian with its own Python where the real base has one, as the archive of a root file system."""
    found = place() / f"base-{suite}.tar"
    if found.exists():
        return found
    with tempfile.TemporaryDirectory(dir=place()) as directory:
        root = Path(directory) / "root"
        succeed(
            distribution("debootstrap", "debootstrap"), "--variant=minbase", f"--include={PACKAGES}",
            suite, str(root), _mirror(),
        )  # fmt: skip
        for name in LEFT_OUT:
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True)
        for name in ("python", "python3"):
            (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
        part = found.with_suffix(f".{os.getpid()}")
        succeed("tar", "--numeric-owner", "-C", str(root), "-cf", str(part), ".")
        part.rename(found)
    return found


def _mirror() -> str:
    """Where this machine has its packages from."""
    targets = succeed(
        "apt-get", "indextargets", "--format=$(SITE)", "Created-By: Packages", "Component: main",
    )  # fmt: skip
    if not targets.strip():
        raise NoControlPlane(
            "this machine has no source of Debian packages to make an image's base from"
        )
    return targets.splitlines()[0]


def _pip_settings() -> str:
    """How this machine reaches packages, for pip in the build."""
    given = {name: os.environ.get(f"PIP_{name.upper()}") for name in PIP_SETTINGS}
    lines = [f"{name.replace('_', '-')} = {value}" for name, value in given.items() if value]
    return "\n".join(["[global]", f"cert = {CERTIFICATES}", *lines, ""])


if __name__ == "__main__":
    try:
        print(archive())
    except NoControlPlane as error:
        sys.exit(f"error: {error}")
