"""What the broker's error codes mean on the data connection, and what is done about each: one table.

`streams/ibkr/answers.py` does what stands here; `docs/connection.md` is generated from here. Meanings are those of the TWS API's
"Message Codes" and of users' reports (where the two differ, the reports: 2103 and 10182 end nothing). Orders have their own
reading of codes in `core/orders/states.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Answer(StrEnum):
    """What is done about a code."""

    LINK_LOST = "link lost"
    LINK_BACK = "link back"
    LINK_BACK_EMPTY = "link back, subscriptions gone"
    FARM_BROKEN = "farm broken"
    FARM_OK = "farm back"
    RECONNECT = "reconnect"
    CLIENT_ID_IN_USE = "clientId in use"
    COMPETING = "competing session"
    RESET = "book reset"
    ASK_AGAIN = "ask again"
    LIMIT = "limit reached"
    REFUSED = "refused"
    UNKNOWN_CONTRACT = "no such contract"
    DELAYED = "delayed data"
    TOO_FAST = "too fast"
    HISTORY = "history refused"
    NOTHING = "nothing"
    COUNT = "count"


DOES: Final[Mapping[Answer, str]] = {
    Answer.LINK_LOST: "Everything is stale at once: keys expire within a second, nothing is asked for. The socket "
    "stays. The link counts as back with 1101, with 1102, or when data come again. After "
    "`broker.link_lost_seconds`, outside the nightly reset, the connection is given up and the other "
    "gateway is tried.",
    Answer.LINK_BACK: "Every subscription is kept, and must prove itself by data; what does not is asked for again.",
    Answer.LINK_BACK_EMPTY: "Every subscription is asked for anew under a new id, a gap is told to every reader, and each "
    "must prove itself by data.",
    Answer.FARM_BROKEN: "The socket stays: a farm flaps. Down for 5 s it is told (module degraded). What was lost shows by "
    "its data.",
    Answer.FARM_OK: "Every subscription must prove itself by data again: a farm may come back without what was subscribed on it.",
    Answer.RECONNECT: "The connection is ended and made anew on the next gateway, after a pause that doubles, with jitter.",
    Answer.CLIENT_ID_IN_USE: "The attempt ends at once; the same clientId is tried again after a pause that doubles. Never "
    "another id: two of us would write the same keys.",
    Answer.COMPETING: "Everything is stale at once, the module waits and alarms; all lines are asked for again after 5 "
    "s, a pause that doubles up to 300 s, until data come.",
    Answer.RESET: "The book is emptied and not ready until it is filled anew on the same request.",
    Answer.ASK_AGAIN: "This subscription is dead: it is asked for again, depth with a pause that doubles.",
    Answer.LIMIT: "The account gives no more of this kind: the true number is learnt, the least urgent goes without "
    "(its quote line, RTVolume and 5-second bars stay), one more is tried after 2 minutes, a pause "
    "that doubles up to half an hour.",
    Answer.REFUSED: "This request will give nothing; it is told, and tried again after a minute, a pause that doubles "
    "up to half an hour.",
    Answer.UNKNOWN_CONTRACT: "The contract is looked up again by its terms, then asked for again.",
    Answer.DELAYED: "Delayed data are no data: the subscription is cancelled, and then as refused.",
    Answer.TOO_FAST: "The pace of our requests is halved for this connection, down to 10 a second.",
    Answer.HISTORY: "The answer to a request for past bars: the symbol's bars are asked for again after 30 s, a pause "
    "that doubles up to 10 min; a pacing violation pauses all of them.",
    Answer.NOTHING: "It tells of what is asleep until asked, or that a part of the data is not subscribed.",
    Answer.COUNT: "Counted in the heartbeat as `broker_error_N` and logged, at most once in 10 s a code.",
}


class Code(NamedTuple):
    number: int
    meaning: str
    answer: Answer


TABLE: Final = (
    Code(1100, "The gateway has lost its link to the broker's servers", Answer.LINK_LOST),
    Code(1101, "The link is back, subscriptions are lost", Answer.LINK_BACK_EMPTY),
    Code(1102, "The link is back, subscriptions are kept", Answer.LINK_BACK),
    Code(2110, "The gateway has lost its link and restores it by itself", Answer.LINK_LOST),
    Code(1300, "The gateway's port was changed and this connection is being dropped", Answer.RECONNECT),
    Code(502, "Nobody listens there (or the gateway refuses: API not enabled, host not trusted)", Answer.RECONNECT),
    Code(503, "The gateway is too old for this client", Answer.RECONNECT),
    Code(504, "Not connected", Answer.RECONNECT),
    Code(507, "A message was cut: the socket or the clientId is broken", Answer.RECONNECT),
    Code(326, "The clientId is in use", Answer.CLIENT_ID_IN_USE),
    Code(2103, "A market data farm is broken", Answer.FARM_BROKEN),
    Code(2105, "A historical data farm is broken", Answer.FARM_BROKEN),
    Code(2157, "The security definition farm is broken", Answer.FARM_BROKEN),
    Code(2104, "A market data farm is there", Answer.FARM_OK),
    Code(2106, "A historical data farm is there", Answer.FARM_OK),
    Code(2158, "The security definition farm is there", Answer.FARM_OK),
    Code(2107, "A historical data farm sleeps until asked", Answer.NOTHING),
    Code(2108, "A market data farm sleeps until asked", Answer.NOTHING),
    Code(2119, "A farm is being connected", Answer.NOTHING),
    Code(2159, "The security definition farm sleeps until asked", Answer.NOTHING),
    Code(10197, "Another session of the same login took the live data", Answer.COMPETING),
    Code(317, "Depth was reset: empty the book, a new one follows", Answer.RESET),
    Code(316, "Depth was halted: dead until asked for again", Answer.ASK_AGAIN),
    Code(10182, "Live updates failed (disconnected): dead until asked for again", Answer.ASK_AGAIN),
    Code(10225, "A bust ended the 5-second bars: dead until asked for again", Answer.ASK_AGAIN),
    Code(101, "No market data line is left", Answer.LIMIT),
    Code(309, "No depth subscription is left", Answer.LIMIT),
    Code(10190, "No tick-by-tick subscription is left", Answer.LIMIT),
    Code(
        420,
        "No 5-second bars are left, or they were asked for too fast; refused where its text tells of permissions",
        Answer.LIMIT,
    ),
    Code(200, "No such contract, or several", Answer.UNKNOWN_CONTRACT),
    Code(300, "No such subscription to cancel", Answer.REFUSED),
    Code(310, "No such depth subscription to cancel", Answer.REFUSED),
    Code(320, "The request could not be read", Answer.REFUSED),
    Code(321, "The request is not valid", Answer.REFUSED),
    Code(322, "The request failed, such as a duplicate id", Answer.REFUSED),
    Code(354, "Not subscribed to this market data", Answer.REFUSED),
    Code(10092, "No depth for this kind of contract", Answer.REFUSED),
    Code(10168, "Not subscribed, and delayed data are not enabled", Answer.REFUSED),
    Code(10186, "Not subscribed, and delayed data are not available", Answer.REFUSED),
    Code(10189, "No tick-by-tick data for this contract", Answer.REFUSED),
    Code(2152, "Depth of some exchanges is not subscribed; the rest comes", Answer.NOTHING),
    Code(10089, "Part of the data is not subscribed; delayed data could be had", Answer.NOTHING),
    Code(10090, "Part of the data is not subscribed; the rest comes", Answer.NOTHING),
    Code(10167, "Not subscribed: delayed data are sent instead", Answer.DELAYED),
    Code(100, "More than 50 messages a second", Answer.TOO_FAST),
    Code(162, "No past bars: pacing violation, no permission, or none there", Answer.HISTORY),
    Code(366, "No such request for past bars", Answer.HISTORY),
)

SITUATIONS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "Nobody listens, or the handshake is not answered",
        "`broker.connect_timeout_seconds`",
        "The other gateway is tried, after a pause that doubles from `broker.backoff_first_seconds` to "
        "`broker.backoff_most_seconds`, each between half of it and the whole (jitter).",
    ),
    ("The socket closes", "at once", "As above. Every feed is stale at once; the pause begins small again once all was well."),
    (
        "The socket lives and the gateway does not answer (half-open, stopped)",
        "asked the time every 4 s, 4 s to answer",
        "The connection is ended and made anew as above.",
    ),
    ("A frame that never ends", "16 MB without one", "The connection is ended and made anew as above."),
    ("A frame that cannot be read", "at once", "Counted, named in the log (bounded), and passed over."),
    (
        "Connected, and a symbol is silent",
        "`market.quiet_seconds`, or its exception",
        "Its keys are not renewed and expire; `alphatrader status`, doctor and the dashboard say which "
        "and why. In a session its subscriptions must prove themselves as below.",
    ),
    (
        "Asked for, and no data come",
        "15 s in a session (or the symbol's quiet time), then twice that, up to 16 times",
        "The subscription is cancelled and asked for again. After the second time the module is degraded "
        "and says what is missing. Tick-by-tick is judged by its quote line: 50 prints there and none "
        "here.",
    ),
    (
        "The nightly reset",
        "`broker.reset_from` to `broker.reset_until`, New York",
        "Everything above still happens; the watchdog's alarms about the link wait until the window ends, then stand.",
    ),
    (
        "An account of another mode",
        "at the handshake",
        "Never used: the attempt ends, and the pause is at once the longest.",
    ),
)
"""What no code tells: (what happens, when it is noticed, what is done)."""

CODES: Final[Mapping[int, Code]] = {code.number: code for code in TABLE}


def answer_to(code: int, text: str = "") -> Answer:
    """A code that is not in the table is counted and told, and changes nothing."""
    known = CODES.get(code)
    if code == 420 and "permission" in text.lower():
        return Answer.REFUSED  # it is no limit of the account: fewer bars of others would not help
    return known.answer if known else Answer.COUNT


def as_markdown() -> str:
    """`docs/connection.md`."""
    lines = [
        "# The broker's data connection: what goes wrong, and what is done",
        "",
        "Generated from `alphatrader/clients/ibkr/codes.py` by `make docs`: the same table the `ibkr` module acts on.",
        "",
        "A subscription counts as live only once data came on it: after every reconnect, after 1101 and 1102, after a farm",
        "came back and after a silence each must prove itself anew. Market data keys are renewed only while their data come,",
        "so whatever happens here, an old price never looks new.",
        "",
        "## Codes",
        "",
        "| Code | Meaning | Answer |",
        "|---|---|---|",
        *(f"| {code.number} | {code.meaning} | {code.answer} |" for code in TABLE),
        "| any other | | count |",
        "",
        "## Answers",
        "",
        "| Answer | What is done |",
        "|---|---|",
        *(f"| {answer} | {does} |" for answer, does in DOES.items()),
        "",
        "## What no code tells",
        "",
        "| What happens | Noticed | What is done |",
        "|---|---|---|",
        *(f"| {what} | {when} | {does} |" for what, when, does in SITUATIONS),
        "",
    ]
    return "\n".join(lines)
