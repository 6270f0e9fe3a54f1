"""The account as the broker tells it: the wire log's truth lines, told again, and looked at where a turn of the gateway ends.

Within a turn the log may show a fill before the sibling it reduces: only between turns is what it says of one instant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest

from tests.invariants.evidence import Evidence, Line, intent_of

WORKING = ("PendingSubmit", "ApiPending", "PreSubmitted", "Submitted", "PendingCancel")


class Book:
    """Positions and orders at one instant."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.symbols: dict[int, str] = {}
        self.orders: dict[int, Line] = {}
        self.nets: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        """Contract -> intent -> what its orders bought less what they sold."""

    def take(self, line: Line) -> None:
        if line["what"] == "fill":
            con_id, ref = line["con_id"], line["order_ref"]
            self.positions[con_id] = int(float(line["position"]))
            self.symbols[con_id] = line["symbol"]
            self.nets[con_id][intent_of(ref)] += int(float(line["shares"])) * (1 if line["side"] in ("BOT", "BUY") else -1)
            if not self.positions[con_id]:
                self.nets.pop(con_id)
        elif line["what"] == "expiry":
            self.positions[line["con_id"]] = 0
            self.nets.pop(line["con_id"], None)
        elif line["what"] == "order":
            self.orders[line["perm_id"]] = line

    def working(self, con_id: int | None = None) -> list[Line]:
        return [o for o in self.orders.values() if o["status"] in WORKING and con_id in (None, o["con_id"])]

    def contracts(self) -> set[int]:
        """Of every position there was and every working order."""
        return {*self.positions, *(order["con_id"] for order in self.working())}

    def entries(self) -> list[Line]:
        """Buying orders that could still fill where nothing is short."""
        return [o for o in self.working() if o["action"] == "BUY" and self.positions.get(o["con_id"], 0) >= 0]

    def places(self) -> list[tuple[str, str]]:
        """(what, symbol) of each position and each opening order; a contract of two intents is two positions."""
        found: dict[tuple[int, str], str] = {}
        for con_id, quantity in self.positions.items():
            if quantity:
                intents = [intent for intent, net in self.nets[con_id].items() if net > 0][: abs(quantity)]
                found |= {(con_id, intent): self.symbols.get(con_id, "") for intent in intents or ["held"]}
        for order in self.entries():
            found[order["con_id"], intent_of(order["order_ref"])] = self.symbols.get(order["con_id"], str(order["con_id"]))
        return [(intent, symbol) for (_, intent), symbol in found.items()]

    def ours(self, con_id: int) -> int:
        """Contracts held that orders with a ref bought; what a person traded by hand is not ours to protect."""
        bought = sum(net for intent, net in self.nets.get(con_id, {}).items() if intent)
        return max(0, min(self.positions.get(con_id, 0), bought))

    def covered(self, con_id: int) -> int:
        """Contracts that working stops would sell or that are on their way out: by a closing order, which no target is.

        Of one OCA group the largest counts."""
        return self._sold(o for o in self._sells(con_id) if "/target" not in o["order_ref"])

    def sellable(self, con_id: int) -> int:
        """The most that all selling orders together may sell."""
        return self._sold(iter(self._sells(con_id)))

    def _sells(self, con_id: int) -> list[Line]:
        return [o for o in self.working(con_id) if o["action"] == "SELL" and float(o["active"]) > 0]

    @staticmethod
    def _sold(orders: Iterator[Line]) -> int:
        groups: dict[str, int] = {}
        for order in orders:
            group = order.get("oca_group") or f"alone {order['perm_id']}"
            groups[group] = max(groups.get(group, 0), int(float(order["active"])))
        return sum(groups.values())


def moments(evidence: Evidence) -> Iterator[tuple[Line, Book]]:
    """The book at each end of a turn that changed it, with the last line of that turn."""
    book = Book()
    for line in evidence.frames("placeOrder"):
        book.symbols[line["fields"].get("conId", 0)] = line["fields"].get("symbol", "")
    truths = [line for line in evidence.wire if line["kind"] == "truth"]
    for line, following in zip_longest(truths, truths[1:]):
        book.take(line)
        if following is None or "turn" not in line or following.get("turn") != line["turn"]:
            yield line, book


class Spell:
    """How long something has been so without a break, contract by contract."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._since: dict[int, Line] = {}
        self.over: list[tuple[Line, int, int]] = []
        """(the line it began with, contract, nanoseconds it lasted)."""

    def see(self, line: Line, con_id: int, so: bool) -> None:
        began = self._since.get(con_id)
        if so and began is None:
            self._since[con_id] = line
        elif not so and began is not None:
            self.over.append((self._since.pop(con_id), con_id, line["machine_ns"] - began["machine_ns"]))

    def all(self) -> list[tuple[Line, int, int]]:
        """Those that ended and those that still last when the log ends."""
        ended_ns = self._evidence.ended_ns
        return self.over + [(began, con_id, ended_ns - began["machine_ns"]) for con_id, began in self._since.items()]
