"""Commands as the operator types them: each in a process of its own, with its own arguments, environment and streams.

The processes are forked from one that has imported every command, once: most of a command's time is its imports.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pkgutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphatrader import commands
from alphatrader.cli import main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([f"alphatrader.commands.{module.name}" for module in pkgutil.iter_modules(commands.__path__)])
_STREAMS = ("stdin", "stdout", "stderr")


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def typed(arguments: Sequence[str], environment: Mapping[str, str], *, answer: str = "", seconds: float = 40.0) -> Answer:
    """`alphatrader ARGUMENTS`, with `answer` typed into it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "stdin").write_text(answer)
        process = _FORKS.Process(target=_type, args=(list(arguments), dict(environment), os.getcwd(), folder))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"alphatrader {' '.join(arguments)}: not done within {seconds:g} s")
        return Answer(process.exitcode, (folder / "stdout").read_text(), (folder / "stderr").read_text())


def _type(arguments: list[str], environment: dict[str, str], working_directory: str, folder: Path) -> None:
    os.chdir(working_directory)
    for number, name in enumerate(_STREAMS):
        opened = os.open(folder / name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(opened, number)
        setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["alphatrader", *arguments]
    main()
