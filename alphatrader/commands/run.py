"""`alphatrader run MODULE`: a module with its parent, as its line in the Procfile does."""

from __future__ import annotations

import argparse

from alphatrader.roster import AlphaTrader


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("module", choices=[str(line.module) for line in AlphaTrader.LINES])


def run(args: argparse.Namespace) -> int:
    from alphatrader.runtime import parent

    return parent.run(args.module)
