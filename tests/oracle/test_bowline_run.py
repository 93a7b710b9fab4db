"""The whole road from Oracle under `bowline run`: what a user types, and the same control plane as any other pair's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from demo.control import Control

from bowline_worker.contract import Side
from oracle.shop import Shop, a_shop
from road.by_hand import wait_until
from servers import MIGRATOR, Database

pytestmark = pytest.mark.slow

MANIFEST = """\
    apiVersion: bowline.dev/v1alpha1
    kind: DatabaseMigration
    metadata: {{name: shop}}
    spec:
      phase: Replicate
      source: {{engine: Oracle, host: "{host}", port: {source}, serviceName: {service},
        credentialsSecretRef: {{name: old}}}}
      target: {{engine: PostgreSQL, host: 127.0.0.1, port: {target}, database: {database},
        credentialsSecretRef: {{name: new}}, tls: {{mode: disable}}}}
      tables: {{include: ["shop.*"]}}
      schema: {{mode: Existing}}
      completion: {{losingSide: Released}}
    ---
    apiVersion: v1
    kind: Secret
    metadata: {{name: old}}
    stringData: {{username: {old[0]}, password: {old[1]}}}
    ---
    apiVersion: v1
    kind: Secret
    metadata: {{name: new}}
    stringData: {{username: {new[0]}, password: "{new[1]}"}}
    """


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    with a_shop(database, seed=1) as shop:
        yield shop


@pytest.fixture
def control(shop: Shop, tmp_path: Path) -> Iterator[Control]:
    manifest = tmp_path / "shop.yaml"
    manifest.write_text(
        dedent(MANIFEST).format(
            host=shop.oracle.host,
            source=shop.oracle.port,
            service=shop.oracle.service,
            target=shop.target.server.port,
            database=shop.target.name,
            old=shop.oracle.bowline,
            new=(MIGRATOR, shop.target.server.password),
        )
    )
    control = Control(manifest, tmp_path / "state", tmp_path / "log")
    yield control
    control.stop()


def test_it_goes_there_and_back_and_there_again(control: Control, shop: Shop) -> None:
    control.start()
    control.wait("phase=Streaming", 90)
    shop.write(Side.SOURCE, 1000)

    switch(control, "Cutover", "FallbackStreaming")
    assert shop.is_refused(Side.SOURCE)
    shop.write(Side.TARGET, 2000)
    switch(control, "Switchover", "SwitchedBack")
    assert shop.is_refused(Side.TARGET)
    shop.write(Side.SOURCE, 3000)
    switch(control, "Cutover", "FallbackStreaming")
    shop.write(Side.TARGET, 4000)
    wait_until(
        "the last rows came back",
        lambda: shop.content(Side.SOURCE) == shop.content(Side.TARGET),
    )
    assert control.now()["verification"]["equal"]

    control.phase("Complete")
    assert control.end(seconds=90) == 0, list(control.said)
    assert shop.content(Side.SOURCE) == shop.content(Side.TARGET)
    assert control.now()["phase"] == "Completed"
    shop.write(Side.SOURCE, 5000)  # released, as it was asked for


def switch(control: Control, request: str, phase: str) -> None:
    control.wait("condition=CaughtUp", 60)
    control.phase(request)
    control.wait(f"phase={phase}", 90)
