"""`bowline-worker ROLE --config FILE`: run one role to its end, and say by the exit code what the world should do.

And `bowline-worker redo`, a filter that a person may run.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from pathlib import Path

import click
from pydantic import ValidationError

from bowline_worker.contract import BadConfig, BowlineError, Config, Exit, Role, TryAgain
from bowline_worker.redo_filter import redo
from bowline_worker.reporter import Reporter, log_to_stderr
from bowline_worker.roles import Context, role_function

log = logging.getLogger("bowline")

EXIT_CODES = """
Exit codes: 0 the goal is reached; 75 try again; 64 bad configuration; 65 schema or data can't be migrated as asked;
78 a privilege or server setting is missing; 86 going on could lose or double data, a human decides.
"""


@click.group(epilog=EXIT_CODES)
def main() -> None:
    """Run one role of a migration. Started by the operator or by `bowline run`, not by hand."""


def run_role(role: Role, config_file: str) -> None:
    """Run one role to its end, and exit with its code."""
    try:
        config = read_config(config_file, role)
    except BowlineError as error:
        click.echo(f"bowline-worker: {error}", err=True)
        sys.exit(error.exit_code)
    log_to_stderr(config)
    sys.exit(run(config))


def _command(role: Role) -> click.Command:
    config = click.Option(
        ["--config", "config_file"],
        required=True,
        type=click.Path(dir_okay=False),
        help="JSON, see contract.Config",
    )
    return click.Command(
        str(role),
        callback=functools.partial(run_role, role),
        params=[config],
        help=f"Run the role {role}.",
        epilog=EXIT_CODES,
    )


for each in Role:
    main.add_command(_command(each))
main.add_command(redo)


def read_config(path: str, role: Role) -> Config:
    """Read the file; BadConfig names the field that is wrong."""
    try:
        config = Config.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"could not read {path}: {error.strerror}") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        raise BadConfig(f"{path}: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}") from None
    if config.role is not role:
        raise BadConfig(f"{path}: role is {config.role}, and {role} was asked for")
    return config.model_copy(update=_of_the_pod())


def _of_the_pod() -> dict[str, str]:
    """What is known only once a pod exists, and so is in no file: the Job's uid, and the address to listen on."""
    known = {"job_uid": "BOWLINE_JOB_UID", "listen": "BOWLINE_LISTEN"}
    return {field: os.environ[name] for field, name in known.items() if os.environ.get(name)}


def run(config: Config) -> int:
    """Run the role; every error becomes a report, a log line and an exit code."""
    reporter = Reporter(config)
    context = Context(config=config, report=reporter)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: context.stop.set())
    reporter.serve()
    log.info("started")
    code = Exit.DONE
    try:
        role_function(config.role)(context)
        if context.stop.is_set() and reporter.now().failure is None:
            reporter.fail(TryAgain("stopped by a signal", reason="Stopped"))
            code = Exit.TRY_AGAIN
    except BowlineError as error:
        reporter.fail(error)
        log.error(str(error), extra={"fields": {"reason": error.reason, "hint": error.hint}})  # noqa: TRY400
        code = error.exit_code
    except Exception as error:  # the edge: whatever it is, the control plane must hear of it
        reporter.fail(TryAgain(f"{type(error).__name__}: {error}", reason="InternalError"))
        log.exception("failed")
        code = Exit.TRY_AGAIN
    reporter.leave()
    log.info("ended", extra={"fields": {"exit": int(code)}})
    return int(code)
