"""What the operator is told at its start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The operator's own settings; the chart sets them."""

    worker_image: str
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    worker_service_account: str = "default"
    namespaces: tuple[str, ...] = ()  #: that are watched; none: the whole cluster
