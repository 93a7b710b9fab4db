"""The command line `bowline`."""

from __future__ import annotations

import functools
import io
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.live import Live
from ruamel.yaml import YAML

from bowline_operator import local
from bowline_operator.api import Request, unsupported
from bowline_operator.crd import as_yaml
from bowline_operator.durations import parse_duration
from bowline_operator.edit import set_phase
from bowline_operator.grants import grants_sql
from bowline_operator.manifest import ManifestInvalid, read_manifest
from bowline_operator.observed import Event
from bowline_operator.oracle_grants import oracle_grants_sql
from bowline_operator.render import changes, table
from bowline_operator.status import Phase, Status
from bowline_operator.views import Place, View
from bowline_operator.waiting import awaited
from bowline_operator.watch import Watch
from bowline_worker.contract import BadConfig, BowlineError, Engine, Exit, Side

EXIT_CODES = """
Exit codes: 0 done (run: the migration is Completed, --until holds, or SIGTERM came); 1 failed, refused, timed out or
invalid; 2 wrong usage; 64 the files can't be used; 130 run was ended by Ctrl-C.
"""
LOOK_AGAIN = 0.25  #: seconds between two looks of `wait` and `status --watch`

Command = Callable[..., None]


def _tell_errors(command: Command) -> Command:
    """Turn our errors into one line and a hint, never a stack trace."""

    @functools.wraps(command)
    def told(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BowlineError as error:
            _fail(error)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _fail(BowlineError(f"{where}{error.strerror or error}"))

    return told


def _fail(error: BowlineError) -> NoReturn:
    lines = error.errors if isinstance(error, ManifestInvalid) else [str(error)]
    for line in lines:
        click.echo(f"bowline: {line}", err=True)
    if error.hint:
        click.echo(f"  hint: {error.hint}", err=True)
    sys.exit(int(Exit.BAD_CONFIG) if isinstance(error, BadConfig) else 1)


def _duration(_ctx: click.Context, _param: click.Parameter, value: str) -> timedelta:
    try:
        parsed = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    assert isinstance(parsed, timedelta)  # noqa: S101 (it was given text)
    return parsed


files = click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
optional_files = click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
state_dir_option = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Journal, logs and status; by default .bowline/NAME beside the manifest.",
)


@click.group(epilog=EXIT_CODES)
@click.version_option(package_name="bowline")
def main() -> None:
    """Move a live database to another one, and keep a line back."""


# --- run -----------------------------------------------------------------------------------------


@main.command(epilog=EXIT_CODES)
@files
@state_dir_option
@click.option("--until", metavar="WHAT", help="End when phase=X or condition=T[=value] holds.")
@_tell_errors
def run(files: tuple[Path, ...], state_dir: Path | None, until: str | None) -> None:
    """Run a migration from its manifest, without a cluster.

    Takes the files that kubectl apply -f would take and watches them: edit spec.phase to go on. Run it again, and it
    goes on where it was. Ends by itself when the migration is Completed.
    """
    goal = awaited(until) if until else None
    watch = Watch.start(files)
    missing = unsupported(watch.manifest.resource.spec)
    console = Console(highlight=False, soft_wrap=True)
    say = functools.partial(_say, console)
    for each in missing:
        say(f"this version can't do {each}: nothing begins until it is out of the spec")

    def tell(old: Status, new: Status, events: Sequence[Event]) -> None:
        for line in changes(old, new, events):
            say(line)

    place = state_dir or local.default_state_dir(watch.manifest)
    say(f"migration {watch.manifest.resource.metadata.name}, state in {place}")
    code = local.run(
        watch,
        place,
        tell=tell,
        say=say,
        until=lambda status: goal is not None and goal.holds(status),
    )
    sys.exit(code)


def _say(console: Console, line: str) -> None:
    at = datetime.now().astimezone()
    console.print(f"[dim]{at:%H:%M:%S}[/dim] ", end="")
    console.print(line, markup=False)


# --- looking -------------------------------------------------------------------------------------


@main.command(epilog=EXIT_CODES)
@optional_files
@state_dir_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
)
@click.option("-w", "--watch", is_flag=True, help="Go on showing it until it is Completed.")
@_tell_errors
def status(files: tuple[Path, ...], state_dir: Path | None, output: str, watch: bool) -> None:
    """Show where a migration stands; -o json is the resource itself.

    While no runner is alive, what only a running worker can know is shown as Unknown.
    """
    place = Place.find(files, state_dir)
    if not watch:
        click.echo(_shown(place.look(), output), nl=False)
    elif output == "table" and sys.stdout.isatty():
        _live(place)
    else:
        shown = ""
        while True:
            view = place.look()
            now = _shown(view, output)
            if now != shown:
                click.echo(now, nl=False)
                shown = now
            if view.status.phase is Phase.COMPLETED:
                return
            time.sleep(LOOK_AGAIN * 4)


def _drawn(view: View) -> Any:
    return table(
        view.resource.metadata.name,
        view.status,
        alive=view.liveness.alive,
        liveness=str(view.liveness),
        now=datetime.now(UTC),
    )


def _live(place: Place) -> None:
    view = place.look()
    with Live(_drawn(view), auto_refresh=False, screen=False) as live:
        while view.status.phase is not Phase.COMPLETED:
            time.sleep(LOOK_AGAIN * 2)
            view = place.look()
            live.update(_drawn(view), refresh=True)


def _shown(view: View, output: str) -> str:
    if output == "json":
        text = view.resource.model_dump_json(by_alias=True, exclude_none=True, indent=2)
        return text + "\n"
    if output == "yaml":
        buffer = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        raw = view.resource.model_dump(mode="json", by_alias=True, exclude_none=True)
        yaml.dump(raw, buffer)
        return buffer.getvalue()
    is_terminal = sys.stdout.isatty()
    console = Console(
        file=io.StringIO(), force_terminal=is_terminal, width=None if is_terminal else 200
    )
    with console.capture() as captured:
        console.print(_drawn(view))
    lines = captured.get().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


@main.command(epilog=EXIT_CODES)
@files
@click.option("--for", "what", required=True, metavar="phase=X|condition=T[=value]")
@click.option("--timeout", callback=_duration, default="30s", show_default=True)
@state_dir_option
@_tell_errors
def wait(files: tuple[Path, ...], what: str, timeout: timedelta, state_dir: Path | None) -> None:
    """Wait until a phase is reached or a condition holds; exit 1 when it takes too long.

    What the runner has not taken over yet, since the file was just edited, does not count.
    """
    goal, place = awaited(what), Place.find(files, state_dir)
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        view = place.look()
        generation = view.resource.metadata.generation
        if view.is_taken_over and goal.holds(view.status, generation=generation):
            click.echo(f"migration {view.resource.metadata.name}: {goal}")
            return
        if time.monotonic() >= deadline:
            break
        time.sleep(LOOK_AGAIN)
    notes = [goal.now(view.status)]
    if not view.is_taken_over:
        notes.append("the spec in the files has not been taken over")
    if not view.liveness.alive:
        notes.append(str(view.liveness))
    click.echo(f"bowline: timed out waiting for {goal}: {'; '.join(notes)}", err=True)
    sys.exit(1)


# --- files ---------------------------------------------------------------------------------------


@main.command(epilog=EXIT_CODES)
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.argument("phase", type=click.Choice([str(each) for each in Request], case_sensitive=False))
@_tell_errors
def phase(file: Path, phase: str) -> None:
    """Write spec.phase into the manifest; comments and layout stay."""
    path, before = set_phase([file], Request(phase))
    click.echo(f"{path}: spec.phase {before} -> {phase}")


@main.command(epilog=EXIT_CODES)
@files
def validate(files: tuple[Path, ...]) -> None:
    """Check a manifest; every wrong field is named with its path. Exit 1 when something is wrong."""
    try:
        manifest = read_manifest(files)
    except ManifestInvalid as error:
        for line in error.errors:
            click.echo(line, err=True)
        sys.exit(1)
    missing = unsupported(manifest.resource.spec)
    for each in missing:
        click.echo(f"{manifest.path}: {each}: not supported by this version", err=True)
    if missing:
        sys.exit(1)
    click.echo(f"{manifest.path}: migration {manifest.resource.metadata.name} is valid")


_ENGINES = {
    "postgresql": Engine.POSTGRESQL,
    "yugabytedb": Engine.YUGABYTEDB,
    "oracle": Engine.ORACLE,
}


@main.command(epilog=EXIT_CODES)
@click.option("--engine", type=click.Choice(list(_ENGINES), case_sensitive=False), required=True)
@click.option("--side", type=click.Choice([str(side) for side in Side]), required=True)
@click.option("--revoke", is_flag=True, help="Print how to remove the user again.")
@click.option("--user", default="bowline", show_default=True, help="The migration's user.")
@click.option(
    "--owner",
    default=None,
    help="Role that owns the migrated tables; Oracle: their schema, else any table is granted.",
)
@click.option(
    "--database",
    default=None,
    help="Database that is migrated; Oracle: the pluggable one, for a common user (C##...).",
)
@click.option("--rds", is_flag=True, help="Oracle: for Amazon RDS, by its package rdsadmin.")
@_tell_errors
def grants(
    engine: str,
    side: str,
    revoke: bool,
    user: str,
    owner: str | None,
    database: str | None,
    rds: bool,
) -> None:
    """Print the SQL that makes the migration's user on one side."""
    if _ENGINES[engine] is Engine.ORACLE:
        text = oracle_grants_sql(
            Side(side), user=user, owner=owner, database=database, rds=rds, revoke=revoke
        )
        click.echo(text)
        return
    if rds:
        raise click.UsageError("--rds is for --engine oracle alone")
    click.echo(
        grants_sql(
            _ENGINES[engine],
            Side(side),
            user=user,
            owner=owner,
            database=database,
            revoke=revoke,
        )
    )


@main.command(epilog=EXIT_CODES)
def crd() -> None:
    """Print the CustomResourceDefinition, for `kubectl apply -f -` or a GitOps repository."""
    click.echo(as_yaml(), nl=False)


if __name__ == "__main__":
    main()
