"""Order ids that begin again, and ids the broker has seen: nothing is sent under a used id, or taken for another order."""

from __future__ import annotations

from pathlib import Path

from tests.support.servers import Servers
from tests.support.trading import Stage, filled, play, refs_of
from tests.support.waiting import until


def test_when_the_gateway_begins_again_at_one_our_ids_go_on(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution() as execution:
            await filled(on)
            await until(lambda: on.state("i-1/stop") == "WORKING", what="stop")
            # given a gateway that says its next id is 1, and one more connection that it says so to
            on.gateway.gateway.inject("next_valid_id", order_id=1)
            on.gateway.gateway.inject("drop")
            await until(lambda: on.state("i-1/stop") == "UNKNOWN", what="in doubt")
            on.gateway.gateway.inject("next_valid_id", order_id=1)
            await until(lambda: on.state("i-1/stop") == "WORKING" and execution.desk.settled, what="settled again")
            await filled(on, "i-2")
            # then the second bracket's ids are above the first's, and both families stand apart
            ids = [frame["fields"]["orderId"] for frame in on.placed()]
            assert ids == sorted(set(ids)) and len(ids) == 6
            assert sum(fill.quantity for fill in on.fills().values()) == on.held() == 4

    play(servers, tmp_path, story)


def test_a_duplicate_id_ends_that_intent_alone_and_the_next_one_opens(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution():
            # given a broker that answers the entry with 103
            on.gateway.gateway.inject("refuse_next", code=103, text="Duplicate order id", order_type="LMT")
            on.approve("i-1")
            await until(lambda: on.state("i-1") == "REJECTED", what="settled by asking")
            assert "103" in (on.orders()["i-1"].reason or "")
            await until(lambda: on.broker_orders() == {} and on.held() == 0, what="no child stands alone")
            # then it was sent once, and the next intent trades
            await until(
                lambda: {on.state("i-1/stop"), on.state("i-1/target")} <= {"REJECTED", "EXPIRED", "CANCELLED"}, what="legs"
            )
            await filled(on, "i-2")
            assert refs_of(on.placed(opening=True)) == ["i-1", "i-2"]

    play(servers, tmp_path, story)
