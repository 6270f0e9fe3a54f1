"""What the broker says on the data connection, answered by the table of `clients/ibkr/codes.py`.

Used by `IBKRIngestion`, which binds `on_error` to each new connection.
"""

from __future__ import annotations

from typing import Any, Final

from alphatrader.clients.ibkr.codes import Answer, answer_to
from alphatrader.core.market.link import Link
from alphatrader.runtime.module import StreamModule
from alphatrader.streams.ibkr.lines import Lines

SAY_SECONDS: Final = 10.0
"""One code is logged at most this often: a broken gateway must not fill the disk."""
LEAST_PACE: Final = 10
"""Requests a second that are left after the gateway has complained often."""
_SILENT: Final = frozenset({Answer.NOTHING, Answer.FARM_OK})


class Answers:
    def __init__(self, module: StreamModule, link: Link, lines: Lines) -> None:
        self._health, self._log, self._clock = module.health, module.log, module.clock
        self._link, self._lines = link, lines
        self._client: Any = None
        self._said_at: dict[int, float] = {}

    def begin(self, ib: Any) -> None:
        """A new connection, before it is made: the gateway tells of broken farms while it shakes hands."""
        self._client = ib.client
        ib.errorEvent += self.on_error

    def on_error(self, req_id: int, code: int, text: str, _contract: Any) -> None:
        lines, link, at = self._lines, self._link, self._clock.monotonic()
        subscription = lines.subscriptions.by_id(req_id) if lines.subscriptions is not None else None
        answer = answer_to(code, text)
        self._say(code, text, answer, subscription.name if subscription else None, at)
        match answer:
            case Answer.LINK_LOST:
                link.lost(at)
                lines.silence()
            case Answer.LINK_BACK:
                link.back()
                lines.doubt(at)
            case Answer.LINK_BACK_EMPTY:
                link.back()
                lines.renew(f"{code}: resubscribed", at, lost=True)
            case Answer.FARM_BROKEN:
                link.farm_broken(_farm(text), at)
            case Answer.FARM_OK:
                if link.farm_back(_farm(text)):
                    lines.doubt(at)
            case Answer.COMPETING:
                if link.taken(at):
                    self._health.count("competing_session")
                    lines.silence()
            case Answer.TOO_FAST:
                self._health.count("too_fast")
                self._client.MaxRequests = max(LEAST_PACE, self._client.MaxRequests // 2)
            case Answer.RESET if subscription is not None:
                lines.reset_book(subscription, f"{code}: depth reset")
            case Answer.ASK_AGAIN if subscription is not None:
                lines.ask_again(subscription, f"{code}: {text}", at)
            case Answer.LIMIT if subscription is not None:
                lines.limit_reached(subscription, f"{code}: {text}", at)
            case Answer.REFUSED if subscription is not None:
                lines.refuse(subscription, f"{code}: {text}", at)
            case Answer.DELAYED if subscription is not None:
                lines.refuse(subscription, f"{code}: {text}", at, cancel=True)
            case Answer.UNKNOWN_CONTRACT if subscription is not None:
                lines.unknown(subscription, f"{code}: {text}", at)
            case Answer.NOTHING | Answer.RECONNECT | Answer.CLIENT_ID_IN_USE:
                pass  # the connection itself does the last two
            case _:  # unknown, or of a request that is not a subscription and hears of it itself
                self._health.count(f"broker_error_{code}")

    def _say(self, code: int, text: str, answer: Answer, name: str | None, at: float) -> None:
        if answer in _SILENT or at - self._said_at.get(code, float("-inf")) < SAY_SECONDS:
            return
        self._said_at[code] = at
        self._log.info("broker_says", code=code, text=text, answer=str(answer), name=name)


def _farm(text: str) -> str:
    """`Market data farm connection is broken:usfarm` -> `usfarm`."""
    return text.rpartition(":")[2].strip()
