"""restore: a traded day, the state server emptied, and the money ledgers come back whole from the journals on disk."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alphatrader.contract import keys as k
from alphatrader.contract.messages.operations import Lock
from alphatrader.contract.modules import Module
from alphatrader.core.orders.states import is_open
from alphatrader.runtime.journal import FILES
from alphatrader.streams.positions import PositionManager
from tests.support.servers import Servers
from tests.support.trading import Stage, play
from tests.support.typed_commands import typed
from tests.support.waiting import until

LEDGERS = (k.LEDGER_FILLS, k.LEDGER_TRADES, k.LEDGER_APPROVALS)


def restore(on: Stage, *arguments: str) -> tuple[int, Any, str]:
    """As the operator types it, in this stage's folder."""
    environment = dict(os.environ) | on.servers.environment | {"ALPHATRADER_DATA_DIR": str(on.folder.parent)}
    done = typed(["restore", "--json", *arguments], environment, seconds=60.0)
    return done.code, done.json() if done.out else None, done.err


def ledgers(on: Stage) -> dict[str, Any]:
    store = on.store(Module.OPERATOR)
    return {key.pattern: store.fields(key.at()) for key in LEDGERS} | {
        "ended": {ref: record for ref, record in on.orders().items() if not is_open(record.state)}
    }


@asynccontextmanager
async def positions(on: Stage) -> Any:
    module = PositionManager(on.context(Module.POSITIONS))
    await module.recover()
    running = asyncio.create_task(module.run())
    try:
        yield module
    finally:
        module.stopping.set()
        await running
        await module.shut()
        await module.store.close()


async def approved(on: Stage, intent_id: str) -> None:
    """Risk keeps every verdict; here the test does."""
    approval = on.approve(intent_id)
    store = on.store(Module.RISK)
    batch = store.batch()
    batch.put_field(k.LEDGER_APPROVALS.at(), intent_id, approval)
    store.commit(batch)
    await until(lambda: on.state(f"{intent_id}/stop") == "WORKING", what=f"{intent_id} held")


async def traded(on: Stage) -> dict[str, Any]:
    """A round trip, and a position that stays under its stop."""
    shutil.copy(on.servers.folder / "secrets.json", on.folder)
    async with on.execution(), positions(on):
        await approved(on, "i-1")
        await until(lambda: on.store(Module.OPERATOR).get(k.POSITIONS.at(symbol="SPY", id="i-1")), what="position")
        on.want("i-1", 0, None)
        await until(lambda: "i-1" in on.store(Module.OPERATOR).fields(k.LEDGER_TRADES.at()), what="round trip")
        await approved(on, "i-2")
        await until(lambda: on.broker_orders().keys() == {"i-2/stop", "i-2/target"}, what="one position")
        await until(lambda: all(fill.commission for fill in on.fills().values()), what="commissions")
        await until(lambda: on.store(Module.OPERATOR).get(k.POSITIONS.at(symbol="SPY", id="i-2")), what="its record")
    return ledgers(on)


def test_the_ledgers_come_back_equal_and_execution_goes_on_from_them(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        # given a traded day, and a state server that has lost all
        before = await traded(on)
        sent = len(on.placed())
        on.servers.flush()
        assert on.fills() == {}
        # when the journals are restored, a torn last line among them
        with (on.folder / FILES[Module.EXECUTION]).open("ab") as file:
            file.write(b'{"kind":"fill","machine_ns":17')
        code, said, _ = restore(on)
        assert (code, said["unreadable"]) == (0, 1)
        assert {name: said["restored"][name] for name in ("fills", "trades", "approvals")} == {
            "fills": 3,
            "trades": 1,
            "approvals": 2,
        }
        # then they are what they were, and once more changes nothing
        assert ledgers(on) == before
        assert restore(on)[0] == 1
        code, said, _ = restore(on, "--over")
        assert code == 0 and set(said["restored"].values()) == {0}
        assert ledgers(on) == before
        # and execution settles with the broker as at any start, and sends nothing
        on.halt(False)
        async with on.execution() as execution:
            await until(lambda: (on.state("i-2/stop"), on.state("i-2/target")) == ("WORKING", "WORKING"), what="open orders")
            assert {intent: held.quantity for intent, held in execution.exits.holdings().items()} == {"i-2": 2}
            assert on.fills() == before[k.LEDGER_FILLS.pattern]
            assert len(on.placed()) == sent

    play(servers, tmp_path, story)


def test_ledgers_that_hold_something_are_not_written_over_unless_told(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        before = await traded(on)
        code, _, said = restore(on)
        assert code == 1 and "ledger:fills holds 3" in said and "nothing was changed" in said
        # given one fill that was lost, then it alone comes back
        batch = on.store(Module.EXECUTION).batch()
        batch.drop_field(k.LEDGER_FILLS.at(), next(iter(on.fills())))
        on.store(Module.EXECUTION).commit(batch)
        code, answer, _ = restore(on, "--over")
        assert code == 0 and answer["restored"]["fills"] == 1
        assert ledgers(on) == before

    play(servers, tmp_path, story)


def test_it_refuses_beside_a_running_module_and_says_when_there_is_nothing(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        shutil.copy(on.servers.folder / "secrets.json", on.folder)
        code, _, said = restore(on)
        assert code == 1 and "hold nothing" in said
        store = on.store(Module.EXECUTION)
        batch = store.batch()
        batch.put(k.LOCK.at(module=Module.EXECUTION), Lock(token="t", fence=1, pid=1))
        store.commit(batch)
        code, _, said = restore(on)
        assert code == 1 and "execution runs" in said

    play(servers, tmp_path, story)
