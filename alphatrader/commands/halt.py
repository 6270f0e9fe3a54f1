"""`alphatrader halt`: stop opening positions, at once. Exits, cancels and stops go on.

Exit codes: 0 the halt is recorded, 1 it was refused, or asked for and not recorded, 3 nothing can be reached.
"""

from __future__ import annotations

import argparse

from alphatrader.commands.control_request import common_arguments, request, show


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return show(request("halt", args.reason), args.json)
