"""`alphatrader doctor`: go or no-go. Looks at everything that must be right before trading; changes nothing, prints no secret.

A check is `go`, `no-go`, or `note`: something to know that stops nothing. Exit codes: 0 go, 1 a no-go, 2 invalid settings.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import msgspec

from alphatrader.commands import DONE, WRONG
from alphatrader.commands.access import Access, open_access, print_json, say
from alphatrader.commands.report import GATE_FILE
from alphatrader.contract import keys as k
from alphatrader.contract.key import Server
from alphatrader.contract.modules import Module
from alphatrader.contract.settings.secrets import SECRETS
from alphatrader.core.watch.causes import grouped
from alphatrader.core.watch.sight import LEAST_FREE_BYTES
from alphatrader.runtime import env_file, servers
from alphatrader.runtime.calendar import CalendarError, nyse
from alphatrader.runtime.clock import SECOND, ClockError, open_clock
from alphatrader.runtime.store import StoreError, WrongServerError

_CONNECT_SECONDS: Final = 1.0
_POLICIES: Final = {Server.DATA: "volatile-lru", Server.STATE: "noeviction"}
_CHANNELS: Final = {
    "Alpha Vantage": ("alphavantage_key",),
    "Discord premium": ("discord_premium",),
    "Discord basic": ("discord_basic",),
    "Discord free": ("discord_free",),
    "operator's Discord": ("discord_operator",),
    "Telegram": ("telegram_token",),
    "operator's Telegram": ("telegram_operator_chat",),
    "X": ("x_consumer_key", "x_consumer_secret", "x_access_token", "x_access_secret"),
    "Stripe": ("stripe_key", "stripe_webhook_secret"),
    "OpenAI": ("openai_key",),
}
_NEEDED: Final = ("Alpha Vantage", "operator's Discord", "operator's Telegram")
"""Without chains nothing can be traded, and one of the operator's channels must carry alarms."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    verdict: Literal["go", "no-go", "note"]
    detail: str


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    access = open_access()
    checks = list(examine(access))
    refused = [check for check in checks if check.verdict == "no-go"]
    if args.json:
        print_json({"go": not refused, "mode": access.settings.mode, "checks": [asdict(check) for check in checks]})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            say(f"{check.verdict.upper():<6} {check.name:<{width}}  {check.detail}")
        say(f"\n{'GO' if not refused else f'NO-GO: {len(refused)} of {len(checks)} checks'} in {access.settings.mode} mode")
    return WRONG if refused else DONE


def examine(access: Access) -> Iterator[Check]:
    """Every check; one that cannot be made is a no-go with its reason."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield _judge("Python", (3, 11) <= sys.version_info[:2] < (3, 14), version, f"{version}: needs 3.11 to 3.13")
    yield Check("settings", "go", f"valid, mode {access.settings.mode}")
    yield from _env_file()
    yield _binary(access)
    answering = {server: _answers(access, server) for server in Server}
    for server, check in answering.items():
        yield check
        if check.verdict == "go":
            yield _policy(access, server)
    yield _disk(access)
    yield _clock(access)
    yield _calendar(access)
    for address in access.settings.broker.gateways:
        yield _gateway(address.host, address.port)
    for check in _readings(access):
        yield check
    yield from _channels(access)
    if access.settings.mode == "live":
        yield _paper_gate(access)


def _judge(name: str, good: bool, detail: str, otherwise: str) -> Check:
    return Check(name, "go" if good else "no-go", detail if good else otherwise)


def _env_file() -> Iterator[Check]:
    names = env_file.read(env_file.place())
    if names:
        unread = env_file.unread(names)
        detail = f"names that nobody reads: {', '.join(unread)}" if unread else f"{len(names)} names, all known"
        yield Check(".env", "note" if unread else "go", detail)


def _binary(access: Access) -> Check:
    try:
        return Check("server binary", "go", servers.binary(access.settings.servers.binary).rpartition("/")[2])
    except (servers.ServerBinaryError, ImportError) as error:
        return Check("server binary", "no-go", str(error))


def _answers(access: Access, server: Server) -> Check:
    address = access.settings.servers.at(server)
    place = f"{address.host}:{address.port}"
    stamp_key = k.STAMP_DATA if server == Server.DATA else k.STAMP_STATE
    try:
        stamp = access.store.get(stamp_key.at())
    except (StoreError, WrongServerError) as error:
        return Check(f"{server} server", "no-go", f"{place} does not answer as it should: {error}")
    mode = stamp.mode if stamp else None
    return _judge(
        f"{server} server",
        mode == access.settings.mode,
        f"{place}, of mode {mode}",
        f"{place} belongs to mode {mode or 'none yet'}",
    )


def _policy(access: Access, server: Server) -> Check:
    reply: Any = access.store.raw(server, "INFO", "memory", "persistence")
    info = reply if isinstance(reply, dict) else _parsed(reply)
    policy = str(info.get("maxmemory_policy"))
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    wanted = _POLICIES[server]
    share = f"{used / most:.0%} of {most / 1e9:.1f} GB used" if most else "no memory limit"
    if str(info.get("aof_last_write_status", "ok")) != "ok":
        return Check(f"{server} memory", "no-go", "it takes no writes: its log cannot be written (disk full?)")
    right = policy == wanted and (not most or used / most < access.settings.watchdog.memory_alarm_share)
    return _judge(f"{server} memory", right, f"{policy}, {share}", f"{policy} ({wanted} is needed), {share}")


def _parsed(reply: bytes) -> dict[str, str]:
    rows = (line.partition(":") for line in reply.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in rows}


def _disk(access: Access) -> Check:
    place = next(folder for folder in (access.folder, *access.folder.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    told = f"{free / 1e9:.1f} GB free for {access.folder}"
    return _judge("disk", free >= LEAST_FREE_BYTES, told, f"{told}: both servers refuse writes when there is none")


def _clock(access: Access) -> Check:
    try:
        clock = open_clock(access.folder, access.settings.mode, wait_seconds=0.2)
    except ClockError as error:
        return Check("clock", "no-go", str(error))
    return Check("clock", "go", f"{clock.market_datetime():%Y-%m-%d %H:%M:%S} New York, speed {clock.speed:g}")


def _calendar(access: Access) -> Check:
    try:
        session = nyse().current(access.clock.market_ns())
    except CalendarError as error:
        return Check("calendar", "no-go", str(error))
    early = ", an early close" if session.early else ""
    return Check("calendar", "go", f"session {session.name}, {session.opens} to {session.closes}{early}")


def _gateway(host: str, port: int) -> Check:
    name = f"gateway {host}:{port}"
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        return Check(name, "no-go", f"cannot be reached: {error.strerror or error}")
    return Check(name, "go", "accepts connections")


def _readings(access: Access) -> Iterator[Check]:
    """What the modules have learnt: the account, the chains, the watchdog."""
    for name, read in (
        ("account", _account),
        ("market data", _market_data),
        ("futures", _futures),
        ("Alpha Vantage", _vendor),
        ("option chains", _chains),
        ("watchdog", _watchdog),
    ):
        try:
            yield read(access)
        except StoreError:
            yield Check(name, "no-go", "cannot be read: the server does not answer")


def _account(access: Access) -> Check:
    from alphatrader.clients.ibkr.accounts import AccountRefusedError, choose_account

    newest = access.store.latest(k.EVENTS_ACCOUNT.at())
    if not newest:
        return Check("account", "no-go", "execution has not heard from the broker yet")
    age = (access.clock.machine_ns() - newest[0].machine_ns) / SECOND
    try:
        choose_account(access.settings.mode, access.settings.broker.account, [newest[0].account])
    except AccountRefusedError as error:
        return Check("account", "no-go", str(error))
    fresh = age <= access.settings.risk.max_account_age_seconds
    return _judge("account", fresh, f"allowed in this mode, heard {age:.0f} s ago", f"last heard {age:.0f} s ago")


def _market_data(access: Access) -> Check:
    """Where `ibkr` is connected, what the account grants, and which instruments are silent and why."""
    beat = access.store.get(k.HEALTH.at(module=Module.IBKR))
    if beat is None:
        return Check("market data", "no-go", "ibkr shows no sign of life")
    facts = beat.facts
    if beat.state == "waiting":
        return Check("market data", "no-go", str(beat.reason))
    limits = facts.get("limits") or {}
    used = ", ".join(f"{kind} {n} of {limits.get(kind, '?')}" for kind, n in sorted((facts.get("slots") or {}).items()))
    detail = f"from {facts.get('gateway')}; {used or 'nothing subscribed'}"
    if not (stale := facts.get("stale")):
        return Check("market data", "go", detail)
    in_session = nyse().at(access.clock.market_ns()) is not None
    return Check("market data", "no-go" if in_session else "note", f"{detail}; silent: {stale}")


def _futures(access: Access) -> Check:
    """The broker's last trading days against the rules, and a front month for each root."""
    known = access.store.fields(k.FUTURES.at())
    market = access.settings.market
    roots = market.future_roots
    missing = [root for root in roots if root not in known]
    differ = [text for root in roots if root in known for text in known[root].differences]
    fronts = ", ".join(f"{root} {known[root].front}" for root in roots if root in known)
    wrong = [f"no contract known: {', '.join(missing)}"] * bool(missing) + differ
    return _judge("futures", not wrong, f"front months {fronts}", "; ".join(wrong))


def _vendor(access: Access) -> Check:
    """The circuit breaker and the back-off of the pulls, and why answers were not taken."""
    state = access.store.get(k.AV_STATE.at())
    if state is None:
        return Check("Alpha Vantage", "note", "not asked yet")
    failures = access.store.fields(k.AV_PAUSE.at()).get("failures", 0)
    refused = ", ".join(f"{reason} {n}" for reason, n in sorted(state["refused"].items())) or "none"
    good = state["breaker"] == "closed" and not failures
    paused = f", all calls pause after {failures} failures in a row" if failures else ""
    detail = f"breaker {state['breaker']}{paused}; answers not taken since the start: {refused}"
    return _judge("Alpha Vantage", good, detail, detail)


def _chains(access: Access) -> Check:
    least = access.settings.options.min_quality
    symbols = access.settings.market.equities
    chains = access.store.get_many([k.OPTIONS_CHAIN.at(symbol=symbol) for symbol in symbols])
    bad = []
    for symbol, chain in zip(symbols, chains, strict=True):
        if chain is None:
            bad.append(f"{symbol} absent")
        elif chain.stale or chain.quality < least:
            bad.append(f"{symbol} {chain.reason or f'quality {chain.quality:.2f}'}")
    in_session = nyse().at(access.clock.market_ns()) is not None
    if bad and not in_session:
        return Check("option chains", "note", f"no session now; {len(bad)} of {len(symbols)} not usable: {'; '.join(bad[:4])}")
    return _judge("option chains", not bad, f"{len(symbols)} of quality {least:g} or better", "; ".join(bad))


def _watchdog(access: Access) -> Check:
    seen = access.store.get(k.OBSERVED.at())
    if seen is None:
        return Check("watchdog", "no-go", "says nothing: nobody would tell you of a fault")
    told = [f"{cause.text} ({len(brought)} more with it)" if brought else cause.text for cause, brought in grouped(seen.alerts)]
    return Check("watchdog", "note" if told else "go", f"stands: {' | '.join(told)}" if told else "alive, no alarm")


def _channels(access: Access) -> Iterator[Check]:
    variables = {secret.name: secret.variable for secret in SECRETS}
    for channel, names in _CHANNELS.items():
        missing = [variables[name] for name in names if not access.vault.get(name)]
        needed = channel in _NEEDED
        verdict: Literal["go", "no-go", "note"] = "go" if not missing else "no-go" if needed else "note"
        yield Check(f"{channel} secrets", verdict, "set" if not missing else f"not set: {', '.join(missing)}")


def _paper_gate(access: Access) -> Check:
    """As `alphatrader report` last judged it in paper mode."""
    path = access.folder.parent / "paper" / GATE_FILE
    try:
        verdict = msgspec.json.decode(path.read_bytes())["gate"]
        short = [f"{c['name']} {c['value']} (needs {c['needed']})" for c in verdict["conditions"] if not c["met"]]
        return _judge("paper gate", bool(verdict["met"]) and not short, "met", "; ".join(short))
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return Check("paper gate", "no-go", "not judged yet: run `ALPHATRADER_MODE=paper alphatrader report` on the paper system")
