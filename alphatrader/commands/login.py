"""`alphatrader login`: a one-time link to the dashboard, signed with its session key, good for ten minutes."""

from __future__ import annotations

import argparse
import secrets

from itsdangerous import URLSafeTimedSerializer

from alphatrader.commands import DONE
from alphatrader.commands.access import print_json, say
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import data_path, load

SALT = "dashboard-login-link"
"""The dashboard checks links with the same salt; a link works once."""


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def make_link() -> str:
    settings = load()
    key = Vault(data_path(settings), settings.mode).get("session_key") or ""
    token = URLSafeTimedSerializer(key, salt=SALT).dumps(secrets.token_hex(8))
    return f"http://127.0.0.1:{settings.web.dashboard_port}/login?link={token}"


def run(args: argparse.Namespace) -> int:
    link = make_link()
    print_json({"link": link}) if args.json else say(link)
    return DONE
