"""A log line names exchange time, UTC, module and event, and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
import structlog

from alphatrader.contract.modules import Module
from alphatrader.runtime import log
from alphatrader.runtime.clock import Clock
from alphatrader.runtime.settings import load

CANARY = "whsec_0123456789abcdef"


@pytest.fixture
def root_logging() -> Iterator[None]:
    """The process's logging, put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before, level
    structlog.reset_defaults()


@pytest.fixture
def logger(tmp_path: Path, root_logging: None) -> Any:
    return log.configure(load({}), Module.PAGES, Clock(), [CANARY, "123/hook-secret-token"], tmp_path)


def lines(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "pages.jsonl").read_text().splitlines()]


def test_a_line_carries_both_times_and_its_values(logger, tmp_path: Path) -> None:
    logger.info("checkout_made", customer="cus_1")
    [line] = lines(tmp_path)
    assert line["event"] == "checkout_made"
    assert line["customer"] == "cus_1"
    assert line["module"] == "pages"
    assert line["utc"].endswith("Z")
    assert line["et"][:2] == "20"


class HandClock(Clock):
    """A clock of which the test moves the seconds."""

    seconds: ClassVar[list[float]] = [100.0]

    def monotonic(self) -> float:
        return self.seconds[-1]


def test_what_is_not_there_yet_is_no_warning_while_everything_starts(tmp_path: Path, root_logging: None) -> None:
    clock = HandClock()
    logger = log.configure(load({}), Module.PAGES, clock, [], tmp_path)
    # given the first seconds, in which the gateway does not listen yet
    logger.warning("broker_not_connected", reason="refused")
    logger.warning("told_operator", what="ALARM")
    logging.getLogger("flower.inspector").warning("Inspect method stats failed")
    # when it still does not after them
    clock.seconds.append(clock.seconds[-1] + log.STARTING_SECONDS)
    logger.warning("broker_not_connected", reason="refused")
    # then that is a warning, as all else was from the beginning
    assert [(line["event"], line["level"]) for line in lines(tmp_path)] == [
        ("broker_not_connected", "info"),
        ("told_operator", "warning"),
        ("Inspect method stats failed", "info"),
        ("broker_not_connected", "warning"),
    ]


def test_of_a_vendor_only_that_nobody_listens_is_no_warning_while_everything_starts(tmp_path: Path, root_logging: None) -> None:
    clock = HandClock()
    logger = log.configure(load({}), Module.PAGES, clock, [], tmp_path)
    # given the first seconds, then what a vendor may do that is not there yet, and what one does that is
    for away in ({"reason": "connection"}, {"reason": "breaker_open", "after": "connection"}):
        logger.warning("chain_refused", symbol="SPY", **away)
    for there in ({"reason": "timeout"}, {"reason": "breaker_open", "after": "http_5xx"}, {"reason": "vendor_limit"}, {}):
        logger.warning("news_limited", symbol="SPY", **there)
    clock.seconds.append(clock.seconds[-1] + log.STARTING_SECONDS)
    logger.warning("news_refused", symbol="SPY", reason="connection")
    assert [line["level"] for line in lines(tmp_path)] == ["info"] * 2 + ["warning"] * 5


def test_a_word_that_only_ends_like_a_key_is_left_alone(logger, tmp_path: Path) -> None:
    logger.error("task_does_not_end", task="risk_measures", file="disk-usage-report.txt")
    logger.error("refused", text="key=sk_live_abcdefgh1234 or (sk-proj-abcdefghijkl)")
    first, second = lines(tmp_path)
    assert (first["event"], first["task"], first["file"]) == ("task_does_not_end", "risk_measures", "disk-usage-report.txt")
    assert second["text"] == f"key={log.STRUCK} or ({log.STRUCK})"


def test_secrets_are_struck_out_wherever_they_stand(logger, tmp_path: Path) -> None:
    logger.warning("webhook", secret=CANARY, url="https://discord.com/api/webhooks/123/hook-secret-token")
    logging.getLogger("urllib3").warning("GET /query?apikey=ABCDEF123456&symbol=SPY")
    logging.getLogger("x").error("POST https://api.telegram.org/bot123456789:AAbbCCddEEff-123/getMe")
    try:
        raise ValueError(f"bad signature {CANARY}")
    except ValueError:
        logger.exception("refused")
    text = (tmp_path / "pages.jsonl").read_text()
    for secret in (CANARY, "hook-secret-token", "ABCDEF123456", "AAbbCCddEEff"):
        assert secret not in text
    assert text.count(log.STRUCK) >= 5
    assert "ValueError" in text


@pytest.mark.parametrize(
    "text",
    [
        "{json}",
        "{repr}",
        "{bytes}",
        "https://operator:{quoted}@host/path",
        "GET /?sig={quoted}",
        "redis://ibkr:not-in-our-environment@host:6390/0",
        "Authorization: Bearer not-in-our-environment",
        "{{'Authorization': 'Basic bm90LWluLW91ci1lbnZpcm9ubWVudA=='}}",
    ],
)
def test_a_secret_is_struck_in_whatever_form_it_is_written(text: str) -> None:
    """Escaped in JSON or by repr, quoted in a URL, as an address's password, in a header."""
    secret = 'pä"ss\\wo+rd x'
    forms = {"json": json.dumps(secret), "repr": repr(secret), "bytes": repr(secret.encode()), "quoted": quote(secret, safe="")}
    written = text.format(**forms)
    for line in (written, json.dumps({"event": written})):
        struck = log.Redactor([secret])(line)
        assert log.STRUCK in struck
        assert not any(form.strip("b'\"") in struck for form in forms.values())
        assert "not-in-our-environment" not in struck and "bm90LWlu" not in struck


def test_words_that_are_no_secret_stand() -> None:
    told = "Basic subscribers are told at 10:00; see https://host:8000/page and mail operator@example.org"
    assert log.Redactor(["another-secret"])(told) == told


def test_the_terminal_line_is_short_and_redacted(logger) -> None:
    stream = io.StringIO()
    logging.getLogger().handlers[0].setStream(stream)  # type: ignore[attr-defined]
    logger.info("order_sent", order="a-1", key=CANARY)
    line = stream.getvalue()
    assert " ET " in line
    assert "order_sent order=a-1" in line
    assert CANARY not in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_file_that_the_disk_does_not_take_is_said_once_and_written_again_when_it_does(
    logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = logging.getLogger().handlers[1]
    assert isinstance(file, logging.FileHandler)
    whole, file.stream = file.stream, open("/dev/full", "w")  # noqa: SIM115 the handler's
    for number in range(3):
        logger.warning("not_kept", number=number)
    full, file.stream = file.stream, whole
    logger.info("room_again")
    told = capsys.readouterr().err
    assert told.count("pages.jsonl cannot be written: [Errno 28] No space left on device") == 1 and "Traceback" not in told
    assert [line["event"] for line in lines(tmp_path)] == ["room_again"]
    with pytest.raises(OSError, match="No space left"):
        full.close()
