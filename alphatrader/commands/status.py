"""`alphatrader status`: every module's health, data ages, orders, positions, lease, halt and queues, as far as they can be read.

Exit codes: 0 all is well, 1 something is wrong (it says what), 3 neither server can be reached.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from alphatrader.commands import DONE, UNREACHABLE, WRONG
from alphatrader.commands.access import Access, Cell, open_access, print_json, say, show
from alphatrader.commands.problems import problems_of, starting
from alphatrader.contract import keys as k
from alphatrader.contract.key import BoundKey, Server
from alphatrader.contract.messages.market import Book
from alphatrader.contract.messages.operations import Alarm
from alphatrader.contract.modules import Module
from alphatrader.core.market.checksum import flaw
from alphatrader.runtime.calendar import nyse
from alphatrader.runtime.clock import SECOND, exchange_datetime
from alphatrader.runtime.store import ServerFullError, Store, StoreError, WrongPasswordError
from alphatrader.web.dashboard.views import operations, trading
from alphatrader.web.dashboard.views.expected import expected

_TIMEOUT_SECONDS: Final = 2.0
DISCOVERY_SILENT_SECONDS: Final = 300.0
"""A run that said nothing for this long was killed; it is made up for within a minute of the worker's return."""
_COLOURS: Final = {"ready": "green", "down": "red", "degraded": "yellow", "waiting": "yellow", "starting": "yellow"}


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    access = open_access()
    found = collect(access)
    problems = problems_of(found)
    if args.json:
        print_json(found | {"problems": problems})
    else:
        _show(found, problems)
    if not any(found["servers"].values()):
        return UNREACHABLE
    return WRONG if problems else DONE


def collect(access: Access) -> dict[str, Any]:
    """What can be read now. A part that cannot is None."""
    settings = access.settings
    password = access.vault.redis_password(Module.OPERATOR)
    store = Store(Module.OPERATOR, settings, password, timeout_seconds=_TIMEOUT_SECONDS)
    now_ns = access.clock.market_ns()

    def part(read: Callable[[], Any], *servers: Server) -> Any:
        """What was read, or None; a server that hung once is not waited for again."""
        try:
            return None if lost.intersection(servers) else read()
        except WrongPasswordError:
            if access.vault.started:
                raise
            return None  # of a mode that was never started there is nothing to be said but that
        except StoreError:
            return None

    lost: set[Server] = set()
    answers = {str(line): bool(part(partial(_ping, store, server))) for line, server in _SERVERS.items()}
    lost = {server for line, server in _SERVERS.items() if not answers[str(line)]}
    state, data = Server.STATE, Server.DATA
    up_s = part(lambda: uptime_seconds(store), state)
    return {
        "mode": settings.mode,
        "started_ever": access.vault.started,
        "up_s": up_s,
        "market_time": exchange_datetime(now_ns).isoformat(timespec="seconds"),
        "session": operations.session(nyse(), now_ns),
        "servers": answers,
        "modules": part(lambda: _modules(access, store, answers, up_s), state) or operations.modules(settings, {}, None, answers),
        "halt": part(lambda: trading.halt(store.get(k.HALT.at())), state),
        "lease": part(lambda: trading.lease(store.get(k.LEASE.at())), state),
        "risk": part(lambda: trading.risk(store.get(k.RISK_STATE.at())), state),
        "positions": part(lambda: trading.summary(store.get(k.POSITIONS_SUMMARY.at())), state),
        "open_orders": part(lambda: _orders(store), state),
        "feeds": part(lambda: _feeds(access, store, now_ns), data),
        "trading": part(lambda: _trading(access, store), data),
        "signals": part(lambda: _signals(access, store, now_ns), state),
        "queues": part(lambda: _queues(access, store, now_ns), state),
        "alerts": part(lambda: _alerts(store), state),
        "discovery": part(lambda: _discovery(access, store), data),
    }


_SERVERS: Final = {Module.REDIS: Server.DATA, Module.STATE: Server.STATE}


def _ping(store: Store, server: Server) -> bool:
    """Whether it answers. Raises StoreError."""
    with contextlib.suppress(ServerFullError):  # reads are answered all the same
        store.raw(server, "PING")
    return True


def _full(store: Store, server: Server) -> str | None:
    """Why it takes no writes. Raises StoreError."""
    try:
        store.raw(server, "PING")
    except ServerFullError as error:
        return f"takes no writes: {error}"
    return None


def uptime_seconds(store: Store) -> float:
    """Of the state server, which everything begins with. Raises StoreError."""
    info: Any = store.raw(Server.STATE, "INFO", "server")
    if not isinstance(info, dict):
        rows = (row.partition(":") for row in info.decode().splitlines() if ":" in row)
        info = {name: value for name, _, value in rows}
    return float(info["uptime_in_seconds"])


def _modules(access: Access, store: Store, answers: dict[str, bool], up_s: float | None) -> dict[str, dict[str, Any]]:
    bounds: list[BoundKey[Any]] = list(store.scan(k.HEALTH))
    beats = {b.name.partition(":")[2]: m for b, m in zip(bounds, store.get_many(bounds), strict=True) if m is not None}
    rows = operations.modules(access.settings, beats, store.get(k.OBSERVED.at()), answers)
    for row in rows.values():
        if row["state"] == "down" and row["kind"] != "server" and starting(up_s):
            row |= {"state": "starting", "reason": "no heartbeat yet"}
    for line, server in _SERVERS.items():
        if answers[str(line)] and (full := _full(store, server)):
            rows[str(line)] |= {"state": "degraded", "reason": full}
    now_ms = access.clock.machine_ns() // 1_000_000
    return {
        name: row | {"beat_age_s": (now_ms - row["beat_ms"]) / 1000 if row.get("beat_ms") else None} for name, row in rows.items()
    }


def _orders(store: Store) -> list[dict[str, Any]]:
    bounds = [bound for pattern in (k.ORDERS_PENDING, k.ORDERS_WORKING) for bound in store.scan(pattern)]
    return [{"id": record.id} | trading.order(record) for record in store.get_many(bounds) if record is not None]


def _feeds(access: Access, store: Store, now_ns: int) -> dict[str, Any]:
    """Symbol -> age of its newest message (machine time), and its way from reception to publication; None: no feed."""
    names = access.settings.market.instruments
    stamps = store.get_many([k.MARKET_TIMESTAMP.at(symbol=name) for name in names])
    speed = access.clock.speed
    return {
        name: None
        if stamp is None
        else {
            "age_s": (now_ns - stamp.received_ns) / SECOND / speed,
            "lag_ms": (stamp.published_ns - stamp.received_ns) / 1e6 / speed,
            "gaps": stamp.gaps,
        }
        for name, stamp in zip(names, stamps, strict=True)
    }


def _trading(access: Access, store: Store) -> dict[str, Any]:
    """Of the equities: which are halted or at a limit, and which books are not ready, each with its reason."""
    names = access.settings.market.equities
    statuses = store.get_many([k.MARKET_STATUS.at(symbol=name) for name in names])
    books = store.get_many([k.MARKET_BOOK.at(symbol=name) for name in names])
    known = {name: status for name, status in zip(names, statuses, strict=True) if status is not None}
    halted = {n: s.halt_reason or f"code {s.halt_code}" for n, s in known.items() if s.halted}
    unknown = [n for n in names if n not in known or known[n].halted is None]
    at_limit = {n: s.luld.state for n, s in known.items() if s.luld is not None and s.luld.state != "inside"}
    not_ready = {name: why for name, book in zip(names, books, strict=True) if (why := _not_ready(book)) is not None}
    return {"halted": halted, "halt_unknown": unknown, "at_limit": at_limit, "books_not_ready": not_ready, "of": len(names)}


def _not_ready(book: Book | None) -> str | None:
    if book is None:
        return "no book"
    if not book.ready:
        return book.reason or "not ready"
    wrong = flaw(book)
    return None if wrong is None else f"refused: {wrong}"


def _queues(access: Access, store: Store, now_ns: int) -> dict[str, Any]:
    found = {}
    for name, bound in operations.queues(access.settings.market.equities).items():
        length = store.length(bound)
        due = store.next_due_ns(bound) if length else None
        found[name] = {"length": length, "due_in_s": None if due is None else (due - now_ns) / SECOND}
    return found


def _signals(access: Access, store: Store, now_ns: int) -> str:
    symbols = access.settings.market.equities
    whys = [why for why in store.get_many([k.SIGNALS_WHY.at(symbol=symbol) for symbol in symbols]) if why is not None]
    return expected(access.settings.strategies, nyse(), now_ns, store.get(k.SIGNALS_COUNT.at()), whys, access.clock.speed)


def _alerts(store: Store) -> list[Alarm] | None:
    seen = store.get(k.OBSERVED.at())
    return list(seen.alerts) if seen else None


def _discovery(access: Access, store: Store) -> dict[str, Any]:
    """How far a run is or how the last one ended, how old the values are, and what waits for a yes."""
    progress, waiting = store.get(k.DISCOVERED_PROGRESS.at()), store.get(k.DISCOVERED_CANDIDATES.at())
    said_ago = None if progress is None else (access.clock.machine_ns() - progress.machine_ns) / SECOND
    state: str | None = None if progress is None else progress.state
    if state == "running" and said_ago is not None and said_ago > DISCOVERY_SILENT_SECONDS:
        state = "silent"
    return {
        "state": state,
        "done": progress.done if progress else None,
        "of": progress.of if progress else None,
        "step": progress.step if progress else None,
        "said_s_ago": said_ago,
        "failed": list(progress.failed) if progress else [],
        "as_of": exchange_datetime(waiting.as_of_ns).isoformat(timespec="minutes") if waiting else None,
        "waiting": [f"{one.parameter} {one.symbol or 'of all'}: {one.jump}" for one in waiting.waiting] if waiting else [],
    }


def _show(found: dict[str, Any], problems: list[dict[str, Any]]) -> None:
    session = found["session"]
    hours = f"{session['day']} {session['opens']}-{session['closes']}"
    say(f"{found['mode']} mode, {found['market_time']} New York, session {session['state']} ({hours})")
    show("Module", "State", "Beat", "What it says", rows=(_module_row(*module) for module in found["modules"].items()))
    _line("Halt", found["halt"], lambda h: f"{'HALTED' if h['halted'] else 'trading allowed'}: {h['reason']}")
    _line("Lease", found["lease"], lambda x: "live" if x["granted"] else f"none: {x['reason']}")
    _line("Positions", found["positions"], lambda p: _positions(p) if p["known"] else "waiting for the positions module")
    _line("Orders", found["open_orders"], lambda orders: f"{len(orders)} open")
    _line("Feeds", found["feeds"], _feed_line)
    _line("Halts", found["trading"], _halts_line)
    _line("Books", found["trading"], _books_line)
    _line("Signals", found["signals"], str)
    _line(
        "Queues",
        found["queues"],
        lambda queues: ", ".join(f"{n} {q['length']}" for n, q in queues.items() if q["length"]) or "empty",
    )
    _line("Discovery", found["discovery"], _discovery_line)
    if problems:
        say("\nLook at:")
        for problem in problems:
            say(f"  - {problem['what']}")
            for brought in problem["brings"]:
                say(f"      with it: {brought}")
    else:
        say("\nAll is well.")


def _module_row(name: str, row: dict[str, Any]) -> tuple[Cell, ...]:
    age = row.get("beat_age_s")
    lag = {"lag_ms": f"{row['facts']['lag_ms']:.0f}"} if "lag_ms" in row["facts"] else {}
    counts = ", ".join(f"{n} {v}" for n, v in list((lag | row["counts"]).items())[:5])
    state = (row["state"], _COLOURS.get(row["state"], "dim"))
    return name, state, "-" if age is None else f"{age:.1f} s", row["reason"] or counts


def _line(name: str, value: Any, said: Callable[[Any], str]) -> None:
    say(f"{name:<10} {'cannot be read' if value is None else said(value)}")


def _positions(p: dict[str, Any]) -> str:
    unrealized = "unknown" if p["unrealized"] is None else f"{p['unrealized']:+,.2f}"
    return f"{p['open']} open, realized {p['realized']:+,.2f}, unrealized {unrealized}"


def _discovery_line(d: dict[str, Any]) -> str:
    known = f"values of {d['as_of']}, {len(d['waiting'])} waiting" if d["as_of"] else "no values yet"
    return known if d["state"] in (None, "done") else f"{d['state']}, {d['done']} of {d['of']}: {d['step']}; {known}"


def _halts_line(t: dict[str, Any]) -> str:
    """Symbols that do not trade; unknown stops openings like a halt."""
    parts = [f"{name} HALTED ({why})" for name, why in t["halted"].items()]
    parts += [f"{name} at its limit ({state.replace('_', ' ')}, estimated)" for name, state in t["at_limit"].items()]
    parts += [f"unknown: {', '.join(t['halt_unknown'])}"] if t["halt_unknown"] else []
    return "; ".join(parts) or "none"


def _books_line(t: dict[str, Any]) -> str:
    missing = t["books_not_ready"]
    reasons: dict[str, list[str]] = {}
    for name, why in missing.items():
        reasons.setdefault(why, []).append(name)
    why = "".join(f"; {', '.join(names)}: {reason}" for reason, names in reasons.items())
    return f"{t['of'] - len(missing)} of {t['of']} ready{why}"


def _feed_line(feeds: dict[str, Any]) -> str:
    known = {name: feed for name, feed in feeds.items() if feed is not None}
    if not known:
        return "none"
    slowest = max(known, key=lambda name: known[name]["lag_ms"])
    return f"{len(known)} of {len(feeds)}; largest lag {known[slowest]['lag_ms']:.1f} ms ({slowest})"
