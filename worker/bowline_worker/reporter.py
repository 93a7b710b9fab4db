"""The report that a role keeps, and its HTTP server: GET /status and GET /metrics."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from bowline_worker.contract import BowlineError, Config, Failure, Report
from bowline_worker.last_word import last_word

#: Kubernetes keeps at most this much of a termination message.
TERMINATION_BYTES = 4096

log = logging.getLogger("bowline")


class Reporter:
    """The role's report. Any thread may update it; readers get a whole one."""

    def __init__(self, config: Config) -> None:
        now = datetime.now(UTC)
        self._lock = threading.Lock()
        self._config = config
        self._report = Report(
            job=config.job,
            job_uid=config.job_uid,
            role=config.role,
            started_at=now,
            observed_at=now,
        )
        self._server: ThreadingHTTPServer | None = None

    def update(self, **change: Any) -> None:
        """Replace fields of the report; `observed_at` becomes now."""
        with self._lock:
            change["observed_at"] = datetime.now(UTC)
            self._report = self._report.model_copy(update=change)

    def now(self) -> Report:
        """The newest report."""
        with self._lock:
            return self._report

    def fail(self, error: BowlineError) -> None:
        failure = Failure(
            exit_code=error.exit_code, reason=error.reason, message=str(error), hint=error.hint
        )
        self.update(failure=failure, message=str(error))

    def serve(self) -> None:
        """Listen as configured, in daemon threads, and tell the address where asked to."""
        host, _, port = self._config.listen.rpartition(":")
        self._server = _Server((host, int(port)), self)
        threading.Thread(target=self._server.serve_forever, name="status", daemon=True).start()
        if self._config.address_file:
            address = f"{self._server.server_address[0]!s}:{self._server.server_address[1]}"
            _write_whole(Path(self._config.address_file), address)

    def leave(self) -> None:
        """Write the termination message: the last report, without what makes it too long."""
        if not self._config.termination_file:
            return
        limit = None if os.environ.get("BOWLINE_LONG_TERMINATION") else TERMINATION_BYTES
        # Written in place: in a pod the file is mounted by itself, and can't be replaced.
        Path(self._config.termination_file).write_text(last_word(self.now(), limit), "utf-8")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], reporter: Reporter) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.reporter = reporter
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_ReportCollector(reporter))
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/status":
            body = (
                self.server.reporter.now()
                .model_dump_json(by_alias=True, exclude_none=True)
                .encode()
            )
            kind = "application/json"
        elif self.path == "/metrics":
            body, kind = generate_latest(self.server.registry), "text/plain; version=0.0.4"
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are no news."""


class _ReportCollector:
    """Metrics are a view of the report, made when they are asked for."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def collect(self) -> Iterator[Metric]:
        report = self._reporter.now()
        stream = report.stream
        if stream is None:
            return
        labels = ["origin", "number"]
        values = [str(stream.origin), str(stream.number)]
        for name, text, value in (
            (
                "bowline_exported_changes",
                "changes journalled",
                stream.exported.total if stream.exported else None,
            ),
            (
                "bowline_imported_changes",
                "changes applied",
                stream.imported.total if stream.imported else None,
            ),
            (
                "bowline_lag_seconds",
                "commit at the origin to commit at the receiver",
                stream.lag.current,
            ),
            ("bowline_remaining_changes", "journalled and not applied", stream.remaining),
            ("bowline_retained_bytes", "redo that the origin keeps for us", stream.retained_bytes),
            ("bowline_journal_bytes", "size of the journal", stream.journal_bytes),
            (
                "bowline_changed_values",
                "values that the receiver can't hold, changed by the policy in this run",
                stream.changed_total if stream.imported else None,
            ),
        ):
            if value is not None:
                family = GaugeMetricFamily(name, text, labels=labels)
                family.add_metric(values, float(value))
                yield family


class JsonLines(logging.Formatter):
    """One JSON object a line; `extra={"fields": {...}}` adds to it."""

    def __init__(self, **fixed: str) -> None:
        super().__init__()
        self._fixed = fixed

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            **self._fixed,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to_stderr(config: Config) -> None:
    """Send the role's log to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines(migration=config.migration, role=str(config.role), job=config.job)
    )
    logging.basicConfig(
        level=os.environ.get("BOWLINE_LOG_LEVEL", "INFO"), handlers=[handler], force=True
    )


def _write_whole(path: Path, text: str) -> None:
    """Replace a file so that readers see the old or the new text, never a part."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
