"""kopf's part: it watches, keeps the finalizer, and starts one loop for each resource. All deciding is elsewhere.

Handlers of events only ring a bell. The loop and the deletion share a lock, since kopf runs them side by side; every
error ends a pass and not the loop, since kopf never starts a loop again that has ended.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from datetime import timedelta
from typing import Any, cast

import aiohttp
import kopf

from bowline_operator.api import FORCE_DELETE, GROUP, RETRY, VERSION
from bowline_operator.crd import PLURAL
from bowline_operator.kube import metrics, objects
from bowline_operator.kube.cluster import (
    ApiError,
    Cluster,
    Object,
    is_in_cluster,
    server_of_the_cluster,
)
from bowline_operator.kube.options import Options
from bowline_operator.kube.pacing import Bells
from bowline_operator.kube.shell import Pass, Shell
from bowline_operator.observed import Event

log = logging.getLogger("bowline")

AFTER_ERROR = timedelta(seconds=2)
#: A pass that hangs for so long is a fault of ours, and a new process may do better.
HUNG_SECONDS = 300.0

_OURS = (GROUP, VERSION, PLURAL)
_WOKEN_BY = (RETRY, FORCE_DELETE)


def settings(options: Options) -> kopf.OperatorSettings:
    """What keeps kopf from storing, posting and asking more than it must (see its documentation for each)."""
    found = kopf.OperatorSettings()
    found.persistence.finalizer = f"{GROUP}/finalizer"
    found.persistence.progress_storage = kopf.AnnotationsProgressStorage(
        prefix=f"kopf.{GROUP}", v1=False
    )
    found.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix=f"kopf.{GROUP}", key="seen", v1=False, ignored_fields=["spec", "metadata"]
    )
    found.peering.standalone = True
    # Without it kopf reads the cluster's CRDs and namespaces, for which a namespaced operator has no right.
    found.scanning.disabled = bool(options.namespaces)
    found.watching.label_selectors["batch", "v1", "jobs"] = (
        f"{objects.MANAGED_BY}={objects.MANAGER}"
    )
    found.posting.level = logging.INFO
    found.posting.reporting_component = "bowline-operator"
    found.networking.request_timeout = 30
    found.execution.default_backoff = 10
    return found


def registry(options: Options) -> kopf.OperatorRegistry:
    """All handlers, around one shell."""
    found = kopf.OperatorRegistry()
    operator = _Operator(options)

    @kopf.on.login(registry=found, id="login")
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        if not is_in_cluster():
            return kopf.login_with_kubeconfig(**kwargs)
        account = kopf.login_with_service_account(**kwargs)
        # The address as every pod is told it: a name would need the cluster's DNS to be up first.
        return account and dataclasses.replace(account, server=server_of_the_cluster())

    @kopf.on.startup(registry=found, id="connect", errors=kopf.ErrorsMode.PERMANENT)
    async def connect(**_: Any) -> None:
        await operator.connect()

    @kopf.on.cleanup(registry=found, id="disconnect")
    async def disconnect(**_: Any) -> None:
        await operator.close()

    @kopf.on.probe(registry=found, id="passes")
    def passes(**_: Any) -> int:
        hung = [name for name, since in operator.under_way.items() if _age(since) > HUNG_SECONDS]
        if hung:
            raise kopf.PermanentError(f"a pass hangs: {hung[0]}")
        return len(operator.under_way)

    @kopf.on.event(*_OURS, registry=found, id="resource")
    async def resource_changed(namespace: Any, name: str, event: Any, meta: Any, **_: Any) -> None:
        notes = meta.get("annotations", {})
        state = [meta.get("generation"), meta.get("deletionTimestamp"), meta.get("uid")]
        state += [notes.get(key) for key in _WOKEN_BY]
        operator.bells.of((namespace, name)).ring_if_new(state)
        if event["type"] == "DELETED":
            operator.forget(namespace, name)

    @kopf.on.event("batch", "v1", "jobs", registry=found, id="job",
                   labels={objects.MANAGED_BY: objects.MANAGER})  # fmt: skip
    async def job_changed(namespace: Any, labels: Any, **_: Any) -> None:
        operator.bells.ring((namespace, labels.get(objects.MIGRATION, "")))

    @kopf.daemon(*_OURS, registry=found, id="watch-over", cancellation_timeout=10, backoff=5)
    async def watch_over(namespace: Any, name: str, stopped: kopf.DaemonStopped, **_: Any) -> None:
        while not stopped:
            done = await operator.one_pass(namespace, name)
            if done.finished or done.gone:
                await stopped.wait(AFTER_ERROR.total_seconds())

    @kopf.on.delete(*_OURS, registry=found, id="leave", backoff=10)
    async def leave(namespace: Any, name: str, **_: Any) -> None:
        done = Pass(AFTER_ERROR)
        while not (done.finished or done.gone):
            done = await operator.one_pass(namespace, name)

    return found


class _Operator:
    """The one shell of the process, and the bells."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._shell: Shell | None = None
        self.bells = Bells()
        self.under_way: dict[str, float] = {}  #: when the pass began, monotonic

    async def connect(self) -> None:
        cluster = await Cluster.connect()
        # Workers are asked by their address; a proxy of the environment is for other things.
        session = aiohttp.ClientSession(trust_env=False)
        self._shell = Shell(cluster, session, self._options, _post)

    async def close(self) -> None:
        if self._shell is not None:
            await self._shell.session.close()
            await self._shell.cluster.close()

    def forget(self, namespace: str, name: str) -> None:
        if self._shell is not None:
            self._shell.forget(namespace, name)
        self.bells.drop((namespace, name))

    async def one_pass(self, namespace: str, name: str) -> Pass:
        """Make a pass, and rest after it. Errors are logged, counted, and tried again."""
        assert self._shell is not None  # noqa: S101 (kopf starts nothing before `connect` is through)
        bell = self.bells.of((namespace, name))
        place = f"{namespace}/{name}"
        async with bell.lock:
            bell.silence()
            self.under_way[place] = time.monotonic()
            try:
                with metrics.PASS_SECONDS.time():
                    done = await self._shell.one_pass(namespace, name)
                metrics.PASSES.labels("done").inc()
            except ApiError as error:
                log.warning("the API server: %s", error, extra={"migration": place})
                metrics.PASSES.labels("api_error").inc()
                done = Pass(AFTER_ERROR)
            except Exception:  # the edge: one migration's fault must not end its loop for ever
                log.exception("pass failed", extra={"migration": place})
                metrics.PASSES.labels("failed").inc()
                done = Pass(AFTER_ERROR)
            finally:
                self.under_way.pop(place, None)
        if done.gone:
            self.bells.drop((namespace, name))
        elif not done.finished:
            await bell.rest(done.pause, quiet=done.quiet)
        return done


def _age(since: float) -> float:
    return time.monotonic() - since


def _post(raw: Object, event: Event) -> None:
    """Post an Event on the resource; kopf does it in the background, and gives up after some tries."""
    kind = "Warning" if event.warning else "Normal"
    body = kopf.Body(cast("kopf.RawBody", raw))
    kopf.event(body, type=kind, reason=event.reason, message=event.message[:1000])
