"""`alphatrader login`: a one-time link to the dashboard, signed with its session key, good for ten minutes.

Exit codes: 0 done, 3 nobody answers at the dashboard's address: the link is printed and works once the dashboard is up.
"""

from __future__ import annotations

import argparse
import secrets
import socket
import sys
from typing import Final

from alphatrader.commands import DONE, UNREACHABLE
from alphatrader.commands.access import print_json, say
from alphatrader.runtime.links import login_links
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import SettingsError, data_place, load

_TIMEOUT_SECONDS: Final = 2.0


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def make_link() -> str:
    """Raises SettingsError where no dashboard was ever started: it would know no key."""
    settings = load()
    key = Vault(data_place(settings), settings.mode, make=False).get("session_key")
    if not key:
        raise SettingsError(f"no system of mode {settings.mode} was ever started in {data_place(settings)}: `alphatrader start`")
    token = login_links(key).dumps(secrets.token_hex(8))
    return f"http://127.0.0.1:{settings.web.dashboard_port}/login?link={token}"


def run(args: argparse.Namespace) -> int:
    link = make_link()
    print_json({"link": link}) if args.json else say(link)
    port = load().web.dashboard_port
    try:
        socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS).close()
    except OSError as error:
        sys.stderr.write(f"alphatrader login: the dashboard does not answer on 127.0.0.1:{port} ({error.strerror or error})\n")
        return UNREACHABLE
    return DONE
