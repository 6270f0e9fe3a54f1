"""The order connections in the audit log: what left and what came, as the gateway tells it, whatever ends the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from alphatrader.clients.ibkr.wiretap import Message, messages
from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from alphatrader.runtime.audit_file import Kind, Record, read
from alphatrader.runtime.secrets import Secrets
from alphatrader.runtime.settings import ROOT
from tests.streams.test_emergency import emergency, halt, with_position
from tests.support.executor import executor, until_settled
from tests.support.servers import Servers
from tests.support.trading import Stage, filled, play
from tests.support.waiting import until

PLACE, CANCEL_ALL, STATUS, EXECUTION = "3", "58", "3", "11"
"""Numbers of messages (EClient and EDecoder of the TWS API)."""
ORDER_ID, ACTION, QUANTITY, TYPE, LIMIT, ORDER_REF = 1, 16, 17, 18, 19, 26
"""Places in placeOrder; a status has its order's id first as well."""


def records(folder: Path, name: str) -> list[Record]:
    return [record for path in sorted((folder / "audit").glob(f"{name}-*")) for record in read(path)]


def sent(told: list[Message], number: str) -> list[tuple[str, ...]]:
    return [message.fields for message in told if message.direction == "sent" and message.fields[0] == number]


def received(told: list[Message], number: str) -> list[tuple[str, ...]]:
    return [message.fields for message in told if message.direction == "received" and message.fields[0] == number]


def as_the_gateway_tells(placed: list[dict[str, Any]]) -> list[tuple[str, str, float, str, str]]:
    fields = [frame["fields"] for frame in placed]
    return [(str(f["orderId"]), f["action"], float(f["totalQuantity"]), f["orderType"], f["orderRef"]) for f in fields]


def as_recorded(frames: list[tuple[str, ...]]) -> list[tuple[str, str, float, str, str]]:
    return [(f[ORDER_ID], f[ACTION], float(f[QUANTITY]), f[TYPE], f[ORDER_REF]) for f in frames]


def replay(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from alphatrader.cli import main; main()", "replay", str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False)


def test_every_order_and_answer_of_a_killed_execution_is_read_again_and_no_secret(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        folder = on.folder
        async with executor(on) as first:

            def said() -> list[Message]:
                return list(messages(records(folder, "execution")))

            # given a block on disk, then an entry that fills, and all that was said of it on disk as well
            await until_settled(on, first)
            await until(said, what="a first block")
            await filled(on)
            await until(lambda: received(said(), EXECUTION) and len(sent(said(), PLACE)) == len(on.placed()), what="on disk")
            # and Redis tells where the newest stand
            entry = await until(lambda: on.store(Module.OPERATOR).get(k.AUDIT_INDEX_OF.at(module="execution")), what="the index")
            assert entry.file.startswith("execution-") and entry.messages > 10 and entry.dropped == 0
            # when it is killed, amid a block
            first.kill()
        (path,) = sorted((folder / "audit").glob("execution-*"))
        whole = path.read_bytes()
        told = list(messages(read(path)))
        # then every order stands there as the gateway took it, and every answer
        assert as_recorded(sent(told, PLACE)) == as_the_gateway_tells(on.placed())
        assert [f[ORDER_REF] for f in sent(told, PLACE)] == ["i-1", "i-1/stop", "i-1/target"]
        entry = sent(told, PLACE)[0][ORDER_ID]
        assert {"Filled"} <= {f[2] for f in received(told, STATUS) if f[1] == entry}
        assert received(told, EXECUTION)[0][2] == entry
        # and a torn end costs its own block alone
        path.write_bytes(whole[:-7])
        torn = list(read(path))
        assert [record.kind for record in torn].count(Kind.HOLE) == 1 and torn[-1].kind is Kind.HOLE
        left = list(messages(torn))
        assert left == told[: len(left)] and 0 < len(left) < len(told)
        path.write_bytes(whole)
        # and no secret of the process passes over that connection
        content = b"".join(record.data for record in read(path))
        secrets = Secrets(Module.EXECUTION, servers.vault.environment_for(Module.EXECUTION))
        assert secrets.values() and not [one for one in secrets.values() if one.encode() in content]

    play(servers, tmp_path, story)


def test_what_emergency_sends_while_it_flattens_stands_in_its_own_log(servers: Servers, tmp_path: Path) -> None:
    async def story(on: Stage) -> None:
        async with on.execution(), emergency(on):
            found = halt(on)
            assert found is not None
            on.epoch = found.epoch
            on.renew()
            await with_position(on)
            before = len(on.placed())
            on.request("flatten")
            await until(lambda: on.held() == 0 and on.broker_orders() == {}, what="flat")
            closing = on.placed()[before:]
        # both modules have left: their logs are whole
        told = list(messages(records(on.folder, "emergency")))
        assert sent(told, CANCEL_ALL) and as_recorded(sent(told, PLACE)) == as_the_gateway_tells(closing)
        assert {f[ACTION] for f in sent(told, PLACE)} == {"SELL"} and received(told, EXECUTION)
        assert as_recorded(sent(list(messages(records(on.folder, "execution"))), PLACE)) == as_the_gateway_tells(
            on.placed()[:before]
        )
        # and the operator sees both, whole, and that they are not run again
        listed = replay(on.folder, "--list")
        assert listed.returncode == 0 and listed.stdout.count("none") == 2, listed.stdout + listed.stderr
        assert "emergency-" in listed.stdout and "execution-" in listed.stdout
        again = replay(on.folder)
        assert again.returncode == 0 and again.stdout.count("raw messages of its connection") == 2, again.stdout
        assert on.store(Module.OPERATOR).get(k.HALT.at()).halted

    play(servers, tmp_path, story)
