"""`alphatrader start`: runs honcho with the Procfile, and prints the dashboard's address and a login link once it answers.

First it looks whether the system runs already in this folder, and whether every port is free: a line whose port is taken is
started again and again, and what it says of that is lost among a hundred others. Exit codes: 1 it does not start, and says why.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from alphatrader.commands import WRONG
from alphatrader.commands.access import say
from alphatrader.contract.settings import Settings
from alphatrader.runtime.clock import monotonic
from alphatrader.runtime.presence import Presence
from alphatrader.runtime.settings import ROOT, data_path, load

_LIMIT_SECONDS = 120.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="print no login link")


def run(args: argparse.Namespace) -> int:
    settings = load()
    if wrong := obstacles(settings):
        for line in wrong:
            sys.stderr.write(f"alphatrader start: {line}\n")
        return WRONG
    address = f"http://127.0.0.1:{settings.web.dashboard_port}"
    say(f"AlphaTrader starts in {settings.mode} mode; the dashboard will be at {address}")
    # `.env` is in our environment already: honcho would take off what stands behind a `#`, and skip what it cannot read.
    honcho = subprocess.Popen([sys.executable, "-m", "honcho", "start", "-e", os.devnull], cwd=ROOT)  # noqa: S603 our own command

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


def obstacles(settings: Settings) -> list[str]:
    """Why the system cannot be started, each with what to do. Where there are none, no other start passes until this process
    ends."""
    folder = data_path(settings)
    Presence(folder).close()  # raises SettingsError where it takes no file
    lock = os.open(folder / "start.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return [f"another `alphatrader start` runs in {folder}: Ctrl-C in its terminal ends it"]
    return already(folder) or taken(settings)


def already(folder: Path) -> list[str]:
    """Lines that live in this folder, by hand or left over from a start that was killed."""
    here = Presence(folder)
    try:
        if here.others_gone(0):
            return []
        named = here.named()
    finally:
        here.close()
    who = ", ".join(f"{line} {process}" for process, line in named.items()) or "lines without a name"
    end = f"to end them: kill {' '.join(map(str, named))}" if named else "end them first"
    return [f"the system runs already in {folder}, or a start that was killed left it behind ({who}); {end}"]


def taken(settings: Settings) -> list[str]:
    """Ports that this system would listen on and somebody else has."""
    told = []
    for setting, (host, port) in settings.listens_on().items():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as those who listen do: what just ended is no obstacle
            try:
                one.bind((host, port))
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):  # another machine's server is not ours to start
                    told.append(f"port {port} of {host} ({setting}): {error.strerror}; end what has it, or choose another port")
    return told


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
    say(f"  What the first signal waits for, and whether all is well: `{_command()} status`")
    say(f"  Another link later: `{_command()} login`\n{rule}\n")


def _command() -> str:
    return "alphatrader" if "VIRTUAL_ENV" in os.environ else ".venv/bin/alphatrader"
