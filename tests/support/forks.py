"""Processes of the product, each with its own arguments, environment and streams, forked from one that has imported it once.

Most of what such a process takes until it is at work are its imports.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from alphatrader import commands
from alphatrader.roster import AlphaTrader

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [f"alphatrader.commands.{module.name}" for module in pkgutil.iter_modules(commands.__path__)]
    + [line.target.partition(":")[0] for line in AlphaTrader.LINES if line.kind == "stream"]
)


def fork(
    main: Callable[[], None],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    working_directory: Path,
    stdin: Path,
    stdout: Path,
    stderr: Path,
) -> ForkServerProcess:
    """`main` with `sys.argv` as given; what is written is added to the files. Whoever calls ends the process."""
    process = _FORKS.Process(
        target=_begin, args=(main, list(arguments), dict(environment), working_directory, (stdin, stdout, stderr))
    )
    process.start()
    return process


def _begin(
    main: Callable[[], None], arguments: list[str], environment: dict[str, str], working_directory: Path, streams: Sequence[Path]
) -> None:
    os.chdir(working_directory)
    for number, (name, path) in enumerate(zip(("stdin", "stdout", "stderr"), streams, strict=True)):
        opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, number)
        os.close(opened)
        setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    main()
