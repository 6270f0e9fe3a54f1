"""Structured logs: exchange time and UTC, the module, the event and its values; secrets are struck out.

The terminal shows a line a person can read at 9:31; `logs/<mode>/<module>.jsonl` keeps the same as JSON. Everything goes through
the standard library's logging, so that what libraries say is stamped and redacted too.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
from collections.abc import Iterable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

import structlog

from alphatrader.contract.settings import Settings
from alphatrader.runtime.clock import Clock, exchange_datetime

STRUCK: Final = "[secret]"
_TOKEN_FORMS: Final = re.compile(
    r"(?P<keep>bot)\d{6,}:[\w-]{8,}|(?<![A-Za-z0-9])(?:(?:sk|rk|whsec)_\w{8,}|sk-[\w-]{12,})|(?P<hook>/webhooks/\d+/)[\w-]{8,}"
    r"|(?P<query>(?:apikey|api_key|token|password)=)[^&\s'\"]+"
    r"|(?P<user>\w+://[^\s/:@]*:)[^\s/@]+(?=@)|(?P<header>\bBearer |Authorization\W{1,4}Basic )[\w.~+/=-]{8,}"
)
"""How secrets look in URLs and headers, for those that come from elsewhere than our own environment."""
_BYTES_A_FILE: Final = 20_000_000
_QUIETENED: Final = (
    "urllib3",
    "httpx",
    "httpx2",
    "httpcore",
    "telegram",
    "openai",
    "stripe",
    "werkzeug",
    "engineio",
    "socketio",
    "ib_insync",
    "celery.app.trace",
    "celery.worker.strategy",
    "celery.beat",
)
"""Libraries that tell every request at INFO: their warnings are enough, the modules count what was done."""

STARTING_SECONDS: Final = 20.0
"""All lines start at once: so long after its own start a process says at INFO that another is not there yet."""
_NOT_THERE: Final = frozenset({"broker_not_connected", "telegram_away", "stripe_not_reached", "redis_lost", "server_lost"})
_NOT_REACHED: Final = frozenset({"chain_refused", "news_refused", "news_limited"})
"""Of these only what says as its `reason` that nobody listens there: all else a vendor may do is told as what it is."""
NOBODY_LISTENS: Final = "connection"
_NOT_THERE_LOGGERS: Final = frozenset({"flower.inspector"})

_Event = MutableMapping[str, Any]


def _forms(secret: str) -> set[str]:
    """How a secret may stand in a text: as it is, escaped in JSON or by `repr` (bytes among them), quoted in a URL."""
    raw = secret.encode()
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1], repr(raw)[2:-1]}
    escaped |= {json.dumps(form)[1:-1] for form in escaped}  # a repr within a line of JSON
    return escaped | {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}


class Redactor:
    """Strikes known secrets, and what has the form of one, out of any text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        pieces = {form for secret in known for piece in (secret, *secret.split("/")) if len(piece) >= 6 for form in _forms(piece)}
        ordered = sorted(pieces, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(STRUCK, text)
        return _TOKEN_FORMS.sub(lambda m: f"{m[m.lastgroup] if m.lastgroup else ''}{STRUCK}", text)


class _Starting:
    """Lowers the level of what is no trouble while everything starts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic() + STARTING_SECONDS

    def __call__(self, _logger: Any, _method: str, event: _Event) -> _Event:
        if self._clock.monotonic() < self._until and self._not_there(event):
            event["level"] = "info"
        return event

    @staticmethod
    def _not_there(event: _Event) -> bool:
        if event["event"] in _NOT_REACHED:
            return event.get("reason") == NOBODY_LISTENS or event.get("after") == NOBODY_LISTENS
        return event["event"] in _NOT_THERE or event.get("logger") in _NOT_THERE_LOGGERS


class _Renderer:
    """Turns an event into its line, last: whatever is in it has been struck by then."""

    def __init__(self, clock: Clock, module: str, redact: Redactor, *, as_json: bool) -> None:
        self._clock = clock
        self._module = module
        self._redact = redact
        self._render: Any = structlog.processors.JSONRenderer(default=str) if as_json else self._console

    def __call__(self, logger: Any, method: str, event: _Event) -> str:
        event.pop("_record", None)
        event.pop("_from_structlog", None)
        machine = datetime.fromtimestamp(self._clock.machine_ns() / 1e9, tz=UTC)
        stamped = {
            "et": exchange_datetime(self._clock.market_ns()).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
            "utc": machine.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "module": self._module,
            **event,
        }
        return self._redact(str(self._render(logger, method, stamped)))

    @staticmethod
    def _console(_logger: Any, _method: str, event: _Event) -> str:
        trace = event.pop("exception", None)
        level = event.pop("level", "info")
        head = f"{event.pop('et')[11:]} ET {event.pop('utc')[11:23]}Z {level.upper():<7} {event.pop('event')}"
        event.pop("module")
        event.pop("logger", None)
        tail = "".join(f" {name}={value}" for name, value in event.items())
        return head + tail + (f"\n{trace}" if trace else "")


class _LogFile(logging.handlers.RotatingFileHandler):
    """One that the disk does not take says so once: a traceback for each line buries what the terminal still shows."""

    _taken = True
    _said = False

    def emit(self, record: logging.LogRecord) -> None:
        self._taken = True
        super().emit(record)
        self._said = self._said and not self._taken

    def handleError(self, record: logging.LogRecord) -> None:
        self._taken = False
        if not self._said:
            sys.stderr.write(f"{self.baseFilename} cannot be written: {sys.exc_info()[1]}\n")
        self._said = True


def configure(settings: Settings, instance: str, clock: Clock, secrets: Iterable[str], folder: Path) -> Any:
    """Sets up logging for this process and returns the module's logger."""
    redact = Redactor(secrets)
    level = getattr(logging, settings.log.level.upper())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _Starting(clock),
    ]
    trace = structlog.processors.format_exc_info
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            trace,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )

    def formatter(*, as_json: bool) -> logging.Formatter:
        renderer = _Renderer(clock, instance, redact, as_json=as_json)
        return structlog.stdlib.ProcessorFormatter(
            processors=[renderer], foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), trace]
        )

    terminal = logging.StreamHandler(sys.stdout)
    terminal.setFormatter(formatter(as_json=settings.log.format == "json"))
    file = _LogFile(folder / f"{instance}.jsonl", maxBytes=_BYTES_A_FILE, backupCount=3)
    file.setFormatter(formatter(as_json=True))
    root = logging.getLogger()
    root.handlers[:] = [terminal, file]
    root.setLevel(level)
    for name in _QUIETENED:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    return structlog.get_logger(f"alphatrader.{instance}")
