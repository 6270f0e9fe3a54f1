"""The operator's commands, one file each, imported only when asked for.

A command module has `arguments(parser)` and `run(args) -> int`. Every command takes `--json` but those that only log. Exit codes:
0 done, 1 it found something wrong, 2 it was used wrongly, 3 the system cannot be reached, 130 Ctrl-C came before it was done;
`alphatrader.cli` adds 141, the reader left.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Final

DONE: Final = 0
WRONG: Final = 1
MISUSED: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 128 + 2
"""As a shell reports a process ended by SIGINT: `alphatrader flatten && ...` must not take it for done."""

COMMANDS: Final = {
    "start": "Everything, with honcho, and a login link when it is up",
    "run": "One module, as its line in the Procfile does",
    "status": "Every module's health, data ages and lags",
    "doctor": "Go or no-go: configuration, servers, gateways, channels",
    "halt": "Stop opening positions, at once",
    "resume": "Allow opening again (asks)",
    "flatten": "Cancel every order and close every position",
    "get": "One key, as the operator's read-only user",
    "watch": "Keys and streams as they change",
    "keys": "The contract: table, JSON, graph or ACL",
    "why": "Which gate stopped each window's signal",
    "replay": "A recorded day through the production code again: whether it decides the same",
    "discover": "Measures the parameters anew; --accept lets a jump take effect",
    "report": "Closed trades: win rate, Sharpe, drawdown; the paper gate",
    "restore": "The money ledgers, from the journals, into an empty state server",
    "chain": "Exposure, walls and flip of a saved option chain",
    "futures": "Contracts, last trading and notice days, rolls, the front month on a date",
    "login": "A one-time link to the dashboard",
    "docs": "Writes the generated docs; --check only compares",
}
"""Name -> what it does, in the order they are listed."""
ONLY_LOG: Final = ("start", "run")
"""What they print is the log: `log.format` says in which form."""


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, about in COMMANDS.items()]
    return (
        "usage: alphatrader COMMAND [options]\n\n"
        + "\n".join(lines)
        + "\n\n`alphatrader COMMAND --help` says more. Every command but start and run has --json."
    )


def dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        (sys.stdout if argv else sys.stderr).write(_usage() + "\n")
        return DONE if argv else MISUSED
    name, *rest = argv
    if name not in COMMANDS:
        sys.stderr.write(f"alphatrader: there is no command {name!r}\n\n{_usage()}\n")
        return MISUSED
    module = importlib.import_module(f"alphatrader.commands.{name}")
    parser = argparse.ArgumentParser(prog=f"alphatrader {name}", description=COMMANDS[name])
    module.arguments(parser)
    if name not in ONLY_LOG:
        parser.add_argument("--json", action="store_true", help="print JSON")
    return _run(module, parser.parse_args(rest), name)


def _run(module: object, args: argparse.Namespace, name: str) -> int:
    from alphatrader.runtime.settings import SettingsError
    from alphatrader.runtime.store import StoreError, WrongPasswordError, WrongServerError

    try:
        return int(module.run(args))  # type: ignore[attr-defined]
    except SettingsError as error:
        sys.stderr.write(f"alphatrader {name}: {error}\n")
        return MISUSED
    except WrongPasswordError:
        sys.stderr.write(
            f"alphatrader {name}: a server answers and knows other passwords: it is of another mode, or of another data folder\n"
            "Which is meant? (`mode` and `data_dir`; ALPHATRADER_MODE, ALPHATRADER_DATA_DIR, `.env`)\n"
        )
        return UNREACHABLE
    except StoreError as error:
        sys.stderr.write(
            f"alphatrader {name}: the servers cannot be reached: {error}\nDoes the system run? (`alphatrader start`)\n"
        )
        return UNREACHABLE
    except WrongServerError as error:
        sys.stderr.write(f"alphatrader {name}: {error}\n")
        return UNREACHABLE
    except KeyboardInterrupt:
        sys.stderr.write(f"alphatrader {name}: stopped before it was done\n")
        return INTERRUPTED
