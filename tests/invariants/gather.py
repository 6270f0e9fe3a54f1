"""Gathers the evidence of a system whose servers run: its data folder, its log folder, its two servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey, Server
from alphatrader.contract.messages.risk import Lease
from alphatrader.contract.modules import Module
from alphatrader.contract.settings import Settings
from alphatrader.runtime.cursor import Cursor
from alphatrader.runtime.journal import whole
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.store import Store
from tests.invariants.evidence import Evidence, ServerFacts, read_lines

REQUESTERS = (Module.CLI, Module.DASHBOARD, Module.TELEGRAM, Module.RISK, Module.WATCHDOG)
LINES = {Server.DATA: Module.REDIS, Server.STATE: Module.STATE}


def gather(settings: Settings, vault: Vault, folder: Path, logs: Path, *, settled: bool = True) -> Evidence:
    """`folder` is data/<mode>, `logs` its log folder. Raises StoreError where a server does not answer."""
    store = Store(Module.OPERATOR, settings, vault.redis_password(Module.OPERATOR), timeout_seconds=30.0)

    def stream(bound: BoundKey[Any]) -> list[Any]:
        return [entry.event for entry in store.read(Cursor.at_start([bound]), count=100_000)]

    stamp = store.get(k.STAMP_STATE.at())
    known = {approval.intent_id: approval for approval in store.fields(k.LEDGER_APPROVALS.at()).values()}
    known |= {approval.intent_id: approval for approval in stream(k.EVENTS_APPROVALS.at())}
    values = json.loads((folder / "secrets.json").read_text()).values()
    wire = [*read_lines(folder / "broker" / "wire.jsonl.1"), *read_lines(folder / "broker" / "wire.jsonl")]
    return Evidence(
        wire=[line for line in wire if line["kind"] != "raw"],
        vendors=[*read_lines(folder / "vendors" / "vendors.1.jsonl"), *read_lines(folder / "vendors" / "vendors.jsonl")],
        approvals=list(known.values()),
        halts=stream(k.EVENTS_HALT.at()),
        controls=[event for module in REQUESTERS for event in stream(k.CONTROL.at(module=module))],
        signals=stream(k.EVENTS_SIGNALS.at()),
        fills=store.fields(k.LEDGER_FILLS.at()),
        positions=[position for bound in store.scan(k.POSITIONS) if (position := store.get(bound))],
        logs={path.name: path.read_text(errors="replace") for path in logs.rglob("*.jsonl*")},
        secrets=[value for value in values if len(value) >= 8 and not value.lstrip("-").isdigit()],
        settled=settled,
        settings=settings,
        orders=store.fields(k.LEDGER_ORDERS.at()),
        trades=store.fields(k.LEDGER_TRADES.at()),
        deliveries=store.fields(k.LEDGER_DELIVERY.at()),
        leases=leases(folder / "state" / "appendonlydir"),
        journal=[line for line in whole(folder, Module.EXECUTION) if line is not None],
        servers={str(server): _facts(server, settings, vault) for server in Server},
        views={r.id: r for key in (k.ORDERS_PENDING, k.ORDERS_WORKING) for b in store.scan(key) if (r := store.get(b))},
        users=_users(folder / "state" / "users.acl"),
        haystacks={
            "servers' logs": [p for line in LINES.values() for p in (folder / str(line)).rglob("*.aof")],
            "journals": [*folder.glob("journal*.jsonl")],
            "wire logs": [*(folder / "broker").glob("*.jsonl*"), *(folder / "vendors").glob("*.jsonl")],
        },
        since_ns=stamp.made_machine_ns if stamp else 0,
    )


def leases(folder: Path) -> list[Lease]:
    """Renewals of the lease, from the server's own log of what it was told (RESP, one command after the other)."""
    import msgspec

    found = []
    mark = b"\r\nSET\r\n$5\r\nlease\r\n$"
    for path in sorted(folder.glob("*.incr.aof")):
        content = path.read_bytes()
        at = content.find(mark)
        while at >= 0:
            begins = at + len(mark)
            ends = content.find(b"\r\n", begins)
            size = int(content[begins:ends])
            found.append(msgspec.json.decode(content[ends + 2 : ends + 2 + size], type=Lease))
            at = content.find(mark, ends)
    return found


def _facts(server: Server, settings: Settings, vault: Vault) -> ServerFacts:
    """As the server's own user, who alone may ask for every key."""
    store = Store(LINES[server], settings, vault.redis_password(LINES[server]), timeout_seconds=30.0)
    info: Any = store.raw(server, "INFO")
    if not isinstance(info, dict):
        info = dict(row.split(":", 1) for row in info.decode().splitlines() if ":" in row)
    names: list[str] = []
    cursor: Any = 0
    while True:
        cursor, part = store.raw(server, "SCAN", cursor, "COUNT", 1000)
        names += [name.decode() for name in part]
        if not int(cursor):
            break
    ttl_ms = {name: int(store.raw(server, "PTTL", name)) for name in names}
    store.close()
    share = int(info["used_memory"]) / max(int(info["maxmemory"]), 1)
    return ServerFacts(str(info["maxmemory_policy"]), int(info["evicted_keys"]), share, ttl_ms)


def _users(path: Path) -> dict[str, str]:
    rows = [row.split(" ", 2) for row in path.read_text().splitlines() if row.startswith("user ")] if path.exists() else []
    return {row[1]: row[2] for row in rows}
