"""`alphatrader login`: a one-time link to the dashboard, signed with its session key, good for ten minutes."""

from __future__ import annotations

import argparse
import secrets

from alphatrader.commands import DONE
from alphatrader.commands.access import print_json, say
from alphatrader.runtime.links import login_links
from alphatrader.runtime.secrets import Vault
from alphatrader.runtime.settings import data_path, load


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def make_link() -> str:
    settings = load()
    key = Vault(data_path(settings), settings.mode).get("session_key") or ""
    token = login_links(key).dumps(secrets.token_hex(8))
    return f"http://127.0.0.1:{settings.web.dashboard_port}/login?link={token}"


def run(args: argparse.Namespace) -> int:
    link = make_link()
    print_json({"link": link}) if args.json else say(link)
    return DONE
