"""`alphatrader start`: runs honcho with the Procfile, and prints the dashboard's address and a login link once it answers."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import FrameType

from alphatrader.commands.access import say
from alphatrader.runtime.clock import monotonic
from alphatrader.runtime.settings import ROOT, load

_LIMIT_SECONDS = 120.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="print no login link")


def run(args: argparse.Namespace) -> int:
    settings = load()
    address = f"http://127.0.0.1:{settings.web.dashboard_port}"
    say(f"AlphaTrader starts in {settings.mode} mode; the dashboard will be at {address}")
    honcho = subprocess.Popen([sys.executable, "-m", "honcho", "start"], cwd=ROOT)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        """A Ctrl-C reaches honcho from the terminal itself; a second one would make it kill."""
        if number == signal.SIGTERM:
            honcho.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    if not args.quiet:
        _welcome(honcho, address)
    while honcho.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            honcho.wait(0.2)
    return (
        0
        if honcho.returncode in (0, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)
        else honcho.returncode
    )


def _welcome(honcho: subprocess.Popen[bytes], address: str) -> None:
    from alphatrader.commands.login import make_link

    until = monotonic() + _LIMIT_SECONDS
    while honcho.poll() is None and monotonic() < until:
        try:
            with urllib.request.urlopen(f"{address}/healthz", timeout=1):  # noqa: S310 loopback
                break
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    else:
        return
    rule = "=" * 78
    say(f"\n{rule}\n  The dashboard answers. Log in with this link (once, within 10 minutes):\n  {make_link()}")
    say(f"  Another link later: `{_command()} login`\n{rule}\n")


def _command() -> str:
    return "alphatrader" if "VIRTUAL_ENV" in os.environ else ".venv/bin/alphatrader"
