"""Alpha Vantage's answers, checked and typed. A vendor's text in a 200 response is not data (sources.md §4).

The vendor writes every field of an option row as a string and a missing price as "0.00". A bad row is dropped and counted under
the field that was wrong; an answer that is not what was asked for is refused whole.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from alphatrader.clients.alphavantage.errors import AlphaVantageError, BadAnswerError, LimitedError, OutageError, RefusedError
from alphatrader.contract.messages.options import OptionRow

_Price = Annotated[float, Meta(ge=0, lt=1e7)]
_Count = Annotated[int, Meta(ge=0, lt=10**10)]
_LIMIT: Final = re.compile(r"rate limit|call frequency|requests? per (?:second|minute|day)|requests in the last", re.IGNORECASE)
_PREMIUM: Final = re.compile(r"premium endpoint|artificial", re.IGNORECASE)
_SHOWN: Final = 160
"""Characters of the vendor's own text that an error repeats."""
_OPTIONS_ENDPOINT: Final = "Realtime Options"


class _Row(msgspec.Struct, gc=False):
    contract_id: str = msgspec.field(name="contractID")
    symbol: str
    expiration: str
    strike: Annotated[float, Meta(gt=0, lt=1e7)]
    type: Literal["call", "put"]
    last: _Price
    mark: _Price
    bid: _Price
    ask: _Price
    volume: _Count
    open_interest: _Count
    date: str
    implied_volatility: Annotated[float, Meta(ge=0, lt=100)] | None = None
    delta: Annotated[float, Meta(ge=-1, le=1)] | None = None
    gamma: Annotated[float, Meta(ge=0, lt=1e6)] | None = None
    theta: Annotated[float, Meta(gt=-1e6, lt=1e6)] | None = None
    vega: Annotated[float, Meta(gt=-1e6, lt=1e6)] | None = None


class _Named(msgspec.Struct):
    contract_id: str = msgspec.field(name="contractID")


class _Envelope(msgspec.Struct):
    """Every answer: data, or one of the vendor's ways to say no."""

    endpoint: str | None = None
    message: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")
    feed: msgspec.Raw = msgspec.Raw(b"")
    information: str | None = msgspec.field(name="Information", default=None)
    note: str | None = msgspec.field(name="Note", default=None)
    error: str | None = msgspec.field(name="Error Message", default=None)


class _Good(msgspec.Struct):
    """What nearly every answer is: a chain without a fault, read in one pass. Any other is read again for its reason."""

    endpoint: Literal["Realtime Options"]
    message: Literal["success"]
    data: list[_Row]
    information: msgspec.UnsetType = msgspec.field(name="Information", default=msgspec.UNSET)
    note: msgspec.UnsetType = msgspec.field(name="Note", default=msgspec.UNSET)
    error: msgspec.UnsetType = msgspec.field(name="Error Message", default=msgspec.UNSET)


class _Ticker(msgspec.Struct):
    ticker: str
    relevance_score: Annotated[float, Meta(ge=0, le=1)]
    ticker_sentiment_score: Annotated[float, Meta(ge=-1, le=1)]


class _Article(msgspec.Struct):
    title: str
    time_published: str
    ticker_sentiment: list[_Ticker]
    url: str = ""


_GOOD: Final = msgspec.json.Decoder(_Good, strict=False)
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_ROW: Final = msgspec.json.Decoder(_Row, strict=False)
_NAMED: Final = msgspec.json.Decoder(_Named)
_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ARTICLE: Final = msgspec.json.Decoder(_Article, strict=False)


@dataclass(frozen=True, slots=True)
class ChainAnswer:
    rows: tuple[OptionRow, ...]
    as_of: date
    """The newest date the vendor put on a row."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Rows not taken, by the field that was wrong."""
    left_out: tuple[tuple[str, str], ...] = ()
    """The same: the contract each names, or its place among the rows, and that field."""


@dataclass(frozen=True, slots=True)
class Story:
    """One article, as it concerns one symbol."""

    published_ns: int
    title: str
    score: float
    """Of this symbol. The vendor's labels, which it spells two ways, are not read."""
    relevance: float
    url: str


@dataclass(frozen=True, slots=True)
class NewsAnswer:
    stories: tuple[Story, ...]
    dropped: Counter[str] = field(default_factory=Counter)


def chain(body: bytes, symbol: str, max_rows: int) -> ChainAnswer:
    """The chain of `symbol` in an answer to REALTIME_OPTIONS. Raises AlphaVantageError."""
    rows, left_out = _rows(body, max_rows)
    days, expiries, numbers = _Days(), _Expiries(symbol), _Numbers()
    good: list[OptionRow] = []
    newest: date | None = None
    for row in rows:
        if row.symbol != symbol:
            raise BadAnswerError("foreign_symbol", f"{_shown(row.symbol)!r} in the chain of {symbol}", field="symbol")
        expiry, calls, puts = expiries[row.expiration]
        day = days[row.date]
        right: Literal["C", "P"]
        right, head = ("C", calls) if row.type == "call" else ("P", puts)
        if expiry is None or day is None:
            left_out.append((_shown(row.contract_id), "expiration" if expiry is None else "date"))
        elif row.contract_id != head + numbers[row.strike]:
            # an adjusted contract, which delivers something else than 100 shares, or an index's other series (SPXW)
            left_out.append((_shown(row.contract_id), "contractID"))
        else:
            if day is not newest:
                newest = day if newest is None else max(newest, day)
            # In the order of OptionRow's fields: names would cost as much again. A price of nothing is none.
            good.append(
                OptionRow(
                    expiry, row.strike, right, row.bid or None, row.ask or None, row.last or None, row.mark or None, row.volume,
                    row.open_interest, row.implied_volatility, row.delta, row.gamma, row.theta, row.vega,
                )
            )  # fmt: skip
    dropped = Counter(reason for _, reason in left_out)
    if newest is None:
        raise BadAnswerError(
            "empty",
            f"no usable row of {len(good) + len(left_out)} for {symbol or 'any symbol'}{_counts(dropped)}",
            field="data",
        )
    return ChainAnswer(tuple(good), newest, dropped, tuple(left_out))


def news(body: bytes, symbol: str) -> NewsAnswer:
    """What an answer to NEWS_SENTIMENT says of `symbol`. An empty feed is an answer: nobody wrote. Raises AlphaVantageError."""
    envelope = _envelope(body)
    if not bytes(envelope.feed):
        raise BadAnswerError("no_data", "the answer has no feed", field="feed")
    raws: list[msgspec.Raw] = _decoded(_RAWS, bytes(envelope.feed), "feed")
    stories: list[Story] = []
    dropped: Counter[str] = Counter()
    for raw in raws:
        try:
            article: _Article = _ARTICLE.decode(raw)
        except msgspec.ValidationError as error:
            dropped[_place(error)] += 1
            continue
        published = _instant(article.time_published)
        ours = next((ticker for ticker in article.ticker_sentiment if ticker.ticker == symbol), None)
        if published is None or ours is None:
            dropped["time_published" if published is None else "ticker"] += 1
            continue
        stories.append(
            Story(published, article.title[:300], ours.ticker_sentiment_score, ours.relevance_score, article.url[:500])
        )
    if raws and not stories:
        raise BadAnswerError("no_usable_article", f"none of {len(raws)} for {symbol}{_counts(dropped)}", field="feed")
    return NewsAnswer(tuple(stories), dropped)


def _envelope(body: bytes) -> _Envelope:
    head = body[:64].lstrip().lower()
    if head.startswith(b"<"):
        raise OutageError("html", "a page instead of JSON")
    if head.startswith(b"{") and not body[-64:].rstrip().endswith(b"}"):
        raise OutageError("truncated", f"the answer ends in the middle, after {len(body)} bytes", again=True)
    envelope: _Envelope = _decoded(_ENVELOPE, body, "answer")
    said = envelope.information or envelope.note or envelope.error
    if said is not None:
        raise _refusal(envelope, said)
    return envelope


def _refusal(envelope: _Envelope, said: str) -> AlphaVantageError:
    name = "Information" if envelope.information else "Note" if envelope.note else "Error Message"
    if envelope.error:
        return RefusedError("bad_call", _shown(said), field=name)
    if _LIMIT.search(said) and not _PREMIUM.search(said):
        return LimitedError("vendor_limit", f"{name}: {_shown(said)}")
    reason = "not_entitled" if _PREMIUM.search(said) else "demo_key" if "demo" in said else "refused"
    return RefusedError(reason, _shown(said), field=name)


def _rows(body: bytes, max_rows: int) -> tuple[list[_Row], list[tuple[str, str]]]:
    """All rows in one pass; where anything is wrong, the answer's own reason, or row by row, so that a bad one alone is lost."""
    left_out: list[tuple[str, str]] = []
    try:
        rows: list[_Row] = _GOOD.decode(body).data
        many = len(rows)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raws: list[msgspec.Raw] = _decoded(_RAWS, _chain_data(body), "data")
        many = len(raws)
        rows = []
        for number, raw in enumerate(raws if many <= max_rows else (), 1):
            try:
                rows.append(_ROW.decode(raw))
            except msgspec.ValidationError as error:
                left_out.append((_name(raw, number), _place(error)))
            except UnicodeDecodeError:
                left_out.append((_name(raw, number), "row"))
    if many > max_rows:
        raise BadAnswerError("too_many_rows", f"{many}, at most {max_rows} are taken", field="data")
    return rows, left_out


def _name(raw: msgspec.Raw, number: int) -> str:
    """What a row that cannot be read calls itself, else which it is."""
    try:
        return _shown(_NAMED.decode(raw).contract_id)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"row {number}"


def _chain_data(body: bytes) -> bytes:
    """The rows of an answer that is a chain; else the error that says what it is instead."""
    envelope = _envelope(body)
    if envelope.message is not None and _PREMIUM.search(envelope.message):
        raise RefusedError("not_entitled", _shown(envelope.message), field="message")
    if envelope.endpoint != _OPTIONS_ENDPOINT:
        raise BadAnswerError("wrong_endpoint", f"{envelope.endpoint!r}, not {_OPTIONS_ENDPOINT!r}", field="endpoint")
    if envelope.message != "success":
        raise BadAnswerError("no_success", _shown(str(envelope.message)), field="message")
    data = bytes(envelope.data)
    if not data:
        raise BadAnswerError("no_data", "the answer has no rows", field="data")
    return data


def _decoded(decoder: msgspec.json.Decoder[Any], content: bytes, what: str) -> Any:
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        raise BadAnswerError("wrong_shape", str(error), field=what) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswerError("not_json", str(error), field=what) from None


class _Days(dict[str, date | None]):
    """YYYY-MM-DD -> the day, None where it is none. Twelve thousand rows name a few dozen: each is read once."""

    def __missing__(self, text: str) -> date | None:
        try:
            day = date.fromisoformat(text) if len(text) == 10 else None
        except ValueError:
            day = None
        return self.setdefault(text, day)


class _Expiries(dict[str, tuple[str | None, str, str]]):
    """YYYY-MM-DD -> YYYYMMDD, None where it is no day, and how the OCC names of its calls and of its puts begin."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol

    def __missing__(self, text: str) -> tuple[str | None, str, str]:
        day = _Days()[text]
        head = f"{self._symbol}{day:%y%m%d}" if day is not None else ""
        return self.setdefault(text, (f"{day:%Y%m%d}" if day is not None else None, head + "C", head + "P"))


class _Numbers(dict[float, str]):
    """A strike -> how the OCC names of its contracts end."""

    def __missing__(self, strike: float) -> str:
        return self.setdefault(strike, f"{round(strike * 1000):08d}")


def _instant(text: str) -> int | None:
    """YYYYMMDDTHHMM or YYYYMMDDTHHMMSS, UTC, as nanoseconds."""
    for form in ("%Y%m%dT%H%M%S", "%Y%m%dT%H%M"):
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()) * 1_000_000_000
        except ValueError:
            continue
    return None


def _place(error: msgspec.ValidationError) -> str:
    """The field's name in `... - at `$.gamma``; for a missing field, in the message itself."""
    text = str(error)
    missing = re.search(r"missing required field `(\w+)`", text)
    found = re.search(r"at `\$\.?([\w.]*)", re.sub(r"\[[^]]*\]", "", text))
    return missing[1] if missing else found[1] if found and found[1] else "row"


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _counts(dropped: Counter[str]) -> str:
    return f" (bad {', '.join(f'{name} {n}' for name, n in dropped.most_common(4))})" if dropped else ""
