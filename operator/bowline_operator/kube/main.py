"""`bowline-operator`: watch DatabaseMigrations in a cluster, and bring each where its spec wants it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import click
import kopf
from prometheus_client import start_http_server
from pythonjsonlogger.json import JsonFormatter

from bowline_operator.api import GROUP, VERSION
from bowline_operator.crd import PLURAL
from bowline_operator.kube import handlers, metrics
from bowline_operator.kube.cluster import ApiError, Cluster, NotFound, is_in_cluster
from bowline_operator.kube.options import Options
from bowline_worker.contract import Exit


def _listed(
    _ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Take several values, and from an environment variable a list with commas."""
    return tuple(name.strip() for each in value for name in each.split(",") if name.strip())


@click.command(context_settings={"show_default": True})
@click.option("--namespace", "namespaces", multiple=True, envvar="BOWLINE_NAMESPACES", callback=_listed,
              help="Namespace to watch; may be given again. None: the whole cluster.")  # fmt: skip
@click.option("--worker-image", envvar="BOWLINE_WORKER_IMAGE", required=True,
              help="Image of the workers, where a migration names none.")  # fmt: skip
@click.option("--image-pull-policy", envvar="BOWLINE_IMAGE_PULL_POLICY", default="IfNotPresent",
              type=click.Choice(["Always", "IfNotPresent", "Never"]))  # fmt: skip
@click.option("--image-pull-secrets", multiple=True, envvar="BOWLINE_IMAGE_PULL_SECRETS", callback=_listed,
              help="Secrets in the migrations' namespaces to pull the workers' image with.")  # fmt: skip
@click.option("--worker-service-account", envvar="BOWLINE_WORKER_SERVICE_ACCOUNT", default="default",
              help="ServiceAccount of the workers' pods; they get no token of it.")  # fmt: skip
@click.option("--health-port", envvar="BOWLINE_HEALTH_PORT", default=8080, help="GET /healthz.")
@click.option("--metrics-port", envvar="BOWLINE_METRICS_PORT", default=9090, help="GET /metrics.")
@click.option("--address", envvar="BOWLINE_ADDRESS", default="0.0.0.0", help="Where both listen.")  # noqa: S104
@click.option(
    "--log-format",
    envvar="BOWLINE_LOG_FORMAT",
    default="json",
    type=click.Choice(["json", "plain"]),
)
@click.option("--log-level", envvar="BOWLINE_LOG_LEVEL", default="INFO",
              type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]))  # fmt: skip
def main(
    *,
    namespaces: tuple[str, ...],
    worker_image: str,
    image_pull_policy: str,
    image_pull_secrets: tuple[str, ...],
    worker_service_account: str,
    health_port: int,
    metrics_port: int,
    address: str,
    log_format: str,
    log_level: str,
) -> None:
    """Watch DatabaseMigrations, and run their workers as Jobs.

    In a pod it acts as its ServiceAccount, elsewhere as KUBECONFIG says. It needs no right to read Secrets.
    """
    if not is_in_cluster() and not _kubeconfig_exists():
        click.echo(
            "bowline-operator: neither in a cluster nor is there a KUBECONFIG\n"
            "  hint: set KUBECONFIG to a file that names the cluster",
            err=True,
        )
        sys.exit(int(Exit.BAD_CONFIG))
    _log_to_stderr(log_format, log_level)
    options = Options(
        worker_image=worker_image,
        image_pull_policy=image_pull_policy,
        image_pull_secrets=image_pull_secrets,
        worker_service_account=worker_service_account,
        namespaces=namespaces,
    )
    try:
        start_http_server(metrics_port, addr=address, registry=metrics.REGISTRY)
    except OSError as error:
        click.echo(f"bowline-operator: port {metrics_port}: {error.strerror}", err=True)
        sys.exit(int(Exit.BAD_CONFIG))
    asyncio.run(_serve(options, f"http://{address}:{health_port}/healthz"))


async def _serve(options: Options, health: str) -> None:
    await _require_resource(options)
    await kopf.operator(
        registry=handlers.registry(options),
        settings=handlers.settings(options),
        clusterwide=not options.namespaces,
        namespaces=options.namespaces,
        liveness_endpoint=health,
    )


async def _require_resource(options: Options) -> None:
    """End where there is nothing to watch: kopf would look once, and be deaf and healthy from then on."""
    cluster = await Cluster.connect()
    try:
        for namespace in options.namespaces or ("",):
            within = f"namespaces/{namespace}/" if namespace else ""
            await cluster.get(f"/apis/{GROUP}/{VERSION}/{within}{PLURAL}?limit=1")
    except ApiError as error:
        hint = "install the CustomResourceDefinition first: crds/, or the chart with crds.enabled"
        told = f"{error}\n  hint: {hint}" if isinstance(error, NotFound) else str(error)
        click.echo(f"bowline-operator: {told}", err=True)
        sys.exit(1)
    finally:
        await cluster.close()


def _kubeconfig_exists() -> bool:
    paths = os.environ.get("KUBECONFIG") or "~/.kube/config"
    return any(os.path.exists(os.path.expanduser(path)) for path in paths.split(os.pathsep) if path)


def _log_to_stderr(form: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        names = {"asctime": "at", "levelname": "level", "name": "logger"}
        fields = [*names, "message"]
        handler.setFormatter(JsonFormatter(fields, rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They say with every event, and with every probe, that all is well.
    for noisy in ("kopf.objects", "kopf.activities.probe", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))


if __name__ == "__main__":
    main()
