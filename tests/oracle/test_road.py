"""The thinnest whole road from Oracle to PostgreSQL and back, through the real driver: every step, both ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bowline_worker.contract import LosingSide, Role, Side, Verdict
from oracle.shop import Shop, a_road, a_shop
from road.by_hand import Road
from servers import Database, MakePair

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(database: Database) -> Iterator[Shop]:
    with a_shop(database, seed=7) as shop:
        yield shop


@pytest.fixture
def road(shop: Shop, make_pair: MakePair) -> Iterator[Road]:
    with a_road(shop, make_pair) as road:
        yield road


def test_the_whole_road_and_back_and_forth_again(road: Road, shop: Shop) -> None:
    """Replicate, Cutover, Switchover, Cutover again, Complete: after each, both sides hold the same rows."""
    capture, apply = road.to_streaming()
    shop.write(Side.SOURCE, 1000)
    road.caught_up(apply)
    assert shop.content(Side.SOURCE) == shop.content(Side.TARGET)
    assert shop.is_refused(Side.TARGET)

    for attempt, loser in ((1, Side.SOURCE), (2, Side.TARGET), (3, Side.SOURCE)):
        switched = road.switch(attempt, loser)

        assert switched.verdict is Verdict.COMMITTED
        assert switched.opened
        assert shop.is_refused(loser)
        for worker in (capture, apply):
            worker.kill()
        capture, apply = road.workers[-2:]
        shop.write(loser.other, 10_000 + 1000 * attempt)
        road.caught_up(apply)
        assert shop.content(Side.SOURCE) == shop.content(Side.TARGET)

    for worker in (capture, apply):
        worker.kill()
    road.run(Role.CLEANUP, primary=Side.TARGET, losing_side=LosingSide.RELEASED)
    shop.write(Side.TARGET, 50_000)
    shop.write(Side.SOURCE, 60_000)
