"""When each of our futures ends, when it must be left, and which of its months is the front: rules as a table, and the roll.

The broker's own dates decide; the rules say what is to be expected, so that a difference is noticed (`differences`), and answer
where no broker is asked (`months`). Business days are the sessions of the New York exchanges: `is_session` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal, NamedTuple, Protocol, TypeVar

IsSession = Callable[[date], bool]
MONTH_LETTERS: Final = "FGHJKMNQUVXZ"
QUARTERS: Final = "HMUZ"
VOLUME_SESSIONS: Final = 2
"""The next month must trade more than the front on so many sessions in a row."""
EVENING_NS: Final = 6 * 3_600_000_000_000
"""The trade date of a future begins at 18:00 in New York on the evening before: so long before midnight."""
BELOW_ZERO: Final = frozenset({"CL"})
"""Roots whose price may fall to zero and under it: crude oil, which settled at -37.63 on 20 April 2020 (CME Clearing, notice
20-152). What else is traded here is worth something, so that a print of nothing is a mistake."""
_WEDNESDAY, _FRIDAY = 2, 4


class UnknownRootError(LookupError):
    """A future without a rule."""


class NoContractError(LookupError):
    """The broker lists no contract that could be used."""


# -- business days ---------------------------------------------------------------------------------------------------------


def at_or_before(day: date, is_session: IsSession) -> date:
    while not is_session(day):
        day -= timedelta(days=1)
    return day


def shift(day: date, sessions: int, is_session: IsSession) -> date:
    """The session so many sessions after `day`, before it where negative; `day` itself does not count."""
    step = timedelta(days=1 if sessions > 0 else -1)
    left = abs(sessions)
    while left:
        day += step
        left -= is_session(day)
    return day


def _nth(weekday: int, n: int, year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _after(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


def _before_month(year: int, month: int, sessions: int, is_session: IsSession) -> date:
    return shift(date(year, month, 1), -sessions, is_session)


# -- last trading days: (year, month of delivery, business days) -> date -----------------------------------------------------


def third_friday(year: int, month: int, is_session: IsSession) -> date:
    """The third Friday; the business day before it where that is a holiday."""
    return at_or_before(_nth(_FRIDAY, 3, year, month), is_session)


def thirty_days_before_options(year: int, month: int, is_session: IsSession) -> date:
    """30 days before the third Friday of the next month, or before the business day that stands for it; the business day before
    where that is a holiday."""
    return at_or_before(third_friday(*_after(year, month), is_session) - timedelta(days=30), is_session)


def second_before_third_wednesday(year: int, month: int, is_session: IsSession) -> date:
    return shift(_nth(_WEDNESDAY, 3, year, month), -2, is_session)


def third_last(year: int, month: int, is_session: IsSession) -> date:
    return _before_month(*_after(year, month), 3, is_session)


def eighth_last(year: int, month: int, is_session: IsSession) -> date:
    """The seventh business day before the last business day of the month."""
    return _before_month(*_after(year, month), 8, is_session)


def third_before_25th(year: int, month: int, is_session: IsSession) -> date:
    """3 business days before the 25th of the month before delivery; 4 where the 25th is none."""
    the_25th = (date(year, month, 1) - timedelta(days=1)).replace(day=25)
    return shift(the_25th, -3 if is_session(the_25th) else -4, is_session)


# -- first notice: (year, month, last trading day, business days) -> date ----------------------------------------------------


def _month_before(year: int, month: int, last: date, is_session: IsSession) -> date:
    """The last business day of the month before delivery."""
    return _before_month(year, month, 1, is_session)


def _second_after_last(year: int, month: int, last: date, is_session: IsSession) -> date:
    return shift(last, 2, is_session)


class Roll(NamedTuple):
    """The hard roll: the first day the contract is not used any more, whatever trades."""

    steps: int
    unit: Literal["days", "sessions"]
    before: Literal["last trading day", "first notice day"]


@dataclass(frozen=True, slots=True)
class Rule:
    ends: Callable[[int, int, IsSession], date]
    ends_at: str
    """When trading ends on the last day, HH:MM in New York."""
    roll: Roll
    source: str
    listed: str = MONTH_LETTERS
    traded: str = MONTH_LETTERS
    """Delivery months that may be the front; the others are listed and hardly trade."""
    notice: Callable[[int, int, date, IsSession], date] | None = None


_INDEX: Final = Rule(
    # 8 days before is the Thursday of the week before, where volume moves: never later than Monday of the expiry week
    third_friday, "09:30", Roll(8, "days", "last trading day"), "CME Rulebook 358, 359, 393; CBOT 27", QUARTERS, QUARTERS
)  # fmt: skip
RULES: Final[Mapping[str, Rule]] = {
    "ES": _INDEX,
    "NQ": _INDEX,
    "RTY": _INDEX,
    "YM": _INDEX,
    "VX": Rule(thirty_days_before_options, "09:00", Roll(1, "sessions", "last trading day"), "CFE Rulebook 1202"),
    "DX": Rule(
        second_before_third_wednesday, "10:16", Roll(5, "sessions", "last trading day"), "ICE Futures U.S. 15", QUARTERS, QUARTERS
    ),
    "GC": Rule(
        third_last, "13:30", Roll(2, "sessions", "first notice day"), "COMEX Rulebook 113", traded="GJMQVZ", notice=_month_before
    ),
    "CL": Rule(
        third_before_25th, "14:30", Roll(3, "sessions", "last trading day"), "NYMEX Rulebook 200", notice=_second_after_last
    ),
    "ZB": Rule(
        eighth_last, "13:01", Roll(2, "sessions", "first notice day"), "CBOT Rulebook 18", QUARTERS, QUARTERS, _month_before
    ),
}
_OTHER: Final = Roll(5, "sessions", "last trading day")
"""Of a root without a rule: far enough from delivery for any of them."""


def rule_of(root: str) -> Rule:
    rule = RULES.get(root)
    if rule is None:
        raise UnknownRootError(f"{root}: there are rules for {', '.join(RULES)}")
    return rule


# -- contracts by the rules ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Month:
    """One delivery month as the rules have it."""

    contract_month: str
    """YYYYMM."""
    code: str
    """Such as ESZ6."""
    last_trading_day: date
    ends_at: str
    first_notice_day: date | None
    hard_roll_day: date
    traded: bool


def month(root: str, contract_month: str, is_session: IsSession, *, last: date | None = None) -> Month:
    """`last` is the broker's last trading day where it is known: what counts from it follows it."""
    rule, year, number = rule_of(root), int(contract_month[:4]), int(contract_month[4:6])
    ends = last or rule.ends(year, number, is_session)
    letter = MONTH_LETTERS[number - 1]
    notice = rule.notice(year, number, ends, is_session) if rule.notice else None
    hard = _hard_roll(rule.roll, ends, notice, is_session)
    return Month(contract_month, f"{root}{letter}{year % 10}", ends, rule.ends_at, notice, hard, letter in rule.traded)


def _hard_roll(roll: Roll, last: date, notice: date | None, is_session: IsSession) -> date:
    day = last if roll.before == "last trading day" or notice is None else notice
    return day - timedelta(days=roll.steps) if roll.unit == "days" else shift(day, -roll.steps, is_session)


def months(root: str, on: date, is_session: IsSession, count: int = 4) -> list[Month]:
    """The nearest `count` listed months that still trade on that day."""
    rule = rule_of(root)
    year, number = on.year, on.month
    found: list[Month] = []
    while len(found) < count:
        if MONTH_LETTERS[number - 1] in rule.listed:
            one = month(root, f"{year}{number:02d}", is_session)
            if one.last_trading_day >= on:
                found.append(one)
        year, number = _after(year, number)
    return found


# -- the broker's contracts ----------------------------------------------------------------------------------------------------


class Listed(Protocol):
    @property
    def last_trading_day(self) -> str:
        """YYYYMMDD."""

    @property
    def contract_month(self) -> str:
        """YYYYMM."""


L = TypeVar("L", bound=Listed)


def as_date(text: str) -> date:
    """Of YYYYMMDD. Raises ValueError."""
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def differences(root: str, listed: Iterable[Listed], is_session: IsSession) -> list[str]:
    """Where the broker's last trading days are not the rules', in words. The broker is believed all the same: lists made years
    ahead assume holidays that are not taken, and holidays come that no list knew (GC of December 2021, 9 January 2025)."""
    if root not in RULES:
        return [f"{root}: no rule to check it by"]
    found = []
    for contract in sorted(listed, key=lambda c: c.last_trading_day):
        expected = month(root, contract.contract_month, is_session).last_trading_day
        if (theirs := as_date(contract.last_trading_day)) != expected:
            found.append(f"{root} {contract.contract_month}: last trading day {theirs} at the broker, {expected} by the rules")
    return found


def leaves(root: str, contract: Listed, is_session: IsSession) -> date:
    """The hard roll of a contract of the broker's: the first day it is not used any more."""
    last = as_date(contract.last_trading_day)
    if root not in RULES:
        return _hard_roll(_OTHER, last, None, is_session)
    return month(root, contract.contract_month, is_session, last=last).hard_roll_day


def outtraded(front: Mapping[date, float], following: Mapping[date, float], today: date, is_session: IsSession) -> bool:
    """Whether the next month traded more than the front on consecutive sessions that are over. Volumes by session."""
    streak = 0
    previous: date | None = None
    for day in sorted(day for day in front.keys() & following.keys() if day < today and is_session(day)):
        follows = previous is not None and shift(previous, 1, is_session) == day
        streak = (streak if follows else 0) + 1 if following[day] > front[day] else 0
        if streak >= VOLUME_SESSIONS:
            return True
        previous = day
    return False


class Front(NamedTuple):
    month: str
    """YYYYMM."""
    reason: Literal["nearest", "hard roll", "volume", "kept"]


def front(
    root: str,
    listed: Sequence[Listed],
    today: date,
    is_session: IsSession,
    *,
    kept: str | None = None,
    volumes: Mapping[str, Mapping[date, float]] | None = None,
) -> Front:
    """The month to use: the nearest that need not be left and that the next one has not outtraded. Raises NoContractError.

    `kept` is the month that was the front before: it never goes back. `volumes` are those of past sessions by month.
    """
    volumes = volumes or {}
    traded = RULES[root].traded if root in RULES else MONTH_LETTERS
    candidates = sorted(
        (c for c in listed if MONTH_LETTERS[int(c.contract_month[4:6]) - 1] in traded), key=lambda c: c.contract_month
    )
    if kept is not None and any(c.contract_month >= kept for c in candidates):
        candidates = [c for c in candidates if c.contract_month >= kept]
    reason: Literal["nearest", "hard roll", "volume", "kept"] = "kept" if kept else "nearest"
    for contract, following in zip(candidates, [*candidates[1:], None], strict=True):
        if today >= leaves(root, contract, is_session):
            reason = "hard roll"
            continue
        if following is not None and today < leaves(root, following, is_session):
            mine, theirs = volumes.get(contract.contract_month, {}), volumes.get(following.contract_month, {})
            if outtraded(mine, theirs, today, is_session):
                reason = "volume"
                continue
        return Front(contract.contract_month, reason)
    raise NoContractError(f"{root}: the broker lists no future to trade after {today}")


def following(root: str, listed: Iterable[L], month: str) -> L | None:
    """The next month that may be the front after this one."""
    traded = RULES[root].traded if root in RULES else MONTH_LETTERS
    later = [c for c in listed if c.contract_month > month and MONTH_LETTERS[int(c.contract_month[4:6]) - 1] in traded]
    return min(later, key=lambda c: c.contract_month, default=None)
