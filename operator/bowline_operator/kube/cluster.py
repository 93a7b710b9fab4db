"""Calls to the API server, in plain dictionaries: the typed models would cost a pass more than the call itself."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

Object: TypeAlias = dict[str, Any]

TIMEOUT_SECONDS = 10
MERGE_PATCH = "application/merge-patch+json"
_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class ApiError(Exception):
    """The API server has refused a call, or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotFound(ApiError):
    """There is no such object."""


class Conflict(ApiError):
    """The object has changed since it was read, or there is one of that name already."""


def is_in_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and _TOKEN.exists()


def server_of_the_cluster() -> str:
    """The API server's address, as the kubelet tells every pod."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


class Cluster:
    """An API server, reached as the pod's ServiceAccount or as KUBECONFIG says."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> Cluster:
        """Read how to connect; nothing is sent yet."""
        settings = client.Configuration()
        if is_in_cluster():
            config.load_incluster_config(client_configuration=settings)
        else:
            await config.load_kube_config(client_configuration=settings)
        return cls(client.ApiClient(configuration=settings))

    async def close(self) -> None:
        await self._api.close()

    async def get(self, path: str) -> Object:
        """Read one object; NotFound."""
        return await self._call("GET", path)

    async def items(self, path: str, selector: str) -> list[Object]:
        """Read all objects with these labels, as they are now."""
        found = await self._call("GET", f"{path}?{urlencode({'labelSelector': selector})}")
        return list(found["items"])

    async def create(self, path: str, body: Object) -> Object:
        """Make an object; Conflict: there is one of that name."""
        return await self._call("POST", path, body)

    async def replace(self, path: str, body: Object) -> Object:
        """Write the object that was read, changed; Conflict: somebody else was quicker."""
        return await self._call("PUT", path, body)

    async def merge(self, path: str, body: Object) -> Object:
        """Change some fields of an object."""
        return await self._call("PATCH", path, body, MERGE_PATCH)

    async def delete(self, path: str) -> None:
        """Have an object, and what it owns, removed; that there is none is no error."""
        try:
            await self._call("DELETE", path, {"propagationPolicy": "Background"})
        except NotFound:
            return

    async def _call(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json"
    ) -> Object:
        headers = {"Accept": "application/json", "Content-Type": kind}
        try:
            request = await self._api.param_serialize(
                method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._api.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
            text = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ApiError(0, f"{method} {path}: {error or type(error).__name__}") from None
        if answer.status >= 300:
            raise _refusal(answer.status, f"{method} {path}", text)
        return dict(json.loads(text))


def _refusal(status: int, call: str, text: bytes) -> ApiError:
    try:
        said: Mapping[str, Any] = json.loads(text)
        message = str(said.get("message", ""))
    except ValueError:
        message = text[:200].decode(errors="replace")
    kind = {404: NotFound, 409: Conflict}.get(status, ApiError)
    return kind(status, f"{call}: {status}: {message}")
